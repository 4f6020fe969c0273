package flash

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/klauspost/compress/zstd"

	"ringfence/appliance/disk"
)

// maxWindow bounds the memory that a compressed image can ask for.
const maxWindow = 64 << 20

// Image is an image to write.
type Image struct {
	Name string
	Size int64 // of the disk in it, bytes
	// Open begins to read the disk.
	Open func() (io.ReadCloser, error)
}

// OpenImage looks at a file, raw or compressed by zstd, and refuses what is no
// image of ours.
func OpenImage(path string) (Image, error) {
	img := Image{Name: path}
	f, err := os.Open(path)
	if err != nil {
		return img, err
	}
	defer f.Close()
	head := make([]byte, zstd.HeaderMaxSize)
	n, err := io.ReadFull(f, head)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
		return img, fmt.Errorf("reading %s: %w", path, err)
	}
	var frame zstd.Header
	if err := frame.Decode(head[:n]); err == nil && !frame.Skippable {
		if !frame.HasFCS || frame.FrameContentSize > 1<<50 {
			return img, fmt.Errorf("%s does not say how large the image in it is", path)
		}
		img.Size = int64(frame.FrameContentSize)
		img.Open = func() (io.ReadCloser, error) { return openZstd(path) }
	} else {
		info, err := f.Stat()
		if err != nil {
			return img, err
		}
		img.Size = info.Size()
		img.Open = func() (io.ReadCloser, error) { return os.Open(path) }
	}
	return img, img.check()
}

type unpacker struct {
	*zstd.Decoder
	f *os.File
}

func (u unpacker) Close() error {
	u.Decoder.Close()
	return u.f.Close()
}

func openZstd(path string) (io.ReadCloser, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	d, err := zstd.NewReader(bufio.NewReaderSize(f, 1<<20), zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(maxWindow))
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return unpacker{d, f}, nil
}

// check looks for our partitions, which other formats and other files have not.
func (img Image) check() error {
	r, err := img.Open()
	if err != nil {
		return err
	}
	defer r.Close()
	head := make([]byte, disk.MiB)
	if _, err := io.ReadFull(r, head); err != nil {
		return fmt.Errorf("%s is not a disk image: %w", img.Name, err)
	}
	t, err := disk.Read(bytes.NewReader(head), img.Size)
	if err != nil {
		return fmt.Errorf("%s is not a raw disk image: %w", img.Name, err)
	}
	if p, ok := t.Part(disk.Perm); !ok || p.Name != disk.PermName {
		return fmt.Errorf("%s is not an image of Ringfence", img.Name)
	}
	return nil
}

// ErrNoSums says that there is nothing to compare an image with.
var ErrNoSums = errors.New("no SHA256SUMS beside the image that names it")

// CheckSums compares a file with the SHA256SUMS in its folder.
func CheckSums(ctx context.Context, path string, p Progress) error {
	list, err := os.ReadFile(filepath.Join(filepath.Dir(path), "SHA256SUMS"))
	if errors.Is(err, os.ErrNotExist) {
		return ErrNoSums
	}
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(list)) {
		want, name, _ := strings.Cut(strings.TrimRight(line, "\r\n"), "  ")
		if name != filepath.Base(path) {
			continue
		}
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		info, err := f.Stat()
		if err != nil {
			return err
		}
		got, err := sumOf(ctx, f, info.Size(), p)
		if err != nil {
			return fmt.Errorf("reading %s: %w", path, err)
		}
		if got != want {
			return fmt.Errorf("%s is damaged: its sum is %s, SHA256SUMS says %s", path, got, want)
		}
		return nil
	}
	return ErrNoSums
}

// sumOf reads size bytes.
func sumOf(ctx context.Context, r io.Reader, size int64, p Progress) (string, error) {
	h := sha256.New()
	buf := make([]byte, block)
	for done := int64(0); done < size; {
		if err := ctx.Err(); err != nil {
			return "", err
		}
		part := buf[:min(block, size-done)]
		if _, err := io.ReadFull(r, part); err != nil {
			return "", err
		}
		h.Write(part)
		done += int64(len(part))
		p.tell(done, size)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}
