package formats

import (
	"bytes"
	"compress/zlib"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io"
)

// Constants of a stream-optimized extent (Virtual Disk Format 1.1, "Hosted
// Sparse Extents" and "Stream-Optimized Compressed Sparse Extents"). Numbers
// are little-endian, places are in sectors.
const (
	vmdkMagic    = 0x564d444b // "KDMV" as it lies on the disk
	vmdkVersion  = 3
	vmdkFlags    = 1 | 1<<16 | 1<<17 // line ends can be tested, grains are compressed, there are markers
	vmdkGrain    = Block / sector
	vmdkEntries  = 512 // of a grain table
	vmdkOverhead = 128 // header, descriptor, and nothing up to the first grain
	vmdkDeflate  = 1
	vmdkAtEnd    = ^uint64(0) // the grain directory's place is in the footer

	descriptorAt, descriptorSectors = 1, 20
)

// The kinds of marker.
const (
	markEnd = iota
	markTable
	markDirectory
	markFooter
)

// vmdk is a VMDK being written.
type vmdk struct {
	counter
	capacity  uint64 // sectors
	table     []uint32
	directory []uint32
	grain     bytes.Buffer
}

// WriteVMDK writes a stream-optimized VMDK, the kind that goes into an OVA.
func WriteVMDK(ctx context.Context, w io.Writer, img Image, p Progress) error {
	if err := img.check(sector, "a VMDK"); err != nil {
		return err
	}
	v := &vmdk{counter: counter{w: w}, capacity: uint64(img.Size) / sector}
	if err := v.write(ctx, img, p); err != nil {
		return fmt.Errorf("writing VMDK: %w", err)
	}
	return nil
}

func (v *vmdk) write(ctx context.Context, img Image, p Progress) error {
	if err := v.begin(img); err != nil {
		return err
	}
	err := img.each(ctx, p, func(at int64, data []byte) error {
		place := uint32(0) // of a grain of zeros
		if data != nil {
			place = uint32(v.n / sector)
			if err := v.putGrain(uint64(at)/sector, data); err != nil {
				return err
			}
		}
		if v.table = append(v.table, place); len(v.table) == vmdkEntries {
			return v.endTable()
		}
		return nil
	})
	if err == nil && len(v.table) > 0 {
		err = v.endTable()
	}
	if err != nil {
		return err
	}
	return v.end()
}

// begin writes header and descriptor.
func (v *vmdk) begin(img Image) error {
	if _, err := v.Write(v.header(vmdkAtEnd)); err != nil {
		return err
	}
	if _, err := io.WriteString(v, descriptor(img)); err != nil {
		return err
	}
	return v.pad(vmdkOverhead * sector)
}

func (v *vmdk) header(directory uint64) []byte {
	h := make([]byte, sector)
	le := binary.LittleEndian
	le.PutUint32(h, vmdkMagic)
	le.PutUint32(h[4:], vmdkVersion)
	le.PutUint32(h[8:], vmdkFlags)
	le.PutUint64(h[12:], v.capacity)
	le.PutUint64(h[20:], vmdkGrain)
	le.PutUint64(h[28:], descriptorAt)
	le.PutUint64(h[36:], descriptorSectors)
	le.PutUint32(h[44:], vmdkEntries)
	le.PutUint64(h[56:], directory)
	le.PutUint64(h[64:], vmdkOverhead)
	copy(h[73:], "\n \r\n") // tells a transfer that changed line ends
	le.PutUint16(h[77:], vmdkDeflate)
	return h
}

// descriptor is the text part.
func descriptor(img Image) string {
	id := sha256.Sum256([]byte("ringfence vmdk " + img.Name + " " + img.Version))
	cylinders := min(img.Size/sector/(255*63), 65535)
	return fmt.Sprintf(`# Disk DescriptorFile
version=1
CID=%08x
parentCID=ffffffff
createType="streamOptimized"

# Extent description
RW %d SPARSE "%s.vmdk"

# The Disk Data Base
#DDB

ddb.virtualHWVersion = "13"
ddb.geometry.cylinders = "%d"
ddb.geometry.heads = "255"
ddb.geometry.sectors = "63"
ddb.adapterType = "lsilogic"
`, binary.BigEndian.Uint32(id[:])&0x7fffffff, img.Size/sector, img.Name, cylinders)
}

// putGrain writes a compressed grain behind the sector where it belongs.
func (v *vmdk) putGrain(lba uint64, data []byte) error {
	v.grain.Reset()
	z, err := zlib.NewWriterLevel(&v.grain, zlib.BestCompression)
	if err != nil {
		return err
	}
	if len(data) < Block { // the disk ends within a grain
		data = append(bytes.Clone(data), make([]byte, Block-len(data))...)
	}
	if _, err := z.Write(data); err != nil {
		return err
	}
	if err := z.Close(); err != nil {
		return err
	}
	var head [12]byte
	binary.LittleEndian.PutUint64(head[:], lba)
	binary.LittleEndian.PutUint32(head[8:], uint32(v.grain.Len()))
	if _, err := v.Write(head[:]); err != nil {
		return err
	}
	if _, err := v.Write(v.grain.Bytes()); err != nil {
		return err
	}
	return v.pad(sector)
}

// endTable writes the grain table of the grains before it; one without grains
// is left out.
func (v *vmdk) endTable() error {
	place, used := uint32(0), false
	for _, g := range v.table {
		used = used || g != 0
	}
	if used {
		full := make([]uint32, vmdkEntries)
		copy(full, v.table)
		var err error
		if place, err = v.metadata(markTable, full); err != nil {
			return err
		}
	}
	v.directory, v.table = append(v.directory, place), v.table[:0]
	return nil
}

// metadata writes a marker and the numbers behind it, and returns the place of
// the latter.
func (v *vmdk) metadata(kind uint32, numbers []uint32) (uint32, error) {
	sectors := (len(numbers)*4 + sector - 1) / sector
	if err := v.mark(uint64(sectors), kind); err != nil {
		return 0, err
	}
	place := uint32(v.n / sector)
	data := make([]byte, sectors*sector)
	for i, n := range numbers {
		binary.LittleEndian.PutUint32(data[4*i:], n)
	}
	_, err := v.Write(data)
	return place, err
}

func (v *vmdk) mark(sectors uint64, kind uint32) error {
	m := make([]byte, sector)
	binary.LittleEndian.PutUint64(m, sectors)
	binary.LittleEndian.PutUint32(m[12:], kind)
	_, err := v.Write(m)
	return err
}

// end writes the grain directory, the footer, which says where that is, and
// the end of the stream.
func (v *vmdk) end() error {
	place, err := v.metadata(markDirectory, v.directory)
	if err != nil {
		return err
	}
	if err := v.mark(1, markFooter); err != nil {
		return err
	}
	if _, err := v.Write(v.header(uint64(place))); err != nil {
		return err
	}
	return v.mark(0, markEnd)
}
