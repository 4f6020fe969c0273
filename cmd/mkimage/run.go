package main

import (
	"context"
	"flag"
	"io"
	"path/filepath"

	"ringfence/appliance"
	"ringfence/appliance/qemu"
	"ringfence/appliance/tryout"
)

// bootImage builds the image, unless it is given one, and boots it on this
// machine, for a first look.
func bootImage(ctx context.Context, args []string, out io.Writer, m *meter) error {
	flags := flag.NewFlagSet("mkimage run", flag.ContinueOnError)
	o, read := buildOptions(flags, m, "raw")
	t := tryout.Options{Out: out, Firmware: qemu.BIOS}
	flags.BoolVar(&t.Keep, "keep", false, "go on with the disk of the last run")
	flags.BoolVar(&t.Verbose, "console", false, "show the guest's console")
	flags.IntVar(&t.Memory, "memory", 512, "`MiB` of the guest")
	flags.IntVar(&t.Instance, "instance", tryout.Pick, "`0..9`: other ports of 127.0.0.1; -1 takes the first that are free")
	flags.StringVar(&t.Image, "image", "", "boot this raw `file` instead of building one; its kernel lies beside it")
	uefi := flags.Bool("uefi", false, "boot with UEFI")
	if err := parse(flags, args); err != nil {
		return err
	}
	if err := read(); err != nil {
		return err
	}
	if *uefi {
		t.Firmware = qemu.UEFI
	}
	t.Kernel, t.Dir = filepath.Join(filepath.Dir(t.Image), "vmlinuz"), filepath.Join(o.Out, "run")
	if t.Image == "" {
		r, err := appliance.Build(ctx, *o)
		if err != nil {
			return err
		}
		m.end()
		t.Image, t.Kernel = r.Raw, r.Kernel
	}
	return tryout.Run(ctx, t)
}
