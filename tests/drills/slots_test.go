package drills

import (
	"testing"

	machine "ringfence/appliance/qemu"
	"ringfence/tests/qemu"
)

// A slot on trial whose PBX never reports health gives way under UEFI, where
// systemd-boot counts the tries; `make test` has the same under BIOS.
func TestUnhealthySlotGivesWayUEFI(t *testing.T) {
	if n := share(t, 10, 0); n < 10 {
		t.Skip("minutes of waiting for a verdict; only in the whole drill")
	}
	qemu.GivesWay(t, qemu.DeafRoot(t), qemu.Unhealthy, machine.UEFI)
}
