package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"text/tabwriter"

	"ringfence/appliance/disk"
	"ringfence/appliance/flash"
	"ringfence/internal/opcmd"
)

// flashing is one run of `ringfence flash`.
type flashing struct {
	host flash.Host
	in   io.Reader // for the confirmation
	out  io.Writer
}

// flashCommand lists disks, or writes an image to one. It takes as long as it
// takes: the limit of the other commands is not for it.
func flashCommand(e opcmd.Env, args []string) error {
	ctx, stop := signal.NotifyContext(context.WithoutCancel(e.Context), os.Interrupt, syscall.SIGTERM)
	defer stop()
	return flashing{flash.Host{Root: "/"}, os.Stdin, e.Out}.run(ctx, args)
}

func (f flashing) run(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("flash", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	sure := flags.Bool("yes", false, "")
	if err := flags.Parse(args); err != nil {
		return err
	}
	switch flags.NArg() {
	case 0:
		return f.list(disk.MinSize)
	case 1:
		img, err := flash.OpenImage(flags.Arg(0))
		if err != nil {
			return err
		}
		if err := f.list(img.Size); err != nil {
			return err
		}
		return errors.New("say which disk: ringfence flash IMAGE DISK")
	case 2:
		return f.write(ctx, flags.Arg(0), flags.Arg(1), *sure)
	}
	return fmt.Errorf("unexpected argument %q", flags.Arg(2))
}

// list shows the disks and what speaks against each for an image of size bytes.
func (f flashing) list(size int64) error {
	disks, err := f.host.Disks()
	if err != nil {
		return err
	}
	w := tabwriter.NewWriter(f.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "DISK\tSIZE\tKIND\tMODEL\tSTATE\t")
	for _, d := range disks {
		state := "free"
		if err := d.Refusal(size); err != nil {
			state = err.Error()
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t\n", d.Path, flash.Bytes(d.Size), d.Kind(), d.Model, state)
	}
	return w.Flush()
}

// find returns the disk that somebody named by device file or kernel name, if
// it may be written to. A partition is not a disk.
func (f flashing) find(name string, size int64) (flash.Disk, error) {
	disks, err := f.host.Disks()
	if err != nil {
		return flash.Disk{}, err
	}
	i := slices.IndexFunc(disks, func(d flash.Disk) bool { return d.Name == name || d.Path == name })
	if i < 0 {
		return flash.Disk{}, fmt.Errorf("%s is not one of the disks that `ringfence flash` lists", name)
	}
	if err := disks[i].Refusal(size); err != nil {
		return flash.Disk{}, fmt.Errorf("%s is left alone: %w", name, err)
	}
	return disks[i], nil
}

func (f flashing) write(ctx context.Context, path, name string, sure bool) error {
	img, err := flash.OpenImage(path)
	if err != nil {
		return err
	}
	d, err := f.find(name, img.Size)
	if err != nil {
		return err
	}
	switch err := flash.CheckSums(ctx, path, flash.Bar(f.out, "checking the image")); {
	case errors.Is(err, flash.ErrNoSums):
		fmt.Fprintln(f.out, "The image is not checked before: there is", err)
	case err != nil:
		return err
	}
	if !sure && !f.confirmed(d) {
		return errors.New("nothing was written")
	}
	if _, err := f.find(name, img.Size); err != nil { // it may be mounted by now
		return err
	}
	target, err := flash.OpenDevice(d.Path)
	if err != nil {
		return err
	}
	sums, err := flash.Write(ctx, target, d.Size, img, flash.Bar(f.out, "writing"))
	if err == nil {
		err = flash.Verify(ctx, target, img.Size, sums, flash.Bar(f.out, "reading back"))
	}
	if err := errors.Join(err, target.Close()); err != nil {
		return fmt.Errorf("%w\n%s cannot be booted from now; write it again", err, d.Path)
	}
	fmt.Fprintf(f.out, "\n%s holds the image.\n", d.Path)
	if d.USB || d.Removable {
		fmt.Fprintln(f.out, "Booted from it over USB, a machine offers to install Ringfence on one of its disks.")
	}
	fmt.Fprintln(f.out, "Boot a machine from it: its screen says how to go on.")
	return nil
}

// confirmed has the disk's name typed.
func (f flashing) confirmed(d flash.Disk) bool {
	fmt.Fprintf(f.out, "Everything on %s (%s, %s) will be lost. Type %s to go on: ", d.Path, flash.Bytes(d.Size), d.Model, d.Name)
	line, _ := bufio.NewReader(io.LimitReader(f.in, 256)).ReadString('\n')
	return strings.TrimSpace(line) == d.Name
}
