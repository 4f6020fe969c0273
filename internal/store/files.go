package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// Names inside the data folder.
const (
	databaseName = "ringfence.db"
	keyName      = "ringfence.key"
	witnessName  = "ringfence.witness"
	lockName     = "ringfence.lock"
	creatingName = "ringfence.creating" // stands while a fresh system is being made
	snapshotDir  = "snapshots"
)

// paths of one data folder.
type paths struct {
	dir, database, key, witness, lock, creating, snapshots string
}

func pathsOf(dir, keyFile string) paths {
	if keyFile == "" {
		keyFile = filepath.Join(dir, keyName)
	}
	return paths{
		dir:       dir,
		database:  filepath.Join(dir, databaseName),
		key:       keyFile,
		witness:   filepath.Join(dir, witnessName),
		lock:      filepath.Join(dir, lockName),
		creating:  filepath.Join(dir, creatingName),
		snapshots: filepath.Join(dir, snapshotDir),
	}
}

func exists(path string) (bool, error) {
	_, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// lockPatience is how long the folder's lock may still be held by what is on
// its way out: a process that was killed, or a child between fork and exec.
const lockPatience = time.Second

// lockDir keeps a second process out of the folder.
func lockDir(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|syscall.O_CLOEXEC, 0o600)
	if err != nil {
		return nil, fmt.Errorf("locking data folder: %w", err)
	}
	deadline := time.Now().Add(lockPatience)
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	for errors.Is(err, syscall.EWOULDBLOCK) && time.Now().Before(deadline) {
		time.Sleep(10 * time.Millisecond)
		err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	}
	if err != nil {
		f.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("locking data folder %s: %w", filepath.Dir(path), ErrInUse)
		}
		return nil, fmt.Errorf("locking data folder: %w", err)
	}
	return f, nil
}

// writeFile writes a file that is there whole or not at all, also after a
// power cut.
func writeFile(path string, data []byte, mode os.FileMode) error {
	tmp := path + ".tmp"
	f, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, mode)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Chmod(mode) // the umask may have taken bits away
	}
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return errors.Join(err, os.Remove(tmp))
	}
	if err := os.Rename(tmp, path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

// syncDir makes renames, creations and removals in dir durable.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// removeAll removes files that may be missing.
func removeAll(paths ...string) error {
	var errs []error
	for _, p := range paths {
		if err := os.Remove(p); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// databaseFiles are the database and what SQLite keeps beside it.
func databaseFiles(path string) []string { return []string{path, path + "-wal", path + "-shm"} }
