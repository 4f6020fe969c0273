package flash

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"

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

// Forget drops the kernel's copies.
func (d device) Forget() error {
	if _, err := unix.IoctlRetInt(int(d.Fd()), unix.BLKFLSBUF); err != nil && !errors.Is(err, unix.ENOTTY) {
		return fmt.Errorf("dropping what is remembered of %s: %w", d.Name(), err)
	}
	return unix.Fadvise(int(d.Fd()), 0, 0, unix.FADV_DONTNEED)
}

// Write writes an image to a disk of diskSize bytes and returns the SHA-256 of
// what it wrote. The first block, with the partition table, comes last, after
// all else is on the disk: one that was cut off starts nothing. An old copy of
// another table at the end of the disk goes.
func Write(ctx context.Context, t Target, diskSize int64, img Image, p Progress) (sum string, err error) {
	if diskSize < img.Size {
		return "", fmt.Errorf("the disk has %s, the image %s", Bytes(diskSize), Bytes(img.Size))
	}
	r, err := img.Open()
	if err != nil {
		return "", fmt.Errorf("reading the image: %w", err)
	}
	defer r.Close()
	zeros := make([]byte, block)
	if err := wipe(t, zeros, diskSize, img.Size); err != nil {
		return "", fmt.Errorf("writing to the disk: %w", err)
	}
	h, buf := sha256.New(), make([]byte, block)
	var first []byte
	for at := int64(0); at < img.Size; {
		if err := ctx.Err(); err != nil {
			return "", err
		}
		part := buf[:min(block, img.Size-at)]
		if _, err := io.ReadFull(r, part); err != nil {
			return "", fmt.Errorf("reading the image at %d: %w", at, err)
		}
		h.Write(part)
		if at == 0 {
			first = append(first, part...)
		} else if _, err := t.WriteAt(part, at); err != nil {
			return "", fmt.Errorf("writing to the disk at %d: %w", at, err)
		}
		at += int64(len(part))
		p.tell(at, img.Size)
	}
	if err := t.Sync(); err != nil {
		return "", fmt.Errorf("writing to the disk: %w", err)
	}
	if _, err := t.WriteAt(first, 0); err != nil {
		return "", fmt.Errorf("writing to the disk: %w", err)
	}
	if err := t.Sync(); err != nil {
		return "", fmt.Errorf("writing to the disk: %w", err)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// wipe takes the old tables away, before anything else changes.
func wipe(t Target, zeros []byte, diskSize, imageSize int64) error {
	if _, err := t.WriteAt(zeros[:min(block, imageSize)], 0); err != nil {
		return err
	}
	const tail = 1 << 20 // the copy of a table is 33 sectors, RAID's records are near
	if from := max(imageSize, diskSize-tail); from < diskSize {
		if _, err := t.WriteAt(zeros[:diskSize-from], from); err != nil {
			return err
		}
	}
	return t.Sync()
}

// Verify reads back from the disk what Write wrote and compares the sums.
func Verify(ctx context.Context, t Target, size int64, sum string, p Progress) error {
	if err := t.Forget(); err != nil {
		return err
	}
	got, err := sumOf(ctx, io.NewSectionReader(t, 0, size), size, p)
	if err != nil {
		return fmt.Errorf("reading the disk back: %w", err)
	}
	if got != sum {
		return fmt.Errorf("the disk does not hold what was written to it: its sum is %s instead of %s", got, sum)
	}
	return nil
}
