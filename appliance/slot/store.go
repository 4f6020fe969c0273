package slot

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Paths of the records, from the root of the ESP.
const (
	GrubEnvPath      = "grub/grubenv"
	GrubConfigPath   = "grub/grub.cfg"
	EntriesPath      = "loader/entries"
	LoaderConfigPath = "loader/loader.conf"
)

// maxEntries bounds how many loader entries are looked at, and maxEntrySize
// how long one may be, in bytes.
const (
	maxEntries   = 64
	maxEntrySize = 4096
)

// Store is the slot state on a mounted ESP (or a copy of one). It keeps
// nothing in memory: every method reads the files again. One process at a time
// may write; within it the caller serialises.
type Store struct {
	dir      string
	firmware Firmware
}

// Open returns the store on the ESP that is mounted on dir. firmware is the
// one whose loader started this system, see RunningFirmware.
func Open(dir string, firmware Firmware) *Store {
	return &Store{dir: dir, firmware: firmware}
}

// Load returns the state as the loader of the running firmware keeps it. When
// that record is unusable, the other loader's is returned. It fails, wrapping
// ErrBadState, when both are.
func (s *Store) Load() (State, error) {
	grub, grubErr := s.loadGrub()
	entries, err := s.readEntries()
	if err != nil {
		return State{}, err
	}
	uefi, uefiErr := stateOf(entries)
	if uefiErr == nil && grubErr == nil {
		// An empty slot has no entry that could tell its root.
		for _, n := range []Name{A, B} {
			if img := uefi.Image(n); img.Version == "" {
				img.Root = grub.Image(n).Root
				uefi = uefi.WithImage(n, img)
			}
		}
	}
	switch {
	case s.firmware == UEFI && uefiErr == nil, grubErr != nil && uefiErr == nil:
		return uefi, nil
	case grubErr == nil:
		return grub, nil
	}
	return State{}, fmt.Errorf("loading slot state: %w", errors.Join(grubErr, uefiErr))
}

// Try puts slot n on trial with the given number of tries, 1 to MaxTries. The
// kernel and the root of the slot must be on the disk already. The committed
// slot cannot be put on trial. An empty img.Root keeps the root that is
// recorded.
func (s *Store) Try(n Name, tries int, img Image) error {
	state, err := s.Load()
	if err != nil {
		return err
	}
	if n != state.Committed.Other() {
		return fmt.Errorf("putting slot %q on trial with %s committed: %w", string(n), state.Committed, ErrBadState)
	}
	if tries < 1 || tries > MaxTries {
		return fmt.Errorf("putting slot %s on trial: %d tries are outside 1 to %d", n, tries, MaxTries)
	}
	if img.Root == "" {
		img.Root = state.Image(n).Root
	}
	state = state.WithImage(n, img)
	state.Trial, state.Tries = n, tries
	return s.Save(state)
}

// Commit makes the running slot the one that boots from now on, because it is
// healthy. A trial of the other slot that has not begun is left as it is; one
// that has begun is given up: it runs again until its tries are used, unless
// its kernel could not be started. Nothing is written when nothing changes.
func (s *Store) Commit(running Name) error {
	state, err := s.Load()
	if err != nil {
		return err
	}
	if !running.Valid() {
		return fmt.Errorf("committing slot %q: %w", string(running), ErrBadState)
	}
	if state.Committed != running {
		state.Committed = running
		state.Trial, state.Tries = "", 0
	}
	if state.Trial != "" {
		begun, err := s.begun(state.Trial)
		if err != nil {
			return err
		}
		if begun {
			state.Tries = 0
		}
	}
	return s.Save(state)
}

// begun tells whether systemd-boot has started slot n at least once on its
// trial. GRUB ends a trial itself when it cannot start the kernel.
func (s *Store) begun(n Name) (bool, error) {
	if s.firmware != UEFI {
		return false, nil
	}
	entries, err := s.readEntries()
	return newest(entries)[n].done > 0, err
}

// GiveUp ends the trial of slot n: the next boot goes to the committed slot.
// It does nothing when n is not on trial.
func (s *Store) GiveUp(n Name) error {
	state, err := s.Load()
	if err != nil {
		return err
	}
	if state.Trial == n {
		state.Tries = 0
	}
	return s.Save(state)
}

