package debian

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"ringfence/appliance/deb"
	"ringfence/internal/ports"
	"ringfence/internal/siptest"
	"ringfence/tests/apiclient"
)

// sshPort is where the table has the operator's shell.
func sshPort() string {
	row, _ := ports.Lookup(ports.Table(), ports.SSH)
	return row.Ports()
}

// pack makes a package of this checkout, with the version of the test's choice.
func pack(t *testing.T, version string) string {
	t.Helper()
	path, err := deb.Build(t.Context(), deb.Options{Repo: "../..", Out: t.TempDir(), Version: version, Time: time.Unix(1_767_225_600, 0), WithoutWeb: true})
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// TestLifeOnDebian installs the package over SSH on a system with ufw, has two
// phones call through it, upgrades, removes, installs again and purges it.
func TestLifeOnDebian(t *testing.T) {
	first, second := pack(t, "1.0"), pack(t, "1.1")
	h := start(t)
	h.install(first)
	t.Run("confined", func(t *testing.T) { h.checkConfined(t) })
	t.Run("ssh", func(t *testing.T) { h.checkSSH(t) })

	api := h.setup()
	extensions := h.extensions(api)
	h.call(extensions)

	h.put("etc/default/ringfence", "PBXD_OPTIONS=\"-debug\"\n")
	h.must("dpkg", "--install", h.bring(second))
	h.kept(api, "1.1", sshPort())
	h.call(extensions)
	if got, err := h.in("sh", "-c", "systemctl show -P ExecStart ringfence-pbxd; cat /etc/default/ringfence"); err != nil || !strings.Contains(got, "-debug") {
		t.Errorf("the administrator's defaults are gone: %v\n%s", err, got)
	}

	h.remove()
	h.must("dpkg", "--install", h.bring(second))
	h.kept(api, "1.1", sshPort())

	h.must("dpkg", "--purge", "ringfence")
	for _, gone := range []string{"var/lib/ringfence", "etc/default/ringfence", "usr/lib/ringfence", "etc/ssh/sshd_config.d/ringfence.conf"} {
		if _, err := os.Lstat(h.path(gone)); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("/%s outlives the purge: %v", gone, err)
		}
	}
}

// install installs over SSH on the port of old: the operator's session must
// not break.
func (h *host) install(path string) {
	h.t.Helper()
	inside := h.bring(path)
	h.until("sshd", time.Minute, func() error { _, err := h.shell("22", "true"); return err })
	if out := h.must("systemctl", "is-active", "ufw"); out != "active\n" {
		h.t.Fatalf("ufw is %q, there is nothing to see", out)
	}
	if out, err := h.shell("22", "dpkg --install "+inside+" && sleep 5 && echo still here"); err != nil || !strings.Contains(out, "still here") {
		h.t.Fatalf("installing over SSH: %v\n%s", err, out)
	}
	h.until("the services are up", time.Minute, func() error {
		out, err := h.in("systemctl", "is-active", "ringfence-fenced", "ringfence-sysd", "ringfence-pbxd")
		if err != nil {
			return fmt.Errorf("%w: %q", err, out)
		}
		return nil
	})
	h.until("ufw is laid to rest", time.Minute, func() error {
		out, _ := h.in("systemctl", "is-enabled", "ufw")
		if out != "masked\n" {
			return fmt.Errorf("ufw is %q", out)
		}
		return nil
	})
}

