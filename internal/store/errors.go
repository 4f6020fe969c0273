package store

import (
	"errors"
	"fmt"

	"ringfence/internal/telephony"
)

// Errors callers tell apart with errors.Is.
var (
	// ErrNotFound says that the row does not exist in the caller's scope.
	ErrNotFound = errors.New("not found")
	// ErrExists says that a unique name is taken.
	ErrExists = errors.New("already exists")
	// ErrScope says that a tenant scope asked for something of the whole box.
	ErrScope = errors.New("not allowed in a tenant's scope")
	// ErrClosed says that the store was closed.
	ErrClosed = errors.New("store is closed")
	// ErrInUse says that another process has the folder open.
	ErrInUse = errors.New("in use by another process")
	// ErrTried says that another change has to be confirmed or taken back first.
	ErrTried = errors.New("a change waits to be confirmed")
	// ErrNoTrial says that no such change waits to be confirmed.
	ErrNoTrial = errors.New("no such change waits to be confirmed")
	// ErrNoSnapshot says that no good snapshot is there to return to.
	ErrNoSnapshot = errors.New("no good snapshot")
)

// CorruptError says that the database was found damaged, and how. Nothing was
// changed; Recover goes back to the newest good snapshot.
type CorruptError struct {
	Path   string
	Reason string
}

func (e *CorruptError) Error() string {
	return fmt.Sprintf("database %s is damaged: %s; restore a snapshot or a backup", e.Path, e.Reason)
}

// MissingError says that the key file stands there without its database.
type MissingError struct {
	Path string
	What string
}

func (e *MissingError) Error() string {
	return fmt.Sprintf("%s %s is missing although this system was set up; restore a backup or reset to factory defaults", e.What, e.Path)
}

// taken is ErrExists that names the field.
func taken(field, reason string) error {
	return fmt.Errorf("%w: %w", ErrExists, &telephony.FieldError{Field: field, Reason: reason})
}
