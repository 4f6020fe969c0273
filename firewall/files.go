package firewall

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// files keeps the confirmed and the pending value of one setting in a folder.
// Every write is complete on disk, or did not happen.
type files[T any] struct {
	dir  string
	name string
}

// sealed is a file's content. The sum tells a damaged file from a valid one
// that says something else.
type sealed struct {
	Sum   string          `json:"sha256"`
	Value json.RawMessage `json:"value"`
}

func (f files[T]) confirmedPath() string { return filepath.Join(f.dir, f.name+".confirmed.json") }
func (f files[T]) pendingPath() string   { return filepath.Join(f.dir, f.name+".pending.json") }
func (f files[T]) damagedPath() string   { return filepath.Join(f.dir, f.name+".damaged.json") }

// confirmed reads the confirmed value; found is false if there is none yet.
func (f files[T]) confirmed() (value T, found bool, err error) { return f.read(f.confirmedPath()) }

// pending reads the pending value.
func (f files[T]) pending() (value T, found bool, err error) { return f.read(f.pendingPath()) }

func (f files[T]) read(path string) (value T, found bool, err error) {
	raw, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return value, false, nil
	}
	if err != nil {
		return value, false, err
	}
	var s sealed
	if err := json.Unmarshal(raw, &s); err != nil {
		return value, false, fmt.Errorf("reading %s: %w", path, err)
	}
	if s.Sum != sum(s.Value) {
		return value, false, fmt.Errorf("reading %s: checksum does not match", path)
	}
	if err := json.Unmarshal(s.Value, &value); err != nil {
		return value, false, fmt.Errorf("reading %s: %w", path, err)
	}
	return value, true, nil
}

func sum(value []byte) string {
	h := sha256.Sum256(value)
	return hex.EncodeToString(h[:])
}

func (f files[T]) putPending(value T) error   { return f.write(f.pendingPath(), value) }
func (f files[T]) putConfirmed(value T) error { return f.write(f.confirmedPath(), value) }

// promote makes the pending value the confirmed one.
func (f files[T]) promote() error {
	if err := os.Rename(f.pendingPath(), f.confirmedPath()); err != nil {
		return err
	}
	return syncDir(f.dir)
}

// dropPending forgets the pending value.
func (f files[T]) dropPending() error {
	err := os.Remove(f.pendingPath())
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return errors.Join(err, syncDir(f.dir))
}

// setAside keeps a damaged confirmed file for inspection.
func (f files[T]) setAside() error {
	if err := os.Rename(f.confirmedPath(), f.damagedPath()); err != nil {
		return err
	}
	return syncDir(f.dir)
}

func (f files[T]) write(path string, value T) error {
	raw, err := json.Marshal(value)
	if err != nil {
		return fmt.Errorf("encoding %s: %w", path, err)
	}
	// Marshal compacts a RawMessage, so the sum is taken over what it yields.
	var compact bytes.Buffer
	if err := json.Compact(&compact, raw); err != nil {
		return fmt.Errorf("encoding %s: %w", path, err)
	}
	out, err := json.Marshal(sealed{Sum: sum(compact.Bytes()), Value: compact.Bytes()})
	if err != nil {
		return fmt.Errorf("encoding %s: %w", path, err)
	}
	return writeDurably(path, out)
}

// writeDurably replaces path in such a way that a power cut leaves the old or
// the new content.
func writeDurably(path string, data []byte) (err error) {
	temp, err := os.CreateTemp(filepath.Dir(path), ".new-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(temp.Name())
		}
	}()
	_, err = temp.Write(data)
	err = errors.Join(err, temp.Sync(), temp.Close())
	if err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	if err := os.Rename(temp.Name(), path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
