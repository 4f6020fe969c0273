package supervise

import (
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Children tells the processes that somebody waits for from the orphans that
// PID 1 inherits. The zero Children is ready to use.
//
// os/exec waits for its own children, so a reaper that simply took every
// zombie would steal their exit status. Reap looks without taking
// (WNOWAIT) and takes only what nobody has claimed; claiming and looking
// exclude each other, so that a child cannot end unclaimed in between.
type Children struct {
	mu    sync.Mutex
	owned map[int]bool
}

// Claim calls start, which forks one process and returns its pid, and notes
// the pid as waited for.
func (c *Children) Claim(start func() (pid int, err error)) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	pid, err := start()
	if err != nil {
		return err
	}
	if c.owned == nil {
		c.owned = make(map[int]bool)
	}
	c.owned[pid] = true
	return nil
}

// Release forgets a pid after its owner has waited for it.
func (c *Children) Release(pid int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.owned, pid)
}

// Reap takes the exit status of orphans until none is left, and returns how
// many it took. more tells that a zombie somebody waits for stands in the way:
// call again soon. Call it after SIGCHLD.
func (c *Children) Reap() (taken int, more bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		pid := firstZombie()
		switch {
		case pid <= 0:
			return taken, false
		case c.owned[pid]:
			return taken, true
		}
		if got, err := unix.Wait4(pid, nil, unix.WNOHANG, nil); err != nil || got != pid {
			return taken, false
		}
		taken++
	}
}

// firstZombie returns the pid of a child that has ended, without taking it,
// or 0.
func firstZombie() int {
	var info unix.Siginfo
	for {
		err := unix.Waitid(unix.P_ALL, 0, &info, unix.WEXITED|unix.WNOHANG|unix.WNOWAIT, nil)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return 0
		}
		// siginfo_t of SIGCHLD on 64-bit Linux: three ints, padding, si_pid.
		return int(*(*int32)(unsafe.Add(unsafe.Pointer(&info), 16)))
	}
}
