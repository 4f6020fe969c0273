package disk

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"math"
	"unicode/utf16"
)

// Writer is a disk or an image of one.
type Writer interface {
	io.WriterAt
	Sync() error
}

// Write writes both copies of the table. A table that was read from a disk and
// goes back to it never leaves that disk without a sound first copy, the only
// one that the kernel and GRUB look at: after the copy at the end come new
// entries in the one of two places that the old header does not point to, and
// then the header, a single sector, which switches from old to new.
// The boot code of the first sector is not touched; see WriteProtectiveMBR.
func (t *Table) Write(w Writer) error {
	if err := t.check(); err != nil {
		return fmt.Errorf("writing partition table: %w", err)
	}
	entries, err := t.encodeEntries()
	if err != nil {
		return fmt.Errorf("writing partition table: %w", err)
	}
	place, err := t.place()
	if err != nil {
		return fmt.Errorf("writing partition table: %w", err)
	}
	last := t.Sectors - 1
	for _, s := range []struct {
		lba  uint64
		data []byte
		sync bool
	}{
		{last - entrySectors, entries, false},
		{last, t.header(last, primaryHeader, last-entrySectors, place, entries), true},
		{place, entries, true},
		{primaryHeader, t.header(primaryHeader, last, place, place, entries), true},
	} {
		if _, err := w.WriteAt(s.data, int64(s.lba)*SectorSize); err != nil {
			return fmt.Errorf("writing partition table: %w", err)
		}
		if !s.sync {
			continue
		}
		if err := w.Sync(); err != nil {
			return fmt.Errorf("writing partition table: %w", err)
		}
	}
	t.entriesAt = place
	return nil
}

// place is where the entries of the first copy go: behind the header, or
// behind that place when it is in use.
func (t *Table) place() (uint64, error) {
	place := uint64(primaryEntries)
	if t.entriesAt == primaryEntries {
		place += entrySectors
	}
	for _, p := range t.Parts {
		if p.First < place+entrySectors {
			return 0, fmt.Errorf("partition %d leaves no room for new entries beside the old ones: %w", p.Number, ErrNoTable)
		}
	}
	return place, nil
}

func (t *Table) encodeEntries() ([]byte, error) {
	le := binary.LittleEndian
	entries := make([]byte, entryCount*entrySize)
	for _, p := range t.Parts {
		e := entries[(p.Number-1)*entrySize:][:entrySize]
		copy(e, p.Type[:])
		copy(e[16:], p.ID[:])
		le.PutUint64(e[32:], p.First)
		le.PutUint64(e[40:], p.Last)
		le.PutUint64(e[48:], p.Attributes)
		units := utf16.Encode([]rune(p.Name))
		if len(units) > nameUnits {
			return nil, fmt.Errorf("name %q of partition %d is longer than %d", p.Name, p.Number, nameUnits)
		}
		for j, u := range units {
			le.PutUint16(e[56+2*j:], u)
		}
	}
	return entries, nil
}

// header makes the header in sector lba; the first copy's entries are in place.
func (t *Table) header(lba, other, entriesAt, place uint64, entries []byte) []byte {
	le := binary.LittleEndian
	h := make([]byte, SectorSize)
	copy(h, gptSignature)
	le.PutUint32(h[8:], gptRevision)
	le.PutUint32(h[12:], headerSize)
	le.PutUint64(h[24:], lba)
	le.PutUint64(h[32:], other)
	le.PutUint64(h[40:], max(firstUsable, place+entrySectors))
	le.PutUint64(h[48:], t.Sectors-backupSectors-1)
	copy(h[56:], t.Disk[:])
	le.PutUint64(h[72:], entriesAt)
	le.PutUint32(h[80:], entryCount)
	le.PutUint32(h[84:], entrySize)
	le.PutUint32(h[88:], crc32.ChecksumIEEE(entries))
	le.PutUint32(h[16:], crc32.ChecksumIEEE(h[:headerSize]))
	return h
}

// ExtendProtectiveMBR makes the record of WriteProtectiveMBR as long as the
// disk and leaves the rest of the sector as it is.
func (t *Table) ExtendProtectiveMBR(f interface {
	io.ReaderAt
	Writer
}) error {
	var mbr [SectorSize]byte
	if _, err := f.ReadAt(mbr[:], 0); err != nil {
		return fmt.Errorf("reading protective MBR: %w", err)
	}
	record := mbr[mbrTableOffset:]
	size := uint32(min(t.Sectors-1, math.MaxUint32))
	if record[4] != mbrTypeProtects || binary.LittleEndian.Uint32(record[12:]) == size {
		return nil
	}
	binary.LittleEndian.PutUint32(record[12:], size)
	if _, err := f.WriteAt(mbr[:], 0); err != nil {
		return fmt.Errorf("writing protective MBR: %w", err)
	}
	return f.Sync()
}

// WriteProtectiveMBR writes boot code (at most 440 bytes) and the record that
// keeps old tools away from the disk (UEFI 2.10 section 5.2.3).
func (t *Table) WriteProtectiveMBR(w io.WriterAt, boot []byte) error {
	if len(boot) > 440 {
		return fmt.Errorf("boot code is %d bytes long, 440 is the limit", len(boot))
	}
	var mbr [SectorSize]byte
	copy(mbr[:], boot)
	record := mbr[mbrTableOffset:]
	copy(record[1:], []byte{0x00, 0x02, 0x00, mbrTypeProtects, 0xff, 0xff, 0xff})
	binary.LittleEndian.PutUint32(record[8:], 1)
	binary.LittleEndian.PutUint32(record[12:], uint32(min(t.Sectors-1, math.MaxUint32)))
	mbr[510], mbr[511] = 0x55, 0xaa
	if _, err := w.WriteAt(mbr[:], 0); err != nil {
		return fmt.Errorf("writing protective MBR: %w", err)
	}
	return nil
}
