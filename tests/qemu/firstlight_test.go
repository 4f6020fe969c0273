package qemu

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"ringfence/internal/ports"
	"ringfence/internal/siptest"
	"ringfence/tests/apiclient"
	"ringfence/tests/clients"
)

// TestFirstLight is the life of a fresh box: boot under fire, closed before
// set-up, the wizard, open exactly as the table says, two real phones in a
// call, its record.
func TestFirstLight(t *testing.T) {
	var fire *flood
	vm := Start(t, Before(func(vm *VM) { fire = startFlood(t, vm) }))
	vm.WaitReady(0)
	if n := fire.stop(); n > 0 {
		t.Errorf("the flood during boot was answered %d times outside the table", n)
	}
	t.Logf("ready %.1f s after power-on; flood of %d datagrams", time.Since(vm.Started).Seconds(), fire.sent.Load())
	checkOrder(t, vm.Console.String())
	checkConfined(t, vm.Console.String())

	before, err := ports.Effective(nil, ports.BeforeSetup)
	if err != nil {
		t.Fatal(err)
	}
	t.Run("scan before set-up", func(t *testing.T) { checkScan(t, vm, before) })
	t.Run("token", func(t *testing.T) { checkToken(t, vm) })
	vm.Setup()
	after, err := ports.Effective(nil, ports.InService)
	if err != nil {
		t.Fatal(err)
	}
	t.Run("baresip pair", func(t *testing.T) { checkBaresip(t, vm) })
	t.Run("IPv6 phone", func(t *testing.T) { checkIPv6(t, vm) })
	t.Run("scan after set-up", func(t *testing.T) { checkScan(t, vm, after) })
	t.Run("operator shell", func(t *testing.T) { checkShell(t, vm) })
	t.Run("tools of attackers", func(t *testing.T) { checkAttackers(t, vm, 80) })
}

// checkOrder demands that the packet filter was loaded before an interface
// came up, by the order of what fenced says.
func checkOrder(t *testing.T, console string) {
	t.Helper()
	rules, link := strings.Index(console, "packet filter loaded"), strings.Index(console, "interface configured")
	if rules < 0 || link < 0 || link < rules {
		t.Errorf("packet filter at %d of the console's text, first interface at %d", rules, link)
	}
}

// checkConfined demands that the image's kernel takes from the services all that
// they give up, by what they say.
func checkConfined(t *testing.T, console string) {
	t.Helper()
	for _, service := range []string{"fenced", "pbxd"} {
		for _, said := range []string{"files confined", "system calls filtered"} {
			if !regexp.MustCompile(service + ": .*" + said).MatchString(console) {
				t.Errorf("%s never said: %s", service, said)
			}
		}
	}
}

func checkScan(t *testing.T, vm *VM, on []ports.Service) {
	for guest, from := range map[string]string{guest4: tester4, guest6: tester6} {
		open, err := vm.TCPScan(guest)
		if err != nil {
			t.Fatal(err)
		}
		if want := TCPPorts(on); !slices.Equal(open, want) {
			t.Errorf("open TCP ports of %s: %v, want %v", guest, open, want)
		}
		vm.CheckUDP(from, guest, on)
	}
	// 22 is silent: no answer at all, not even a refusal.
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	var late net.Error
	if c, err := vm.NS.DialContext(ctx, "tcp", net.JoinHostPort(guest4, "22")); !errors.As(err, &late) || !late.Timeout() {
		t.Errorf("port 22 answered: %v, %v", c, err)
	}
}

func checkToken(t *testing.T, vm *VM) {
	for _, token := range []string{"", "wrong", strings.Repeat("a", len(vm.Token))} {
		c := apiclient.New(vm.URL, vm.Fingerprint, vm.NS.DialContext)
		c.Token = token
		for _, path := range []string{"/setup", "/extensions", "/session"} {
			if err := c.Do(t.Context(), "GET", path, nil, nil); apiclient.Status(err) != 404 {
				t.Errorf("GET %s with token %q: %v, want 404", path, token, err)
			}
		}
	}
	if err := vm.API.Do(t.Context(), "PUT", "/setup/administrator", map[string]string{"name": "boss", "password": "abcd1234", "first_name": "Jo", "last_name": "B", "email": "b@pbx.example"}, nil); apiclient.Status(err) != 422 || !strings.Contains(err.Error(), "password") {
		t.Errorf("a weak password: %v", err)
	}
}

