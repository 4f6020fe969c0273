package drills

import (
	"testing"

	machine "ringfence/appliance/qemu"
	"ringfence/tests/qemu"
)

// TestEveryFormatBootsEverywhere boots the image from every format on every bus
// with both firmwares.
func TestEveryFormatBootsEverywhere(t *testing.T) {
	all := qemu.Places()
	n, rnd := share(t, len(all), 1), random(t)
	rnd.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	files := qemu.InFormats(t)
	for _, p := range all[:n] {
		t.Run(p.String(), func(t *testing.T) { qemu.BootsFrom(t, p, files) })
	}
}

// The installer's stick starts under UEFI too.
func TestStickInstallsUEFI(t *testing.T) {
	if n := share(t, 10, 0); n < 10 {
		t.Skip("make test has the same under BIOS")
	}
	qemu.InstallsFromStick(t, machine.UEFI)
}
