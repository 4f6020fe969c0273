package kernel

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// usualLines is about how many lines `make bzImage` prints for our options.
const usualLines = 3290

// tree is an unpacked kernel source.
type tree struct {
	dir      string
	jobs     int
	progress func(step string, done, total int)
}

func (t tree) path(name string) string { return filepath.Join(t.dir, filepath.FromSlash(name)) }

// build unpacks the source, configures and compiles it, and returns how many
// lines the compilation printed.
func (t tree) build(ctx context.Context) (int, error) {
	t.progress("unpacking the kernel source", 0, 1)
	if err := t.unpack(ctx); err != nil {
		return 0, err
	}
	t.progress("configuring the kernel", 0, 1)
	if err := t.configure(ctx); err != nil {
		return 0, err
	}
	if err := t.check(); err != nil {
		return 0, err
	}
	command := t.make("-j"+strconv.Itoa(t.jobs), "bzImage")
	const step = "compiling the kernel (once; 10 minutes or so)"
	lines := 0
	err := t.run(ctx, func(string) {
		lines++
		t.progress(step, min(lines, usualLines), usualLines)
	}, command[0], command[1:]...)
	if err != nil {
		return 0, fmt.Errorf("compiling kernel: %w", err)
	}
	t.progress(step, usualLines, usualLines)
	return lines, nil
}

func (t tree) unpack(ctx context.Context) error {
	archive := "/usr/src/" + Source + ".tar.xz"
	if _, err := os.Stat(archive); err != nil {
		return fmt.Errorf("unpacking kernel source (package %s): %w", Source, err)
	}
	if err := os.MkdirAll(t.dir, 0o755); err != nil {
		return fmt.Errorf("unpacking kernel source: %w", err)
	}
	if err := t.run(ctx, nil, "tar", "--strip-components=1", "-xJf", archive); err != nil {
		return fmt.Errorf("unpacking kernel source: %w", err)
	}
	return nil
}

func (t tree) configure(ctx context.Context) error {
	if err := os.WriteFile(t.path("ringfence.config"), []byte(fragment), 0o644); err != nil {
		return fmt.Errorf("configuring kernel: %w", err)
	}
	for _, command := range [][]string{
		t.make("allnoconfig"),
		{"scripts/kconfig/merge_config.sh", "-m", ".config", "ringfence.config"},
		t.make("olddefconfig"),
	} {
		if err := t.run(ctx, nil, command[0], command[1:]...); err != nil {
			return fmt.Errorf("configuring kernel: %w", err)
		}
	}
	return nil
}

// make is a make command. Programs that the kernel does not need, but whose
// versions it would note in its configuration, are hidden from it.
func (t tree) make(args ...string) []string {
	return append([]string{"make", "RUSTC=no-rustc", "BINDGEN=no-bindgen", "PAHOLE=no-pahole"}, args...)
}

// check tells which lines of the fragment did not make it into .config.
func (t tree) check() error {
	config, err := os.ReadFile(t.path(".config"))
	if err != nil {
		return fmt.Errorf("checking kernel configuration: %w", err)
	}
	if missing := Unmet(fragment, string(config)); len(missing) > 0 {
		return fmt.Errorf("checking kernel configuration: %d lines of the fragment do not hold: %s", len(missing), strings.Join(missing, ", "))
	}
	return nil
}

// Unmet returns the lines of a fragment that a configuration does not contain.
// "is not set" also holds when the option does not exist at all.
func Unmet(fragment, config string) []string {
	have := make(map[string]bool)
	set := make(map[string]bool)
	for _, line := range strings.Split(config, "\n") {
		have[line] = true
		if name, _, ok := strings.Cut(line, "="); ok {
			set[name] = true
		}
	}
	var unmet []string
	for _, line := range strings.Split(fragment, "\n") {
		unset, isUnset := strings.CutSuffix(strings.TrimPrefix(line, "# "), " is not set")
		switch {
		case isUnset && strings.HasPrefix(line, "# CONFIG_"):
			if set[unset] {
				unmet = append(unmet, line)
			}
		case strings.HasPrefix(line, "CONFIG_") && !have[line]:
			unmet = append(unmet, line)
		}
	}
	return unmet
}

// run runs a command in the tree, with an environment in which nothing of the
// machine, the user or the time gets into the result, and calls line for each
// line it prints. An error carries the end of what was printed.
func (t tree) run(ctx context.Context, line func(string), name string, args ...string) error {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = t.dir
	cmd.Env = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + t.dir, "LC_ALL=C", "TZ=UTC",
		"KBUILD_BUILD_TIMESTAMP=Thu Jan  1 00:00:00 UTC 1970",
		"KBUILD_BUILD_USER=ringfence", "KBUILD_BUILD_HOST=ringfence", "KBUILD_BUILD_VERSION=1",
	}
	// make's children end with it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
	cmd.WaitDelay = 10 * time.Second
	out, w := io.Pipe()
	cmd.Stdout, cmd.Stderr = w, w
	if err := cmd.Start(); err != nil {
		return err
	}
	tail := make(chan string)
	go func() { tail <- follow(out, line) }()
	err := cmd.Wait()
	w.Close()
	if last := <-tail; err != nil {
		return fmt.Errorf("%s: %w\n%s", strings.Join(cmd.Args, " "), err, last)
	}
	return nil
}

// follow hands each line of r on and returns the last 4 KiB.
func follow(r io.Reader, line func(string)) string {
	var tail bytes.Buffer
	scanner := bufio.NewScanner(r)
	scanner.Buffer(nil, 1<<20)
	for scanner.Scan() {
		if line != nil {
			line(scanner.Text())
		}
		tail.WriteString(scanner.Text() + "\n")
		if tail.Len() > 8192 {
			tail.Next(tail.Len() - 4096)
		}
	}
	_, _ = io.Copy(io.Discard, r)
	return tail.String()
}

func firstLine(ctx context.Context, name string, args ...string) string {
	out, err := exec.CommandContext(ctx, name, args...).Output()
	if err != nil {
		return ""
	}
	line, _, _ := strings.Cut(string(out), "\n")
	return line
}

func sourceVersion(ctx context.Context) (string, error) {
	out, err := exec.CommandContext(ctx, "dpkg-query", "-W", "-f", "${Version}", Source).Output()
	if err != nil || len(out) == 0 {
		return "", fmt.Errorf("package %s is not installed: run `make deps`, or choose the prebuilt kernel with KERNEL=gokrazy", Source)
	}
	return string(out), nil
}

// lock takes a lock file; busy is called when it has to wait.
func lock(ctx context.Context, path string, busy func()) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, fmt.Errorf("locking kernel cache: %w", err)
	}
	for tries := 0; ; tries++ {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return func() { f.Close() }, nil
		}
		if tries == 0 {
			busy()
		}
		select {
		case <-time.After(500 * time.Millisecond):
		case <-ctx.Done():
			f.Close()
			return nil, fmt.Errorf("locking kernel cache: %w", ctx.Err())
		}
	}
}
