// Package flash writes an image to a whole disk and reads it back, and knows
// which disks may be written to: for `ringfence flash` and for the installer on
// a stick.
package flash

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// sectorSize is the only logical sector of a disk that the image fits.
const sectorSize = 512

// Disk is a drive of this machine.
type Disk struct {
	Name  string // of the kernel, such as "sda"
	Path  string // device file
	Size  int64  // bytes
	Model string
	// USB and Removable tell a stick from a drive.
	USB, Removable bool
	ReadOnly       bool
	Sector         int64 // bytes of a logical sector
	// Uses say what holds the disk: mounts, swap, a volume made of it.
	Uses []string

	numbers map[string]bool // "major:minor" of the disk and its partitions
	names   map[string]bool // their kernel names
}

// Host is where to look for disks: the machine's root folder, or a copy of its
// shape in tests.
type Host struct{ Root string }

func (h Host) path(name string) string { return filepath.Join(h.Root, name) }

// Disks lists what could be written to by its hardware, sorted by name: no
// volumes, no loop devices, no CD drives.
func (h Host) Disks() ([]Disk, error) {
	list, err := os.ReadDir(h.path("sys/block"))
	if err != nil {
		return nil, fmt.Errorf("listing disks: %w", err)
	}
	var disks []Disk
	for _, e := range list {
		if d, ok := h.disk(e.Name()); ok {
			disks = append(disks, d)
		}
	}
	if err := h.findUses(disks); err != nil {
		return nil, err
	}
	slices.SortFunc(disks, func(a, b Disk) int { return cmp.Compare(a.Name, b.Name) })
	return disks, nil
}

// disk reads what sysfs says of one, and reports whether it is a disk at all.
func (h Host) disk(name string) (Disk, bool) {
	dir := h.path("sys/block/" + name)
	d := Disk{Name: name, Path: h.path("dev/" + name), numbers: map[string]bool{}, names: map[string]bool{name: true}}
	if _, err := os.Stat(filepath.Join(dir, "device")); err != nil {
		return d, false // made of others: loop, ram, dm, md
	}
	sectors, err := strconv.ParseInt(attribute(dir, "size"), 10, 64)
	const scsiCD = "5"
	if err != nil || sectors <= 0 || attribute(dir, "device/type") == scsiCD || strings.HasPrefix(name, "fd") {
		return d, false
	}
	d.Size = sectors * 512 // the kernel counts in 512 bytes, whatever the sector
	d.Model = model(dir)
	d.Removable = attribute(dir, "removable") == "1"
	d.ReadOnly = attribute(dir, "ro") == "1"
	if d.Sector, err = strconv.ParseInt(attribute(dir, "queue/logical_block_size"), 10, 64); err != nil {
		d.Sector = sectorSize
	}
	if real, err := filepath.EvalSymlinks(dir); err == nil {
		d.USB = regexp.MustCompile(`/usb\d+/`).MatchString(real)
	}
	d.numbers[attribute(dir, "dev")] = true
	d.holders(dir)
	parts, _ := filepath.Glob(filepath.Join(dir, name+"*", "partition"))
	for _, p := range parts {
		part := filepath.Dir(p)
		d.names[filepath.Base(part)] = true
		d.numbers[attribute(part, "dev")] = true
		d.holders(part)
	}
	return d, true
}

// holders are the volumes made of a disk or partition.
func (d *Disk) holders(dir string) {
	list, _ := os.ReadDir(filepath.Join(dir, "holders"))
	for _, e := range list {
		d.Uses = append(d.Uses, "part of "+e.Name())
	}
}

// attribute is a file of sysfs, printable and short; empty when there is none.
func attribute(dir, name string) string {
	text, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		return ""
	}
	clean := strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return ' '
		}
		return r
	}, string(text[:min(len(text), 128)]))
	return strings.Join(strings.Fields(clean), " ")
}

func model(dir string) string {
	vendor, name := attribute(dir, "device/vendor"), cmp.Or(attribute(dir, "device/model"), attribute(dir, "device/name"))
	if vendor == "ATA" || strings.HasPrefix(vendor, "0x") {
		vendor = ""
	}
	return cmp.Or(strings.TrimSpace(vendor+" "+name), "no name")
}

// findUses adds what is mounted and what is swapped to.
func (h Host) findUses(disks []Disk) error {
	add := func(number, source, use string) {
		name := filepath.Base(source)
		if real, err := filepath.EvalSymlinks(h.path(source)); err == nil {
			name = filepath.Base(real)
		}
		for i := range disks {
			d := &disks[i]
			if (d.numbers[number] || strings.HasPrefix(source, "/dev/") && d.names[name]) && !slices.Contains(d.Uses, use) {
				d.Uses = append(d.Uses, use)
			}
		}
	}
	err := h.lines("proc/self/mountinfo", func(line string) {
		// proc(5): id, parent, device, root, mount point, ..., "-", type, source.
		before, after, _ := strings.Cut(line, " - ")
		f, g := strings.Fields(before), strings.Fields(after)
		if len(f) >= 5 && len(g) >= 2 {
			add(f[2], unescape(g[1]), "mounted on "+unescape(f[4]))
		}
	})
	if err != nil {
		return fmt.Errorf("reading what is mounted: %w", err)
	}
	err = h.lines("proc/swaps", func(line string) {
		if f := strings.Fields(line); len(f) > 0 {
			add("", unescape(f[0]), "swap")
		}
	})
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("reading what is swapped to: %w", err)
	}
	return nil
}

func (h Host) lines(name string, f func(string)) error {
	file, err := os.Open(h.path(name))
	if err != nil {
		return err
	}
	defer file.Close()
	s := bufio.NewScanner(file)
	for s.Scan() {
		f(s.Text())
	}
	return s.Err()
}

// unescape undoes the octal escapes of mountinfo.
func unescape(s string) string {
	return regexp.MustCompile(`\\[0-7]{3}`).ReplaceAllStringFunc(s, func(e string) string {
		n, err := strconv.ParseUint(e[1:], 8, 8)
		if err != nil {
			return e
		}
		return string([]byte{byte(n)})
	})
}

// Running reports whether the system that asks runs from this disk.
func (d Disk) Running() bool { return slices.Contains(d.Uses, "mounted on /") }

// Refusal says why an image of size bytes must not be written to the disk, or
// is nil.
func (d Disk) Refusal(size int64) error {
	switch {
	case d.Running():
		return errors.New("this system runs from it")
	case len(d.Uses) > 0:
		return errors.New(strings.Join(d.Uses, ", "))
	case d.ReadOnly:
		return errors.New("read-only")
	case d.Sector != sectorSize:
		return fmt.Errorf("sectors of %d bytes", d.Sector)
	case d.Size < size:
		return fmt.Errorf("too small: %s are needed", Bytes(size))
	}
	return nil
}

// Bytes writes a size as disks are sold, in powers of ten; what is whole MiB
// and small, as images are, in powers of two.
func Bytes(n int64) string {
	switch {
	case n%(1<<30) == 0 && n < 1<<36:
		return fmt.Sprintf("%d GiB", n>>30)
	case n >= 1e12:
		return fmt.Sprintf("%.1f TB", float64(n)/1e12)
	case n >= 1e9:
		return fmt.Sprintf("%.1f GB", float64(n)/1e9)
	}
	return fmt.Sprintf("%.1f MB", float64(n)/1e6)
}

// Kind says what hardware a disk is, in a word.
func (d Disk) Kind() string {
	switch {
	case d.USB:
		return "USB"
	case d.Removable:
		return "removable"
	}
	return "fixed"
}
