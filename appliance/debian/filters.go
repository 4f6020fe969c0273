package debian

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"ringfence/appliance/boot"
)

// filtersFile in sysd's folder lists the packet filters that were laid to rest.
const filtersFile = "filters.json"

// otherFilters are the services of packet filters that Debian has besides ours.
// Two filters are one too many: whatever either of them drops is dropped.
func otherFilters() []string { return []string{"firewalld.service", "ufw.service"} }

// rested is one of them.
type rested struct {
	Unit   string `json:"unit"`
	Active bool   `json:"active"` // it ran before
}

// Filters stops and masks other packet filters.
type Filters struct {
	Dir     string // sysd's
	Systemd Systemd
	Logger  *slog.Logger
}

// Rest stops and masks those that are installed and not masked. It does so
// again when one was installed or unmasked later.
func (f Filters) Rest(ctx context.Context) error {
	known, err := f.load()
	if err != nil {
		return err
	}
	var all error
	for _, name := range otherFilters() {
		u, err := f.Systemd.Unit(ctx, name)
		if err != nil {
			all = errors.Join(all, err)
			continue
		}
		if u.Load != "loaded" {
			continue
		}
		known = note(known, rested{Unit: name, Active: u.Active == "active"})
		// Written first: what is not known cannot be given back.
		if err := f.save(known); err != nil {
			return errors.Join(all, err)
		}
		if err := errors.Join(f.Systemd.Stop(ctx, name), f.Systemd.Mask(ctx, name)); err != nil {
			all = errors.Join(all, err)
			continue
		}
		f.Logger.Warn("another packet filter was stopped and masked; removing the package brings it back", "unit", name, "was_active", u.Active == "active")
	}
	return all
}

// note adds r. One that was noted as running stays so: when it comes again
// after a power cut it may be stopped already.
func note(list []rested, r rested) []rested {
	for i := range list {
		if list[i].Unit == r.Unit {
			list[i].Active = list[i].Active || r.Active
			return list
		}
	}
	return append(list, r)
}

// Restore gives back what Rest took.
func (f Filters) Restore(ctx context.Context) error {
	known, err := f.load()
	if err != nil {
		return err
	}
	var all error
	for _, r := range known {
		err := f.Systemd.Unmask(ctx, r.Unit)
		if err == nil && r.Active {
			err = f.Systemd.Start(ctx, r.Unit)
		}
		if err == nil {
			f.Logger.Info("another packet filter was given back", "unit", r.Unit, "started", r.Active)
		}
		all = errors.Join(all, err)
	}
	if all != nil {
		return all
	}
	return remove(filepath.Join(f.Dir, filtersFile))
}

// Notices tell people.
func (f Filters) Notices() []string {
	known, err := f.load()
	if err != nil {
		return []string{err.Error()}
	}
	var names []string
	for _, r := range known {
		names = append(names, strings.TrimSuffix(r.Unit, ".service"))
	}
	if len(names) == 0 {
		return nil
	}
	return []string{"Stopped and masked, because two packet filters are one too many: " + strings.Join(names, ", ") + "."}
}

func (f Filters) load() (list []rested, err error) {
	return list, load(filepath.Join(f.Dir, filtersFile), &list)
}

func (f Filters) save(list []rested) error { return save(filepath.Join(f.Dir, filtersFile), list) }

// load reads a JSON file; a missing one leaves v as it is.
func load(path string, v any) error {
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = json.Unmarshal(data, v)
	}
	if err != nil {
		return fmt.Errorf("reading %s: %w", path, err)
	}
	return nil
}

func save(path string, v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return boot.WriteFile(path, append(data, '\n'), 0o600)
}

func remove(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("removing %s: %w", path, err)
	}
	return nil
}
