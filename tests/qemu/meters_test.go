package qemu

import (
	"context"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"ringfence/firewall/nstest"
	"ringfence/internal/ports"
	"ringfence/internal/telephony"
)

// The sources of checkMeters; guests of another /64, since bans hold for all of
// one, and the first is the image's own.
const (
	calm4, calm6     = "10.77.0.20", "fd77:20::2"
	over4, over6     = "10.77.0.21", "fd77:21::2"
	far4, far6       = "10.77.0.22", "fd77:22::2"
	allowed4         = "10.77.0.23"
	blocked4         = "10.77.0.24"
	keepAlive        = "\r\n\r\n" // RFC 5626 section 3.5.1: nothing that guard counts
	closeToTheLimits = 0.95
)

type meterBan struct {
	Source string
	Level  int
	Port   string
	Until  time.Time
}

// checkMeters sends at rates below and above the limits of a fresh image, over
// IPv4 and IPv6, and looks who is banned, for what, and for how long; who is
// allowed is not, who is blocked gets no answer.
func checkMeters(t *testing.T, vm *VM) {
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	m := &meters{t: t, vm: vm}
	m.addresses()
	m.rule(ctx, allowed4, "allow")
	m.rule(ctx, blocked4, "block")
	limits := telephony.DefaultPacketLimits()
	l1, l2 := float64(limits.L1), float64(limits.L2)

	for blocked := time.Now(); m.answers(blocked4); {
		if time.Since(blocked) > 2*time.Second {
			t.Error("a blocked source is answered")
			break
		}
	}
	m.send(ctx, 8*time.Second, map[string]float64{
		calm4: closeToTheLimits * l1, calm6: closeToTheLimits * l1,
		over4: 1.4 * l1, over6: 1.4 * l1, allowed4: 1.4 * l1,
	})
	m.send(ctx, 4*time.Second, map[string]float64{far4: 1.5 * l2})
	m.send(ctx, 4*time.Second, map[string]float64{far6: 1.5 * l2})
	bans := m.bans(ctx, 4)
	for source, want := range map[string]struct {
		level  int
		length time.Duration
	}{
		calm4: {}, calm6: {}, allowed4: {},
		over4: {1, limits.L1Ban}, over6: {1, limits.L1Ban}, far4: {2, limits.L2Ban}, far6: {2, limits.L2Ban},
	} {
		b, banned := bans[hostOf(source)]
		if banned != (want.level > 0) || b.Level != want.level {
			t.Errorf("%s: banned for level %d, want %d", source, b.Level, want.level)
			continue
		}
		// The guest's clock comes from one that counts whole seconds.
		if left := time.Until(b.Until); banned && (left > want.length+time.Second || left < want.length-25*time.Second) {
			t.Errorf("%s: banned for %s more, want at most %s", source, left, want.length)
		}
		if udp, _ := ports.Lookup(ports.Table(), ports.SIPUDP); banned && b.Port != "udp "+udp.Ports() {
			t.Errorf("%s: banned for packets to %q", source, b.Port)
		}
	}
	for source, want := range map[string]bool{calm4: true, allowed4: true, over4: false, far4: false} {
		if m.answers(source) != want {
			t.Errorf("%s is answered: %v, want %v", source, !want, want)
		}
	}
	// Level 1 ends by itself.
	until := bans[hostOf(over4)].Until
	for !m.answers(over4) {
		if time.Since(until) > 5*time.Second {
			t.Fatalf("%s is silent %s after its ban", over4, time.Since(until))
		}
	}
	if early := time.Until(until); early > 2*time.Second {
		t.Errorf("%s is answered %s before its ban ends", over4, early)
	}
	t.Logf("level 1 ended %s after the time that is shown", time.Since(until).Round(10*time.Millisecond))
	if m.answers(far4) {
		t.Error("level 2 ended with level 1")
	}
}

type meters struct {
	t  *testing.T
	vm *VM
}

// addresses gives the tests' end of the cable those of all sources.
func (m *meters) addresses() {
	m.t.Helper()
	// The image cannot answer neighbour solicitations of networks it has no way to.
	commands := [][]string{{"-6", "neigh", "replace", guest6, "lladdr", guestMAC, "dev", tap, "nud", "permanent"}}
	for _, a := range []string{calm4, over4, far4, allowed4, blocked4} {
		commands = append(commands, []string{"addr", "add", a + "/24", "dev", tap})
	}
	for _, a := range []string{calm6, over6, far6} {
		commands = append(commands, []string{"addr", "add", a + "/64", "dev", tap, "nodad"})
	}
	for _, c := range commands {
		if err := m.vm.NS.IP(c...); err != nil {
			m.t.Fatal(err)
		}
	}
}

func (m *meters) rule(ctx context.Context, address, action string) {
	m.t.Helper()
	in := map[string]any{"network": address, "action": action, "note": "", "expires_at": nil}
	if err := m.vm.API.Do(ctx, "POST", "/security/addresses", in, nil); err != nil {
		m.t.Fatal(err)
	}
}

// send has sources send at their rates for a time.
func (m *meters) send(ctx context.Context, length time.Duration, rates map[string]float64) {
	m.t.Helper()
	var all sync.WaitGroup
	for source, rate := range rates {
		c, server := m.socket(source)
		all.Go(func() {
			defer c.Close()
			sent, err := nstest.Pace(ctx, rate, length, func(int) error {
				_, err := c.WriteToUDPAddrPort([]byte(keepAlive), server)
				return err
			})
			if err != nil {
				m.t.Errorf("sending from %s: %v", source, err)
			}
			if sent.Rate() < 0.9*rate {
				m.t.Errorf("%s sent %.0f packets a second instead of %.0f: this machine is too slow to tell", source, sent.Rate(), rate)
			}
		})
	}
	all.Wait()
}

func (m *meters) socket(source string) (*net.UDPConn, netip.AddrPort) {
	m.t.Helper()
	udp, _ := ports.Lookup(ports.Table(), ports.SIPUDP)
	from, to := netip.MustParseAddr(source), netip.MustParseAddr(guest4)
	if from.Is6() {
		to = netip.MustParseAddr(guest6)
	}
	c, err := m.vm.NS.ListenUDP(netip.AddrPortFrom(from, 0))
	if err != nil {
		m.t.Fatal(err)
	}
	return c, netip.AddrPortFrom(to, udp.First)
}

// answers reports whether SIP answers a source.
func (m *meters) answers(source string) bool {
	m.t.Helper()
	c, server := m.socket(source)
	defer c.Close()
	for range 3 {
		if probeSIP(c, server, 500*time.Millisecond) {
			return true
		}
	}
	return false
}

// bans waits until so many sources are banned, for some seconds.
func (m *meters) bans(ctx context.Context, want int) map[string]meterBan {
	m.t.Helper()
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(500 * time.Millisecond) {
		var list struct{ Items []meterBan }
		if err := m.vm.API.Do(ctx, "GET", "/security/bans", nil, &list); err != nil {
			m.t.Fatal(err)
		}
		if len(list.Items) >= want || time.Now().After(deadline) {
			all := map[string]meterBan{}
			for _, b := range list.Items {
				all[b.Source] = b
			}
			return all
		}
	}
}

// hostOf is a source as bans name it.
func hostOf(source string) string {
	a := netip.MustParseAddr(source)
	if p, err := a.Prefix(64); err == nil && a.Is6() {
		return p.Addr().String()
	}
	return source
}
