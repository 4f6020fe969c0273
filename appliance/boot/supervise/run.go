package supervise

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Run runs a program once, with the rights of s, and returns what it wrote to
// its standard output: more than limit bytes are an error. It is killed when
// ctx ends. Lines of its standard error go to complain.
func (e Exec) Run(ctx context.Context, s Service, limit int64, complain func(line string)) ([]byte, error) {
	said, sayer, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("running %s: %w", s.Name, err)
	}
	defer said.Close()
	complaints, complainer, err := os.Pipe()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("running %s: %w", s.Name, err), sayer.Close())
	}
	defer complaints.Close()
	cmd := exec.Command(s.Path, s.Args...)
	cmd.Stdout, cmd.Stderr, cmd.Dir, cmd.Env = sayer, complainer, "/", append([]string{}, s.Env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if !e.Unprivileged {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: s.UID, Gid: s.GID, Groups: []uint32{s.GID}}
		cmd.SysProcAttr.AmbientCaps = s.Ambient
	}
	err = e.start(cmd, s)
	err = errors.Join(err, sayer.Close(), complainer.Close())
	if err != nil {
		return nil, fmt.Errorf("running %s: %w", s.Name, err)
	}
	silent := make(chan struct{})
	go func() {
		defer close(silent)
		readLines(complaints, complain)
	}()
	data, err := e.collect(ctx, cmd, s, said, limit)
	_ = complaints.SetReadDeadline(time.Now().Add(lastWords))
	<-silent
	return data, err
}

// lastWords is how long what a program has complained of is waited for after
// its end: a process it left behind may hold the pipe for ever.
const lastWords = time.Second

// collect reads until the program has ended or time is over.
func (e Exec) collect(ctx context.Context, cmd *exec.Cmd, s Service, said *os.File, limit int64) ([]byte, error) {
	stop := context.AfterFunc(ctx, func() {
		_ = unix.Kill(-cmd.Process.Pid, unix.SIGKILL) // it leads a group of its own
		_ = said.SetReadDeadline(time.Now())
	})
	data, rerr := io.ReadAll(io.LimitReader(said, limit+1))
	if int64(len(data)) > limit || rerr != nil {
		_ = unix.Kill(-cmd.Process.Pid, unix.SIGKILL)
	}
	state, werr := cmd.Process.Wait()
	if e.Children != nil {
		e.Children.Release(cmd.Process.Pid)
	}
	stop()
	switch {
	case ctx.Err() != nil:
		return nil, fmt.Errorf("running %s: %w", s.Name, ctx.Err())
	case int64(len(data)) > limit:
		return nil, fmt.Errorf("running %s: it said more than %d bytes", s.Name, limit)
	case rerr != nil || werr != nil:
		return nil, fmt.Errorf("running %s: %w", s.Name, errors.Join(rerr, werr))
	case !state.Success():
		return nil, fmt.Errorf("running %s: %s", s.Name, state)
	}
	return data, nil
}
