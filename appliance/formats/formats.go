// Package formats writes a raw disk image in the forms that hypervisors and
// clouds import. Equal images give equal bytes.
//
// The formats whose whole definition fits on a page are written here, because
// then their sizes, checksums and times are in our hand; qcow2, which is more
// than a wrapping, is left to qemu-img (see package appliance).
package formats

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/klauspost/compress/zstd"
	"golang.org/x/sys/unix"
)

// Block is the unit in which holes are looked for, and the grain of a VMDK.
const Block = 64 << 10

// sector is the unit of all formats, in bytes.
const sector = 512

// Image is a raw disk image.
type Image struct {
	io.ReaderAt
	Size int64 // bytes
	// Name is that of the files in the formats that hold some, without suffix.
	Name string
	// Version is shown by the formats that say what they hold.
	Version string
	// Time is stamped on what has a time.
	Time time.Time
}

// Progress is told how many of the image's bytes are done. It may be nil.
type Progress func(done, total int64)

// each calls f for every block of the image, in order; data is nil for a block
// of zeros and valid until f returns.
func (img Image) each(ctx context.Context, p Progress, f func(at int64, data []byte) error) error {
	buf, zeros := make([]byte, Block), make([]byte, Block)
	full := int64(0) // where the next part begins that is no hole of the file
	for at := int64(0); at < img.Size; at += Block {
		if err := ctx.Err(); err != nil {
			return err
		}
		if p != nil && at%(64<<20) == 0 {
			p(at, img.Size)
		}
		data := buf[:min(Block, img.Size-at)]
		if full <= at {
			full = img.nextData(at)
		}
		if full >= at+int64(len(data)) {
			data = nil
		} else if n, err := img.ReadAt(data, at); n < len(data) {
			return fmt.Errorf("reading the image at %d: %w", at, err)
		} else if bytes.Equal(data, zeros[:len(data)]) {
			data = nil
		}
		if err := f(at, data); err != nil {
			return err
		}
	}
	if p != nil {
		p(img.Size, img.Size)
	}
	return nil
}

// nextData asks the file system for the end of a hole (lseek(2), SEEK_DATA): to
// read holes takes longer than everything else. Where it cannot say, there is
// none.
func (img Image) nextData(at int64) int64 {
	f, ok := img.ReaderAt.(*os.File)
	if !ok {
		return at
	}
	next, err := unix.Seek(int(f.Fd()), at, unix.SEEK_DATA)
	switch {
	case errors.Is(err, unix.ENXIO): // a hole up to the end
		if info, err := f.Stat(); err == nil && info.Size() >= img.Size {
			return img.Size
		}
		return at
	case err != nil:
		return at
	}
	return next
}

// check refuses sizes that a format cannot express.
func (img Image) check(unit int64, what string) error {
	if img.Size <= 0 || img.Size%unit != 0 {
		return fmt.Errorf("an image of %d bytes: %s takes whole %s only", img.Size, what, map[int64]string{sector: "sectors", 1 << 20: "MiB", 1 << 30: "GiB"}[unit])
	}
	return nil
}

// WriteZstd compresses the image. The frame says how large the image is, so
// that whoever unpacks it can show how far it is.
func WriteZstd(ctx context.Context, w io.Writer, img Image, p Progress) error {
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(zstd.SpeedBetterCompression))
	if err != nil {
		return err
	}
	enc.ResetContentSize(w, img.Size)
	zeros := make([]byte, Block)
	err = img.each(ctx, p, func(at int64, data []byte) error {
		if data == nil {
			data = zeros[:min(Block, img.Size-at)]
		}
		_, err := enc.Write(data)
		return err
	})
	if err := errors.Join(err, enc.Close()); err != nil {
		return fmt.Errorf("compressing the image: %w", err)
	}
	return nil
}

// counter knows how many bytes went through it.
type counter struct {
	w io.Writer
	n int64
}

func (c *counter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	return n, err
}

// pad writes zeros up to a multiple of unit.
func (c *counter) pad(unit int64) error {
	_, err := c.Write(make([]byte, (unit-c.n%unit)%unit))
	return err
}
