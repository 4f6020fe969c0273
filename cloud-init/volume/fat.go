package volume

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/bits"
	"strings"
	"unicode/utf16"
)

// Attributes of a FAT directory entry.
const (
	fatReadOnlyHiddenSystemLabel = 0x0f // all four together: part of a long name
	fatLabel                     = 0x08
	fatDirectory                 = 0x10
)

const fatEntry = 32

// fat is the geometry of a FAT12, FAT16 or FAT32 file system.
type fat struct {
	r       io.ReaderAt
	size    int64
	bits    int   // 12, 16 or 32
	cluster int64 // bytes
	table   int64 // byte offset of the first FAT
	fixed   int64 // byte offset of the fixed root directory (FAT12, FAT16)
	rootLen int64 // its bytes
	data    int64 // byte offset of cluster 2
	count   uint32
	root    uint32 // first cluster of the root directory (FAT32)
	label   string // of the boot sector
}

func openFAT(r io.ReaderAt, size int64) (*Volume, error) {
	boot := make([]byte, 512)
	if err := readAt(r, boot, 0, size); err != nil {
		return nil, ErrUnknown
	}
	f, ok := parseBoot(boot)
	if !ok {
		return nil, ErrUnknown
	}
	f.r, f.size = r, size
	dir, err := f.rootDirectory()
	if err != nil {
		return nil, fmt.Errorf("opening FAT: reading root directory: %w", err)
	}
	v := &Volume{Kind: "vfat", Label: f.label, read: f.readFile}
	label := ""
	v.root, label = parseDirectory(dir)
	v.list = func(e entry) ([]entry, error) {
		dir, err := f.directory(e.start)
		list, _ := parseDirectory(dir)
		return list, err
	}
	if label != "" {
		v.Label = label
	}
	return v, nil
}

// parseBoot reads the BIOS parameter block. It refuses what no formatter
// writes, because a boot sector of another kind may look alike.
func parseBoot(b []byte) (*fat, bool) {
	le := binary.LittleEndian
	if (b[0] != 0xeb && b[0] != 0xe9) || b[510] != 0x55 || b[511] != 0xaa {
		return nil, false
	}
	sector, perCluster := int64(le.Uint16(b[11:])), int64(b[13])
	reserved, fats := int64(le.Uint16(b[14:])), int64(b[16])
	rootEntries := int64(le.Uint16(b[17:]))
	if sector < 512 || sector > 4096 || bits.OnesCount16(uint16(sector)) != 1 ||
		bits.OnesCount8(uint8(perCluster)) != 1 || reserved == 0 || fats == 0 || fats > 2 {
		return nil, false
	}
	total, fatLen := int64(le.Uint16(b[19:])), int64(le.Uint16(b[22:]))
	if total == 0 {
		total = int64(le.Uint32(b[32:]))
	}
	f := &fat{cluster: sector * perCluster, table: reserved * sector}
	labelAt := 43
	if fatLen == 0 { // FAT32 keeps the length elsewhere and has no fixed root
		fatLen = int64(le.Uint32(b[36:]))
		f.root = le.Uint32(b[44:])
		labelAt = 71
		if rootEntries != 0 || f.root < 2 {
			return nil, false
		}
	}
	rootSectors := (rootEntries*fatEntry + sector - 1) / sector
	dataSector := reserved + fats*fatLen + rootSectors
	if fatLen == 0 || total <= dataSector {
		return nil, false
	}
	f.fixed, f.rootLen = (reserved+fats*fatLen)*sector, rootEntries*fatEntry
	f.data = dataSector * sector
	f.count = uint32((total - dataSector) / perCluster)
	switch { // the number of clusters alone decides the width
	case f.root != 0:
		f.bits = 32
	case f.count < 4085:
		f.bits = 12
	default:
		f.bits = 16
	}
	if f.label = strings.TrimRight(string(b[labelAt:labelAt+11]), " \x00"); f.label == "NO NAME" {
		f.label = ""
	}
	return f, true
}

func (f *fat) rootDirectory() ([]byte, error) {
	if f.bits != 32 {
		dir := make([]byte, min(f.rootLen, maxEntries*fatEntry))
		return dir, readAt(f.r, dir, f.fixed, f.size)
	}
	return f.directory(f.root)
}

