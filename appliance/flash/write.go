package flash

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// block is how much is written at once.
const block = 4 << 20

// Progress is told how many bytes are done; it may be nil.
type Progress func(done, total int64)

func (p Progress) tell(done, total int64) {
	if p != nil {
		p(done, total)
	}
}

// Target is an opened disk.
type Target interface {
	io.ReaderAt
	io.WriterAt
	// Zero writes zeros.
	Zero(at, length int64) error
	Sync() error
	// Forget lets the next read come from the disk and not from memory.
	Forget() error
	Close() error
}

// device is a Target of the machine.
type device struct{ *os.File }

// OpenDevice opens a disk for writing. O_EXCL makes the kernel refuse one that
// is mounted or part of a volume, and hold it against both meanwhile (open(2)).
func OpenDevice(path string) (Target, error) {
	f, err := os.OpenFile(path, os.O_RDWR|unix.O_EXCL, 0)
	if errors.Is(err, unix.EBUSY) {
		return nil, fmt.Errorf("%s is in use: %w", path, err)
	}
	if err != nil {
		return nil, err
	}
	return device{f}, nil
}

// Zero has the disk make zeros itself, which takes no time on many.
func (d device) Zero(at, length int64) error {
	part := [2]uint64{uint64(at), uint64(length)}
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, d.Fd(), unix.BLKZEROOUT, uintptr(unsafe.Pointer(&part))); errno == 0 {
		return nil
	}
	zeros := make([]byte, min(length, block))
	for end := at + length; at < end; at += int64(len(zeros)) {
		if _, err := d.WriteAt(zeros[:min(int64(len(zeros)), end-at)], at); err != nil {
			return err
		}
	}
	return nil
}

// Forget drops the kernel's copies.
func (d device) Forget() error {
	if _, err := unix.IoctlRetInt(int(d.Fd()), unix.BLKFLSBUF); err != nil && !errors.Is(err, unix.ENOTTY) {
		return fmt.Errorf("dropping what is remembered of %s: %w", d.Name(), err)
	}
	return unix.Fadvise(int(d.Fd()), 0, 0, unix.FADV_DONTNEED)
}

// Sums are the SHA-256 sums of the blocks of what was written.
type Sums [][sha256.Size]byte

// summer computes them. Most of an image is zeros, of which it knows the sum:
// small machines are slow at it.
type summer struct {
	zeros   []byte
	ofZeros [sha256.Size]byte
}

func newSummer() summer {
	zeros := make([]byte, block)
	return summer{zeros, sha256.Sum256(zeros)}
}

func (s summer) sum(part []byte) (sum [sha256.Size]byte, zero bool) {
	if bytes.Equal(part, s.zeros) {
		return s.ofZeros, true
	}
	return sha256.Sum256(part), false
}

// Write writes an image to a disk of diskSize bytes and returns the sums of
// what it wrote. The first block, with the partition table, comes last, after
// all else is on the disk: one that was cut off starts nothing. An old copy of
// another table at the end of the disk goes.
func Write(ctx context.Context, t Target, diskSize int64, img Image, p Progress) (Sums, error) {
	if diskSize < img.Size {
		return nil, fmt.Errorf("the disk has %s, the image %s", Bytes(diskSize), Bytes(img.Size))
	}
	r, err := img.Open()
	if err != nil {
		return nil, fmt.Errorf("reading the image: %w", err)
	}
	defer r.Close()
	if err := wipe(t, diskSize, img.Size); err != nil {
		return nil, fmt.Errorf("writing to the disk: %w", err)
	}
	first, sums, err := writeRest(ctx, t, r, img.Size, p)
	if err != nil {
		return nil, err
	}
	err = t.Sync()
	if err == nil {
		_, err = t.WriteAt(first, 0)
	}
	if err == nil {
		err = t.Sync()
	}
	if err != nil {
		return nil, fmt.Errorf("writing to the disk: %w", err)
	}
	return sums, nil
}

// writeRest writes everything but the first block, which it returns.
func writeRest(ctx context.Context, t Target, r io.Reader, size int64, p Progress) (first []byte, sums Sums, err error) {
	s, buf := newSummer(), make([]byte, block)
	for at := int64(0); at < size; {
		if err := ctx.Err(); err != nil {
			return nil, nil, err
		}
		part := buf[:min(block, size-at)]
		if _, err := io.ReadFull(r, part); err != nil {
			return nil, nil, fmt.Errorf("reading the image at %d: %w", at, err)
		}
		sum, zero := s.sum(part)
		sums = append(sums, sum)
		switch {
		case at == 0:
			first = bytes.Clone(part)
		case zero:
			err = t.Zero(at, int64(len(part)))
		default:
			_, err = t.WriteAt(part, at)
		}
		if err != nil {
			return nil, nil, fmt.Errorf("writing to the disk at %d: %w", at, err)
		}
		at += int64(len(part))
		p.tell(at, size)
	}
	return first, sums, nil
}

// wipe takes the old tables away, before anything else changes.
func wipe(t Target, diskSize, imageSize int64) error {
	if err := t.Zero(0, min(block, imageSize)); err != nil {
		return err
	}
	const tail = 1 << 20 // the copy of a table is 33 sectors, RAID's records are near
	if from := max(imageSize, diskSize-tail); from < diskSize {
		if err := t.Zero(from, diskSize-from); err != nil {
			return err
		}
	}
	return t.Sync()
}

// Verify reads back from the disk what Write wrote and compares the sums.
func Verify(ctx context.Context, t Target, size int64, sums Sums, p Progress) error {
	if err := t.Forget(); err != nil {
		return err
	}
	s, buf := newSummer(), make([]byte, block)
	for i, want := range sums {
		if err := ctx.Err(); err != nil {
			return err
		}
		at := int64(i) * block
		part := buf[:min(block, size-at)]
		if _, err := t.ReadAt(part, at); err != nil {
			return fmt.Errorf("reading the disk back at %d: %w", at, err)
		}
		if got, _ := s.sum(part); got != want {
			return fmt.Errorf("the disk does not hold what was written to it at %d", at)
		}
		p.tell(at+int64(len(part)), size)
	}
	return nil
}
