package qemu

import (
	"testing"

	"ringfence/appliance/qemu"
)

// A slot on trial whose kernel panics for want of an init, in both firmwares,
// and one whose PBX never reports health, give way to the slot before them by
// themselves. The drills have the latter under UEFI.
func TestBrokenSlotsGiveWay(t *testing.T) {
	needSquashfs(t)
	for _, c := range []struct {
		name     string
		root     func(testing.TB) string
		sign     string
		firmware qemu.Firmware
	}{
		{"unhealthy/bios", DeafRoot, Unhealthy, qemu.BIOS},
		{"panics/bios", EmptyRoot, Panics, qemu.BIOS},
		{"panics/uefi", EmptyRoot, Panics, qemu.UEFI},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			GivesWay(t, c.root(t), c.sign, c.firmware)
		})
	}
}
