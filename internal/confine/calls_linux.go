package confine

import (
	"os"
	"slices"

	"golang.org/x/sys/unix"
)

func calls(numbers ...uintptr) []Rule {
	all := make([]Rule, len(numbers))
	for i, n := range numbers {
		all[i] = Rule{Call: n}
	}
	return all
}

func is(index int, value uint32) Arg { return Arg{index, 0xffffffff, value} }

// none demands that no bit of mask is set.
func none(index int, mask uint32) Arg { return Arg{index, mask, 0} }

// GoRuntime are the calls of any Go program: memory, threads, time, signals to
// itself. Memory is never executable, and a thread is never a process.
func GoRuntime() []Rule {
	self := uint32(os.Getpid())
	const namespaces = unix.CLONE_NEWNS | unix.CLONE_NEWCGROUP | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC | unix.CLONE_NEWUSER | unix.CLONE_NEWPID | unix.CLONE_NEWNET
	thread := Arg{0, unix.CLONE_THREAD | unix.CLONE_VM | unix.CLONE_VFORK | namespaces, unix.CLONE_THREAD | unix.CLONE_VM}
	return append(append(calls(
		unix.SYS_BRK, unix.SYS_MUNMAP, unix.SYS_MREMAP, unix.SYS_MADVISE, unix.SYS_MINCORE,
		unix.SYS_FUTEX, unix.SYS_SCHED_YIELD, unix.SYS_SCHED_GETAFFINITY, unix.SYS_EXIT, unix.SYS_EXIT_GROUP,
		unix.SYS_SET_ROBUST_LIST, unix.SYS_RSEQ,
		unix.SYS_NANOSLEEP, unix.SYS_CLOCK_NANOSLEEP, unix.SYS_CLOCK_GETTIME, unix.SYS_CLOCK_GETRES, unix.SYS_GETTIMEOFDAY, unix.SYS_RESTART_SYSCALL,
		unix.SYS_SETITIMER, unix.SYS_TIMER_CREATE, unix.SYS_TIMER_SETTIME, unix.SYS_TIMER_DELETE,
		unix.SYS_RT_SIGACTION, unix.SYS_RT_SIGPROCMASK, unix.SYS_RT_SIGRETURN, unix.SYS_SIGALTSTACK,
		unix.SYS_GETPID, unix.SYS_GETPPID, unix.SYS_GETTID, unix.SYS_GETUID, unix.SYS_GETEUID, unix.SYS_GETGID, unix.SYS_GETEGID, unix.SYS_GETGROUPS,
		unix.SYS_GETRANDOM, unix.SYS_UNAME, unix.SYS_SYSINFO, unix.SYS_GETRUSAGE, unix.SYS_GETRLIMIT, unix.SYS_TIMES,
		unix.SYS_EPOLL_CREATE1, unix.SYS_EPOLL_CTL, unix.SYS_EPOLL_PWAIT, unix.SYS_EVENTFD2, unix.SYS_PIPE2, unix.SYS_PPOLL,
		unix.SYS_READ, unix.SYS_WRITE, unix.SYS_READV, unix.SYS_WRITEV, unix.SYS_CLOSE, unix.SYS_DUP, unix.SYS_DUP3, unix.SYS_FCNTL,
	), []Rule{
		{unix.SYS_MMAP, []Form{{none(2, unix.PROT_EXEC)}}},
		{unix.SYS_MPROTECT, []Form{{none(2, unix.PROT_EXEC)}}},
		{unix.SYS_CLONE, []Form{{thread}}},
		{unix.SYS_TGKILL, []Form{{is(0, self)}}},
		{unix.SYS_KILL, []Form{{is(0, self)}}},
		{unix.SYS_PRLIMIT64, []Form{{is(0, 0)}, {is(0, self)}}},
		{unix.SYS_PRCTL, []Form{{is(0, unix.PR_SET_VMA)}, {is(0, unix.PR_SET_NAME)}}},
	}...), legacyRuntime()...)
}

// ReadFiles are the calls that look at files.
func ReadFiles() []Rule {
	return append(calls(
		unix.SYS_OPENAT, unix.SYS_FSTAT, sysFstatat, unix.SYS_STATX, unix.SYS_READLINKAT, unix.SYS_FACCESSAT, unix.SYS_FACCESSAT2,
		unix.SYS_GETDENTS64, unix.SYS_GETCWD, unix.SYS_LSEEK, unix.SYS_PREAD64, unix.SYS_STATFS, unix.SYS_FSTATFS, unix.SYS_FADVISE64,
	), legacyReadFiles()...)
}

// WriteFiles are the calls that change files. None makes a device or a link.
// SQLite gives its files their owner again when it runs as root.
func WriteFiles() []Rule {
	return append(calls(
		unix.SYS_PWRITE64, unix.SYS_FTRUNCATE, unix.SYS_FALLOCATE, unix.SYS_FSYNC, unix.SYS_FDATASYNC, unix.SYS_FLOCK,
		unix.SYS_MKDIRAT, unix.SYS_UNLINKAT, unix.SYS_RENAMEAT, unix.SYS_RENAMEAT2, unix.SYS_FCHMOD, unix.SYS_FCHMODAT, unix.SYS_FCHMODAT2, unix.SYS_FCHOWN, unix.SYS_UMASK, unix.SYS_UTIMENSAT,
		unix.SYS_COPY_FILE_RANGE, unix.SYS_SENDFILE, unix.SYS_SPLICE,
	), legacyWriteFiles()...)
}

