package formats

import (
	"compress/gzip"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
)

// gceMember is the only name that Compute Engine takes.
const gceMember = "disk.raw"

// A header of the old GNU tar format (GNU tar manual, "Basic Tar Format" and
// "Storing Sparse Files"): the places of what a plain ustar header has not.
const (
	tarSparse       = 386 // four pairs of offset and length
	tarExtended     = 482 // 1: a header of more pairs follows
	tarRealSize     = 483
	tarMoreSparse   = 21 // pairs in a header that follows
	tarMoreExtended = 504
)

// extent is a part of the image that is not a hole.
type extent struct{ at, length int64 }

// WriteGCE packs the image as Compute Engine imports it: a gzip-compressed tar
// of the old GNU format that holds disk.raw with its holes; whole GiB.
func WriteGCE(ctx context.Context, w io.Writer, img Image, p Progress) error {
	if err := img.check(1<<30, "Compute Engine"); err != nil {
		return err
	}
	list, err := img.extents(ctx)
	if err != nil {
		return fmt.Errorf("packing the image: %w", err)
	}
	z, err := gzip.NewWriterLevel(w, gzip.BestCompression)
	if err != nil {
		return err
	}
	out := &counter{w: z}
	if _, err := out.Write(sparseHeader(img, list)); err != nil {
		return fmt.Errorf("packing the image: %w", err)
	}
	// The pairs are those blocks that are not zeros, so this writes just them.
	err = img.each(ctx, p, func(_ int64, data []byte) error {
		_, err := out.Write(data)
		return err
	})
	if err == nil {
		err = out.pad(sector)
	}
	if err == nil { // two sectors end an archive; tar fills a record of twenty
		_, err = out.Write(make([]byte, 2*sector))
	}
	if err == nil {
		err = out.pad(20 * sector)
	}
	if err := errors.Join(err, z.Close()); err != nil {
		return fmt.Errorf("packing the image: %w", err)
	}
	return nil
}

// extents lists what is not zeros; blocks that adjoin are one.
func (img Image) extents(ctx context.Context) (list []extent, err error) {
	err = img.each(ctx, nil, func(at int64, data []byte) error {
		if data == nil {
			return nil
		}
		if n := len(list); n > 0 && list[n-1].at+list[n-1].length == at {
			list[n-1].length += int64(len(data))
			return nil
		}
		list = append(list, extent{at, int64(len(data))})
		return nil
	})
	return list, err
}

// sparseHeader is everything before the data.
func sparseHeader(img Image, list []extent) []byte {
	var stored int64
	for _, e := range list {
		stored += e.length
	}
	if n := len(list); n == 0 || list[n-1].at+list[n-1].length < img.Size {
		list = append(list, extent{img.Size, 0}) // as GNU tar does for a hole at the end
	}
	h := make([]byte, sector)
	copy(h, gceMember)
	number(h[100:108], 0o644)
	number(h[108:116], 0)
	number(h[116:124], 0)
	number(h[124:136], stored)
	number(h[136:148], img.Time.Unix())
	h[156] = 'S'
	copy(h[257:], "ustar  \x00")
	copy(h[265:], "root")
	copy(h[297:], "root")
	list = pairs(h[tarSparse:], list, 4)
	if len(list) > 0 {
		h[tarExtended] = 1
	}
	number(h[tarRealSize:tarRealSize+12], img.Size)
	copy(h[148:], strings.Repeat(" ", 8))
	sum := int64(0)
	for _, b := range h {
		sum += int64(b)
	}
	copy(h[148:], fmt.Sprintf("%06o\x00 ", sum))
	for len(list) > 0 {
		more := make([]byte, sector)
		if list = pairs(more, list, tarMoreSparse); len(list) > 0 {
			more[tarMoreExtended] = 1
		}
		h = append(h, more...)
	}
	return h
}

// pairs writes up to room extents and returns the rest.
func pairs(to []byte, list []extent, room int) []extent {
	n := min(room, len(list))
	for i, e := range list[:n] {
		number(to[24*i:24*i+12], e.at)
		number(to[24*i+12:24*i+24], e.length)
	}
	return list[n:]
}

// number writes octal digits and a NUL, or, where these do not suffice, GNU's
// base 256.
func number(field []byte, n int64) {
	if digits := fmt.Sprintf("%0*o", len(field)-1, n); len(digits) < len(field) {
		copy(field, digits)
		return
	}
	binary.BigEndian.PutUint64(field[len(field)-8:], uint64(n))
	field[0] = 0x80
}
