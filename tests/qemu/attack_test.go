package qemu

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"ringfence/internal/ports"
	"ringfence/tests/netlab"
)

const (
	attacker4 = "10.79.0.2"
	// idleRate connections that say nothing are opened a second: fewer than what
	// the packet filter bans for.
	idleRate = 200
	// handshakes end after 10 s; emulation and a busy machine take theirs.
	handshakeEnd = 15 * time.Second
	// patience is how much slower than in quiet the portal may answer somebody
	// else: the median, and the slowest.
	usualPatience, worstPatience = 6, 40
)

// TestAttackers is checkAttackers with a thousand idle connections. It is a drill.
func TestAttackers(t *testing.T) {
	if os.Getenv("RINGFENCE_DRILL") != "1" {
		t.Skip("a drill: RINGFENCE_DRILL=1")
	}
	vm := Boot(t)
	vm.Setup()
	checkAttackers(t, vm, 200)
}

// outsider is a namespace behind ours, with an address that is not on the
// guest's network.
func outsider(t *testing.T, vm *VM) *netlab.Namespace {
	t.Helper()
	ns := netlab.New(t, "at")
	if err := netlab.Join(vm.NS, "at0", []string{"10.79.0.1/24"}, ns, "vm0", []string{attacker4 + "/24"}); err != nil {
		t.Fatal(err)
	}
	if err := ns.IP("route", "add", "default", "via", "10.79.0.1"); err != nil {
		t.Fatal(err)
	}
	if err := vm.NS.Do(func() error { return os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0) }); err != nil {
		t.Fatal(err)
	}
	return ns
}

// checkAttackers lets SIPVicious, slowhttptest and idle connections loose on the
// guest, and calls and looks at the portal from elsewhere meanwhile. slow is how
// many connections send headers and bodies slowly, of each kind; five times as
// many say nothing.
func checkAttackers(t *testing.T, vm *VM, slow int) {
	for _, tool := range []string{"svmap", "svwar", "svcrack", "slowhttptest"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("%s is not installed (make deps)", tool)
		}
	}
	attacker := outsider(t, vm)
	quiet := vm.portalTimes(t, func(n int, _ time.Duration) bool { return n < 7 })
	var attack sync.WaitGroup
	began := time.Now()
	attack.Go(func() { idleConnections(t, attacker, vm, 5*slow) })
	for _, kind := range []string{"-H", "-B"} {
		attack.Go(func() { slowHTTP(t, attacker, vm.URL, kind, slow) })
	}
	attack.Go(func() { vm.scannersFindNothing(t, attacker) })
	defer attack.Wait()
	over := make(chan struct{})
	go func() { attack.Wait(); close(over) }()
	var watch sync.WaitGroup
	defer watch.Wait()
	var during []time.Duration
	watch.Go(func() {
		during = vm.portalTimes(t, func(int, time.Duration) bool {
			select {
			case <-over:
				return false
			case <-time.After(200 * time.Millisecond):
				return true
			}
		})
	})
	vm.callMeanwhile(t)
	<-over
	watch.Wait()
	t.Logf("portal in quiet: median %v, slowest %v; in %v of attack, %d times: median %v, slowest %v",
		quiet[len(quiet)/2], quiet[len(quiet)-1], time.Since(began).Round(time.Second), len(during), during[len(during)/2], during[len(during)-1])
	if usual := quiet[len(quiet)/2]; during[len(during)/2] > usualPatience*usual || during[len(during)-1] > worstPatience*usual {
		t.Error("the portal is slow for somebody else")
	}
	if err := vm.untilOPTIONS(5 * time.Second); err != nil {
		t.Error(err)
	}
}

// portalTimes asks the portal from the tests' own address, each time with a new
// connection, while more says so, and sorts how long the answers took.
func (vm *VM) portalTimes(t *testing.T, more func(n int, last time.Duration) bool) (took []time.Duration) {
	client := &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{
		DialContext: vm.NS.DialContext, DisableKeepAlives: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true},
	}}
	for n, last := 0, time.Duration(0); more(n, last); n++ {
		start := time.Now()
		res, err := client.Get(vm.URL + "/healthz")
		if err == nil {
			_, err = io.Copy(io.Discard, res.Body)
			res.Body.Close()
		}
		if err != nil {
			t.Errorf("the portal for somebody else: %v", err)
		}
		last = time.Since(start)
		took = append(took, last)
	}
	slices.Sort(took)
	return took
}

// idleConnections opens connections to the portal that say nothing, and wants
// every one closed when the time for handshakes is over.
func idleConnections(t *testing.T, attacker *netlab.Namespace, vm *VM, idle int) {
	portal, _ := ports.Lookup(ports.Table(), ports.Portal)
	tick := time.NewTicker(time.Second / idleRate)
	defer tick.Stop()
	var all sync.WaitGroup
	var mu sync.Mutex
	open, left := 0, 0
	for range idle {
		<-tick.C
		all.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), handshakeEnd)
			defer cancel()
			c, err := attacker.DialContext(ctx, "tcp", net.JoinHostPort(guest4, portal.Ports()))
			if err != nil {
				return // more than one source may have
			}
			defer c.Close()
			_ = c.SetReadDeadline(time.Now().Add(handshakeEnd))
			_, err = c.Read(make([]byte, 1))
			late, _ := err.(net.Error)
			mu.Lock()
			defer mu.Unlock()
			open++
			if late != nil && late.Timeout() {
				left++
			}
		})
	}
	all.Wait()
	t.Logf("%d of %d idle connections came about, %d were left after %v", open, idle, left, handshakeEnd)
	if open == 0 || left > 0 {
		t.Errorf("of %d idle connections %d were left after %v", open, left, handshakeEnd)
	}
}

