package supervise

import (
	"context"
	"errors"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A program that runs once is heard, bounded, and ended in time.
func TestRun(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, script, said, fails string
	}{
		{"says something", "echo hello; echo oops >&2", "hello\n", ""},
		{"fails", "echo half; exit 3", "", "exit status 3"},
		{"says too much", "while :; do echo 0123456789; done", "", "more than 100 bytes"},
		{"hangs", "sleep 60", "", context.DeadlineExceeded.Error()},
		{"hangs without its output", "exec >&- 2>&-; sleep 60", "", context.DeadlineExceeded.Error()},
		{"leaves somebody behind", "sleep 60 & exit 0", "", context.DeadlineExceeded.Error()},
		{"leaves somebody behind who complains", "(sleep 60) >/dev/null & echo hello", "hello\n", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
			defer cancel()
			var mu sync.Mutex
			var complaints []string
			begin := time.Now()
			got, err := (Exec{Unprivileged: true, Children: &Children{}}).Run(ctx, Service{Name: "x", Path: "/bin/sh", Args: []string{"-c", c.script}}, 100, func(line string) {
				mu.Lock()
				defer mu.Unlock()
				complaints = append(complaints, line)
			})
			if string(got) != c.said || (err == nil) != (c.fails == "") || err != nil && !strings.Contains(err.Error(), c.fails) {
				t.Errorf("%q, %v", got, err)
			}
			if took := time.Since(begin); took > 20*time.Second {
				t.Errorf("took %s", took)
			}
			mu.Lock()
			defer mu.Unlock()
			if heard := strings.Join(complaints, "|"); strings.Contains(c.script, "oops") != (heard == "oops") {
				t.Errorf("complaints %q", heard)
			}
		})
	}
	if _, err := (Exec{Unprivileged: true}).Run(t.Context(), Service{Name: "x", Path: "/nonexistent"}, 100, nil); err == nil || errors.Is(err, context.Canceled) {
		t.Errorf("a program that is not there: %v", err)
	}
}

// What runs once may do nothing: no user of anybody's, no group, no capability.
func TestRunHasNoRights(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 || !hasCapability(t, unix.CAP_SETPCAP) {
		t.Skip("changing users needs root")
	}
	status, err := (Exec{}).Run(t.Context(), Service{Name: "x", Path: "/bin/cat", Args: []string{"/proc/self/status"}, UID: 65534, GID: 65534}, 1<<16, func(line string) { t.Log(line) })
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"Uid:\t65534\t65534\t65534\t65534\n", "Groups:\t65534 \n", "CapEff:\t0000000000000000\n", "CapBnd:\t0000000000000000\n", "NoNewPrivs:\t1\n"} {
		if !strings.Contains(string(status), want) {
			t.Errorf("no %q in\n%s", want, status)
		}
	}
}
