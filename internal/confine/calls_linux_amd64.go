package confine

import "golang.org/x/sys/unix"

// thisMachine: x32 numbers begin with __X32_SYSCALL_BIT.
func thisMachine() machine { return machine{arch: unix.AUDIT_ARCH_X86_64, foreign: 0x4000_0000} }

const sysFstatat = unix.SYS_NEWFSTATAT

// The legacy calls are those that newer architectures never had. The Go
// runtime makes the first few, SQLite the others.
func legacyRuntime() []Rule {
	return calls(unix.SYS_ARCH_PRCTL, unix.SYS_EPOLL_WAIT, unix.SYS_POLL, unix.SYS_TIME)
}

func legacyReadFiles() []Rule {
	return calls(unix.SYS_OPEN, unix.SYS_STAT, unix.SYS_LSTAT, unix.SYS_ACCESS, unix.SYS_READLINK)
}

func legacyWriteFiles() []Rule {
	return calls(unix.SYS_UNLINK, unix.SYS_MKDIR, unix.SYS_RMDIR, unix.SYS_RENAME, unix.SYS_CHMOD)
}

func legacyNever() []uintptr {
	return []uintptr{unix.SYS_FORK, unix.SYS_VFORK, unix.SYS_KEXEC_FILE_LOAD, unix.SYS_IOPL, unix.SYS_IOPERM, unix.SYS_MODIFY_LDT, unix.SYS_USELIB, unix.SYS_MKNOD}
}
