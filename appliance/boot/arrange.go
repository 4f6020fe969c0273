package boot

import (
	"errors"
	"fmt"
	"io"

	"ringfence/appliance/disk"
	"ringfence/appliance/slot"
)

// Slots is the loaders' record of the two slots (package slot).
type Slots interface {
	Load() (slot.State, error)
	Commit(running slot.Name) error
	GiveUp(n slot.Name) error
	SetRoots(a, b string) error
}

// tableFile is the disk as the partition table is written to it.
type tableFile interface {
	io.ReaderAt
	disk.Writer
}

// arrangement is what came of arrange.
type arrangement struct {
	perm   disk.Partition // as it is now
	grown  bool           // its size changed
	renews bool           // GUIDs changed
}

// arrange gives the partition table of a disk of size bytes the machine's own
// GUIDs and lets its last partition fill the disk. It can be cut off anywhere:
// root= names a partition that exists at every instant, and the next boot goes
// on where this one stopped. On a disk that is arranged nothing is written.
//
// root= is by label, which never changes, while GUIDs change, and by GUID
// afterwards: two disks made of one image can then be in one machine.
func arrange(f tableFile, size int64, id identity, slots Slots) (a arrangement, err error) {
	t, err := disk.Read(f, size)
	if err != nil {
		return a, err
	}
	if a.renews, err = id.apply(t); err != nil {
		return a, err
	}
	changed, err := t.Grow(size)
	if err != nil {
		return a, err
	}
	if a.renews && slots != nil {
		if err := slots.SetRoots("PARTLABEL="+slot.A.RootLabel(), "PARTLABEL="+slot.B.RootLabel()); err != nil {
			return a, err
		}
	}
	if a.renews || changed {
		if err := t.Write(f); err != nil {
			return a, err
		}
		if err := t.ExtendProtectiveMBR(f); err != nil {
			return a, err
		}
	}
	part, ok := t.Part(disk.Perm)
	if !ok {
		return a, errors.New("partition table has no partition for /perm")
	}
	a.perm, a.grown = part, changed
	if slots == nil {
		return a, nil
	}
	return a, nameRoots(t, slots)
}

// apply puts the identity's GUIDs into the table.
func (id identity) apply(t *disk.Table) (changed bool, err error) {
	set := func(to *disk.GUID, text string) {
		g, perr := disk.ParseGUID(text)
		if perr != nil {
			err = errors.Join(err, perr)
			return
		}
		changed = changed || *to != g
		*to = g
	}
	set(&t.Disk, id.Disk)
	for i := range t.Parts {
		set(&t.Parts[i].ID, id.Partitions[t.Parts[i].Number])
	}
	return changed, err
}

// nameRoots lets the loaders find the roots by GUID.
func nameRoots(t *disk.Table, slots Slots) error {
	var root [2]string
	for i, n := range []slot.Name{slot.A, slot.B} {
		part, ok := t.Part(disk.RootPart(n))
		if !ok {
			return fmt.Errorf("partition table has no root for slot %s", n)
		}
		root[i] = "PARTUUID=" + part.ID.String()
	}
	state, err := slots.Load()
	if err != nil || state.A.Root == root[0] && state.B.Root == root[1] {
		return err
	}
	return slots.SetRoots(root[0], root[1])
}

// espSlots is the record on the mounted EFI system partition.
type espSlots struct {
	paths Paths
	store *slot.Store
}

// Load reads the record.
func (s espSlots) Load() (slot.State, error) { return s.store.Load() }

// Commit writes only when something changes.
func (s espSlots) Commit(running slot.Name) error {
	return s.paths.WithWritableESP(func() error { return s.store.Commit(running) })
}

// GiveUp ends a trial.
func (s espSlots) GiveUp(n slot.Name) error {
	return s.paths.WithWritableESP(func() error { return s.store.GiveUp(n) })
}

// SetRoots changes root=.
func (s espSlots) SetRoots(a, b string) error {
	return s.paths.WithWritableESP(func() error { return s.store.SetRoots(a, b) })
}
