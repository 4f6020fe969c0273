package trunk

import (
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"ringfence/internal/ports"
	"ringfence/internal/sip"
	"ringfence/internal/telephony"
)

// calls sends INVITEs to a lab and tells who they were taken for.
type calls struct {
	l    *lab
	mu   sync.Mutex
	seen []string
	n    int
}

func newCalls(l *lab) *calls {
	c := &calls{l: l}
	l.e.Handle("", sip.HandlerFunc(func(tx *sip.ServerTx) {
		t, found, answered := l.Identify(tx)
		c.mu.Lock()
		defer c.mu.Unlock()
		switch {
		case found:
			c.seen = append(c.seen, fmt.Sprint(t.Tenant, "/", t.ID))
		case answered:
			c.seen = append(c.seen, "answered")
		default:
			c.seen = append(c.seen, "stranger")
		}
		if !answered {
			tx.Reply(sip.Reply{Code: 404})
		}
	}))
	return c
}

// from is who an INVITE is taken for.
func (c *calls) from(src, uri, to string, f sip.Flow) string {
	c.n++
	f.Remote = netip.MustParseAddrPort(src)
	c.l.e.Receive(f, []byte(strings.Join([]string{
		"INVITE " + uri + " SIP/2.0", fmt.Sprintf("Via: SIP/2.0/UDP %s;branch=z9hG4bKc%d", src, c.n), "Max-Forwards: 70",
		"From: <sip:+4940555@far.test>;tag=x", "To: <" + to + ">", fmt.Sprintf("Call-ID: call%d", c.n), "CSeq: 1 INVITE", "Contact: <sip:far@" + src + ">", "Content-Length: 0", "", "",
	}, "\r\n")))
	synctest.Wait()
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.seen) == 0 {
		return "nothing"
	}
	last := c.seen[len(c.seen)-1]
	c.seen = nil
	return last
}

// other is a transport by another name.
type other struct {
	*network
	protocol string
}

func (o other) Protocol() string { return o.protocol }
func (o other) Reliable() bool   { return true }

