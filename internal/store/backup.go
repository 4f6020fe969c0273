package store

import (
	"context"
	"fmt"
	"os"
)

// Backup writes a consistent copy of the whole database to path, which must
// not exist, while the store stays in use. The copy holds SIP passwords only
// encrypted: to restore it on another machine the key file is needed too.
func (s *Store) Backup(ctx context.Context, path string) error {
	if have, err := exists(path); err != nil || have {
		return fmt.Errorf("backing up to %s: file exists (%w)", path, ErrExists)
	}
	// The pool may not write anywhere, not even to another file.
	db := openForCheck(s.paths.database)
	defer db.Close()
	if _, err := db.ExecContext(ctx, `VACUUM INTO ?`, path); err != nil {
		return fmt.Errorf("backing up to %s: %w", path, err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		return fmt.Errorf("backing up to %s: %w", path, err)
	}
	if err := syncFile(path); err != nil {
		return fmt.Errorf("backing up to %s: %w", path, err)
	}
	return nil
}
