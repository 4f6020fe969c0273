package netcfg

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"reflect"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/insomniacslk/dhcp/rfc1035label"
)

func ack(t testing.TB, options ...dhcpv4.Modifier) *dhcpv4.DHCPv4 {
	t.Helper()
	m := []dhcpv4.Modifier{
		dhcpv4.WithMessageType(dhcpv4.MessageTypeAck),
		dhcpv4.WithYourIP(net.IPv4(192, 0, 2, 10)),
		dhcpv4.WithNetmask(net.CIDRMask(24, 32)),
		dhcpv4.WithLeaseTime(3600),
		dhcpv4.WithOption(dhcpv4.OptServerIdentifier(net.IPv4(192, 0, 2, 1))),
	}
	a, err := dhcpv4.New(append(m, options...)...)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func option(code dhcpv4.OptionCode, value ...byte) dhcpv4.Modifier {
	return dhcpv4.WithGeneric(code, value)
}

func TestReadLease(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)
	def := netip.MustParsePrefix("0.0.0.0/0")
	addr := netip.MustParseAddr
	base := Lease{Address: netip.MustParsePrefix("192.0.2.10/24"), Server: addr("192.0.2.1"), Obtained: now, Expires: now.Add(time.Hour)}
	with := func(f func(*Lease)) *Lease { l := base; f(&l); return &l }
	for name, c := range map[string]struct {
		ack  *dhcpv4.DHCPv4
		want *Lease
	}{
		"least": {ack(t), &base},
		"usual": {ack(t, dhcpv4.WithRouter(net.IPv4(192, 0, 2, 1), net.IPv4(192, 0, 2, 2)), dhcpv4.WithDNS(net.IPv4(192, 0, 2, 3), net.IPv4(192, 0, 2, 3), net.IPv4zero),
			dhcpv4.WithOption(dhcpv4.OptDomainName("example.org")), option(dhcpv4.OptionInterfaceMTU, 0x05, 0xb4)),
			with(func(l *Lease) {
				l.Routes, l.Nameservers, l.Search, l.MTU = []Route{{To: def, Via: addr("192.0.2.1")}}, []netip.Addr{addr("192.0.2.3")}, []string{"example.org"}, 1460
			})},
		"classless routes replace the router": {ack(t, dhcpv4.WithRouter(net.IPv4(192, 0, 2, 9)), option(dhcpv4.OptionClasslessStaticRoute,
			0, 192, 0, 2, 1, 8, 10, 192, 0, 2, 2, 32, 192, 0, 2, 1, 0, 0, 0, 0)),
			with(func(l *Lease) {
				l.Routes = []Route{{To: def, Via: addr("192.0.2.1")}, {To: netip.MustParsePrefix("10.0.0.0/8"), Via: addr("192.0.2.2")}, {To: netip.MustParsePrefix("192.0.2.1/32"), Via: addr("0.0.0.0")}}
			})},
		"cloud": {ack(t, dhcpv4.WithNetmask(net.CIDRMask(32, 32))), with(func(l *Lease) { l.Address = netip.MustParsePrefix("192.0.2.10/32") })},
		"search list": {ack(t, dhcpv4.WithOption(dhcpv4.OptDomainName("one.example")), dhcpv4.WithOption(dhcpv4.OptDomainSearch(&rfc1035label.Labels{Labels: []string{"two.example", "three.example"}}))),
			with(func(l *Lease) { l.Search = []string{"two.example", "three.example"} })},
		"time servers":          {ack(t, dhcpv4.WithOption(dhcpv4.OptNTPServers(net.IPv4(192, 0, 2, 5), net.IPv4zero, net.IPv4(224, 0, 1, 1), net.IPv4(192, 0, 2, 5)))), with(func(l *Lease) { l.NTP = []netip.Addr{addr("192.0.2.5")} })},
		"no mask":               {ack(t, dhcpv4.WithoutOption(dhcpv4.OptionSubnetMask)), &base},
		"silly mask":            {ack(t, option(dhcpv4.OptionSubnetMask, 255, 0, 255, 0)), &base},
		"short lease":           {ack(t, dhcpv4.WithLeaseTime(1)), with(func(l *Lease) { l.Expires = now.Add(shortestLease) })},
		"hostile domain":        {ack(t, dhcpv4.WithOption(dhcpv4.OptDomainName("x\nnameserver 198.51.100.66"))), &base},
		"starving mtu":          {ack(t, option(dhcpv4.OptionInterfaceMTU, 0, 68)), &base},
		"loopback name server":  {ack(t, dhcpv4.WithDNS(net.IPv4(127, 0, 0, 1), net.IPv4(224, 0, 0, 1))), &base},
		"multicast router":      {ack(t, dhcpv4.WithRouter(net.IPv4(224, 0, 0, 1))), &base},
		"broken routes":         {ack(t, option(dhcpv4.OptionClasslessStaticRoute, 40, 1, 2)), &base},
		"no lease time":         {ack(t, dhcpv4.WithoutOption(dhcpv4.OptionIPAddressLeaseTime)), nil},
		"no address":            {ack(t, dhcpv4.WithYourIP(net.IPv4zero)), nil},
		"loopback":              {ack(t, dhcpv4.WithYourIP(net.IPv4(127, 0, 0, 1))), nil},
		"multicast":             {ack(t, dhcpv4.WithYourIP(net.IPv4(224, 0, 0, 5))), nil},
		"broadcast":             {ack(t, dhcpv4.WithYourIP(net.IPv4bcast)), nil},
		"network's own address": {ack(t, dhcpv4.WithYourIP(net.IPv4(192, 0, 2, 0))), nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := readLease(c.ack, now)
			switch {
			case c.want == nil:
				if err == nil {
					t.Errorf("taken: %+v", got)
				}
			case err != nil:
				t.Error(err)
			case !reflect.DeepEqual(got, *c.want):
				t.Errorf("got  %+v\nwant %+v", got, *c.want)
			}
		})
	}
}