// checkBaresip has two baresips call each other through the image; each side
// ends one call.
func checkBaresip(t *testing.T, vm *VM) {
	a := vm.baresip(t, "101", phoneA, 0, 440, "")
	b := vm.baresip(t, "102", phoneB, 1, 880, ";answermode=auto")
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	for _, ends := range []*clients.Baresip{a, b} {
		if _, err := a.Do("dial", "102"); err != nil {
			t.Fatal(err)
		}
		for _, p := range []*clients.Baresip{a, b} {
			if _, err := p.Wait(ctx, "CALL_ESTABLISHED"); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(4 * time.Second)
		if _, err := ends.Do("hangup", ""); err != nil {
			t.Fatal(err)
		}
		for _, p := range []*clients.Baresip{a, b} {
			if _, err := p.Wait(ctx, "CALL_CLOSED"); err != nil {
				t.Fatal(err)
			}
		}
	}
	a.Close()
	b.Close()
	heard(t, a, 880, 440)
	heard(t, b, 440, 880)
	checkRecords(t, vm)
}

func checkRecords(t *testing.T, vm *VM) {
	t.Helper()
	var list struct {
		Items []struct {
			Caller, Callee struct{ Number string }
			Reason         string `json:"end_reason"`
			StatusCode     int    `json:"status_code"`
		}
	}
	for deadline := time.Now().Add(15 * time.Second); len(list.Items) < 2 && time.Now().Before(deadline); time.Sleep(200 * time.Millisecond) {
		if err := vm.API.Do(t.Context(), "GET", "/cdrs", nil, &list); err != nil {
			t.Fatal(err)
		}
	}
	if len(list.Items) != 2 || list.Items[0].Reason != "callee_hung_up" || list.Items[1].Reason != "caller_hung_up" {
		t.Fatalf("call records %+v", list.Items)
	}
	for _, r := range list.Items {
		if r.Caller.Number != "101" || r.Callee.Number != "102" || r.StatusCode != 200 {
			t.Errorf("call record %+v", r)
		}
	}
}

func (vm *VM) baresip(t *testing.T, number, addr string, slot, tone int, more string) *clients.Baresip {
	t.Helper()
	e := vm.Extension(number)
	udp, _ := ports.Lookup(ports.Table(), ports.SIPUDP)
	p, err := clients.StartBaresip(t.Context(), clients.BaresipConfig{
		Dir: t.TempDir(), Command: vm.NS.Command, Dial: vm.NS.DialContext,
		Interface: tap, Addr: addr, Port: 6200 + 20*slot, RTPFirst: 21000 + 100*slot, Ctrl: 16200 + slot, ToneHz: tone,
		URI:     fmt.Sprintf("sip:%s@%s", e.SIPUser, e.Domain),
		Account: fmt.Sprintf(";auth_pass=%s;outbound=\"sip:%s:%d\";regint=60%s", e.SIPPassword, guest4, udp.First, more),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if err := p.Registered(ctx); err != nil {
		t.Fatal(err)
	}
	return p
}

func heard(t *testing.T, b *clients.Baresip, want, never float64) {
	t.Helper()
	files, err := b.Heard()
	if err != nil || len(files) == 0 {
		t.Fatalf("recordings: %v, %v; log:\n%s", files, err, b.Log())
	}
	for _, f := range files {
		h, err := siptest.HeardWAV(f)
		if err != nil {
			t.Fatal(err)
		}
		if h.Share(want) < 0.9 || h.Share(never) > 0.01 {
			t.Errorf("%s: %.0f Hz has %.3f of the energy, %.0f Hz %.3f", f, want, h.Share(want), never, h.Share(never))
		}
	}
}

// checkIPv6 registers a phone over IPv6 and has it call one on IPv4.
func checkIPv6(t *testing.T, vm *VM) {
	udp, _ := ports.Lookup(ports.Table(), ports.SIPUDP)
	start := func(number, server, listen string, tone float64) *siptest.Phone {
		e := vm.Extension(number)
		p := siptest.NewPhone(t, siptest.Config{
			Server: netip.AddrPortFrom(netip.MustParseAddr(server), udp.First), User: e.SIPUser, Password: e.SIPPassword, Domain: e.Domain,
			Tone: tone, Listen: netip.AddrPortFrom(netip.MustParseAddr(listen), 0), ListenUDP: vm.NS.ListenUDP,
		})
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		if err := p.Register(ctx); err != nil {
			t.Fatal(err)
		}
		return p
	}
	a, b := start("103", guest6, tester6, 660), start("104", guest4, tester4, 1000)
	ctx, cancel := context.WithTimeout(t.Context(), 40*time.Second)
	defer cancel()
	out, err := a.Call(ctx, "104")
	if err != nil {
		t.Fatal(err)
	}
	in, err := b.WaitCall(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := in.Answer(); err != nil {
		t.Fatal(err)
	}
	if err := out.Wait(ctx, siptest.Answered); err != nil {
		t.Fatal(err)
	}
	time.Sleep(3 * time.Second)
	if h := out.Heard(); h.Share(1000) < 0.9 {
		t.Errorf("the IPv6 phone heard 1000 Hz %.3f in %d packets", h.Share(1000), h.Packets)
	}
	if h := in.Heard(); h.Share(660) < 0.9 {
		t.Errorf("the IPv4 phone heard 660 Hz %.3f in %d packets", h.Share(660), h.Packets)
	}
	if err := in.HangUp(); err != nil {
		t.Fatal(err)
	}
	if err := out.Wait(ctx, siptest.Ended); err != nil {
		t.Fatal(err)
	}
}

// flood sends to the guest's address while it boots and counts what answers.
type flood struct {
	sent, answered atomic.Int64
	end            chan struct{}
	done           chan struct{}
	conn           *net.UDPConn
}

func startFlood(t *testing.T, vm *VM) *flood {
	t.Helper()
	// Without a static neighbour entry nothing is sent before the guest answers ARP.
	if err := vm.NS.IP("neigh", "replace", guest4, "lladdr", guestMAC, "dev", tap, "nud", "permanent"); err != nil {
		t.Fatal(err)
	}
	c, err := vm.NS.ListenUDP(netip.MustParseAddrPort(tester4 + ":0"))
	if err != nil {
		t.Fatal(err)
	}
	f := &flood{end: make(chan struct{}), done: make(chan struct{}), conn: c}
	go func() {
		buf := make([]byte, 2048)
		for {
			if _, _, err := c.ReadFromUDPAddrPort(buf); err != nil {
				return
			}
			f.answered.Add(1)
		}
	}()
	go f.send(c)
	return f
}

func (f *flood) send(c *net.UDPConn) {
	defer close(f.done)
	var targets []netip.AddrPort
	for _, s := range ports.Table() {
		if s.Proto == ports.UDP {
			targets = append(targets, netip.AddrPortFrom(netip.MustParseAddr(guest4), s.First))
		}
	}
	local := c.LocalAddr().(*net.UDPAddr).AddrPort()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for i := 0; ; i++ {
		select {
		case <-f.end:
			return
		case <-tick.C:
		}
		to := targets[i%len(targets)]
		if _, err := c.WriteToUDPAddrPort(optionsRequest(local, to), to); err == nil {
			f.sent.Add(1)
		}
	}
}

// stop ends the flood and says how often it was answered.
func (f *flood) stop() int64 {
	close(f.end)
	<-f.done
	f.conn.Close()
	return f.answered.Load()
}
