package debian

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"ringfence/appliance"
	"ringfence/tests/netlab"
)

// The laboratory: the host, and who comes from outside.
const (
	host4   = "10.78.0.1"
	tester4 = "10.78.0.2"
)

const release = "bookworm"

// packages are what the system has besides the essentials.
func packages() []string {
	return []string{"systemd", "systemd-sysv", "dbus", "libpam-systemd", "openssh-server", "iproute2", "nftables", "ufw"}
}

// machinePackages are what a system on a machine of its own has besides: Debian's
// signed kernel of the clouds, and cloud-init.
func machinePackages() []string {
	return append(packages(), "linux-image-cloud-amd64", "initramfs-tools", "zstd", "udev", "kmod", "e2fsprogs", "cloud-init")
}

// base is an archive of a Debian system, kept by the list of its packages.
func base(t *testing.T, packages []string) string {
	t.Helper()
	cache, err := appliance.CacheDir()
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256([]byte(release + strings.Join(packages, ",")))
	path := filepath.Join(cache, "debian", hex.EncodeToString(sum[:6])+".tar")
	if _, err := os.Stat(path); err == nil {
		return path
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	fresh := fmt.Sprintf("%s.%d", path, os.Getpid())
	defer os.Remove(fresh)
	ctx, cancel := context.WithTimeout(t.Context(), 8*time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, "mmdebstrap", "--mode=root", "--variant=minbase", "--format=tar",
		"--include="+strings.Join(packages, ","), "--dpkgopt=path-exclude=/usr/share/doc/*", "--dpkgopt=path-exclude=/usr/share/man/*",
		"--dpkgopt=path-exclude=/usr/share/locale/*", release, fresh).CombinedOutput()
	if err != nil {
		t.Skipf("no Debian system can be made here: %v\n%s", err, tail(out))
	}
	if err := os.Rename(fresh, path); err != nil {
		t.Fatal(err)
	}
	return path
}

func tail(out []byte) []byte { return out[max(0, len(out)-2000):] }

// host is a running Debian system: a container, or a machine if there is a line
// to it.
type host struct {
	t           *testing.T
	root        string
	inner, peer *netlab.Namespace
	key         ssh.Signer
	line        *line

	mu  sync.Mutex
	log bytes.Buffer
	cmd *exec.Cmd
	pid string // of its PID 1
}

func (h *host) Write(p []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.log.Write(p)
}

// start makes a system and boots it.
func start(t *testing.T) *host {
	t.Helper()
	netlab.Need(t)
	for _, tool := range []string{"mmdebstrap", "systemd-nspawn", "nsenter"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("%s is not installed (make deps)", tool)
		}
	}
	h := &host{t: t, root: filepath.Join(t.TempDir(), "root"), inner: netlab.New(t, "dh"), peer: netlab.New(t, "dp")}
	if err := errors.Join(h.inner.IP("link", "set", "lo", "up"),
		netlab.Join(h.inner, "lab", []string{host4 + "/24"}, h.peer, "box", []string{tester4 + "/24"})); err != nil {
		t.Fatal(err)
	}
	authorized := h.unpack(packages())
	if err := os.MkdirAll(h.path("root/.ssh"), 0o700); err != nil {
		t.Fatal(err)
	}
	h.put("root/.ssh/authorized_keys", authorized)
	h.boot()
	return h
}

func (h *host) run(name string, args ...string) {
	h.t.Helper()
	if out, err := exec.CommandContext(h.t.Context(), name, args...).CombinedOutput(); err != nil {
		h.t.Fatalf("%s %q: %v\n%s", name, args, err, out)
	}
}

// unpack makes the system's files, with ufw switched on, and a key for its
// administrator, whose public half it returns.
func (h *host) unpack(packages []string) (authorized string) {
	h.t.Helper()
	if err := os.Mkdir(h.root, 0o755); err != nil {
		h.t.Fatal(err)
	}
	h.run("tar", "--numeric-owner", "-C", h.root, "-xf", base(h.t, packages))
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		h.t.Fatal(err)
	}
	if h.key, err = ssh.NewSignerFromKey(private); err != nil {
		h.t.Fatal(err)
	}
	key, err := ssh.NewPublicKey(public)
	if err != nil {
		h.t.Fatal(err)
	}
	h.run("sed", "-i", "s/^ENABLED=.*/ENABLED=yes/", h.path("etc/ufw/ufw.conf"))
	// It lets everything in: what it does is not to be seen, that it runs is.
	h.run("sed", "-i", "s/^DEFAULT_INPUT_POLICY=.*/DEFAULT_INPUT_POLICY=\"ACCEPT\"/", h.path("etc/default/ufw"))
	return string(ssh.MarshalAuthorizedKey(key))
}

