package media

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
)

func TestReach(t *testing.T) {
	t.Parallel()
	names := map[reach]string{unknown: "unknown", direct: "direct", ambiguous: "ambiguous", natted: "natted"}
	for _, c := range []struct{ signalled, peer, want string }{
		{"203.0.113.5", "203.0.113.5", "direct"},
		{"192.168.1.5", "192.168.1.5", "direct"},    // same network
		{"203.0.113.5", "198.51.100.9", "direct"},   // trunk with a media server
		{"192.168.1.5", "198.51.100.9", "natted"},   // phone behind NAT
		{"100.64.3.4", "198.51.100.9", "natted"},    // behind a carrier's NAT
		{"169.254.3.4", "198.51.100.9", "natted"},   // link-local
		{"10.1.1.5", "192.168.1.5", "ambiguous"},    // routed or double NAT
		{"203.0.113.5", "192.168.1.5", "ambiguous"}, // STUN beside a local PBX
		{"127.0.0.1", "192.168.1.5", "natted"},      // our own services
		{"127.0.0.1", "127.0.0.1", "direct"},        //
		{"127.0.0.2", "127.0.0.1", "ambiguous"},     //
		{"192.168.1.5", "127.0.0.1", "ambiguous"},   // proxy on this machine
		{"0.0.0.0", "198.51.100.9", "natted"},       // hold from the start
		{"", "198.51.100.9", "natted"},              // host name
		{"", "", "unknown"},                         //
		{"0.0.0.0", "", "unknown"},                  //
		{"203.0.113.5", "", "direct"},               //
		{"2001:db8::5", "198.51.100.9", "natted"},   // other family
		{"fd00::5", "2001:db8::9", "natted"},        //
		{"2001:db8:1::5", "2001:db8::9", "direct"},  //
		{"2001:db8:1::5", "fd00::9", "ambiguous"},   //
		{"fe80::1", "fe80::1", "direct"},            //
		{"2001:db8::5", "192.168.1.5", "natted"},    //
	} {
		parse := func(s string) netip.Addr { a, _ := netip.ParseAddr(s); return a }
		if got := names[reachOf(parse(c.signalled), parse(c.peer))]; got != c.want {
			t.Errorf("SDP says %q, SIP comes from %q: %s, want %s", c.signalled, c.peer, got, c.want)
		}
	}
}

// Scripts: "@S P" signals S with peer P; "addr" sends one packet from it; a
// number repeats it; "addr!" must be admitted, "addr?" must not; "=addr" is
// the target, "=-" none.
func TestLatch(t *testing.T) {
	t.Parallel()
	const (
		sig   = "203.0.113.5:4000"
		other = "203.0.113.5:4002"
		third = "198.51.100.66:4000"
	)
	for name, script := range map[string]string{
		"nothing signalled":           "1.1.1.1:1? =-",
		"exact at once":               "@" + sig + ",203.0.113.5 =" + sig + " " + third + "? " + sig + "! =" + sig + " " + third + "? " + other + "? " + sig + "!",
		"port scan does not latch":    "@" + sig + ",203.0.113.5 " + other + "? 203.0.113.5:5? " + other + "? 203.0.113.5:5? " + other + "? 203.0.113.5:5? " + other + "? " + sig + "!",
		"other port after probation":  "@" + sig + ",203.0.113.5 4*" + other + "? " + other + "! =" + other + " 203.0.113.5:5?",
		"exact overrules a guess":     "@" + sig + ",203.0.113.5 4*" + other + "? " + other + "! " + sig + "! " + other + "? =" + sig,
		"nat: first of the peer":      "@192.168.1.5:4000,203.0.113.5 =- " + third + "? 192.168.1.5:4000? " + other + "! =" + other + " " + sig + "?",
		"nat: signalled is no excuse": "@192.168.1.5:4000,203.0.113.5 " + other + "! 192.168.1.5:4000? 203.0.113.5:4000?",
		"ambiguous: signalled":        "@10.1.1.5:4000,192.168.1.5 =10.1.1.5:4000 10.1.1.5:4000! 192.168.1.5:4000?",
		"ambiguous: peer":             "@10.1.1.5:4000,192.168.1.5 192.168.1.5:7! 10.1.1.5:4000? =192.168.1.5:7",
		"ambiguous: third":            "@10.1.1.5:4000,192.168.1.5 192.168.1.6:4000? 10.1.1.6:4000?",
		"repeated signalling":         "@" + sig + ",203.0.113.5 " + sig + "! @" + sig + ",203.0.113.5 " + third + "? " + other + "? =" + sig,
		"moved":                       "@" + sig + ",203.0.113.5 " + sig + "! @" + other + ",203.0.113.5 =" + other + " " + sig + "! " + third + "? " + other + "! " + sig + "? =" + other,
		"moved, nat":                  "@192.168.1.5:4000,203.0.113.5 " + sig + "! @192.168.1.5:5000,203.0.113.5 =" + sig + " 3*" + sig + "! " + other + "! " + sig + "? =" + other,
		"moved in name only":          "@192.168.1.5:4000,203.0.113.5 " + sig + "! @192.168.1.5:5000,203.0.113.5 101*" + sig + "! " + other + "? =" + sig,
		"moved twice":                 "@" + sig + ",203.0.113.5 " + sig + "! @" + other + ",203.0.113.5 @203.0.113.5:4004,203.0.113.5 " + sig + "! 203.0.113.5:4004! " + sig + "?",
	} {
		var l latch
		var seq uint16
		for i, step := range strings.Fields(script) {
			where := fmt.Sprintf("%s, step %d %q", name, i+1, step)
			if rest, ok := strings.CutPrefix(step, "@"); ok {
				s, p, _ := strings.Cut(rest, ",")
				l.signal(netip.MustParseAddrPort(s), netip.MustParseAddr(p))
				continue
			}
			if want, ok := strings.CutPrefix(step, "="); ok {
				got := "-"
				if to := l.target(); to.IsValid() {
					got = to.String()
				}
				if got != want {
					t.Errorf("%s: target is %s", where, got)
				}
				continue
			}
			n, want := 1, strings.HasSuffix(step, "!")
			if count, rest, ok := strings.Cut(step, "*"); ok {
				fmt.Sscan(count, &n)
				step = rest
			}
			from := netip.MustParseAddrPort(strings.TrimRight(step, "!?"))
			for range n {
				seq++
				if got := l.admit(from, 7, seq); got != want {
					t.Fatalf("%s: admitted %v", where, got)
				}
			}
		}
	}
}

