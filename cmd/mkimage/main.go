// Command mkimage builds the appliance image. Everything it does is built in
// package appliance.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"ringfence/appliance"
	"ringfence/appliance/kernel"
	"ringfence/appliance/slot"
)

const usage = `usage:
  mkimage build -o DIR [-format LIST|all] [-sign-key FILE] [-kernel own|gokrazy] [-size BYTES] [-version V] [-web required|build|optional]
  mkimage run [-image RAW] [-uefi] [-keep] [-memory MIB] [-instance K] [-console] [the flags of build]
  mkimage kernel [-kernel own|gokrazy] [-adopt TREE]
  mkimage deb -o DIR [-version V] [-web required|optional]
  mkimage slot -image RAW -slot a|b -version V [-root FILE] [-image-kernel FILE] [-tries N]
  mkimage state -image RAW [-firmware bios|uefi]
`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // the second signal ends us at once
	err := run(ctx, os.Args[1:], os.Stdout, newMeter(os.Stderr))
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "mkimage:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, out io.Writer, m *meter) error {
	commands := map[string]func(context.Context, []string, io.Writer, *meter) error{
		"build": build, "run": bootImage, "kernel": buildKernel, "deb": buildDeb, "slot": writeSlot, "state": readState,
	}
	if len(args) == 0 || commands[args[0]] == nil {
		return fmt.Errorf("say what to do\n%s", strings.TrimRight(usage, "\n"))
	}
	err := commands[args[0]](ctx, args[1:], out, m)
	m.end()
	return err
}

// parse parses flags and refuses anything that is left over.
func parse(flags *flag.FlagSet, args []string) error {
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q", flags.Arg(0))
	}
	return nil
}

// options are the flags that build and kernel share.
func options(flags *flag.FlagSet, m *meter) *appliance.Options {
	o := &appliance.Options{Progress: m.progress, Notice: m.notice}
	flags.StringVar(&o.Kernel, "kernel", appliance.KernelOwn, "`own or gokrazy`: build ours, or take a prebuilt one for a quick look")
	flags.StringVar(&o.Cache, "cache", "", "`folder` of finished kernels")
	return o
}

// buildOptions adds the flags that build and run share; the returned function
// reads those that need reading, after parsing.
func buildOptions(flags *flag.FlagSet, m *meter, format string) (*appliance.Options, func() error) {
	o := options(flags, m)
	flags.StringVar(&o.Out, "o", "out", "`folder` for the image")
	flags.StringVar(&o.Version, "version", "", "`version` of the image; from the commit when empty")
	formats := flags.String("format", format, "`formats` to make, or all: "+formatNames())
	size := flags.String("size", "", "`size` of the disk, such as 4GiB; the smallest when empty")
	web := flags.String("web", "required", "the user interface: `required, build or optional`")
	return o, func() (err error) {
		if o.Formats, err = parseFormats(*formats); err != nil {
			return err
		}
		if o.Size, err = parseSize(*size); err != nil {
			return err
		}
		o.Web, err = parseWeb(*web)
		return err
	}
}

func formatNames() string {
	var names []string
	for _, f := range appliance.Formats() {
		names = append(names, string(f))
	}
	return strings.Join(names, ", ")
}

func build(ctx context.Context, args []string, out io.Writer, m *meter) error {
	flags := flag.NewFlagSet("mkimage build", flag.ContinueOnError)
	o, read := buildOptions(flags, m, "raw,qcow2")
	signKey := flags.String("sign-key", os.Getenv("RINGFENCE_SIGN_KEY"), "PEM `file` of the Ed25519 key that signs SHA256SUMS; RINGFENCE_SIGN_KEY names one too")
	if err := parse(flags, args); err != nil {
		return err
	}
	if err := read(); err != nil {
		return err
	}
	if *signKey != "" {
		var err error
		if o.SignKey, err = appliance.ReadSignKey(*signKey); err != nil {
			return err
		}
	}
	r, err := appliance.Build(ctx, *o)
	if err != nil {
		return err
	}
	if o.SignKey == nil {
		m.notice("This build is unsigned: there is no -sign-key.")
	}
	m.end()
	for _, path := range append([]string{r.Raw, r.Manifest}, r.Others...) {
		fmt.Fprintln(out, path)
	}
	fmt.Fprintf(out, "version %s, sha256 of the raw image %s\n", r.Version, r.SHA256["ringfence.raw"])
	return nil
}