// FuzzReadLease: whatever a server sends, the lease is one we can live with.
func FuzzReadLease(f *testing.F) {
	f.Add(ack(f, dhcpv4.WithRouter(net.IPv4(192, 0, 2, 1)), dhcpv4.WithDNS(net.IPv4(192, 0, 2, 3))).ToBytes())
	f.Add(ack(f, option(dhcpv4.OptionClasslessStaticRoute, 0, 192, 0, 2, 1), dhcpv4.WithOption(dhcpv4.OptDomainName("a.b"))).ToBytes())
	f.Fuzz(func(t *testing.T, raw []byte) {
		m, err := dhcpv4.FromBytes(raw)
		if err != nil {
			return
		}
		now := time.Now()
		l, err := readLease(m, now)
		if err != nil {
			return
		}
		a := l.Address
		if !isHost(a.Addr()) || a.Bits() < 8 || l.Expires.Before(now.Add(shortestLease)) || len(l.Routes) > MaxRoutes || len(l.Nameservers) > MaxServers ||
			l.MTU != 0 && l.MTU < leastMTU || slices.ContainsFunc(l.Search, func(s string) bool { return !isHostname(s) }) {
			t.Errorf("taken: %+v", l)
		}
		renew, rebind := times(m, l)
		if !now.Before(renew) || !renew.Before(rebind) || !rebind.Before(l.Expires) {
			t.Errorf("times %s %s %s after %s", renew, rebind, l.Expires, now)
		}
	})
}

// fakeWire answers as the test says, in fake time.
type fakeWire struct {
	mu        sync.Mutex
	began     time.Time
	onAcquire func() (*dhcpv4.DHCPv4, error)
	onRenew   func(anybody bool) (*dhcpv4.DHCPv4, error)
	log       []string
}

func (w *fakeWire) note(what string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.log = append(w.log, what+" "+time.Since(w.began).Round(time.Second).String())
}

func (w *fakeWire) acquire(context.Context) (*dhcpv4.DHCPv4, error) {
	w.note("discover")
	return w.onAcquire()
}

func (w *fakeWire) renew(_ context.Context, _ *dhcpv4.DHCPv4, anybody bool) (*dhcpv4.DHCPv4, error) {
	if anybody {
		w.note("rebind")
	} else {
		w.note("renew")
	}
	return w.onRenew(anybody)
}

func (w *fakeWire) set(l *Lease) {
	if l == nil {
		w.note("lost")
		return
	}
	w.note("have " + l.Address.Addr().String())
}

func (w *fakeWire) story() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.log)
}

func runClient(t *testing.T, w *fakeWire, up chan struct{}, carrier func() bool) (stop func()) {
	t.Helper()
	w.began = time.Now()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	c := &dhcpClient{wire: w, log: slog.New(slog.DiscardHandler), up: up, carrier: carrier, set: w.set}
	go func() { defer close(done); c.run(ctx) }()
	return func() { cancel(); <-done }
}

func yes() bool { return true }

func wantStory(t *testing.T, w *fakeWire, want ...string) {
	t.Helper()
	if got := w.story(); !slices.Equal(got, want) {
		t.Errorf("story %q\nwant  %q", got, want)
	}
}

var errSilence = errors.New("no answer")

func TestLeaseIsRenewedAtHalfTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := ack(t)
		w := &fakeWire{onAcquire: func() (*dhcpv4.DHCPv4, error) { return a, nil }, onRenew: func(bool) (*dhcpv4.DHCPv4, error) { return a, nil }}
		stop := runClient(t, w, nil, yes)
		time.Sleep(2*time.Hour - time.Minute)
		stop()
		wantStory(t, w, "discover 0s", "have 192.0.2.10 0s", "renew 30m0s", "have 192.0.2.10 30m0s", "renew 1h0m0s", "have 192.0.2.10 1h0m0s", "renew 1h30m0s", "have 192.0.2.10 1h30m0s")
	})
}

