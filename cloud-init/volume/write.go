package volume

import (
	"encoding/binary"
	"fmt"
	"io"
	"strings"
	"unicode/utf16"
)

// File is one file for WriteISO.
type File struct {
	Name string // root directory; letters, digits, '-', '.', '_'; at most 64
	Data []byte
}

// Where WriteISO puts things, in blocks.
const (
	isoPrimaryAt = iota + isoFirstDescr
	isoJolietAt
	isoEndAt
	isoPathLAt
	isoPathMAt
	isoJolietPathLAt
	isoJolietPathMAt
	isoRootAt
	isoJolietRootAt
	isoFilesAt
)

// WriteISO writes an ISO 9660 file system with Joliet names that holds files
// in its root directory. Equal input gives equal bytes: all dates are zero.
func WriteISO(w io.Writer, label string, files []File) error {
	if len(label) > 16 {
		return fmt.Errorf("writing ISO 9660: label %q is longer than Joliet's 16", label)
	}
	plain, joliet := newDirectory(isoRootAt), newDirectory(isoJolietRootAt)
	block := uint32(isoFilesAt)
	for i, f := range files {
		if f.Name == "" || len(f.Name) > 64 || strings.ContainsAny(f.Name, "/\\;:*?") {
			return fmt.Errorf("writing ISO 9660: file name %q is not usable", f.Name)
		}
		size := uint32(len(f.Data))
		// Plain names only have to be distinct: readers use Joliet's.
		plain.add([]byte(fmt.Sprintf("FILE%04d.;1", i)), block, size, 0)
		joliet.add(ucs2(f.Name), block, size, 0)
		block += (size + isoBlock - 1) / isoBlock
	}
	if len(plain.data) > isoBlock || len(joliet.data) > isoBlock {
		return fmt.Errorf("writing ISO 9660: %d files do not fit one directory block", len(files))
	}
	out := make([]byte, int(block)*isoBlock)
	at := func(n int) []byte { return out[n*isoBlock : (n+1)*isoBlock] }
	descriptor(at(isoPrimaryAt), isoTypePrimary, label, block, isoPathLAt, isoPathMAt, isoRootAt)
	descriptor(at(isoJolietAt), isoTypeSupplement, label, block, isoJolietPathLAt, isoJolietPathMAt, isoJolietRootAt)
	end := at(isoEndAt)
	end[0], end[6] = isoTypeEnd, 1
	copy(end[1:], "CD001")
	pathTable(at(isoPathLAt), binary.LittleEndian, isoRootAt)
	pathTable(at(isoPathMAt), binary.BigEndian, isoRootAt)
	pathTable(at(isoJolietPathLAt), binary.LittleEndian, isoJolietRootAt)
	pathTable(at(isoJolietPathMAt), binary.BigEndian, isoJolietRootAt)
	copy(at(isoRootAt), plain.data)
	copy(at(isoJolietRootAt), joliet.data)
	next := isoFilesAt
	for _, f := range files {
		copy(out[next*isoBlock:], f.Data)
		next += (len(f.Data) + isoBlock - 1) / isoBlock
	}
	_, err := w.Write(out)
	return err
}

type directory struct{ data []byte }

// newDirectory begins with "." and "..", both the root itself.
func newDirectory(block uint32) *directory {
	d := &directory{}
	d.add([]byte{0}, block, isoBlock, isoFlagDirectory)
	d.add([]byte{1}, block, isoBlock, isoFlagDirectory)
	return d
}

func (d *directory) add(id []byte, block, size uint32, flags byte) {
	d.data = append(d.data, directoryRecord(id, block, size, flags)...)
}

// directoryRecord is ECMA-119 section 9.1.
func directoryRecord(id []byte, block, size uint32, flags byte) []byte {
	n := 33 + len(id)
	n += n % 2
	r := make([]byte, n)
	r[0] = byte(n)
	both32(r[2:], block)
	both32(r[10:], size)
	r[25] = flags
	both16(r[28:], 1)
	r[32] = byte(len(id))
	copy(r[33:], id)
	return r
}

// descriptor is ECMA-119 sections 8.4 and 8.5.
func descriptor(d []byte, kind byte, label string, blocks uint32, pathL, pathM, root uint32) {
	text := func(s string) []byte { return []byte(s) }
	fill := func(from, to int) {
		for i := from; i < to; i++ {
			d[i] = ' '
		}
	}
	fill(8, 72)
	fill(190, 813)
	if kind == isoTypeSupplement {
		text = ucs2
		copy(d[88:], "%/E")
		for i := 8; i < 72; i += 2 {
			d[i], d[i+1] = 0, ' '
		}
		for i := 190; i < 812; i += 2 {
			d[i], d[i+1] = 0, ' '
		}
	}
	d[0], d[6] = kind, 1
	copy(d[1:], "CD001")
	copy(d[40:72], text(label))
	both32(d[80:], blocks)
	both16(d[120:], 1)
	both16(d[124:], 1)
	both16(d[128:], isoBlock)
	both32(d[132:], 10) // path table: one record
	binary.LittleEndian.PutUint32(d[140:], pathL)
	binary.BigEndian.PutUint32(d[148:], pathM)
	copy(d[156:], directoryRecord([]byte{0}, root, isoBlock, isoFlagDirectory))
	for _, date := range [...]int{813, 830, 847, 864} { // "not specified" is sixteen zeros
		copy(d[date:], "0000000000000000")
	}
	d[881] = 1
}

// pathTable is ECMA-119 section 9.4: the root alone.
func pathTable(t []byte, order binary.ByteOrder, root uint32) {
	t[0] = 1
	order.PutUint32(t[2:], root)
	order.PutUint16(t[6:], 1)
}

func both16(b []byte, v uint16) {
	binary.LittleEndian.PutUint16(b, v)
	binary.BigEndian.PutUint16(b[2:], v)
}

func both32(b []byte, v uint32) {
	binary.LittleEndian.PutUint32(b, v)
	binary.BigEndian.PutUint32(b[4:], v)
}

func ucs2(s string) []byte {
	var out []byte
	for _, c := range utf16.Encode([]rune(s)) {
		out = binary.BigEndian.AppendUint16(out, c)
	}
	return out
}