// checkConfined asks systemd about the running services.
func (h *host) checkConfined(t *testing.T) {
	for unit, limit := range map[string]float64{"ringfence-fenced": 1.8, "ringfence-pbxd": 1.1, "ringfence-sysd": 0.9} {
		out, err := h.in("systemd-analyze", "security", "--no-pager", unit)
		m := regexp.MustCompile(`Overall exposure level for \S+: ([0-9.]+)`).FindStringSubmatch(out)
		if err != nil || m == nil {
			t.Fatalf("%s: %v\n%s", unit, err, out)
		}
		if got, err := strconv.ParseFloat(m[1], 64); err != nil || got > limit {
			t.Errorf("%s: exposure %s, want at most %.1f", unit, m[1], limit)
		}
	}
	// The fence could keep the ports of calls from other sockets, confined as
	// it is.
	if out := h.must("cat", "/proc/sys/net/ipv4/ip_local_reserved_ports"); !strings.Contains(out, "45000-64999") {
		t.Errorf("reserved ports %q", out)
	}
	for _, unit := range []string{"ringfence-fenced", "ringfence-pbxd"} {
		if out := h.must("sh", "-c", "grep -h -e Seccomp_filters -e NoNewPrivs /proc/$(systemctl show -P MainPID "+unit+")/status; journalctl --boot --no-pager --unit="+unit); !strings.Contains(out, "system calls filtered") || !strings.Contains(out, "NoNewPrivs:\t1") {
			t.Errorf("%s does not filter its system calls:\n%s", unit, out)
		}
	}
	// The fence has CAP_NET_ADMIN, and CAP_NET_BIND_SERVICE for the port of an
	// authority's question; nobody else has anything.
	for unit, want := range map[string]string{"ringfence-fenced": "0000000000001400", "ringfence-pbxd": "0000000000000000", "ringfence-sysd": "0000000000000000"} {
		out := h.must("sh", "-c", "grep -h CapBnd /proc/$(systemctl show -P MainPID "+unit+")/status")
		if !strings.HasSuffix(strings.TrimSpace(out), want) {
			t.Errorf("%s: %s want %s", unit, out, want)
		}
	}
}

// checkSSH follows sshd to its new port.
func (h *host) checkSSH(t *testing.T) {
	h.until("a log-in on the new port", time.Minute, func() error { _, err := h.shell(sshPort(), "true"); return err })
	// A session that lasts is seen.
	go func() { _, _ = h.shell(sshPort(), "sleep 8") }()
	h.until("the move is over", 30*time.Second, func() error {
		data, err := os.ReadFile(h.path("var/lib/ringfence/sysd/ssh.json"))
		if err == nil && !strings.Contains(string(data), `"moved"`) {
			err = fmt.Errorf("state %s", data)
		}
		return err
	})
	h.until("port 22 is silent", 30*time.Second, func() error {
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		c, err := h.peer.DialContext(ctx, "tcp", net.JoinHostPort(host4, "22"))
		var late net.Error
		if errors.As(err, &late) && late.Timeout() {
			return nil
		}
		if c != nil {
			c.Close()
		}
		return fmt.Errorf("it answers: %v", err)
	})
}

// setup walks the wizard.
func (h *host) setup() *apiclient.Client {
	h.t.Helper()
	token := strings.TrimSpace(h.must("ringfence", "setup-token"))
	certificate := regexp.MustCompile(`certificate\s+(\S+)`).FindStringSubmatch(h.must("ringfence", "status"))
	if certificate == nil {
		h.t.Fatal("no fingerprint")
	}
	portal, _ := ports.Lookup(ports.Table(), ports.Portal)
	api := apiclient.New("https://"+net.JoinHostPort(host4, portal.Ports()), certificate[1], h.peer.DialContext)
	api.Token = token
	ctx, cancel := context.WithTimeout(h.t.Context(), time.Minute)
	defer cancel()
	if _, err := api.RunSetup(ctx, apiclient.DefaultSetup()); err != nil {
		h.t.Fatal(err)
	}
	var status struct{ Notices []string }
	if err := api.Do(ctx, "GET", "/status", nil, &status); err != nil {
		h.t.Fatal(err)
	}
	if !slices.ContainsFunc(status.Notices, func(n string) bool { return strings.Contains(n, "ufw") }) {
		h.t.Errorf("the portal does not tell of ufw: %q", status.Notices)
	}
	return api
}

// extensions gives two extensions passwords that the test knows.
func (h *host) extensions(api *apiclient.Client) (list []apiclient.Extension) {
	h.t.Helper()
	for _, number := range []string{"101", "102"} {
		var e apiclient.Extension
		if err := api.Do(h.t.Context(), "POST", "/extensions/"+number+"/sip-password", struct{}{}, &e); err != nil {
			h.t.Fatal(err)
		}
		list = append(list, e)
	}
	return list
}

