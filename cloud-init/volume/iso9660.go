package volume

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf16"
)

// Numbers of ECMA-119 (ISO 9660).
const (
	isoBlock          = 2048
	isoFirstDescr     = 16 // section 6.2.1: the data area begins at sector 16
	isoMaxDescr       = 32
	isoMaxDirectory   = 256 << 10
	isoTypePrimary    = 1
	isoTypeSupplement = 2
	isoTypeEnd        = 255
	isoFlagDirectory  = 0x02
	isoFlagMultipart  = 0x80
)

// openISO finds the primary descriptor and, when there, Joliet's, and reads
// both root directories: Rock Ridge names of the first win over Joliet's,
// which win over plain ones.
func openISO(r io.ReaderAt, size int64) (*Volume, error) {
	v := &Volume{Kind: "iso9660"}
	v.read = func(e entry, buf []byte) error {
		return readAt(r, buf, int64(e.start)*isoBlock, size)
	}
	var primary, joliet []byte
	for i := range int64(isoMaxDescr) {
		d := make([]byte, isoBlock)
		err := readAt(r, d, (isoFirstDescr+i)*isoBlock, size)
		if err != nil || string(d[1:6]) != "CD001" {
			if i == 0 {
				return nil, ErrUnknown
			}
			break
		}
		switch {
		case d[0] == isoTypePrimary && primary == nil:
			primary = d
		case d[0] == isoTypeSupplement && isJoliet(d):
			joliet = d
		}
		if d[0] == isoTypeEnd {
			break
		}
	}
	if primary == nil {
		return nil, errors.New("opening ISO 9660: no primary volume descriptor")
	}
	if bs := binary.LittleEndian.Uint16(primary[128:]); bs != isoBlock {
		return nil, fmt.Errorf("opening ISO 9660: blocks of %d bytes are not supported", bs)
	}
	v.Label = strings.TrimRight(string(primary[40:72]), " \x00")
	name := plainName
	root, rockRidge, err := isoDirectory(r, size, isoRoot(primary), name)
	if err != nil {
		return nil, fmt.Errorf("opening ISO 9660: %w", err)
	}
	v.root = root
	if joliet != nil && !rockRidge {
		if root, _, err := isoDirectory(r, size, isoRoot(joliet), jolietName); err == nil {
			v.root, name = root, jolietName
		}
	}
	v.list = func(e entry) ([]entry, error) {
		list, _, err := isoDirectory(r, size, e, name)
		return list, err
	}
	return v, nil
}

// isoRoot is the root directory a descriptor points to (ECMA-119 section
// 8.4.18).
func isoRoot(descriptor []byte) entry { return isoEntry(descriptor[156:190]) }

// isoEntry reads place and size of a directory record (ECMA-119 section 9.1).
func isoEntry(rec []byte) entry {
	return entry{
		start: binary.LittleEndian.Uint32(rec[2:]),
		size:  int64(binary.LittleEndian.Uint32(rec[10:])),
		dir:   rec[25]&isoFlagDirectory != 0,
	}
}

// isJoliet reports the escape sequences of UCS-2 levels 1 to 3.
func isJoliet(d []byte) bool {
	switch string(d[88:91]) {
	case "%/@", "%/C", "%/E":
		return true
	}
	return false
}

// isoDirectory reads a directory (ECMA-119 section 9.1) and tells whether it
// carries Rock Ridge names.
func isoDirectory(r io.ReaderAt, size int64, at entry, name func([]byte) string) (files []entry, rockRidge bool, err error) {
	if at.size > isoMaxDirectory {
		return nil, false, fmt.Errorf("directory of %d bytes", at.size)
	}
	dir := make([]byte, at.size)
	if err := readAt(r, dir, int64(at.start)*isoBlock, size); err != nil {
		return nil, false, fmt.Errorf("reading directory: %w", err)
	}
	for off := 0; off < len(dir) && len(files) < maxEntries; {
		n := int(dir[off])
		if n == 0 { // records do not cross blocks: the rest of this one is padding
			off = (off/isoBlock + 1) * isoBlock
			continue
		}
		if n < 34 || off+n > len(dir) || 33+int(dir[off+32]) > n {
			return nil, false, fmt.Errorf("damaged directory record at byte %d", off)
		}
		rec := dir[off : off+n]
		off += n
		id := rec[33 : 33+int(rec[32])]
		if rec[25]&isoFlagMultipart != 0 || len(id) == 1 && id[0] <= 1 { // the directory itself and the one above
			continue
		}
		e := isoEntry(rec)
		e.name = name(id)
		if nm := rockRidgeName(rec, len(id)); nm != "" {
			e.name, rockRidge = nm, true
		}
		files = append(files, e)
	}
	return files, rockRidge, nil
}

// rockRidgeName joins the NM entries of a record's system use area.
func rockRidgeName(rec []byte, idLen int) string {
	su := rec[33+idLen:]
	if idLen%2 == 0 { // a padding byte keeps the area even (ECMA-119 9.1.12)
		su = su[min(1, len(su)):]
	}
	var name strings.Builder
	for len(su) >= 4 {
		n := int(su[2])
		if n < 4 || n > len(su) {
			break
		}
		if su[0] == 'N' && su[1] == 'M' && n > 5 {
			name.Write(su[5:n])
		}
		su = su[n:]
	}
	return name.String()
}

func plainName(id []byte) string { return trimVersion(string(id)) }

func jolietName(id []byte) string {
	units := make([]uint16, len(id)/2)
	for i := range units {
		units[i] = binary.BigEndian.Uint16(id[2*i:])
	}
	return trimVersion(string(utf16.Decode(units)))
}

// trimVersion drops ";1" and the dot of a name without extension.
func trimVersion(name string) string {
	name, _, _ = strings.Cut(name, ";")
	return strings.TrimSuffix(name, ".")
}
