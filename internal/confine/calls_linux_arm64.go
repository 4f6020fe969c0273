package confine

import "golang.org/x/sys/unix"

func thisMachine() machine { return machine{arch: unix.AUDIT_ARCH_AARCH64} }

const sysFstatat = unix.SYS_FSTATAT

// There are no legacy calls on this architecture.
func legacyRuntime() []Rule    { return nil }
func legacyReadFiles() []Rule  { return nil }
func legacyWriteFiles() []Rule { return nil }

func legacyNever() []uintptr { return []uintptr{unix.SYS_KEXEC_FILE_LOAD} }