// slowHTTP runs slowhttptest: -H slow headers, -B slow bodies.
func slowHTTP(t *testing.T, attacker *netlab.Namespace, url, kind string, connections int) {
	const seconds = 10
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	cmd := attacker.Command(ctx, "slowhttptest", kind, "-c", fmt.Sprint(connections), "-r", "50", "-i", "2", "-l", fmt.Sprint(seconds), "-u", url+"/", "-p", "5")
	cmd.Env = append(os.Environ(), "TERM=dumb")
	out, err := cmd.CombinedOutput()
	if _, ended := err.(*exec.ExitError); err != nil && !ended { // its status tells what it found
		t.Errorf("slowhttptest %s: %v: %s", kind, err, out)
	}
	if text := string(out); !strings.Contains(text, "Exit status") && !strings.Contains(text, "exit status") {
		t.Errorf("slowhttptest %s did not run: %s", kind, text)
	}
}

// scannersFindNothing runs SIPVicious, first as it comes and then with a name
// that is not known; it is banned after 50 guesses.
func (vm *VM) scannersFindNothing(t *testing.T, attacker *netlab.Namespace) {
	e := vm.Extension("102")
	dir := t.TempDir()
	run := func(name string, args ...string) string {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		cmd := attacker.Command(ctx, name, args...)
		cmd.Dir, cmd.Env = dir, append(os.Environ(), "HOME="+dir, "TERM=dumb", "COLUMNS=200")
		out, _ := cmd.CombinedOutput()
		if ctx.Err() != nil {
			t.Errorf("%s did not end: %s", name, out)
		}
		return string(out)
	}
	if out := run("svmap", guest4); strings.Contains(out, guest4) {
		t.Errorf("svmap finds the guest:\n%s", out)
	}
	if out := run("svwar", "-e", "101-103,190-192", "--domain="+e.Domain, "--maximumtime=2", guest4); strings.Contains(out, "| 10") || strings.Contains(out, "| 19") {
		t.Errorf("svwar is answered:\n%s", out)
	}
	var p map[string]any
	if err := vm.API.Do(t.Context(), "GET", "/security/protection", nil, &p); err != nil {
		t.Error(err)
		return
	}
	delete(p, "$schema")
	named := maps.Clone(p)
	named["user_agents"] = []string{}
	if err := vm.API.Do(t.Context(), "PUT", "/security/protection", named, nil); err != nil {
		t.Error(err)
		return
	}
	var words strings.Builder
	for i := range 80 {
		fmt.Fprintf(&words, "guess%d\n", i)
	}
	list := filepath.Join(dir, "words")
	if err := os.WriteFile(list, []byte(words.String()+e.SIPPassword+"\n"), 0o600); err != nil {
		t.Error(err)
		return
	}
	if out := run("svcrack", "-u", "102", "-d", list, "--domain="+e.Domain, "--maximumtime=3", guest4); strings.Contains(out, "| 102 ") {
		t.Errorf("svcrack finds a password:\n%s", out)
	}
	var bans struct {
		Items []struct {
			Source, Scope, Reason string
			Count                 int
		}
	}
	if err := vm.API.Do(t.Context(), "GET", "/security/bans", nil, &bans); err != nil {
		t.Error(err)
	}
	banned := false
	for _, b := range bans.Items {
		banned = banned || b.Source == attacker4 && b.Scope == "sip" && b.Reason == "wrong passwords" && b.Count == 50
	}
	if !banned {
		t.Errorf("%+v", bans.Items)
	}
	if err := vm.API.Do(t.Context(), "PUT", "/security/protection", p, nil); err != nil {
		t.Error(err)
	}
	udp, _ := ports.Lookup(ports.Table(), ports.SIPUDP)
	c, err := attacker.ListenUDP(netip.MustParseAddrPort(attacker4 + ":0"))
	if err != nil {
		t.Error(err)
		return
	}
	defer c.Close()
	if probeSIP(c, netip.AddrPortFrom(netip.MustParseAddr(guest4), udp.First), time.Second) {
		t.Error("the banned source is answered")
	}
}

// callMeanwhile has two phones call each other.
func (vm *VM) callMeanwhile(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	a, b := vm.Phone("103", 440), vm.Phone("104", 660)
	for _, number := range []interface {
		Register(context.Context) error
	}{a, b} {
		if err := number.Register(ctx); err != nil {
			t.Fatal(err)
		}
	}
	out, in := connect(ctx, t, a, b, "104")
	listen(ctx, t, out, 660)
	listen(ctx, t, in, 440)
	if err := out.HangUp(); err != nil {
		t.Fatal(err)
	}
}
