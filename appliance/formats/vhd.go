package formats

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io"
	"time"
)

// Constants of the footer (Virtual Hard Disk Image Format Specification,
// version 1.0, "Hard Disk Footer Format"). Everything is big-endian.
const (
	vhdFooter   = 512
	vhdFeatures = 2 // the reserved bit, always set
	vhdVersion  = 1 << 16
	vhdFixed    = 2
	vhdChecksum = 64 // where it stands
)

// WriteVHD writes a fixed VHD: the image, then the footer. Azure takes no
// other kind, and no size but whole MiB.
func WriteVHD(ctx context.Context, w io.WriterAt, img Image, p Progress) error {
	if err := img.check(1<<20, "a fixed VHD"); err != nil {
		return err
	}
	err := img.each(ctx, p, func(at int64, data []byte) error {
		if data == nil { // stays a hole
			return nil
		}
		_, err := w.WriteAt(data, at)
		return err
	})
	if err != nil {
		return fmt.Errorf("writing VHD: %w", err)
	}
	if _, err := w.WriteAt(Footer(img), img.Size); err != nil {
		return fmt.Errorf("writing VHD: %w", err)
	}
	return nil
}

// Footer is the last 512 bytes of a fixed VHD.
func Footer(img Image) []byte {
	f := make([]byte, vhdFooter)
	be := binary.BigEndian
	copy(f, "conectix")
	be.PutUint32(f[8:], vhdFeatures)
	be.PutUint32(f[12:], vhdVersion)
	be.PutUint64(f[16:], ^uint64(0)) // no dynamic header
	be.PutUint32(f[24:], vhdTime(img.Time))
	// Readers take the size from the geometry, which rounds, unless the creator
	// is one that they know to be exact: Hyper-V is to all of them.
	copy(f[28:], "win ")
	be.PutUint32(f[32:], 6<<16|1)
	copy(f[36:], "Wi2k")
	be.PutUint64(f[40:], uint64(img.Size)) // original size
	be.PutUint64(f[48:], uint64(img.Size)) // current size
	c, h, s := Geometry(img.Size)
	be.PutUint16(f[56:], c)
	f[58], f[59] = h, s
	be.PutUint32(f[60:], vhdFixed)
	id := sha256.Sum256([]byte("ringfence vhd " + img.Name + " " + img.Version))
	copy(f[68:84], id[:])
	be.PutUint32(f[vhdChecksum:], Checksum(f))
	return f
}

// Checksum is the ones' complement of the sum of all bytes of a footer but
// those of the checksum itself.
func Checksum(footer []byte) (sum uint32) {
	for i, b := range footer {
		if i < vhdChecksum || i >= vhdChecksum+4 {
			sum += uint32(b)
		}
	}
	return ^sum
}

// vhdTime counts seconds since 2000.
func vhdTime(t time.Time) uint32 {
	return uint32(max(0, t.Unix()-time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC).Unix()))
}

// Geometry is the cylinders, heads and sectors of a disk of size bytes, by the
// specification's own calculation ("Appendix: CHS Calculation").
func Geometry(size int64) (cylinders uint16, heads, perTrack uint8) {
	const most = 65535 * 16 * 255
	total := min(uint64(size)/sector, most)
	var spt, h, tracks uint64
	if total >= 65535*16*63 {
		spt, h = 255, 16
		tracks = total / spt
	} else {
		spt = 17
		tracks = total / spt
		h = max(4, (tracks+1023)/1024)
		if tracks >= h*1024 || h > 16 {
			spt, h = 31, 16
			tracks = total / spt
		}
		if tracks >= h*1024 {
			spt, h = 63, 16
			tracks = total / spt
		}
	}
	return uint16(tracks / h), uint8(h), uint8(spt)
}
