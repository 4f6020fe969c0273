package disk

import (
	"fmt"

	"ringfence/appliance/slot"
)

// Numbers of the partitions. They and the sizes are fixed since the first
// image: an update writes into a slot, never into the table.
const (
	BIOSBoot = 1 // GRUB's core image, no file system
	ESP      = 2 // FAT: both kernels, both loaders, slot state
	RootA    = 3
	RootB    = 4
	Perm     = 5 // ext4, the only partition that is written to in operation
)

// MiB is the alignment of all partitions, in bytes.
const MiB = 1 << 20

// Sizes of the partitions in bytes. A root holds 30 MB today and has room for
// twenty times that, with a dm-verity tree behind it.
const (
	biosBootSize = 1 * MiB
	espSize      = 254 * MiB
	rootSize     = 512 * MiB
)

// MinSize is the size of the smallest disk and of the image, in bytes: whole
// GiB, as one cloud demands.
const MinSize = 2048 * MiB

// PermName is the GPT name of /perm.
const PermName = "ringfence-perm"

// Partition types: BIOS boot (GRUB manual), ESP (UEFI 2.10 section 5.3.3),
// root for x86-64 and variable data (Discoverable Partitions Specification).
const (
	typeBIOSBoot = "21686148-6449-6e6f-744e-656564454649"
	typeESP      = "c12a7328-f81f-11d2-ba4b-00a0c93ec93b"
	typeRoot     = "4f68bce3-e8cd-4db1-96e7-fbcaf984b709"
	typePerm     = "4d21b016-b534-45c2-a9fb-5c16e091fd2d"
)

// RootPart returns the number of the root partition of a slot, 0 for no slot.
func RootPart(n slot.Name) int {
	switch n {
	case slot.A:
		return RootA
	case slot.B:
		return RootB
	}
	return 0
}

// Layout returns the table of an image of size bytes, which is at least
// MinSize and a multiple of MiB. Its GUIDs are the same in every image: each
// machine makes its own at the first boot, see Table.Renew.
func Layout(size int64) (*Table, error) {
	if size < MinSize || size%MiB != 0 {
		return nil, fmt.Errorf("image of %d bytes: the size has to be at least %d MiB and whole MiB", size, MinSize/MiB)
	}
	t := &Table{Disk: DeriveGUID(freshDisk), Sectors: uint64(size) / SectorSize}
	next := int64(MiB)
	for _, p := range []struct {
		number     int
		name, kind string
		size       int64
	}{
		{BIOSBoot, "ringfence-bios", typeBIOSBoot, biosBootSize},
		{ESP, "ringfence-esp", typeESP, espSize},
		{RootA, slot.A.RootLabel(), typeRoot, rootSize},
		{RootB, slot.B.RootLabel(), typeRoot, rootSize},
		{Perm, PermName, typePerm, 0},
	} {
		kind, err := ParseGUID(p.kind)
		if err != nil {
			return nil, err
		}
		part := Partition{Number: p.number, Name: p.name, Type: kind, ID: DeriveGUID(p.name), First: uint64(next) / SectorSize}
		part.Last = part.First + uint64(p.size)/SectorSize - 1
		if p.size == 0 {
			part.Last = lastAligned(t.Sectors)
		}
		next += p.size
		t.Parts = append(t.Parts, part)
	}
	return t, t.check()
}

// freshDisk is the name that the GUID of every image is made of.
const freshDisk = "disk"

// Fresh reports whether the table is that of an image that never ran: the first
// boot changes its GUIDs.
func (t *Table) Fresh() bool { return t.Disk == DeriveGUID(freshDisk) }

// lastAligned is the last sector a partition may have so that it ends on a
// multiple of MiB before the second copy of the table.
func lastAligned(sectors uint64) uint64 {
	const align = MiB / SectorSize
	return (sectors-backupSectors)/align*align - 1
}
