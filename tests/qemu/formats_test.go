package qemu

import (
	"testing"

	"ringfence/appliance/qemu"
)

// The image boots from every format and every bus, with both firmwares; raw on
// virtio is every other test of this package. All of them with all others are
// a drill.
func TestFormatsBoot(t *testing.T) {
	t.Parallel()
	files := InFormats(t)
	for _, p := range []Place{
		{"qcow2", qemu.NVMe, qemu.BIOS},
		{"vmdk", qemu.AHCI, qemu.UEFI},
		{"vpc", qemu.SCSI, qemu.BIOS},
	} {
		t.Run(p.String(), func(t *testing.T) { BootsFrom(t, p, files) })
	}
}

// Bare metal: started from a stick, the machine asks on the serial line where
// to install, writes that disk and no other, and runs from it without the stick.
func TestStickInstalls(t *testing.T) {
	t.Parallel()
	InstallsFromStick(t, qemu.BIOS)
}
