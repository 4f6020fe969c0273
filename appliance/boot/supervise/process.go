package supervise

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// maxLine is where a line of output is cut into two, in bytes.
const maxLine = 4096

// lastCapability is the highest number tried when dropping capabilities; the
// kernel says which is the last it knows.
const lastCapability = 63

// Exec starts real processes.
type Exec struct {
	// Notify is the path of the notify socket.
	Notify string
	// Children keeps the reaper off; nil where there is none.
	Children *Children
	// Unprivileged leaves out what only root can do, for tests.
	Unprivileged bool
}

type child struct {
	cmd      *exec.Cmd
	children *Children
	output   chan struct{} // closed when the output has been read to its end
	reader   *os.File
}

// Spawn starts s. It cannot gain privileges it does not begin with, it leads a
// session of its own without a terminal, and reads from nowhere.
func (e Exec) Spawn(s Service, output func(line string)) (Process, error) {
	reader, writer, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("starting %s: %w", s.Name, err)
	}
	defer writer.Close()
	cmd := exec.Command(s.Path, s.Args...)
	cmd.Stdout, cmd.Stderr = writer, writer
	cmd.Dir = s.Dir
	if cmd.Dir == "" {
		cmd.Dir = "/"
	}
	cmd.Env = append([]string{"NOTIFY_SOCKET=" + e.Notify}, s.Env...)
	if s.Watchdog > 0 {
		cmd.Env = append(cmd.Env, "WATCHDOG_USEC="+strconv.FormatInt(s.Watchdog.Microseconds(), 10))
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if !e.Unprivileged {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: s.UID, Gid: s.GID, Groups: []uint32{s.GID}}
		cmd.SysProcAttr.AmbientCaps = s.Ambient
	}
	if err := e.start(cmd, s); err != nil {
		return nil, errors.Join(fmt.Errorf("starting %s: %w", s.Name, err), reader.Close())
	}
	c := &child{cmd: cmd, children: e.Children, output: make(chan struct{}), reader: reader}
	go func() {
		defer close(c.output)
		readLines(reader, output)
	}()
	return c, nil
}

// start forks on a thread made for the purpose: no_new_privs and the bounding
// set belong to a thread, cannot be taken back, and are inherited by the
// child. The thread ends with the goroutine, which never unlocks it.
func (e Exec) start(cmd *exec.Cmd, s Service) error {
	result := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		result <- e.startHere(cmd, s)
	}()
	if err := <-result; err != nil {
		return err
	}
	err := e.adjust(cmd.Process.Pid, s)
	if err == nil || e.Unprivileged {
		return nil
	}
	// Better not at all than without its bounds.
	_ = cmd.Process.Kill()
	_, _ = cmd.Process.Wait()
	if e.Children != nil {
		e.Children.Release(cmd.Process.Pid)
	}
	return err
}

func (e Exec) startHere(cmd *exec.Cmd, s Service) error {
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("setting no_new_privs: %w", err)
	}
	if !e.Unprivileged {
		if err := dropBounding(s); err != nil {
			return err
		}
	}
	if e.Children == nil {
		return cmd.Start()
	}
	return e.Children.Claim(func() (int, error) {
		if err := cmd.Start(); err != nil {
			return 0, err
		}
		return cmd.Process.Pid, nil
	})
}

func dropBounding(s Service) error {
	keep := make(map[uintptr]bool)
	for _, list := range [][]uintptr{s.Ambient, s.Bounding} {
		for _, c := range list {
			keep[c] = true
		}
	}
	for c := uintptr(0); c <= lastCapability; c++ {
		if keep[c] {
			continue
		}
		err := unix.Prctl(unix.PR_CAPBSET_DROP, c, 0, 0, 0)
		if err == unix.EINVAL { // beyond the last capability
			return nil
		}
		if err != nil {
			return fmt.Errorf("dropping capability %d: %w", c, err)
		}
	}
	return nil
}

// adjust sets what can be set from outside. The program may already run; its
// limits are about growth, not about its first instructions.
func (e Exec) adjust(pid int, s Service) error {
	var problems []error
	for _, l := range s.Limits {
		if err := unix.Prlimit(pid, l.Resource, &unix.Rlimit{Cur: l.Value, Max: l.Value}, nil); err != nil && err != unix.ESRCH {
			problems = append(problems, fmt.Errorf("limiting resource %d: %w", l.Resource, err))
		}
	}
	if s.OOMScore != 0 {
		path := fmt.Sprintf("/proc/%d/oom_score_adj", pid)
		if err := os.WriteFile(path, []byte(strconv.Itoa(s.OOMScore)), 0); err != nil && !errors.Is(err, os.ErrNotExist) && !errors.Is(err, unix.ESRCH) {
			problems = append(problems, fmt.Errorf("setting OOM score: %w", err))
		}
	}
	return errors.Join(problems...)
}

func (c *child) PID() int { return c.cmd.Process.Pid }

func (c *child) Signal(s syscall.Signal) error { return c.cmd.Process.Signal(s) }

// Wait waits for the process, then a moment for its last words: a process it
// left behind may hold the pipe for ever.
func (c *child) Wait() string {
	state, err := c.cmd.Process.Wait()
	if c.children != nil {
		c.children.Release(c.PID())
	}
	select {
	case <-c.output:
	case <-time.After(time.Second):
	}
	_ = c.reader.Close()
	if err != nil {
		return "waiting for it: " + err.Error()
	}
	return state.String()
}

// readLines calls output for each line, cutting long ones, until r ends.
func readLines(r io.Reader, output func(string)) {
	b := bufio.NewReaderSize(r, maxLine)
	for {
		line, err := b.ReadSlice('\n')
		if n := len(line); n > 0 {
			if line[n-1] == '\n' {
				line = line[:n-1]
			}
			output(string(line))
		}
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			return
		}
	}
}
