package store

import (
	"os"
	"syscall"
)

// fdatasync makes a file's content durable. The size of the files it is used
// on does not change, so the cheaper call is enough.
func fdatasync(f *os.File) error { return syscall.Fdatasync(int(f.Fd())) }
