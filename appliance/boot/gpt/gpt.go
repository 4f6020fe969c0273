// Package gpt reads the partition table of the appliance's disk and changes it
// so that a power cut at any instant leaves a valid one (UEFI 2.10 section 5.3).
package gpt

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"strings"
	"unicode/utf16"
)

// Sector is the size of a logical block, in bytes: the only one the image is
// made for.
const Sector = 512

const (
	signature    = "EFI PART"
	revision     = 0x00010000
	headerSize   = 92
	entrySize    = 128
	entryCount   = 128
	arraySectors = entryCount * entrySize / Sector
	alignment    = 2048 // sectors; 1 MiB
)

// ErrNoTable says that the disk has no valid partition table.
var ErrNoTable = errors.New("no valid GPT")

// GUID is an identifier in its binary form, whose first three groups are
// little endian.
type GUID [16]byte

// NewGUID returns a random GUID (RFC 9562 section 5.4).
func NewGUID() GUID {
	var g GUID
	_, _ = rand.Read(g[:]) // never fails
	g[7] = g[7]&0x0f | 0x40
	g[8] = g[8]&0x3f | 0x80
	return g
}

// ParseGUID reads the text form.
func ParseGUID(s string) (GUID, error) {
	var g GUID
	b, err := hex.DecodeString(strings.ReplaceAll(s, "-", ""))
	if err != nil || len(b) != 16 || len(s) != 36 {
		return g, fmt.Errorf("%q is not a GUID", s)
	}
	copy(g[:], b)
	return g.swapped(), nil
}

// swapped turns the groups of different byte order around.
func (g GUID) swapped() GUID {
	g[0], g[1], g[2], g[3] = g[3], g[2], g[1], g[0]
	g[4], g[5] = g[5], g[4]
	g[6], g[7] = g[7], g[6]
	return g
}

