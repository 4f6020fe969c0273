package qemu

import (
	"context"
	"path/filepath"
	"testing"
	"time"

	"ringfence/appliance"
	"ringfence/appliance/qemu"
)

// Format boots the image out of another format's file; what the guest writes
// goes elsewhere. The names are QEMU's: raw, qcow2, vmdk, vpc.
func Format(path, format string) Option {
	return func(o *options) { o.backing, o.backingFormat = path, format }
}

// InFormats converts the image under test to every format that QEMU reads, as
// mkimage does, and returns the files by QEMU's names of the formats.
func InFormats(t testing.TB) map[string]string {
	t.Helper()
	raw, _ := Image(t)
	dir := folder(t)
	c := appliance.Conversion{Raw: raw, Out: dir, Version: "test", Time: time.Unix(1_767_225_600, 0)}
	if err := appliance.Convert(t.Context(), c, appliance.QCOW2, appliance.VMDK, appliance.VHD); err != nil {
		t.Fatal(err)
	}
	return map[string]string{
		"raw": raw, "qcow2": filepath.Join(dir, "ringfence.qcow2"), "vmdk": filepath.Join(dir, "ringfence.vmdk"), "vpc": filepath.Join(dir, "ringfence.vhd"),
	}
}

// Place is what a machine starts from.
type Place struct {
	Format   string
	Bus      qemu.Bus
	Firmware qemu.Firmware
}

// String names the place for a subtest.
func (p Place) String() string { return p.Format + "/" + string(p.Bus) + "/" + string(p.Firmware) }

// Places are all that QEMU can show a guest.
func Places() (all []Place) {
	for _, format := range []string{"raw", "qcow2", "vmdk", "vpc"} {
		for _, bus := range []qemu.Bus{qemu.Virtio, qemu.NVMe, qemu.SCSI, qemu.AHCI} {
			for _, fw := range []qemu.Firmware{qemu.BIOS, qemu.UEFI} {
				all = append(all, Place{format, bus, fw})
			}
		}
	}
	return all
}

// BootsFrom boots the image from a place and waits until its PBX answers and
// the boot was judged healthy.
func BootsFrom(t *testing.T, p Place, files map[string]string) {
	t.Helper()
	vm := Boot(t, Format(files[p.Format], p.Format), Bus(p.Bus), Firmware(p.Firmware))
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if _, err := vm.Console.Wait(ctx, `boot is healthy, slot committed`); err != nil {
		t.Error(err)
	}
	t.Logf("%s: ready %.1f s after power-on", p, time.Since(vm.Started).Seconds())
}
