// Package disk is the partition table of the appliance: the fixed layout, and
// a GUID partition table that can be read, written and grown.
//
// It is used on the host to build an image and in the guest to find the
// partitions and to let the last one grow. Sectors are 512 bytes throughout;
// disks that show 4096-byte sectors to their host are not supported.
package disk

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"unicode/utf16"
)

// SectorSize is the unit of the table, in bytes.
const SectorSize = 512

// Constants of UEFI 2.10 section 5.3.
const (
	gptSignature    = "EFI PART"
	gptRevision     = 0x00010000
	headerSize      = 92
	entrySize       = 128
	entryCount      = 128
	entrySectors    = entrySize * entryCount / SectorSize
	nameUnits       = 36
	primaryHeader   = 1
	primaryEntries  = 2
	firstUsable     = primaryEntries + entrySectors
	backupSectors   = entrySectors + 1
	mbrTableOffset  = 446
	mbrTypeProtects = 0xee
)

// ErrNoTable is wrapped by errors that report a disk without a usable table.
var ErrNoTable = errors.New("no usable GUID partition table")

// Partition is one used entry of the table. First and Last are sectors, both
// included.
type Partition struct {
	Number     int // from 1, the place in the table
	Type, ID   GUID
	First      uint64
	Last       uint64
	Attributes uint64
	Name       string // at most 36 UTF-16 units
}

// Offset returns where the partition begins, in bytes.
func (p Partition) Offset() int64 { return int64(p.First) * SectorSize }

// Size returns how long the partition is, in bytes.
func (p Partition) Size() int64 { return int64(p.Last-p.First+1) * SectorSize }

// Table is a GUID partition table.
type Table struct {
	Disk    GUID
	Sectors uint64 // of the whole disk, as the table sees it
	Parts   []Partition

	entriesAt uint64 // where the first copy's entries were read from, or 0
}

// Part returns the partition with the given number.
func (t *Table) Part(number int) (Partition, bool) {
	for _, p := range t.Parts {
		if p.Number == number {
			return p, true
		}
	}
	return Partition{}, false
}

// Read reads the table of a disk of size bytes: the first copy, or the one at
// the end when the first is damaged. It fails, wrapping ErrNoTable, when
// neither is sound.
func Read(r io.ReaderAt, size int64) (*Table, error) {
	sectors := uint64(size) / SectorSize
	if size < 0 || sectors < firstUsable+backupSectors {
		return nil, fmt.Errorf("disk of %d bytes: %w", size, ErrNoTable)
	}
	t, err := readCopy(r, primaryHeader, sectors)
	if err == nil {
		return t, nil
	}
	t, backupErr := readCopy(r, sectors-1, sectors)
	if backupErr == nil {
		return t, nil
	}
	return nil, fmt.Errorf("reading partition table: %w", errors.Join(err, backupErr))
}

func readCopy(r io.ReaderAt, lba, sectors uint64) (*Table, error) {
	var h [SectorSize]byte
	if _, err := r.ReadAt(h[:], int64(lba)*SectorSize); err != nil {
		return nil, fmt.Errorf("header in sector %d: %w", lba, err)
	}
	le := binary.LittleEndian
	crc := le.Uint32(h[16:])
	clear(h[16:20])
	entriesAt := le.Uint64(h[72:])
	switch {
	case string(h[:8]) != gptSignature, le.Uint32(h[12:]) != headerSize,
		crc != crc32.ChecksumIEEE(h[:headerSize]), le.Uint64(h[24:]) != lba:
		return nil, fmt.Errorf("header in sector %d: %w", lba, ErrNoTable)
	case le.Uint32(h[80:]) != entryCount, le.Uint32(h[84:]) != entrySize, entriesAt >= sectors:
		return nil, fmt.Errorf("entries of the header in sector %d: %w", lba, ErrNoTable)
	}
	entries := make([]byte, entryCount*entrySize)
	if _, err := r.ReadAt(entries, int64(entriesAt)*SectorSize); err != nil {
		return nil, fmt.Errorf("entries in sector %d: %w", entriesAt, err)
	}
	if crc32.ChecksumIEEE(entries) != le.Uint32(h[88:]) {
		return nil, fmt.Errorf("checksum of the entries in sector %d: %w", entriesAt, ErrNoTable)
	}
	t := &Table{Disk: GUID(h[56:72]), Sectors: le.Uint64(h[24:]) + 1}
	if lba == primaryHeader {
		t.Sectors = le.Uint64(h[32:]) + 1
		t.entriesAt = entriesAt
	}
	t.Parts = decodeEntries(entries)
	if t.Sectors > sectors {
		return nil, fmt.Errorf("table is for %d sectors, the disk has %d: %w", t.Sectors, sectors, ErrNoTable)
	}
	return t, t.check()
}

func decodeEntries(entries []byte) []Partition {
	le := binary.LittleEndian
	var parts []Partition
	for i := range entryCount {
		e := entries[i*entrySize:][:entrySize]
		if GUID(e[:16]) == (GUID{}) {
			continue
		}
		units := make([]uint16, 0, nameUnits)
		for j := range nameUnits {
			u := le.Uint16(e[56+2*j:])
			if u == 0 {
				break
			}
			units = append(units, u)
		}
		parts = append(parts, Partition{
			Number: i + 1, Type: GUID(e[:16]), ID: GUID(e[16:32]),
			First: le.Uint64(e[32:]), Last: le.Uint64(e[40:]),
			Attributes: le.Uint64(e[48:]), Name: string(utf16.Decode(units)),
		})
	}
	return parts
}

// check refuses tables whose partitions leave the usable area or overlap.
func (t *Table) check() error {
	if t.Sectors < firstUsable+backupSectors {
		return fmt.Errorf("disk of %d sectors is too small: %w", t.Sectors, ErrNoTable)
	}
	lastUsable := t.Sectors - backupSectors - 1
	for i, p := range t.Parts {
		if p.Number < 1 || p.Number > entryCount || p.First < firstUsable || p.Last < p.First || p.Last > lastUsable {
			return fmt.Errorf("partition %d, sectors %d to %d, does not fit on %d sectors: %w", p.Number, p.First, p.Last, t.Sectors, ErrNoTable)
		}
		for _, q := range t.Parts[:i] {
			if p.Number == q.Number || (p.First <= q.Last && q.First <= p.Last) {
				return fmt.Errorf("partitions %d and %d overlap: %w", q.Number, p.Number, ErrNoTable)
			}
		}
	}
	return nil
}
