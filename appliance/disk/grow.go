package disk

import (
	"fmt"
	"io"
)

// Grow adapts the table to a disk of size bytes: the second copy moves to the
// end and the last partition is extended up to it, ending on a multiple of
// MiB. It reports whether anything changed; a disk that did not become larger
// changes nothing. The file system inside is the caller's to grow.
func (t *Table) Grow(size int64) (bool, error) {
	sectors := uint64(size) / SectorSize
	if size < 0 || sectors < t.Sectors {
		return false, fmt.Errorf("growing partition table: the disk has %d sectors, the table says %d", sectors, t.Sectors)
	}
	last := t.lastPart()
	if last == nil {
		return false, fmt.Errorf("growing partition table: it is empty: %w", ErrNoTable)
	}
	changed := sectors != t.Sectors
	t.Sectors = sectors
	if end := lastAligned(sectors); end > last.Last {
		last.Last = end
		changed = true
	}
	return changed, t.check()
}

func (t *Table) lastPart() *Partition {
	var last *Partition
	for i := range t.Parts {
		if last == nil || t.Parts[i].First > last.First {
			last = &t.Parts[i]
		}
	}
	return last
}

// Renew gives the disk and every partition GUIDs of its own. Names stay, so
// that a root= by PARTLABEL finds the same partition before and after.
func (t *Table) Renew(random io.Reader) error {
	id, err := NewGUID(random)
	if err != nil {
		return err
	}
	t.Disk = id
	for i := range t.Parts {
		if t.Parts[i].ID, err = NewGUID(random); err != nil {
			return err
		}
	}
	return nil
}

// Ext4Blocks returns how many 4096-byte blocks an ext4 file system on p may
// have.
func (p Partition) Ext4Blocks() uint64 { return uint64(p.Size()) / 4096 }