func buildKernel(ctx context.Context, args []string, out io.Writer, m *meter) error {
	flags := flag.NewFlagSet("mkimage kernel", flag.ContinueOnError)
	o := options(flags, m)
	adopt := flags.String("adopt", "", "put the kernel that was built in `folder` into the cache, if it is the right one")
	if err := parse(flags, args); err != nil {
		return err
	}
	if *adopt != "" {
		if o.Cache == "" {
			var err error
			if o.Cache, err = appliance.CacheDir(); err != nil {
				return err
			}
		}
		if _, err := kernel.Adopt(ctx, kernel.Options{Cache: o.Cache}, *adopt); err != nil {
			return err
		}
	}
	k, err := appliance.BuildKernel(ctx, *o)
	if err != nil {
		return err
	}
	m.end()
	fmt.Fprintf(out, "%s\nkernel %s from %s %s, sha256 %s\n", k.Path, k.Release, k.Package, k.Version, k.SHA256)
	return nil
}

func writeSlot(ctx context.Context, args []string, out io.Writer, _ *meter) error {
	flags := flag.NewFlagSet("mkimage slot", flag.ContinueOnError)
	var c appliance.SlotContent
	image := flags.String("image", "", "raw `image`, not in use")
	name := flags.String("slot", "b", "`a or b`")
	flags.StringVar(&c.Root, "root", "", "squashfs `file` to write")
	flags.StringVar(&c.Kernel, "image-kernel", "", "kernel `file` to write")
	flags.StringVar(&c.Version, "version", "", "`version` shown in the boot menus")
	flags.IntVar(&c.Tries, "tries", slot.DefaultTries, "boots on trial, `0..9`; 0 commits the slot")
	firmware := flags.String("firmware", "bios", "`bios or uefi`, the one the image was last booted with")
	if err := parse(flags, args); err != nil {
		return err
	}
	var err error
	if c.Firmware, err = parseFirmware(*firmware); err != nil {
		return err
	}
	c.Name = slot.Name(*name)
	if err := appliance.WriteSlot(ctx, *image, c); err != nil {
		return err
	}
	return printState(ctx, out, *image, c.Firmware)
}

func readState(ctx context.Context, args []string, out io.Writer, _ *meter) error {
	flags := flag.NewFlagSet("mkimage state", flag.ContinueOnError)
	image := flags.String("image", "", "raw `image`, not in use")
	firmware := flags.String("firmware", "bios", "`bios or uefi`: whose record to read")
	if err := parse(flags, args); err != nil {
		return err
	}
	fw, err := parseFirmware(*firmware)
	if err != nil {
		return err
	}
	return printState(ctx, out, *image, fw)
}

func printState(ctx context.Context, out io.Writer, image string, fw slot.Firmware) error {
	s, err := appliance.ReadState(ctx, image, fw)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "committed=%s trial=%s tries=%d next=%s version_a=%s version_b=%s\n", s.Committed, s.Trial, s.Tries, s.Next(), s.A.Version, s.B.Version)
	return nil
}

func parseFormats(list string) ([]appliance.Format, error) {
	all := appliance.Formats()
	if list == "all" {
		return all, nil
	}
	var formats []appliance.Format
	for _, f := range strings.Split(list, ",") {
		if !slices.Contains(all, appliance.Format(f)) {
			return nil, fmt.Errorf("format %q is not one of %s", f, formatNames())
		}
		formats = append(formats, appliance.Format(f))
	}
	return formats, nil
}

// parseSize reads a number of bytes with an optional unit.
func parseSize(s string) (int64, error) {
	if s == "" {
		return 0, nil
	}
	unit := int64(1)
	for suffix, factor := range map[string]int64{"MiB": 1 << 20, "GiB": 1 << 30} {
		if number, found := strings.CutSuffix(s, suffix); found {
			s, unit = number, factor
			break
		}
	}
	n, err := strconv.ParseInt(s, 10, 32)
	if unit == 1 {
		n, err = strconv.ParseInt(s, 10, 64)
	}
	if err != nil || n <= 0 {
		return 0, fmt.Errorf("size %q is not a number of bytes, MiB or GiB", s)
	}
	return n * unit, nil
}

func parseWeb(s string) (appliance.Web, error) {
	switch s {
	case "required":
		return appliance.WebRequired, nil
	case "build":
		return appliance.WebBuild, nil
	case "optional":
		return appliance.WebOptional, nil
	}
	return 0, fmt.Errorf("-web %q is not one of required, build, optional", s)
}

func parseFirmware(s string) (slot.Firmware, error) {
	switch s {
	case "bios":
		return slot.BIOS, nil
	case "uefi":
		return slot.UEFI, nil
	}
	return 0, fmt.Errorf("firmware %q is not one of bios, uefi", s)
}
