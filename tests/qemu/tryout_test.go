package qemu

import (
	"bytes"
	"context"
	"net/netip"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"ringfence/internal/ports"
	"ringfence/internal/siptest"
	"ringfence/tests/apiclient"
)

// tryoutInstance moves the ports of 127.0.0.1 away from those of a `make run`
// of the developer's own.
const tryoutInstance = 6

// What somebody does first: make run, the wizard in the browser, two softphones
// on this machine, a call, Ctrl-C.
func TestMakeRun(t *testing.T) {
	r := startTryout(t)
	client := apiclient.New(r.base, r.fingerprint, nil)
	phones := r.setUp(t, client)
	sip, _ := ports.Lookup(r.services, ports.SIPUDP)
	server := netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), sip.First)
	a, b := tryoutPhone(t, server, phones[0], 440), tryoutPhone(t, server, phones[1], 880)
	r.call(t, a, b, phones[1].Number)
	checkLastRecord(t, client, phones[0].Number, phones[1].Number)
	r.switchOff(t)
}

// tryout is a running `mkimage run`.
type tryout struct {
	cmd      *exec.Cmd
	services []ports.Service

	base, token, fingerprint string // as printed

	mu   sync.Mutex
	text bytes.Buffer
}

// Write keeps what the command prints.
func (r *tryout) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.text.Write(p)
}

func (r *tryout) said() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.text.String()
}

// startTryout runs the command of make run on the image under test and waits
// until it says how to reach the guest.
func startTryout(t *testing.T) *tryout {
	t.Helper()
	raw, _ := Image(t)
	dir := folder(t)
	build := exec.CommandContext(t.Context(), "go", "build", "-o", filepath.Join(dir, "mkimage"), "./cmd/mkimage")
	build.Dir = "../.."
	if text, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	all, err := ports.Effective(nil, ports.InService)
	if err != nil {
		t.Fatal(err)
	}
	r := &tryout{}
	if r.services, err = ports.Slice(all, tryoutInstance); err != nil {
		t.Fatal(err)
	}
	r.cmd = exec.Command(filepath.Join(dir, "mkimage"), "run", "-image", raw, "-instance", strconv.Itoa(tryoutInstance), "-o", dir)
	r.cmd.Stdout, r.cmd.Stderr = r, r
	// Nothing of it outlives a test that is killed.
	r.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	if err := r.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if r.cmd.ProcessState == nil {
			_ = r.cmd.Process.Kill()
			_ = r.cmd.Wait()
		}
		if t.Failed() {
			t.Logf("make run said:\n%s", r.said())
		}
	})
	r.waitUp(t)
	return r
}

var (
	saidURL         = regexp.MustCompile(`(?m)^  (https://127\.0\.0\.1:\d+)/setup#token=(\S+)$`)
	saidToken       = regexp.MustCompile(`(?m)^  one-time token +(\S+)$`)
	saidFingerprint = regexp.MustCompile(`(?m)^  certificate SHA-256 +([0-9a-f]{64})$`)
)

func (r *tryout) waitUp(t *testing.T) {
	t.Helper()
	for deadline := time.Now().Add(bootTimeout); !strings.Contains(r.said(), "Ctrl-C switches it off"); time.Sleep(200 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("nothing to open after %s", bootTimeout)
		}
	}
	said := r.said()
	address, token, fingerprint := saidURL.FindStringSubmatch(said), saidToken.FindStringSubmatch(said), saidFingerprint.FindStringSubmatch(said)
	if address == nil || token == nil || fingerprint == nil || address[2] != token[1] {
		t.Fatalf("URL %q, token %q, fingerprint %q", address, token, fingerprint)
	}
	r.base, r.token, r.fingerprint = address[1], token[1], fingerprint[1]
	portal, _ := ports.Lookup(r.services, ports.Portal)
	if u, err := url.Parse(r.base); err != nil || u.Port() != portal.Ports() {
		t.Errorf("the URL is %s, the portal's port %s", r.base, portal.Ports())
	}
}

// setUp completes the wizard, in Chromium where there is one, and returns two
// extensions with their passwords.
func (r *tryout) setUp(t *testing.T, c *apiclient.Client) []apiclient.Extension {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	if !browserHere() {
		t.Log("no Chromium or no built pages here (make deps web); the wizard goes through the API")
		c.Token = r.token
		made, err := c.RunSetup(ctx, apiclient.DefaultSetup())
		if err != nil {
			t.Fatal(err)
		}
		return made[:2]
	}
	e2e := exec.CommandContext(ctx, "npm", "run", "-s", "e2e")
	e2e.Dir = "../../web"
	e2e.WaitDelay = 10 * time.Second
	e2e.Env = append(os.Environ(), "ONLY=wizard", "RINGFENCE_URL="+r.base, "RINGFENCE_TOKEN="+r.token, "RINGFENCE_FINGERPRINT="+r.fingerprint)
	out, err := e2e.CombinedOutput()
	if err != nil || !regexp.MustCompile(`(?m)^[1-9]\d* passed, 0 failed$`).Match(out) {
		t.Fatalf("wizard in Chromium: %v\n%s", err, out)
	}
	// The account is the one that the browser test makes; it keeps the phones'
	// passwords to itself, so that they are made anew.
	if err := c.Login(ctx, "ada", "Quiet-Harbour7"); err != nil {
		t.Fatal(err)
	}
	var phones []apiclient.Extension
	for _, number := range []string{"101", "102"} {
		var e apiclient.Extension
		if err := c.Do(ctx, "POST", "/extensions/"+number+"/sip-password", struct{}{}, &e); err != nil {
			t.Fatal(err)
		}
		phones = append(phones, e)
	}
	return phones
}

