// Package install is the dialog of a machine that was started from a stick: it
// shows the disks, asks for one and for a confirmation, writes what is on the
// stick to it and reads it back. The stick itself is only read.
package install

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"ringfence/appliance/flash"
)

// Choice is how the dialog ended.
type Choice int

// The choices.
const (
	Interrupted Choice = iota // by the machine's end
	Restart                   // installed
	RunHere                   // use the system on the stick itself
	PowerOff
)

// Options are what the dialog works with.
type Options struct {
	Product string
	Host    flash.Host
	Stick   string // kernel's name of the disk that the system runs from
	Size    int64  // bytes of the image on it
	// Out shows text on every terminal, Lines are what was typed on any.
	Out   io.Writer
	Lines <-chan string
	// Open opens a disk for writing; flash.OpenDevice when nil.
	Open func(path string) (flash.Target, error)
	// Stay keeps this program in memory when its disk is pulled out; it may be nil.
	Stay func()
}

type dialog struct {
	Options
	ctx   context.Context
	disks []flash.Disk // as last shown, the stick left out
}

// Run talks until there is a choice.
func Run(ctx context.Context, o Options) Choice {
	if o.Open == nil {
		o.Open = flash.OpenDevice
	}
	d := &dialog{Options: o, ctx: ctx}
	d.say("\n%s\n%s\n", o.Product, strings.Repeat("-", len(o.Product)))
	for ctx.Err() == nil {
		target, choice := d.choose()
		if choice != Restart {
			return choice
		}
		if !d.confirmed(target) {
			d.say("Nothing was written.\n")
			continue
		}
		if err := d.install(target); err != nil {
			d.say("\nTHIS DID NOT WORK: %v.\n%s cannot be started from now. Try again, or take another disk.\n", err, target.Name)
			continue
		}
		if d.farewell(target) {
			return Restart
		}
	}
	return Interrupted
}

func (d *dialog) say(format string, args ...any) { fmt.Fprintf(d.Out, format, args...) }

// read returns the next line typed; false is the machine's end.
func (d *dialog) read(prompt string, args ...any) (string, bool) {
	d.say(prompt+"\n> ", args...)
	select {
	case line := <-d.Lines:
		return strings.TrimSpace(line), true
	case <-d.ctx.Done():
		return "", false
	}
}

// choose shows the disks until one of them, or something else, is chosen.
func (d *dialog) choose() (flash.Disk, Choice) {
	for {
		if err := d.show(); err != nil {
			d.say("The disks cannot be listed: %v\n", err)
		}
		line, ok := d.read("\nType the number of the disk to install on. Or: \"run\" to use Ringfence from the\nstick itself, \"off\" to switch off, Enter to look for disks again.")
		switch line = strings.ToLower(line); {
		case !ok:
			return flash.Disk{}, Interrupted
		case line == "run":
			return flash.Disk{}, RunHere
		case line == "off":
			return flash.Disk{}, PowerOff
		case line == "":
			continue
		}
		disk, err := d.find(line)
		if err == nil {
			return disk, Restart
		}
		d.say("\n%v.\n", err)
	}
}

// show lists what can be installed on, by number, and what cannot.
func (d *dialog) show() error {
	all, err := d.Host.Disks()
	if err != nil {
		return err
	}
	d.say("\nThis machine was started from %s. Nothing on it is changed.\nRingfence can be installed on:\n\n", d.stick(all))
	d.disks = slices.DeleteFunc(all, func(k flash.Disk) bool { return k.Name == d.Stick })
	free := 0
	for i, k := range d.disks {
		if why := k.Refusal(d.Size); why == nil {
			free++
			d.say("  %d  %-10s %10s  %-9s  %s\n", i+1, k.Name, flash.Bytes(k.Size), k.Kind(), k.Model)
		}
	}
	if free == 0 {
		d.say("  (no disk of this machine)\n")
	}
	for _, k := range d.disks {
		if why := k.Refusal(d.Size); why != nil {
			d.say("  -  %-10s %10s  %-9s  %s: not usable, %v\n", k.Name, flash.Bytes(k.Size), k.Kind(), k.Model, why)
		}
	}
	return nil
}

// stick describes the disk that the system runs from.
func (d *dialog) stick(all []flash.Disk) string {
	for _, k := range all {
		if k.Name == d.Stick {
			return fmt.Sprintf("%s (%s, %s, %s)", k.Name, k.Kind(), flash.Bytes(k.Size), k.Model)
		}
	}
	return d.Stick
}

// find returns the disk that was meant by number or name, if it may be written.
func (d *dialog) find(text string) (flash.Disk, error) {
	if strings.TrimPrefix(text, "/dev/") == d.Stick {
		return flash.Disk{}, fmt.Errorf("%s is what this machine was started from: it is never written to", d.Stick)
	}
	i := slices.IndexFunc(d.disks, func(k flash.Disk) bool { return k.Name == text })
	if n, err := strconv.Atoi(text); err == nil {
		i = n - 1
	}
	if i < 0 || i >= len(d.disks) {
		return flash.Disk{}, fmt.Errorf("%q is none of these disks", text)
	}
	if why := d.disks[i].Refusal(d.Size); why != nil {
		return flash.Disk{}, fmt.Errorf("%s cannot be used: %w", d.disks[i].Name, why)
	}
	return d.disks[i], nil
}

func (d *dialog) confirmed(k flash.Disk) bool {
	line, ok := d.read("\nEVERYTHING ON %s (%s, %s) WILL BE LOST.\nType its name, %s, to go on. Anything else goes back.", k.Name, flash.Bytes(k.Size), k.Model, k.Name)
	return ok && line == k.Name
}

// install writes the stick's image to a disk that is looked at once more: it
// may be another by now. The kernel refuses, too, to open the stick's disk for
// writing while the system runs from it.
func (d *dialog) install(chosen flash.Disk) error {
	all, err := d.Host.Disks()
	if err != nil {
		return err
	}
	i := slices.IndexFunc(all, func(k flash.Disk) bool { return k.Name == chosen.Name })
	if i < 0 || all[i].Name == d.Stick || all[i].Size != chosen.Size || all[i].Model != chosen.Model {
		return errors.New("it is not there any more")
	}
	if why := all[i].Refusal(d.Size); why != nil {
		return why
	}
	target, err := d.Open(all[i].Path)
	if err != nil {
		return err
	}
	d.say("\n")
	img := flash.Image{Name: d.Stick, Size: d.Size, Open: func() (io.ReadCloser, error) {
		return os.Open(filepath.Join(d.Host.Root, "dev", d.Stick))
	}}
	sums, err := flash.Write(d.ctx, target, chosen.Size, img, flash.Bar(d.Out, "writing"))
	if err == nil {
		err = flash.Verify(d.ctx, target, d.Size, sums, flash.Bar(d.Out, "reading back"))
	}
	return errors.Join(err, target.Close())
}

// farewell waits until the stick is out, or somebody says so.
func (d *dialog) farewell(k flash.Disk) bool {
	if d.Stay != nil {
		d.Stay()
	}
	d.say("\nRingfence is on %s, and what was written was read back and is right.\nRemove the stick. The machine then restarts from %s; if not, press Enter.\n", k.Name, k.Name)
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			if _, err := os.Stat(filepath.Join(d.Host.Root, "sys/block", d.Stick)); errors.Is(err, os.ErrNotExist) {
				return true
			}
		case <-d.Lines:
			return true
		case <-d.ctx.Done():
			return false
		}
	}
}