func (h *host) path(name string) string { return filepath.Join(h.root, name) }

func (h *host) put(name, text string) {
	h.t.Helper()
	if err := os.WriteFile(h.path(name), []byte(text), 0o600); err != nil {
		h.t.Fatal(err)
	}
}

// inside is where bring puts a package.
func inside(path string) string { return "/" + filepath.Join("root", filepath.Base(path)) }

// bring copies a package into the system.
func (h *host) bring(path string) string {
	h.t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		h.t.Fatal(err)
	}
	h.put(inside(path), string(data))
	return inside(path)
}

// boot starts the system's own PID 1.
func (h *host) boot() {
	h.t.Helper()
	h.cmd = exec.Command("systemd-nspawn", "--register=no", "--keep-unit", "--quiet", "--directory="+h.root, "--resolv-conf=off", "--timezone=off",
		"--network-namespace-path=/run/netns/"+h.inner.Name, "--capability=CAP_NET_ADMIN", "--console=pipe", "--boot")
	h.cmd.Stdout, h.cmd.Stderr = h, h
	h.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := h.cmd.Start(); err != nil {
		h.t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { _ = h.cmd.Wait(); close(ended) }()
	h.t.Cleanup(func() {
		if h.t.Failed() {
			out, _ := h.in("journalctl", "--boot", "--no-pager", "--lines=120")
			h.t.Logf("journal:\n%s", out)
		}
		for range 2 { // the first asks it to shut down, the second does not ask
			_ = h.cmd.Process.Signal(syscall.SIGTERM)
			select {
			case <-ended:
				return
			case <-time.After(20 * time.Second):
			}
		}
		_ = h.cmd.Process.Kill()
		<-ended
	})
	h.until("systemd runs", time.Minute, func() error {
		out, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", h.cmd.Process.Pid, h.cmd.Process.Pid))
		if h.pid = strings.TrimSpace(string(out)); err != nil || h.pid == "" || strings.Contains(h.pid, " ") {
			return fmt.Errorf("children %q, %v", out, err)
		}
		text, err := h.in("systemctl", "is-system-running")
		if s := strings.TrimSpace(text); s != "running" && s != "degraded" {
			return fmt.Errorf("state %q, %v", s, err)
		}
		return nil
	})
}

// in runs a program in the system, as root and not by way of the network.
func (h *host) in(name string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	if h.line != nil {
		return h.line.run(ctx, append([]string{name}, args...)...)
	}
	args = append([]string{"--target", h.pid, "--mount", "--pid", "--net", "--ipc", "--uts", "--", name}, args...)
	cmd := exec.CommandContext(ctx, "nsenter", args...)
	cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C", "DEBIAN_FRONTEND=noninteractive"}
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// must is in for what has to work.
func (h *host) must(name string, args ...string) string {
	h.t.Helper()
	out, err := h.in(name, args...)
	if err != nil {
		h.t.Fatalf("%s %q: %v\n%s", name, args, err, out)
	}
	return out
}

// until waits for a check to pass.
func (h *host) until(what string, limit time.Duration, check func() error) {
	h.t.Helper()
	deadline := time.Now().Add(limit)
	for {
		err := check()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			h.t.Fatalf("%s: not within %s: %v", what, limit, err)
		}
		time.Sleep(300 * time.Millisecond)
	}
}

// shell logs in from outside and runs a command.
func (h *host) shell(port, command string) (string, error) {
	ctx, cancel := context.WithTimeout(h.t.Context(), 5*time.Second)
	defer cancel()
	conn, err := h.peer.DialContext(ctx, "tcp", net.JoinHostPort(host4, port))
	if err != nil {
		return "", err
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(2 * time.Minute))
	c, channels, requests, err := ssh.NewClientConn(conn, host4, &ssh.ClientConfig{
		User: "root", Auth: []ssh.AuthMethod{ssh.PublicKeys(h.key)}, HostKeyCallback: ssh.InsecureIgnoreHostKey(),
	})
	if err != nil {
		return "", err
	}
	client := ssh.NewClient(c, channels, requests)
	defer client.Close()
	session, err := client.NewSession()
	if err != nil {
		return "", err
	}
	out, err := session.CombinedOutput(command)
	return string(out), err
}
