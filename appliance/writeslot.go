package appliance

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"ringfence/appliance/disk"
	"ringfence/appliance/slot"
)

// SlotContent is what WriteSlot puts into a slot.
type SlotContent struct {
	Name    slot.Name
	Root    string // path of a squashfs; empty leaves the root as it is
	Kernel  string // path of a kernel; empty leaves the kernel as it is
	Version string
	// Tries puts the slot on trial with that many boots; 0 commits it.
	Tries int
	// Firmware is the one the image was last booted with; it does not matter
	// for an image that was not booted yet.
	Firmware slot.Firmware
}

// WriteSlot writes a slot of a raw image that is not in use, as an update does
// inside the guest: first root and kernel, then the loaders' records.
func WriteSlot(ctx context.Context, image string, c SlotContent) error {
	if !c.Name.Valid() {
		return fmt.Errorf("writing slot: %q is not the name of one", string(c.Name))
	}
	scratch, err := os.MkdirTemp("", "ringfence-slot-")
	if err != nil {
		return fmt.Errorf("writing slot %s: %w", c.Name, err)
	}
	defer os.RemoveAll(scratch)
	table, err := readTable(image)
	if err != nil {
		return fmt.Errorf("writing slot %s: %w", c.Name, err)
	}
	if err := writeRootOf(image, table, c); err != nil {
		return fmt.Errorf("writing slot %s: %w", c.Name, err)
	}
	part, found := table.Part(disk.ESP)
	if !found {
		return fmt.Errorf("writing slot %s: the image has no EFI system partition", c.Name)
	}
	esp := fat{tools: tools{home: scratch, time: time.Unix(fallbackTime, 0)}, image: image, offset: part.Offset()}
	if c.Kernel != "" {
		kernel, err := os.ReadFile(c.Kernel)
		if err != nil {
			return fmt.Errorf("writing slot %s: %w", c.Name, err)
		}
		if err := esp.write(ctx, scratch, kernelFiles(c.Name, kernel)); err != nil {
			return err
		}
	}
	return changeState(ctx, esp, scratch, c.Firmware, func(s *slot.Store) error {
		if c.Tries > 0 {
			return s.Try(c.Name, c.Tries, slot.Image{Version: c.Version})
		}
		state, err := s.Load()
		if err != nil {
			return err
		}
		img := state.Image(c.Name)
		img.Version = c.Version
		state = state.WithImage(c.Name, img)
		state.Committed, state.Trial, state.Tries = c.Name, "", 0
		return s.Save(state)
	})
}

// ReadState returns the slot state of a raw image that is not in use.
func ReadState(ctx context.Context, image string, firmware slot.Firmware) (slot.State, error) {
	scratch, err := os.MkdirTemp("", "ringfence-slot-")
	if err != nil {
		return slot.State{}, fmt.Errorf("reading slot state: %w", err)
	}
	defer os.RemoveAll(scratch)
	table, err := readTable(image)
	if err != nil {
		return slot.State{}, fmt.Errorf("reading slot state: %w", err)
	}
	part, _ := table.Part(disk.ESP)
	esp := fat{tools: tools{home: scratch, time: time.Unix(fallbackTime, 0)}, image: image, offset: part.Offset()}
	dir := filepath.Join(scratch, "records")
	if _, err := fetchRecords(ctx, esp, dir); err != nil {
		return slot.State{}, err
	}
	return slot.Open(dir, firmware).Load()
}

func readTable(image string) (*disk.Table, error) {
	f, err := os.Open(image)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	return disk.Read(f, info.Size())
}

func writeRootOf(image string, table *disk.Table, c SlotContent) error {
	if c.Root == "" {
		return nil
	}
	part, found := table.Part(disk.RootPart(c.Name))
	if !found {
		return fmt.Errorf("the image has no root partition %s", c.Name)
	}
	f, err := os.OpenFile(image, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	return errors.Join(copyInto(f, part.Offset(), c.Root, part.Size()), f.Close())
}

// changeState copies the loaders' records out of the image, lets the same code
// as in the guest change them, and copies back.
func changeState(ctx context.Context, esp fat, scratch string, firmware slot.Firmware, change func(*slot.Store) error) error {
	dir := filepath.Join(scratch, "records")
	before, err := fetchRecords(ctx, esp, dir)
	if err != nil {
		return err
	}
	if err := change(slot.Open(dir, firmware)); err != nil {
		return err
	}
	after := map[string][]byte{}
	for _, pattern := range []string{slot.GrubEnvPath, slot.EntriesPath + "/*.conf"} {
		names, err := filepath.Glob(filepath.Join(dir, pattern))
		if err != nil {
			return err
		}
		for _, name := range names {
			content, err := os.ReadFile(name)
			if err != nil {
				return err
			}
			after[filepath.ToSlash(strings.TrimPrefix(name, dir+string(filepath.Separator)))] = content
		}
	}
	for _, name := range before {
		if _, kept := after[name]; !kept {
			if err := esp.remove(ctx, name); err != nil {
				return err
			}
		}
	}
	return esp.write(ctx, scratch, after)
}

// fetchRecords copies the records to dir and returns their names.
func fetchRecords(ctx context.Context, esp fat, dir string) ([]string, error) {
	names := []string{slot.GrubEnvPath}
	entries, err := esp.list(ctx, slot.EntriesPath)
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		names = append(names, slot.EntriesPath+"/"+e)
	}
	slices.Sort(names)
	for _, name := range names {
		content, err := esp.read(ctx, name)
		if err != nil {
			return nil, err
		}
		local := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(local), 0o755); err != nil {
			return nil, err
		}
		if err := os.WriteFile(local, content, 0o644); err != nil {
			return nil, err
		}
	}
	return names, nil
}
