// Package volume reads small files from an ISO 9660 or FAT file system without mounting it, so that a stranger's disk never meets
// the kernel's file system code.
package volume

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"
)

// ErrUnknown says that the device holds neither ISO 9660 nor FAT.
var ErrUnknown = errors.New("neither ISO 9660 nor FAT")

// maxEntries bounds the entries of a directory looked at, maxDepth the folders
// on the way to a file.
const (
	maxEntries = 2048
	maxDepth   = 8
)

// Volume is one recognised file system. It is safe for concurrent use as far
// as its reader is.
type Volume struct {
	// Kind is "iso9660" or "vfat".
	Kind string
	// Label is the volume label without padding, as written.
	Label string

	root []entry
	read func(e entry, buf []byte) error
	list func(e entry) ([]entry, error) // of a directory
}

// entry is a regular file or a directory.
type entry struct {
	name  string
	dir   bool
	size  int64
	start uint32 // first cluster (FAT) or first block (ISO 9660)
}

// Open recognises the file system on the first size bytes of r. It returns
// ErrUnknown for anything else, and another error for a file system that is
// damaged beyond reading its root directory.
func Open(r io.ReaderAt, size int64) (*Volume, error) {
	v, err := openISO(r, size)
	if errors.Is(err, ErrUnknown) {
		v, err = openFAT(r, size)
	}
	return v, err
}

// Files lists the names of the files in the root directory.
func (v *Volume) Files() []string {
	var names []string
	for _, e := range v.root {
		if !e.dir {
			names = append(names, e.name)
		}
	}
	return names
}

// ReadFile returns a file; name is its path with slashes. Upper and lower case
// are the same, as on both file systems. A missing file is fs.ErrNotExist; one
// larger than limit bytes is refused unread.
func (v *Volume) ReadFile(name string, limit int64) ([]byte, error) {
	at := v.root
	path := strings.Split(name, "/")
	for _, folder := range path[:len(path)-1] {
		i := slices.IndexFunc(at, func(e entry) bool { return e.dir && strings.EqualFold(e.name, folder) })
		if i < 0 || len(path) > maxDepth {
			return nil, fmt.Errorf("reading %s: %w", name, fs.ErrNotExist)
		}
		var err error
		if at, err = v.list(at[i]); err != nil {
			return nil, fmt.Errorf("reading %s: %w", name, err)
		}
	}
	for _, e := range at {
		if e.dir || !strings.EqualFold(e.name, path[len(path)-1]) {
			continue
		}
		if e.size > limit {
			return nil, fmt.Errorf("reading %s: %d bytes are more than the %d allowed", name, e.size, limit)
		}
		data := make([]byte, e.size)
		if err := v.read(e, data); err != nil {
			return nil, fmt.Errorf("reading %s: %w", name, err)
		}
		return data, nil
	}
	return nil, fmt.Errorf("reading %s: %w", name, fs.ErrNotExist)
}

// readAt fills buf from r at off, treating a short device as damage.
func readAt(r io.ReaderAt, buf []byte, off, size int64) error {
	if off < 0 || off+int64(len(buf)) > size {
		return fmt.Errorf("bytes %d to %d lie outside the device of %d", off, off+int64(len(buf)), size)
	}
	if n, err := r.ReadAt(buf, off); n < len(buf) {
		if err == nil || err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return err
	}
	return nil
}