// Family is a kind of socket.
type Family int

// The kinds of sockets. There is none for raw sockets, and none for MPTCP,
// which Landlock's port rules do not see.
const (
	Unix          Family = iota
	Internet             // TCP and UDP
	RouteLink            // netlink: addresses and routes
	FilterLink           // netlink: the packet filter
	PacketsOfLink        // below IP, as DHCP needs it
)

// Sockets are the calls on sockets of the given kinds.
func Sockets(families ...Family) []Rule {
	socket := Rule{Call: unix.SYS_SOCKET}
	for _, f := range families {
		socket.Forms = append(socket.Forms, socketForms(f)...)
	}
	return append(calls(
		unix.SYS_BIND, unix.SYS_CONNECT, unix.SYS_LISTEN, unix.SYS_ACCEPT4, unix.SYS_SHUTDOWN, unix.SYS_GETSOCKNAME, unix.SYS_GETPEERNAME,
		unix.SYS_SETSOCKOPT, unix.SYS_GETSOCKOPT, unix.SYS_SENDTO, unix.SYS_RECVFROM, unix.SYS_SENDMSG, unix.SYS_RECVMSG, unix.SYS_SENDMMSG, unix.SYS_RECVMMSG,
	), socket)
}

func socketForms(f Family) []Form {
	const kind = 0xf // SOCK_TYPE_MASK; above it are flags
	switch f {
	case Unix:
		return []Form{{is(0, unix.AF_UNIX)}}
	case Internet:
		var all []Form
		for _, family := range []uint32{unix.AF_INET, unix.AF_INET6} {
			for _, k := range [][2]uint32{{unix.SOCK_STREAM, unix.IPPROTO_TCP}, {unix.SOCK_DGRAM, unix.IPPROTO_UDP}} {
				all = append(all, Form{is(0, family), {1, kind, k[0]}, is(2, 0)}, Form{is(0, family), {1, kind, k[0]}, is(2, k[1])})
			}
		}
		return all
	case RouteLink:
		return []Form{{is(0, unix.AF_NETLINK), is(2, unix.NETLINK_ROUTE)}}
	case FilterLink:
		return []Form{{is(0, unix.AF_NETLINK), is(2, unix.NETLINK_NETFILTER)}}
	case PacketsOfLink:
		return []Form{{is(0, unix.AF_PACKET), {1, kind, unix.SOCK_DGRAM}}}
	}
	return nil
}

// never are calls that no process of ours makes once it runs: they answer
// EPERM, which tells an attempt from a kernel without the call.
func never() []uintptr {
	return slices.Concat([]uintptr{
		unix.SYS_EXECVE, unix.SYS_EXECVEAT, unix.SYS_PTRACE, unix.SYS_PROCESS_VM_READV, unix.SYS_PROCESS_VM_WRITEV, unix.SYS_KCMP, unix.SYS_PIDFD_GETFD,
		unix.SYS_MOUNT, unix.SYS_UMOUNT2, unix.SYS_PIVOT_ROOT, unix.SYS_CHROOT, unix.SYS_MOVE_MOUNT, unix.SYS_OPEN_TREE, unix.SYS_FSOPEN, unix.SYS_FSMOUNT, unix.SYS_FSCONFIG, unix.SYS_FSPICK, unix.SYS_MOUNT_SETATTR,
		unix.SYS_SETNS, unix.SYS_UNSHARE, unix.SYS_OPEN_BY_HANDLE_AT, unix.SYS_NAME_TO_HANDLE_AT,
		unix.SYS_BPF, unix.SYS_PERF_EVENT_OPEN, unix.SYS_USERFAULTFD, unix.SYS_IO_URING_SETUP, unix.SYS_IO_URING_ENTER, unix.SYS_IO_URING_REGISTER,
		unix.SYS_ADD_KEY, unix.SYS_REQUEST_KEY, unix.SYS_KEYCTL,
		unix.SYS_INIT_MODULE, unix.SYS_FINIT_MODULE, unix.SYS_DELETE_MODULE, unix.SYS_KEXEC_LOAD, unix.SYS_REBOOT, unix.SYS_SWAPON, unix.SYS_SWAPOFF, unix.SYS_ACCT, unix.SYS_QUOTACTL,
		unix.SYS_SETTIMEOFDAY, unix.SYS_CLOCK_SETTIME, unix.SYS_ADJTIMEX, unix.SYS_CLOCK_ADJTIME, unix.SYS_SETHOSTNAME, unix.SYS_SETDOMAINNAME, unix.SYS_SYSLOG,
		unix.SYS_SETUID, unix.SYS_SETGID, unix.SYS_SETREUID, unix.SYS_SETREGID, unix.SYS_SETRESUID, unix.SYS_SETRESGID, unix.SYS_SETGROUPS, unix.SYS_SETFSUID, unix.SYS_SETFSGID, unix.SYS_CAPSET,
		unix.SYS_PERSONALITY, unix.SYS_MEMFD_CREATE, unix.SYS_MKNODAT, unix.SYS_SECCOMP,
	}, legacyNever())
}