func browserHere() bool {
	for _, tool := range []string{"node", "npm", "chromium"} {
		if _, err := exec.LookPath(tool); err != nil {
			return false
		}
	}
	for _, file := range []string{"../../web/dist/index.html", "../../web/node_modules/playwright-core/package.json"} {
		if _, err := os.Stat(file); err != nil {
			return false
		}
	}
	return true
}

// tryoutPhone registers a softphone of this machine, which may take a moment
// after set-up: the listeners open then.
func tryoutPhone(t *testing.T, server netip.AddrPort, e apiclient.Extension, tone float64) *siptest.Phone {
	t.Helper()
	p := siptest.NewPhone(t, siptest.Config{Server: server, User: e.SIPUser, Password: e.SIPPassword, Domain: e.Domain, Tone: tone})
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if err := p.Register(ctx); err != nil {
		t.Fatalf("registering %s: %v", e.Number, err)
	}
	return p
}

// call has a call with audio both ways through QEMU's own network.
func (r *tryout) call(t *testing.T, a, b *siptest.Phone, number string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	out, in := tryoutRing(ctx, t, a, b, number)
	if err := in.Answer(); err != nil {
		t.Fatal(err)
	}
	if err := out.Wait(ctx, siptest.Answered); err != nil {
		t.Fatal(err)
	}
	rtp, _ := ports.Lookup(r.services, ports.RTPCore)
	for _, leg := range []*siptest.Call{out, in} {
		if at := leg.Remote().Addr; !at.Addr().IsLoopback() || at.Port() < rtp.First || at.Port() > rtp.Last {
			t.Errorf("the PBX advertises %s for audio, want 127.0.0.1 and a port of %s", at, rtp.Ports())
		}
	}
	for _, leg := range []struct {
		call      *siptest.Call
		want, own float64
	}{{out, 880, 440}, {in, 440, 880}} {
		leg.call.Forget()
		h, err := leg.call.Hear(ctx, 3*time.Second)
		if err != nil {
			t.Fatal(err)
		}
		if err := h.Only(leg.want, leg.own); err != nil {
			t.Error(err)
		}
	}
	if err := out.HangUp(); err != nil {
		t.Fatal(err)
	}
	if err := in.Wait(ctx, siptest.Ended); err != nil {
		t.Fatal(err)
	}
}

// tryoutRing calls until the other phone rings. A call is refused with 503 when
// the packet filter does not open its ports in 200 ms, which happens to an
// emulated guest on a busy machine.
func tryoutRing(ctx context.Context, t *testing.T, a, b *siptest.Phone, number string) (out, in *siptest.Call) {
	t.Helper()
	for range 3 {
		out, err := a.Call(ctx, number)
		if err != nil {
			t.Fatal(err)
		}
		short, cancel := context.WithTimeout(ctx, 10*time.Second)
		in, err := b.WaitCall(short)
		cancel()
		if err == nil {
			return out, in
		}
		if out.Status() != 503 {
			t.Fatalf("%s does not ring: %v; the caller has status %d", number, err, out.Status())
		}
		t.Log("a call was refused with 503")
	}
	t.Fatal("every call is refused with 503")
	return nil, nil
}

// checkLastRecord reads the newest call record.
func checkLastRecord(t *testing.T, c *apiclient.Client, caller, callee string) {
	t.Helper()
	var list struct {
		Items []struct {
			Caller, Callee struct{ Number string }
			Duration       float64 `json:"duration_seconds"`
			Reason         string  `json:"end_reason"`
		}
	}
	for deadline := time.Now().Add(15 * time.Second); (len(list.Items) == 0 || list.Items[0].Duration == 0) && time.Now().Before(deadline); time.Sleep(200 * time.Millisecond) {
		if err := c.Do(t.Context(), "GET", "/cdrs", nil, &list); err != nil {
			t.Fatal(err)
		}
	}
	if len(list.Items) == 0 {
		t.Fatal("no call record")
	}
	if r := list.Items[0]; r.Caller.Number != caller || r.Callee.Number != callee || r.Reason != "caller_hung_up" || r.Duration < 3 {
		t.Errorf("call record %+v", r)
	}
}

// switchOff presses Ctrl-C: the guest powers off by itself, and the command
// says so and ends well.
func (r *tryout) switchOff(t *testing.T) {
	t.Helper()
	if err := r.cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	if err := r.cmd.Wait(); err != nil {
		t.Errorf("make run ended with %v", err)
	}
	if !strings.Contains(r.said(), "Ringfence is off.") {
		t.Error("the guest did not switch itself off")
	}
}