// String is the text form, lower case as the kernel's PARTUUID.
func (g GUID) String() string {
	b := g.swapped()
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// MarshalText and UnmarshalText make GUIDs text in JSON.
func (g GUID) MarshalText() ([]byte, error) { return []byte(g.String()), nil }

// UnmarshalText reads the text form.
func (g *GUID) UnmarshalText(text []byte) (err error) {
	*g, err = ParseGUID(string(text))
	return err
}

// Partition is one used entry of the table.
type Partition struct {
	Number      int // from 1
	Type, GUID  GUID
	First, Last uint64 // sectors, inclusive
	Attributes  uint64
	Name        string
}

// Start and Size are in bytes.
func (p Partition) Start() int64 { return int64(p.First) * Sector }

// Size is the partition's length in bytes.
func (p Partition) Size() int64 { return int64(p.Last-p.First+1) * Sector }

// Table is a disk's partition table.
type Table struct {
	DiskGUID   GUID
	Partitions []Partition // in order of their number

	entriesAt   uint64 // sector of the array the primary header points to
	alternate   uint64 // sector of the backup header
	firstUsable uint64
	lastUsable  uint64
	backupOnly  bool // read from the backup: the primary is broken
}

// Read reads the table of a disk of size bytes: the primary, or the backup at
// the end when the primary is not valid.
func Read(r io.ReaderAt, size int64) (*Table, error) {
	sectors := uint64(size / Sector)
	t, err := readHeader(r, 1, sectors)
	if err == nil {
		return t, nil
	}
	t, berr := readHeader(r, sectors-1, sectors)
	if berr != nil {
		return nil, fmt.Errorf("reading partition table: %w: primary: %w, backup: %w", ErrNoTable, err, berr)
	}
	t.backupOnly = true
	t.entriesAt = 0
	return t, nil
}

func readHeader(r io.ReaderAt, at, sectors uint64) (*Table, error) {
	if sectors < 3*arraySectors {
		return nil, errors.New("disk too small")
	}
	h := make([]byte, Sector)
	if _, err := r.ReadAt(h, int64(at)*Sector); err != nil {
		return nil, err
	}
	le := binary.LittleEndian
	if string(h[:8]) != signature {
		return nil, errors.New("no signature")
	}
	size := le.Uint32(h[12:])
	if size < headerSize || size > Sector {
		return nil, fmt.Errorf("header of %d bytes", size)
	}
	sum := le.Uint32(h[16:])
	clear(h[16:20])
	switch {
	case crc32.ChecksumIEEE(h[:size]) != sum:
		return nil, errors.New("wrong checksum of header")
	case le.Uint64(h[24:]) != at:
		return nil, errors.New("header of another place")
	case le.Uint32(h[80:]) != entryCount || le.Uint32(h[84:]) != entrySize:
		return nil, fmt.Errorf("%d entries of %d bytes are not supported", le.Uint32(h[80:]), le.Uint32(h[84:]))
	}
	t := &Table{
		DiskGUID:    GUID(h[56:72]),
		alternate:   le.Uint64(h[32:]),
		firstUsable: le.Uint64(h[40:]),
		lastUsable:  le.Uint64(h[48:]),
		entriesAt:   le.Uint64(h[72:]),
	}
	if t.entriesAt < 2 || t.entriesAt > sectors-arraySectors {
		return nil, errors.New("entries outside the disk")
	}
	array := make([]byte, entryCount*entrySize)
	if _, err := r.ReadAt(array, int64(t.entriesAt)*Sector); err != nil {
		return nil, err
	}
	if crc32.ChecksumIEEE(array) != le.Uint32(h[88:]) {
		return nil, errors.New("wrong checksum of entries")
	}
	return t, t.decode(array, sectors)
}

func (t *Table) decode(array []byte, sectors uint64) error {
	le := binary.LittleEndian
	for i := range entryCount {
		e := array[i*entrySize : (i+1)*entrySize]
		if GUID(e[:16]) == (GUID{}) {
			continue
		}
		p := Partition{Number: i + 1, Type: GUID(e[:16]), GUID: GUID(e[16:32]), First: le.Uint64(e[32:]), Last: le.Uint64(e[40:]), Attributes: le.Uint64(e[48:])}
		if p.First < 2 || p.Last < p.First || p.Last >= sectors {
			return fmt.Errorf("partition %d lies outside the disk", p.Number)
		}
		var name []uint16
		for c := e[56:]; len(c) > 1 && (c[0] != 0 || c[1] != 0); c = c[2:] {
			name = append(name, le.Uint16(c))
		}
		p.Name = string(utf16.Decode(name))
		t.Partitions = append(t.Partitions, p)
	}
	return nil
}

func (t *Table) encode() []byte {
	le := binary.LittleEndian
	array := make([]byte, entryCount*entrySize)
	for _, p := range t.Partitions {
		e := array[(p.Number-1)*entrySize:]
		copy(e, p.Type[:])
		copy(e[16:], p.GUID[:])
		le.PutUint64(e[32:], p.First)
		le.PutUint64(e[40:], p.Last)
		le.PutUint64(e[48:], p.Attributes)
		for i, c := range utf16.Encode([]rune(p.Name)) {
			if i < 36 {
				le.PutUint16(e[56+2*i:], c)
			}
		}
	}
	return array
}

// Partition returns the entry of a number, to read or to change, or nil.
func (t *Table) Partition(number int) *Partition {
	for i := range t.Partitions {
		if t.Partitions[i].Number == number {
			return &t.Partitions[i]
		}
	}
	return nil
}

// ByName returns the first entry of a name, to read or to change, or nil.
func (t *Table) ByName(name string) *Partition {
	for i := range t.Partitions {
		if t.Partitions[i].Name == name {
			return &t.Partitions[i]
		}
	}
	return nil
}

// Grow makes the table and partition p of it, which must be the last on the
// disk, fill a disk of size bytes. It reports whether anything changed.
func (t *Table) Grow(p *Partition, size int64) (bool, error) {
	for _, o := range t.Partitions {
		if o.First > p.First {
			return false, fmt.Errorf("growing partition %d: partition %d stands behind it", p.Number, o.Number)
		}
	}
	sectors := uint64(size / Sector)
	end := sectors - arraySectors - 2       // the last sector before the backup
	last := (end+1)/alignment*alignment - 1 // whole MiB
	changed := t.alternate != sectors-1 || t.lastUsable != end
	t.lastUsable, t.alternate = end, sectors-1
	if last > p.Last {
		p.Last, changed = last, true
	}
	if p.Last > end {
		return false, fmt.Errorf("growing partition %d: it ends beyond the disk", p.Number)
	}
	return changed, nil
}

// File is a disk or an image of one.
type File interface {
	io.ReaderAt
	io.WriterAt
	Sync() error
}

// Write puts the table on a disk of size bytes. First comes the backup, then
// an array of entries that no header points to yet, then the primary header,
// one sector, which switches from the old table to the new one.
func (t *Table) Write(f File, size int64) error {
	sectors := uint64(size / Sector)
	place, err := t.freePlace()
	if err != nil {
		return fmt.Errorf("writing partition table: %w", err)
	}
	t.alternate, t.firstUsable = sectors-1, max(t.firstUsable, place+arraySectors)
	if t.lastUsable > sectors-arraySectors-2 {
		return errors.New("writing partition table: partitions reach into the backup")
	}
	array := t.encode()
	sum := crc32.ChecksumIEEE(array)
	backup := sectors - 1 - arraySectors
	step := func(at uint64, data []byte) {
		if err == nil {
			_, err = f.WriteAt(data, int64(at)*Sector)
		}
	}
	sync := func() {
		if err == nil {
			err = f.Sync()
		}
	}
	step(backup, array)
	step(sectors-1, t.header(sectors-1, 1, backup, sum))
	step(place, array)
	sync()
	step(1, t.header(1, sectors-1, place, sum))
	sync()
	if err != nil {
		return fmt.Errorf("writing partition table: %w", err)
	}
	t.entriesAt, t.backupOnly = place, false
	return protect(f, sectors)
}

// freePlace is where the next array of entries goes: behind the header or
// behind the first place, whichever is not in use.
func (t *Table) freePlace() (uint64, error) {
	const one, two = 2, 2 + arraySectors
	place := uint64(two)
	if t.entriesAt != one && !t.backupOnly {
		place = one
	}
	for _, p := range t.Partitions {
		if p.First < place+arraySectors {
			return 0, fmt.Errorf("partition %d leaves no room for a second array of entries", p.Number)
		}
	}
	return place, nil
}

func (t *Table) header(at, other, entries uint64, sum uint32) []byte {
	h := make([]byte, Sector)
	le := binary.LittleEndian
	copy(h, signature)
	le.PutUint32(h[8:], revision)
	le.PutUint32(h[12:], headerSize)
	le.PutUint64(h[24:], at)
	le.PutUint64(h[32:], other)
	le.PutUint64(h[40:], t.firstUsable)
	le.PutUint64(h[48:], t.lastUsable)
	copy(h[56:], t.DiskGUID[:])
	le.PutUint64(h[72:], entries)
	le.PutUint32(h[80:], entryCount)
	le.PutUint32(h[84:], entrySize)
	le.PutUint32(h[88:], sum)
	le.PutUint32(h[16:], crc32.ChecksumIEEE(h[:headerSize]))
	return h
}

// protect makes the protective MBR's partition as long as the disk, and leaves
// the boot code alone.
func protect(f File, sectors uint64) error {
	mbr := make([]byte, Sector)
	if _, err := f.ReadAt(mbr, 0); err != nil {
		return fmt.Errorf("reading protective MBR: %w", err)
	}
	before := bytes.Clone(mbr)
	for i := range 4 {
		if e := mbr[446+16*i:]; e[4] == 0xee && binary.LittleEndian.Uint32(e[8:]) == 1 {
			binary.LittleEndian.PutUint32(e[12:], uint32(min(sectors-1, 0xffffffff)))
		}
	}
	if bytes.Equal(before, mbr) {
		return nil
	}
	if _, err := f.WriteAt(mbr, 0); err != nil {
		return fmt.Errorf("writing protective MBR: %w", err)
	}
	return f.Sync()
}
