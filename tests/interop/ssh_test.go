package interop

import (
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"ringfence/internal/ports"
)

// Debian's ssh client with the operator shell behind the real packet filter:
// silent while it is off, there within a second, and good for nothing but
// the operator's commands.
func TestOpenSSHInTheOperatorShell(t *testing.T) {
	f := startFenced(t)
	dir := t.TempDir()
	program, key := filepath.Join(dir, "opsh"), filepath.Join(dir, "id")
	build := exec.Command("go", "build", "-o", program, "./cmd/opsh")
	build.Dir, build.Env = "../..", append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	shell := f.host.Command(t.Context(), program, "-data", filepath.Join(dir, "data"), "-run", f.run, "-listen", f.addr.String())
	shell.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	shell.Stderr = os.Stderr
	if err := shell.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = shell.Process.Kill(); _ = shell.Wait() })
	if out, err := exec.Command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "boss@laptop", "-f", key).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	public, err := os.ReadFile(key + ".pub")
	if err != nil {
		t.Fatal(err)
	}
	row, _ := ports.Lookup(ports.Table(), ports.SSH)
	for _, port := range []uint16{row.First, 22} {
		if got := f.dial(t, port); got != "silent" {
			t.Errorf("port %d, which is off, is %s", port, got)
		}
	}
	if err := f.api.Do(t.Context(), http.MethodPost, "/ssh/keys", map[string]string{"label": "boss", "key": string(public)}, nil); err != nil {
		t.Fatal(err)
	}
	if err := f.api.Do(t.Context(), http.MethodPut, "/ssh", map[string]bool{"enabled": true}, nil); err != nil {
		t.Fatal(err)
	}
	took := f.becomes(t, func() bool { return f.dial(t, row.First) == "open" })
	t.Logf("open after %v", took)
	if took > time.Second {
		t.Errorf("open after %v, more than a second", took)
	}
	run := func(want int, options string, command ...string) string {
		t.Helper()
		args := []string{"-p", strconv.Itoa(int(row.First)), "-i", key, "-o", "BatchMode=yes", "-o", "IdentitiesOnly=yes",
			"-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=" + filepath.Join(dir, "known"), "-o", "LogLevel=ERROR", "-o", "ConnectTimeout=10"}
		args = append(args, strings.Fields(options)...)
		c := f.outside.Command(t.Context(), "ssh", append(append(args, "operator@"+f.addr.String()), command...)...)
		out, err := c.CombinedOutput()
		status := 0
		if e, ok := err.(*exec.ExitError); ok {
			status = e.ExitCode()
		} else if err != nil {
			t.Fatal(err)
		}
		if status != want {
			t.Errorf("%s %v: status %d, want %d: %s", options, command, status, want, out)
		}
		return string(out)
	}
	if out := run(0, "", "status"); !strings.Contains(out, "packet filter") {
		t.Errorf("status: %s", out)
	}
	if out := run(1, "", "/bin/sh"); !strings.Contains(out, "unknown command") {
		t.Errorf("a shell: %s", out)
	}
	if out := run(255, "-s", "sftp"); !strings.Contains(out, "subsystem request failed") {
		t.Errorf("a subsystem: %s", out)
	}
	run(255, "-N -o ExitOnForwardFailure=yes -R 9999:localhost:9999")
	run(255, "-o PubkeyAuthentication=no", "status")
	run(255, "-o KexAlgorithms=ecdh-sha2-nistp256", "status")
	run(255, "-l root", "status")
	var audit struct {
		Items []struct{ Actor, Action, Object, Address string }
	}
	if err := f.api.Do(t.Context(), http.MethodGet, "/audit", nil, &audit); err != nil {
		t.Fatal(err)
	}
	found := false
	for _, e := range audit.Items {
		found = found || e.Action == "shell.command" && e.Object == "status" && strings.HasPrefix(e.Actor, "boss (SHA256:") && strings.HasPrefix(e.Address, "10.77.0.")
	}
	if !found {
		t.Errorf("the command is not in the audit log: %+v", audit.Items)
	}
	if err := f.api.Do(t.Context(), http.MethodPut, "/ssh", map[string]bool{"enabled": false}, nil); err != nil {
		t.Fatal(err)
	}
	f.becomes(t, func() bool { return f.dial(t, row.First) == "silent" })
}
