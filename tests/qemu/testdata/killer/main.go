// Command killer stands in for sysd: it leaves behind a process that kills the
// service named on each line of the second serial port, and becomes the
// shipped sysd. As root with CAP_KILL, sysd is the service that may.
package main

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	self    = "/user/sysd"
	shipped = self + "-shipped"
	port    = "/dev/ttyS1"
)

func main() {
	if os.Getenv("KILLER") != "" {
		if err := serve(); err != nil {
			fmt.Fprintln(os.Stderr, "killer:", err)
		}
		return
	}
	cmd := exec.Command(self)
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS}
	cmd.Env = []string{"KILLER=1"}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		fmt.Fprintln(os.Stderr, "killer:", err)
	}
	fmt.Fprintln(os.Stderr, "killer:", syscall.Exec(shipped, os.Args, os.Environ()))
	os.Exit(1)
}

func serve() error {
	// The image's /proc hides the processes of others, even from root.
	if err := syscall.Mount("proc", "/proc", "proc", 0, ""); err != nil {
		return fmt.Errorf("mounting a /proc: %w", err)
	}
	// Without O_NONBLOCK opening waits for a carrier.
	f, err := os.OpenFile(port, os.O_RDWR|syscall.O_NONBLOCK|syscall.O_NOCTTY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	in := bufio.NewScanner(f)
	for in.Scan() {
		name := strings.TrimSpace(in.Text())
		said := "killed " + name
		if err := kill(name); err != nil {
			said = err.Error()
		}
		if _, err := fmt.Fprintf(f, "killer: %s\n", said); err != nil {
			return err
		}
	}
	return in.Err()
}

// kill returns when the process is gone.
func kill(name string) error {
	pid, err := find(name)
	if err != nil {
		return err
	}
	for range 500 {
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			if err == syscall.ESRCH {
				return nil
			}
			return err
		}
		time.Sleep(10 * time.Millisecond)
	}
	return fmt.Errorf("process %d does not end", pid)
}

func find(name string) (int, error) {
	names, err := filepath.Glob("/proc/[0-9]*/comm")
	if err != nil {
		return 0, err
	}
	for _, n := range names {
		comm, err := os.ReadFile(n)
		if err == nil && strings.TrimSpace(string(comm)) == name {
			return strconv.Atoi(filepath.Base(filepath.Dir(n)))
		}
	}
	return 0, fmt.Errorf("no process is called %q", name)
}
