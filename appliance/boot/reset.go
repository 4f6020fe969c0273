package boot

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// resetPending reports whether the last operator asked for a factory reset.
func (p Paths) resetPending() bool {
	info, err := os.Lstat(p.Keeper(ResetFile))
	return err == nil && info.Mode().IsRegular()
}

// RequestReset asks for a factory reset at the next boot.
func (p Paths) RequestReset() error {
	return replaceFile(p.Keeper(ResetFile), nil, 0o600, -1, -1)
}

// factoryReset removes everything from /perm. The request goes last, so that a
// reset that was cut off is carried on by the next boot.
func (p Paths) factoryReset() error {
	if err := makeFolder(folder{p.Perm("sysd"), UserRoot, UserRoot, 0o700}, func(string, int, int) error { return nil }); err != nil {
		return fmt.Errorf("factory reset: %w", err)
	}
	if !p.resetPending() { // asked for on the kernel's command line
		if err := p.RequestReset(); err != nil {
			return fmt.Errorf("factory reset: %w", err)
		}
	}
	err := errors.Join(
		removeAllBut(p.Perm(""), "lost+found", "sysd"),
		removeAllBut(p.Perm("sysd"), ResetFile),
	)
	if err != nil {
		return fmt.Errorf("factory reset: %w", err)
	}
	if err := errors.Join(syncFolder(p.Perm("")), syncFolder(p.Perm("sysd"))); err != nil {
		return fmt.Errorf("factory reset: %w", err)
	}
	if err := os.Remove(p.Keeper(ResetFile)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("factory reset: %w", err)
	}
	return syncFolder(p.Perm("sysd"))
}

func removeAllBut(dir string, keep ...string) error {
	list, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	var problems []error
next:
	for _, e := range list {
		for _, k := range keep {
			if e.Name() == k {
				continue next
			}
		}
		problems = append(problems, os.RemoveAll(filepath.Join(dir, e.Name())))
	}
	return errors.Join(problems...)
}
