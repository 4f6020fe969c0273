package debian

import (
	"context"
	"fmt"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"ringfence/internal/ports"
	"ringfence/tests/apiclient"
)

// TestDebianBootsInQEMU boots a Debian system with the package in it on Debian's
// own kernel, with real cloud-init: the filter is in force before the network,
// the services are confined, the wizard has the seed's answers, two phones
// call each other; and again after a restart, which also ends sshd's trial.
func TestDebianBootsInQEMU(t *testing.T) {
	if os.Getenv("RINGFENCE_DRILL") == "" {
		t.Skip("minutes of emulation; RINGFENCE_DRILL runs it")
	}
	second := pack(t, "1.1")
	h, m := startMachine(t, pack(t, "1.0"), second)
	h.booted()
	t.Logf("booted %.0f s after power-on", time.Since(m.Started).Seconds())
	t.Run("first boot", h.checkBoot)
	t.Run("confined", h.checkConfined)
	t.Run("cloud-init", h.checkCloudInit)

	api := h.setup()
	extensions := h.extensions(api)
	h.call(extensions)

	h.restart()
	t.Run("second boot", h.checkBoot)
	t.Run("ssh", h.checkReturned)
	h.kept(api, "1.0", "22")
	h.call(extensions)

	h.must("dpkg", "--install", inside(second))
	h.kept(api, "1.1", "22")
	h.call(extensions)
	h.remove()
}

// booted waits for the system to have started all it starts.
func (h *host) booted() {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(h.t.Context(), bootTimeout)
	defer cancel()
	if err := h.line.ready(ctx); err != nil {
		h.t.Fatal(err)
	}
	h.until("the system runs", bootTimeout, func() error {
		out, err := h.in("systemctl", "is-system-running")
		if s := strings.TrimSpace(out); s != "running" && s != "degraded" {
			return fmt.Errorf("state %q, %v", s, err)
		}
		return nil
	})
	out, err := h.in("systemd-analyze", "critical-chain", "--no-pager")
	h.t.Logf("critical chain: %v\n%s", err, out)
}

// restart restarts the machine the usual way.
func (h *host) restart() {
	h.t.Helper()
	if err := h.line.send("systemctl reboot"); err != nil {
		h.t.Fatal(err)
	}
	h.t.Log("restarting")
	h.booted()
}

// checkBoot looks at how the system came up.
func (h *host) checkBoot(t *testing.T) {
	if out, err := h.in("systemctl", "--failed", "--plain", "--no-legend"); err != nil || strings.TrimSpace(out) != "" {
		t.Errorf("units have failed: %v\n%s", err, out)
	}
	started, up := h.times(t, "ringfence-fenced.service", "ufw.service", "network-pre.target", "cloud-init-local.service", "systemd-networkd.service")
	fence := up["ringfence-fenced.service"]
	if fence == 0 {
		t.Errorf("the fence is not up")
	}
	for _, unit := range []string{"network-pre.target", "cloud-init-local.service", "systemd-networkd.service"} {
		if started[unit] == 0 || started[unit] < fence {
			t.Errorf("%s started at %s, the filter was in force at %s", unit, started[unit], fence)
		}
	}
	if out := h.must("nft", "list", "ruleset"); !strings.Contains(out, "ringfence") || !strings.Contains(out, "policy drop") {
		t.Errorf("rules:\n%s", out)
	}
	if out := h.must("cat", "/sys/kernel/security/lsm"); !strings.Contains(out, "landlock") {
		t.Errorf("security modules %q", out)
	}
	for _, unit := range []string{"ringfence-fenced", "ringfence-pbxd"} {
		if out := h.must("journalctl", "--boot", "--no-pager", "--unit="+unit); !strings.Contains(out, "files confined") || !strings.Contains(out, "system calls filtered") || strings.Contains(out, "not confined") || strings.Contains(out, "not filtered") {
			t.Errorf("%s does not say that it is confined:\n%s", unit, out)
		}
	}
	h.until("ufw is laid to rest", time.Minute, func() error {
		if out, _ := h.in("systemctl", "is-enabled", "ufw"); out != "masked\n" {
			return fmt.Errorf("ufw is %q", out)
		}
		return nil
	})
}

// times are when units began to start, and when they had, since the kernel did.
func (h *host) times(t *testing.T, units ...string) (started, up map[string]time.Duration) {
	t.Helper()
	started, up = map[string]time.Duration{}, map[string]time.Duration{}
	unit := ""
	for text := range strings.Lines(h.must("systemctl", append([]string{"show", "--property=Id,InactiveExitTimestampMonotonic,ActiveEnterTimestampMonotonic"}, units...)...)) {
		key, value, _ := strings.Cut(strings.TrimSpace(text), "=")
		n, _ := strconv.Atoi(value)
		switch at := time.Duration(n) * time.Microsecond; key {
		case "Id":
			unit = value
		case "InactiveExitTimestampMonotonic":
			started[unit] = at
		case "ActiveEnterTimestampMonotonic":
			up[unit] = at
		}
	}
	t.Logf("began to start: %v", started)
	t.Logf("had started: %v", up)
	return started, up
}

// checkCloudInit looks at what cloud-init made of the seed.
func (h *host) checkCloudInit(t *testing.T) {
	if out, err := h.in("cloud-init", "status", "--long"); err != nil || !strings.Contains(out, "status: done") || !strings.Contains(out, "NoCloud") {
		t.Errorf("cloud-init: %v\n%s", err, out)
	}
	portal, _ := ports.Lookup(ports.Table(), ports.Portal)
	api := apiclient.New("https://"+net.JoinHostPort(host4, portal.Ports()), "", h.peer.DialContext)
	api.Token = strings.TrimSpace(h.must("ringfence", "setup-token"))
	var s struct{ Suggestion struct{ Domain string } }
	if err := api.Do(t.Context(), "GET", "/setup", nil, &s); err != nil || s.Suggestion.Domain != "lab.example" {
		t.Errorf("the wizard suggests %+v, %v", s, err)
	}
}

// checkReturned checks that sshd is back where it was before the trial, because
// nobody had logged in on the new port when the machine restarted.
func (h *host) checkReturned(t *testing.T) {
	h.until("sshd is back", 2*time.Minute, func() error { _, err := h.shell("22", "true"); return err })
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	if c, err := h.peer.DialContext(ctx, "tcp", net.JoinHostPort(host4, sshPort())); err == nil {
		c.Close()
		t.Errorf("port %s still answers", sshPort())
	}
	listening := h.must("ss", "--no-header", "--listening", "--tcp", "--numeric")
	if slices.Contains(strings.Fields(listening), "0.0.0.0:"+sshPort()) {
		t.Errorf("sshd still listens there:\n%s", listening)
	}
}