// directory reads one from its first cluster on, as far as entries count.
func (f *fat) directory(c uint32) ([]byte, error) {
	var dir []byte
	for {
		block := make([]byte, f.cluster)
		if err := f.readCluster(c, block); err != nil {
			return nil, err
		}
		dir = append(dir, block...)
		next, err := f.next(c)
		if err != nil || next == 0 || len(dir) >= maxEntries*fatEntry {
			return dir, err
		}
		c = next
	}
}

// readFile follows the chain for exactly the bytes of buf, so that a chain
// running in a circle ends with the file.
func (f *fat) readFile(e entry, buf []byte) error {
	for c := e.start; len(buf) > 0; {
		n := min(int64(len(buf)), f.cluster)
		if err := f.readCluster(c, buf[:n]); err != nil {
			return err
		}
		if buf = buf[n:]; len(buf) == 0 {
			break
		}
		next, err := f.next(c)
		if err != nil {
			return err
		}
		if next == 0 {
			return errors.New("cluster chain ends before the file does")
		}
		c = next
	}
	return nil
}

func (f *fat) readCluster(c uint32, buf []byte) error {
	if c < 2 || c-2 >= f.count {
		return fmt.Errorf("cluster %d is outside the volume", c)
	}
	return readAt(f.r, buf, f.data+int64(c-2)*f.cluster, f.size)
}

// next returns the cluster after c, or 0 at the end of the chain.
func (f *fat) next(c uint32) (uint32, error) {
	var buf [4]byte
	var n uint32
	var err error
	le := binary.LittleEndian
	switch f.bits {
	case 12: // one and a half bytes each
		err = readAt(f.r, buf[:2], f.table+int64(c)+int64(c/2), f.size)
		n = uint32(le.Uint16(buf[:])) >> (4 * (c & 1)) & 0xfff
		n |= 0x0ffff000 * b2u(n >= 0xff8)
	case 16:
		err = readAt(f.r, buf[:2], f.table+2*int64(c), f.size)
		n = uint32(le.Uint16(buf[:]))
		n |= 0x0fff0000 * b2u(n >= 0xfff8)
	default:
		err = readAt(f.r, buf[:], f.table+4*int64(c), f.size)
		n = le.Uint32(buf[:]) & 0x0fffffff
	}
	if n >= 0x0ffffff8 {
		n = 0
	} else if err == nil && n < 2 {
		err = fmt.Errorf("cluster chain runs into free cluster after %d", c)
	}
	return n, err
}

func b2u(b bool) uint32 {
	if b {
		return 1
	}
	return 0
}

// parseDirectory returns the files, with their long names, and the label.
func parseDirectory(dir []byte) (files []entry, label string) {
	var long []uint16
	for ; len(dir) >= fatEntry && len(files) < maxEntries; dir = dir[fatEntry:] {
		d := dir[:fatEntry]
		attr := d[11] & 0x3f
		switch {
		case d[0] == 0:
			return files, label
		case d[0] == 0xe5: // deleted
			long = nil
		case attr == fatReadOnlyHiddenSystemLabel:
			long = longPart(d, long)
		case attr&fatLabel != 0:
			label, long = strings.TrimRight(string(d[:11]), " "), nil
		case d[0] == '.': // the directory itself and the one above
			long = nil
		default:
			e := entry{
				name:  shortName(d),
				dir:   attr&fatDirectory != 0,
				size:  int64(binary.LittleEndian.Uint32(d[28:])),
				start: uint32(binary.LittleEndian.Uint16(d[20:]))<<16 | uint32(binary.LittleEndian.Uint16(d[26:])),
			}
			if len(long) > 0 {
				e.name = string(utf16.Decode(long))
			}
			files, long = append(files, e), nil
		}
	}
	return files, label
}

// longPart puts the 13 characters of one long-name entry before those already
// seen: the parts stand in reverse order.
func longPart(d []byte, rest []uint16) []uint16 {
	if d[0]&0x40 != 0 { // the last part comes first and starts a name
		rest = nil
	}
	var part []uint16
	for _, at := range [...]int{1, 3, 5, 7, 9, 14, 16, 18, 20, 22, 24, 28, 30} {
		c := binary.LittleEndian.Uint16(d[at:])
		if c == 0 || c == 0xffff {
			break
		}
		part = append(part, c)
	}
	if len(part)+len(rest) > 255 {
		return nil
	}
	return append(part, rest...)
}

func shortName(d []byte) string {
	name := strings.TrimRight(string(d[:8]), " ")
	if ext := strings.TrimRight(string(d[8:11]), " "); ext != "" {
		name += "." + ext
	}
	return name
}
