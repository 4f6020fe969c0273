package main

import (
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"ringfence/firewall"
	"ringfence/firewall/nstest"
)

// tryFiles gives up rights as the fence does, and reports what it can still
// reach.
func tryFiles(dir string) int {
	o := options{run: filepath.Join(dir, "run"), state: filepath.Join(dir, "state"), resolv: filepath.Join(dir, "run", "resolv.conf"), proc: "/proc/sys"}
	if err := confineSelf(o, slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))); err != nil {
		fmt.Println(err)
		return 1
	}
	try := func(name string, err error) { fmt.Println(name, err == nil) }
	_, err := os.ReadFile("/etc/passwd")
	try("read /etc/passwd", err)
	_, err = os.ReadFile(filepath.Join(dir, "secret"))
	try("read beside", err)
	try("write beside", os.WriteFile(filepath.Join(dir, "new"), nil, 0o600))
	try("write state", os.WriteFile(filepath.Join(o.state, "x"), nil, 0o600))
	try("rename state", os.Rename(filepath.Join(o.state, "x"), filepath.Join(o.state, "y")))
	try("write run", os.WriteFile(o.resolv, nil, 0o600))
	f, err := os.OpenFile("/proc/sys/net/ipv4/ip_local_reserved_ports", os.O_WRONLY, 0)
	try("open parameter", err)
	_ = f.Close()
	_, err = os.OpenFile("/proc/sys/kernel/hostname", os.O_WRONLY, 0)
	try("open other parameter", err)
	try("execute", exec.Command("/bin/true").Run())
	return 0
}

// A fence that was taken over reaches its own folders, and no program.
func TestConfine(t *testing.T) {
	t.Parallel()
	host, _ := nstest.Cable(t)
	dir := t.TempDir()
	must(t, os.WriteFile(filepath.Join(dir, "secret"), nil, 0o600))
	cmd := host.Command(os.Args[0], dir)
	cmd.Env = append(os.Environ(), asProgram+"=confined")
	out, err := cmd.CombinedOutput()
	must(t, err)
	if strings.Contains(string(out), "not confined") {
		t.Skip("this kernel has no Landlock")
	}
	want := "read /etc/passwd false\nread beside false\nwrite beside false\nwrite state true\nrename state true\nwrite run true\nopen parameter true\nopen other parameter false\nexecute false\n"
	if string(out) != want {
		t.Errorf("got\n%swant\n%s", out, want)
	}
}

func TestFenceHoldsThreeCapabilities(t *testing.T) {
	t.Parallel()
	f := pair(t)
	f.start()
	// "ip netns exec" becomes the program by execve.
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", f.cmd.Process.Pid))
	must(t, err)
	if len(tasks) == 0 {
		t.Fatal("the fence has no threads")
	}
	const net = "0000000000003400" // NET_BIND_SERVICE 10, NET_ADMIN 12, NET_RAW 13
	for _, task := range tasks {
		raw, err := os.ReadFile(task)
		must(t, err)
		for _, want := range []string{"CapPrm:\t" + net, "CapEff:\t" + net, "CapBnd:\t" + net, "CapInh:\t0000000000000000", "CapAmb:\t0000000000000000", "NoNewPrivs:\t1"} {
			if !strings.Contains(string(raw), want) {
				t.Errorf("%s lacks %q:\n%s", task, want, raw)
			}
		}
	}
}

// As on the image: not root, with ambient capabilities only.
func TestFenceRunsWithoutRoot(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("setpriv"); err != nil {
		t.Skip("setpriv is not installed")
	}
	host, peer := nstest.Cable(t)
	f := prepare(t, host, peer, "-manage-network")
	const user = 4242
	program := filepath.Join(f.dir, "fenced")
	raw, err := os.ReadFile(os.Args[0])
	must(t, err)
	must(t, os.WriteFile(program, raw, 0o755))
	for _, d := range []string{"run", "state"} {
		must(t, os.Mkdir(filepath.Join(f.dir, d), 0o755))
		must(t, os.Chown(filepath.Join(f.dir, d), user, user))
	}
	must(t, os.Chmod(f.dir, 0o755))
	must(t, os.Chmod(f.notify, 0o777))
	caps := "+net_admin,+net_raw,+net_bind_service"
	f.cmd = host.Command("setpriv", "--reuid", fmt.Sprint(user), "--regid", fmt.Sprint(user), "--clear-groups", "--inh-caps", caps, "--ambient-caps", caps,
		program, "-run", filepath.Join(f.dir, "run"), "-state", filepath.Join(f.dir, "state"), "-uid", "0", "-manage-network")
	f.cmd.Env = append(os.Environ(), asProgram+"=1", "NOTIFY_SOCKET="+f.notify)
	f.cmd.Stderr = &f.log
	must(t, f.cmd.Start())
	f.done = make(chan error, 1)
	go func() { f.done <- f.cmd.Wait() }()
	f.await("READY=1")
	c := firewall.Dial(f.socket(), firewall.ClientOptions{})
	defer c.Close()
	must(t, c.Apply(t.Context(), inService(t, 1), 0))
	if out := host.Run("ip", "link", "show", "dev", nstest.HostLink); !strings.Contains(out, "UP") {
		t.Errorf("the link is down: %s", out)
	}
	for name, want := range map[string]string{"net.ipv4.conf.all.accept_redirects": "0", "net.ipv4.ip_local_reserved_ports": "25000-34999,45000-64999"} {
		if got := strings.TrimSpace(host.Run("sysctl", "-n", name)); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	for _, line := range strings.Split(f.log.String(), "\n") {
		// Some parameters belong to the machine and are read-only in a namespace.
		if strings.Contains(line, "level=ERROR") && !strings.Contains(line, "protective kernel settings") {
			t.Error(line)
		}
	}
}

func TestFenceRefusesToStartWithoutRules(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("setpriv"); err != nil {
		t.Skip("setpriv is not installed")
	}
	host, _ := nstest.Cable(t)
	cmd := host.Command("setpriv", "--bounding-set", "-net_admin", "--inh-caps", "-net_admin", os.Args[0], "-run", t.TempDir(), "-state", t.TempDir(), "-manage-network")
	cmd.Env = append(os.Environ(), asProgram+"=1")
	out, err := cmd.CombinedOutput()
	if err == nil || !strings.Contains(string(out), "CAP_NET_ADMIN") {
		t.Errorf("%v: %s", err, out)
	}
	if out := host.Run("ip", "link", "show", "dev", nstest.HostLink); strings.Contains(out, ",UP") {
		t.Errorf("the link is up without rules: %s", out)
	}
}