func TestLeaseRunsOutWhenTheServerIsAway(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := ack(t, dhcpv4.WithLeaseTime(1600))
		first := true
		w := &fakeWire{onRenew: func(bool) (*dhcpv4.DHCPv4, error) { return nil, errSilence }}
		w.onAcquire = func() (*dhcpv4.DHCPv4, error) {
			if first {
				first = false
				return a, nil
			}
			return nil, errSilence
		}
		stop := runClient(t, w, nil, yes)
		time.Sleep(1600 * time.Second)
		synctest.Wait()
		stop()
		// T1 800 s, T2 1400 s; half of the rest, but a minute at least.
		wantStory(t, w, "discover 0s", "have 192.0.2.10 0s", "renew 13m20s", "renew 18m20s", "renew 20m50s", "renew 22m5s", "renew 23m5s",
			"rebind 23m20s", "rebind 25m0s", "rebind 26m0s", "lost 26m40s", "discover 26m40s")
	})
}

func TestRefusalLosesTheLeaseAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		next := []*dhcpv4.DHCPv4{ack(t), ack(t, dhcpv4.WithYourIP(net.IPv4(192, 0, 2, 99)))}
		w := &fakeWire{onRenew: func(bool) (*dhcpv4.DHCPv4, error) { return nil, errNak }}
		w.onAcquire = func() (*dhcpv4.DHCPv4, error) { a := next[0]; next = next[1:]; return a, nil }
		stop := runClient(t, w, nil, yes)
		time.Sleep(31 * time.Minute)
		stop()
		wantStory(t, w, "discover 0s", "have 192.0.2.10 0s", "renew 30m0s", "lost 30m0s", "discover 30m0s", "have 192.0.2.99 30m0s")
	})
}

func TestLeaseIsVerifiedWhenTheLinkComesBack(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		answers := []error{errSilence, nil, errSilence, errSilence, errSilence, errNak}
		a := ack(t)
		w := &fakeWire{onAcquire: func() (*dhcpv4.DHCPv4, error) { return a, nil }}
		w.onRenew = func(bool) (*dhcpv4.DHCPv4, error) {
			err := answers[0]
			answers = answers[1:]
			if err != nil {
				return nil, err
			}
			return a, nil
		}
		up := make(chan struct{}, 1)
		stop := runClient(t, w, up, yes)
		for range 3 { // prolonged at the second try; silence: kept; refused: lost
			time.Sleep(time.Minute)
			up <- struct{}{}
		}
		time.Sleep(time.Minute)
		stop()
		wantStory(t, w, "discover 0s", "have 192.0.2.10 0s",
			"rebind 1m0s", "rebind 1m2s", "have 192.0.2.10 1m2s",
			"rebind 2m0s", "rebind 2m2s", "rebind 2m4s",
			"rebind 3m0s", "lost 3m0s", "discover 3m0s", "have 192.0.2.10 3m0s")
	})
}

func TestClientWaitsForCarrierAndBacksOff(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var carrier bool
		var mu sync.Mutex
		up := make(chan struct{}, 1)
		w := &fakeWire{onAcquire: func() (*dhcpv4.DHCPv4, error) { return nil, errSilence }}
		stop := runClient(t, w, up, func() bool { mu.Lock(); defer mu.Unlock(); return carrier })
		time.Sleep(10 * time.Minute)
		if len(w.story()) != 0 {
			t.Errorf("asked without carrier: %q", w.story())
		}
		mu.Lock()
		carrier = true
		mu.Unlock()
		up <- struct{}{}
		synctest.Wait()
		if len(w.story()) != 1 {
			t.Errorf("did not ask at once: %q", w.story())
		}
		time.Sleep(10 * time.Minute)
		if n := len(w.story()); n < 13 || n > 18 { // 1 2 4 8 16 32 64 64 ...
			t.Errorf("asked %d times in 10 minutes: %q", n, w.story())
		}
		stop()
	})
}

// An unusable grant is as good as none: the client must not spin on it.
func TestUnusableLeaseIsNotTaken(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		bad := ack(t, dhcpv4.WithYourIP(net.IPv4(127, 0, 0, 1)))
		w := &fakeWire{onAcquire: func() (*dhcpv4.DHCPv4, error) { return bad, nil }}
		stop := runClient(t, w, nil, yes)
		time.Sleep(10 * time.Minute)
		stop()
		if n := len(w.story()); n > 18 {
			t.Errorf("asked %d times", n)
		}
		for _, line := range w.story() {
			if line[:4] == "have" {
				t.Error(line)
			}
		}
	})
}