func TestProbationWantsOneStream(t *testing.T) {
	t.Parallel()
	signalled, other := netip.MustParseAddrPort("203.0.113.5:4000"), netip.MustParseAddrPort("203.0.113.5:9")
	for name, packet := range map[string]func(i int) (ssrc uint32, seq uint16){
		"new SSRC each time":     func(i int) (uint32, uint16) { return uint32(i), uint16(i) },
		"same sequence number":   func(int) (uint32, uint16) { return 7, 1 },
		"sequence backwards":     func(i int) (uint32, uint16) { return 7, uint16(1000 - i) },
		"sequence in long jumps": func(i int) (uint32, uint16) { return 7, uint16(100 * i) },
	} {
		l := latch{}
		l.signal(signalled, signalled.Addr())
		for i := range 1000 {
			ssrc, seq := packet(i)
			if l.admit(other, ssrc, seq) {
				t.Fatalf("%s: latched after %d packets", name, i+1)
			}
		}
	}
}

func TestReportsFollowTheirStream(t *testing.T) {
	t.Parallel()
	ap := netip.MustParseAddrPort
	for _, c := range []struct {
		name, rtp, rtcp, peer, rtpFrom, from string
		want                                 bool
	}{
		{"signalled, before RTP", "203.0.113.5:4000", "203.0.113.5:4001", "203.0.113.5", "", "203.0.113.5:4001", true},
		{"stranger", "203.0.113.5:4000", "203.0.113.5:4001", "203.0.113.5", "", "198.51.100.1:4001", false},
		{"other port of the signalled address", "203.0.113.5:4000", "203.0.113.5:4001", "203.0.113.5", "203.0.113.5:4000", "203.0.113.5:4003", false},
		{"behind NAT, before RTP", "192.168.1.5:4000", "192.168.1.5:4001", "203.0.113.5", "", "203.0.113.5:4001", false},
		{"behind NAT, after RTP", "192.168.1.5:4000", "192.168.1.5:4001", "203.0.113.5", "203.0.113.5:9", "203.0.113.5:10", true},
		{"stranger, behind NAT", "192.168.1.5:4000", "192.168.1.5:4001", "203.0.113.5", "203.0.113.5:9", "198.51.100.1:10", false},
	} {
		var rtp, rtcp latch
		rtp.signal(ap(c.rtp), netip.MustParseAddr(c.peer))
		rtcp.signal(ap(c.rtcp), netip.MustParseAddr(c.peer))
		if c.rtpFrom != "" && !rtp.admit(ap(c.rtpFrom), 1, 1) {
			t.Fatalf("%s: RTP was not admitted", c.name)
		}
		if got := rtcp.admitRTCP(ap(c.from), &rtp); got != c.want {
			t.Errorf("%s: admitted %v", c.name, got)
		}
		if c.want && rtcp.admitRTCP(netip.AddrPortFrom(ap(c.from).Addr(), 60000), &rtp) {
			t.Errorf("%s: a second source was admitted", c.name)
		}
	}
}