// SetRoots changes where the loaders tell the kernel to find the two roots,
// for instance after the partitions got new GUIDs.
func (s *Store) SetRoots(a, b string) error {
	state, err := s.Load()
	if err != nil {
		return err
	}
	state.A.Root, state.B.Root = a, b
	return s.Save(state)
}

// Save writes the state to both records, that of the running firmware last:
// until then its loader goes by the old state. Files that are right already
// are not touched.
func (s *Store) Save(state State) error {
	if err := state.Check(); err != nil {
		return err
	}
	writers := []func(State) error{s.saveEntries, s.saveGrub}
	if s.firmware == UEFI {
		writers[0], writers[1] = writers[1], writers[0]
	}
	for _, write := range writers {
		if err := write(state); err != nil {
			return fmt.Errorf("saving slot state: %w", err)
		}
	}
	return nil
}

func (s *Store) path(name string) string { return filepath.Join(s.dir, filepath.FromSlash(name)) }

func (s *Store) loadGrub() (State, error) {
	data, err := readSmall(s.path(GrubEnvPath), grubEnvSize)
	if err != nil {
		return State{}, fmt.Errorf("reading GRUB's environment block: %w", err)
	}
	return DecodeGrubEnv(data)
}

func (s *Store) saveGrub(state State) error {
	want, err := EncodeGrubEnv(state)
	if err != nil {
		return err
	}
	path := s.path(GrubEnvPath)
	if have, err := readSmall(path, grubEnvSize); err == nil && bytes.Equal(have, want) {
		return nil
	}
	// In place, without truncation: the file keeps its blocks and the FAT is
	// not touched.
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE, 0o644)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(want, 0)
	return errors.Join(err, f.Sync(), f.Close())
}

func (s *Store) readEntries() ([]entry, error) {
	files, err := os.ReadDir(s.path(EntriesPath))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("listing loader entries: %w", err)
	}
	var list []entry
	for _, file := range files {
		if len(list) == maxEntries {
			break
		}
		if _, ours := parseEntryName(file.Name()); !ours {
			continue
		}
		content, err := readSmall(filepath.Join(s.path(EntriesPath), file.Name()), maxEntrySize)
		if err != nil {
			return nil, fmt.Errorf("reading loader entry: %w", err)
		}
		if e, ok := parseEntry(file.Name(), string(content)); ok {
			list = append(list, e)
		}
	}
	return list, nil
}

// saveEntries writes the entries that express the state, then removes those of
// ours that do not belong to it. The slot that shall boot next is written
// first.
func (s *Store) saveEntries(state State) error {
	existing, err := s.readEntries()
	if err != nil {
		return err
	}
	want := entriesFor(state, existing)
	keep := make(map[string]bool)
	for _, e := range want {
		keep[e.name()] = true
		if err := s.writeEntry(e); err != nil {
			return err
		}
	}
	return s.removeOthers(keep)
}

func (s *Store) writeEntry(e entry) error {
	dir := s.path(EntriesPath)
	path := filepath.Join(dir, e.name())
	if have, err := readSmall(path, maxEntrySize); err == nil && string(have) == e.content() {
		return nil
	}
	// The loader looks at *.conf only.
	next := filepath.Join(dir, "entry.new")
	if err := writeSync(next, e.content()); err != nil {
		return err
	}
	if err := os.Rename(next, path); err != nil {
		return err
	}
	return syncDir(dir)
}

func (s *Store) removeOthers(keep map[string]bool) error {
	dir := s.path(EntriesPath)
	files, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	removed := false
	for _, file := range files {
		if _, ours := parseEntryName(file.Name()); !ours || keep[file.Name()] {
			continue
		}
		if err := os.Remove(filepath.Join(dir, file.Name())); err != nil {
			return err
		}
		removed = true
	}
	if !removed {
		return nil
	}
	return syncDir(dir)
}

func writeSync(path, content string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o644)
	if err != nil {
		return err
	}
	_, err = f.WriteString(content)
	return errors.Join(err, f.Sync(), f.Close())
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// readSmall reads a file that is at most limit bytes long.
func readSmall(path string, limit int64) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() > limit {
		return nil, fmt.Errorf("%s is not a file of up to %d bytes: %w", filepath.Base(path), limit, ErrBadState)
	}
	return os.ReadFile(path)
}
