package confine

import (
	"fmt"
	"runtime"
	"unsafe"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// Filter is what a process may ask the kernel for from now on.
type Filter struct {
	Rules []Rule
	// Trap ends the process with a trace at a call that no rule names, for
	// tests that are to find what a rule is missing for.
	Trap bool
}

// Load puts the filter before every thread of this process and of what comes
// of it. There is no way back. What it refuses is in the kernel's log, where
// the kernel has an audit system.
func (f Filter) Load() error {
	refuse := func(e unix.Errno) uint32 { return unix.SECCOMP_RET_ERRNO | uint32(e) }
	v := verdicts{allow: unix.SECCOMP_RET_ALLOW, refuse: refuse(unix.EPERM), unknown: refuse(unix.ENOSYS), kill: unix.SECCOMP_RET_KILL_PROCESS}
	if f.Trap {
		v.unknown = unix.SECCOMP_RET_TRAP
	}
	p, err := program(thisMachine(), v, f.Rules, never())
	if err != nil {
		return err
	}
	raw, err := bpf.Assemble(p)
	if err != nil {
		return fmt.Errorf("assembling the system call filter: %w", err)
	}
	code := make([]unix.SockFilter, len(raw))
	for i, in := range raw {
		code[i] = unix.SockFilter{Code: in.Op, Jt: in.Jt, Jf: in.Jf, K: in.K}
	}
	// no_new_privs belongs to a thread until TSYNC gives it to all.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("renouncing new rights: %w", err)
	}
	fprog := unix.SockFprog{Len: uint16(len(code)), Filter: &code[0]}
	for _, flags := range []uintptr{unix.SECCOMP_FILTER_FLAG_TSYNC | unix.SECCOMP_FILTER_FLAG_LOG, unix.SECCOMP_FILTER_FLAG_TSYNC} {
		thread, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, flags, uintptr(unsafe.Pointer(&fprog)))
		runtime.KeepAlive(code)
		switch {
		case errno == unix.EINVAL: // Linux 4.13 knows no log
			err = errno
		case errno != 0:
			return fmt.Errorf("filtering system calls: %w", errno)
		case thread != 0:
			return fmt.Errorf("filtering system calls: thread %d has a filter of its own", thread)
		default:
			return nil
		}
	}
	return fmt.Errorf("filtering system calls: %w", err)
}