// call has two phones outside talk to each other.
func (h *host) call(extensions []apiclient.Extension) {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(h.t.Context(), time.Minute)
	defer cancel()
	udp, _ := ports.Lookup(ports.Table(), ports.SIPUDP)
	tones := []float64{440, 880}
	var phones []*siptest.Phone
	for i, e := range extensions {
		p := siptest.NewPhone(h.t, siptest.Config{
			Server: netip.AddrPortFrom(netip.MustParseAddr(host4), udp.First), User: e.SIPUser, Password: e.SIPPassword, Domain: e.Domain,
			Tone: tones[i], Listen: netip.AddrPortFrom(netip.MustParseAddr(tester4), 0), ListenUDP: h.peer.ListenUDP,
		})
		h.until("a phone is registered", 30*time.Second, func() error { return p.Register(ctx) })
		phones = append(phones, p)
	}
	out, in := h.ring(ctx, phones[0], phones[1])
	if err := errors.Join(in.Answer(), out.Wait(ctx, siptest.Answered)); err != nil {
		h.t.Fatal(err)
	}
	for i, leg := range []*siptest.Call{out, in} {
		leg.Forget()
		heard, err := leg.Hear(ctx, 2*time.Second)
		if err == nil {
			err = heard.Only(tones[1-i], tones[i])
		}
		if err != nil {
			h.t.Error(err)
		}
	}
	if err := errors.Join(out.HangUp(), in.Wait(ctx, siptest.Ended)); err != nil {
		h.t.Fatal(err)
	}
}

// ring has a call 102. Beside other work, a fence that has just begun may take
// longer than a call waits for it (firewall.MediaWait): who is refused for that
// dials again.
func (h *host) ring(ctx context.Context, a, b *siptest.Phone) (out, in *siptest.Call) {
	h.t.Helper()
	for tries := 1; ; tries++ {
		out, err := a.Call(ctx, "102")
		if err != nil {
			h.t.Fatal(err)
		}
		short, cancel := context.WithTimeout(ctx, 15*time.Second)
		in, err := b.WaitCall(short)
		cancel()
		if err == nil {
			return out, in
		}
		if out.Status() != 503 || tries == 3 {
			h.t.Fatalf("%v; the caller has status %d", err, out.Status())
		}
		h.t.Logf("try %d: refused with 503", tries)
	}
}

// kept checks that nothing of what was set up is lost.
func (h *host) kept(api *apiclient.Client, version, ssh string) {
	h.t.Helper()
	if got := strings.TrimSpace(h.must("ringfence", "version")); got != version {
		h.t.Errorf("version %q, want %q", got, version)
	}
	ctx, cancel := context.WithTimeout(h.t.Context(), time.Minute)
	defer cancel()
	answers := apiclient.DefaultSetup()
	h.until("the administrator is known", time.Minute, func() error { return api.Login(ctx, answers.Name, answers.Password) })
	var list struct{ Items []apiclient.Extension }
	if err := api.Do(ctx, "GET", "/extensions", nil, &list); err != nil {
		h.t.Fatal(err)
	}
	if len(list.Items) != answers.Extensions {
		h.t.Errorf("%d extensions, want %d", len(list.Items), answers.Extensions)
	}
	h.until("SSH is where it was", time.Minute, func() error { _, err := h.shell(ssh, "true"); return err })
}

// remove removes the package: sshd and ufw are as they were before.
func (h *host) remove() {
	h.t.Helper()
	h.must("dpkg", "--remove", "ringfence")
	if out, err := h.in("systemctl", "is-active", "ufw"); out != "active\n" {
		h.t.Errorf("ufw is %q, %v", out, err)
	}
	if out := h.must("nft", "list", "tables"); strings.Contains(out, "ringfence") {
		h.t.Errorf("our rules outlive the package:\n%s", out)
	}
	h.until("sshd is back", 30*time.Second, func() error { _, err := h.shell("22", "true"); return err })
}