func TestTrunksAreKnownByTheirAddress(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		plain := peer()
		plain.OptionsInterval = 0
		trunk := func(id telephony.TrunkID, change func(*telephony.Trunk)) telephony.Trunk {
			x := plain
			x.ID, x.Host = id, fmt.Sprintf("198.51.100.%d", id)
			change(&x)
			return x
		}
		l := newLab(t,
			trunk(9, func(x *telephony.Trunk) {
				x.Peers = []netip.Prefix{netip.MustParsePrefix("203.0.113.0/28"), netip.MustParsePrefix("2001:db8:7::/64")}
			}),
			trunk(10, func(x *telephony.Trunk) { x.PeerPort = 5060 }),
			trunk(11, func(x *telephony.Trunk) { x.Transport = telephony.TrunkTLS }),
			trunk(12, func(x *telephony.Trunk) { x.DIDs = []telephony.NumberRange{{First: "+49301000", Last: "+49301999"}} }),
			trunk(13, func(x *telephony.Trunk) {
				x.Tenant, x.Host, x.DIDs = 2, "198.51.100.12", []telephony.NumberRange{{First: "+49302000", Last: "+49302999"}}
			}),
			trunk(14, func(x *telephony.Trunk) { x.Enabled = false }),
			trunk(15, func(x *telephony.Trunk) { x.Peers = []netip.Prefix{netip.MustParsePrefix("192.0.0.0/8")} }),
		)
		defer l.close()
		c := newCalls(l)
		udp := l.network.flow
		tls, err := l.e.Attach(ports.SIPTLS, ports.Core, ours, other{l.network, "TLS"})
		if err != nil {
			t.Fatal(err)
		}
		l.reconcile()
		const us = "sip:+49301234@192.0.2.1"
		for _, x := range []struct {
			src, uri, to string
			flow         sip.Flow
			want         string
		}{
			{"198.51.100.9:5060", us, us, udp, "1/9"},
			{"198.51.100.9:40000", us, us, tls, "1/9"},
			{"203.0.113.15:5071", us, us, udp, "1/9"},
			{"203.0.113.16:5071", us, us, udp, "stranger"},
			{"[2001:db8:7::5]:5060", us, us, udp, "1/9"},
			{"198.51.100.10:5060", us, us, udp, "1/10"},
			{"198.51.100.10:5061", us, us, udp, "stranger"}, // another port
			{"198.51.100.11:5061", us, us, udp, "stranger"}, // anybody may write that over UDP
			{"198.51.100.11:5061", us, us, tls, "1/11"},
			{"198.51.100.12:5060", us, us, udp, "1/12"},
			{"198.51.100.12:5060", "sip:+49302234@192.0.2.1", us, udp, "2/13"},
			{"198.51.100.12:5060", "sip:0302234@192.0.2.1", us, udp, "2/13"},
			{"198.51.100.12:5060", "sip:49302234@192.0.2.1", us, udp, "2/13"},
			{"198.51.100.12:5060", "sip:0049302234@192.0.2.1", us, udp, "2/13"},
			{"198.51.100.12:5060", "sip:302234@192.0.2.1", us, udp, "2/13"},
			{"198.51.100.12:5060", "sip:+49309999@192.0.2.1", us, udp, "1/12"}, // nobody's: to be refused by its routing
			{"198.51.100.14:5060", us, us, udp, "stranger"},
			{"192.1.1.1:5060", us, us, udp, "1/15"},
			{"198.18.0.1:5060", us, us, udp, "stranger"},
		} {
			if got := c.from(x.src, x.uri, x.to, x.flow); got != x.want {
				t.Errorf("%s %s over %s: %s, want %s", x.src, x.uri, x.flow.Protocol(), got, x.want)
			}
		}
		for a, want := range map[string]bool{"198.51.100.9": true, "203.0.113.3": true, "2001:db8:7::9": true, "198.18.0.1": false, "192.1.1.1": false, "::ffff:198.51.100.9": true} {
			if l.Knows(netip.MustParseAddr(a)) != want {
				t.Errorf("%s is spared: %v", a, !want)
			}
		}
		if n := len(l.Sources()); n < 5 {
			t.Errorf("%d sources", n)
		}
	})
}

func TestRegisteredTrunksAreKnownByTheirContact(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		x := provider()
		l := newLab(t, x)
		defer l.close()
		first, _ := l.twoServers()
		l.serve(first, registering(300))
		c := newCalls(l)
		l.reconcile()
		l.is(telephony.TrunkUp)
		contact := l.Ways(1, 7)[0].Contact
		// Its media gateways are not its registrars.
		if got := c.from("203.0.113.99:5060", "sip:"+contact+"@192.0.2.1:5060", "sip:+4930123@provider.test", l.network.flow); got != "1/7" {
			t.Errorf("to our Contact: %s", got)
		}
		if got := c.from("203.0.113.99:5060", "sip:+4930123@192.0.2.1:5060", "sip:+4930123@provider.test", l.network.flow); got != "stranger" {
			t.Errorf("to a number, from elsewhere: %s", got)
		}
		if got := c.from("198.51.100.2:5070", "sip:+4930123@192.0.2.1:5060", "sip:+4930123@provider.test", l.network.flow); got != "1/7" {
			t.Errorf("to a number, from its second server: %s", got)
		}
	})
}

func TestWhoCallsIsThere(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, peer()) // does not answer OPTIONS
		defer l.close()
		c := newCalls(l)
		l.reconcile()
		within(t, 30*time.Second, func() bool { return l.Down(1, 9) })
		if _, err := l.Take(1, 9, false); err == nil {
			t.Error("a trunk that is down takes calls")
		}
		if got := c.from("198.51.100.1:5060", "sip:+4930123@192.0.2.1", "sip:+4930123@192.0.2.1", l.network.flow); got != "1/9" {
			t.Error(got)
		}
		release, err := l.Take(1, 9, false)
		if err != nil {
			t.Fatal(err)
		}
		release()
	})
}
