package b2bua

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"time"

	"ringfence/internal/ports"
	"ringfence/internal/sip"
	"ringfence/internal/telephony"
)

// TestPitfall10BackToBack: 1,000 calls whose messages follow each other without a
// pause: 180, 183, 200 from the callee, then ACK, re-INVITE, BYE from the
// caller. None is lost and none overtakes another.
func TestPitfall10BackToBack(t *testing.T) {
	inTime(t, func(t *testing.T) {
		s, a, b := pair(t, nil)
		for i := range 1000 {
			backToBack(t, a, b, i)
			s.ended(telephony.EndCallerHungUp, 200)
		}
	})
}

// TestPitfall10BackToBackOnTheWire is the same on real sockets, where several goroutines
// could overtake each other: over UDP, over TCP, and from one to the other.
func TestPitfall10BackToBackOnTheWire(t *testing.T) {
	for _, c := range []struct {
		caller, callee ports.ID
		calls          int
	}{{ports.SIPUDP, ports.SIPUDP, 1000}, {ports.SIPTCP, ports.SIPTCP, 1000}, {ports.SIPTCP, ports.SIPUDP, 200}} {
		t.Run(fmt.Sprint(c.caller, " ", c.callee), func(t *testing.T) {
			// Retransmissions would hide a loss.
			s := newStackWith(t, sip.Config{Timers: sip.Timers{T1: 10 * time.Second}}, nil)
			a, b := s.wire("101", c.caller), s.wire("102", c.callee)
			a.register()
			b.register()
			for i := range c.calls {
				backToBack(t, a, b, i)
				select {
				case r := <-s.records:
					if r.Reason != telephony.EndCallerHungUp || r.StatusCode != 200 {
						t.Fatalf("call %d: %+v", i, r)
					}
				case <-time.After(5 * time.Second):
					t.Fatalf("call %d: no record", i)
				}
			}
			if n := s.svc.dialogs.Len(); n > 2 {
				t.Errorf("%d legs left", n)
			}
			if n := len(a.in) + len(b.in); n != 0 {
				t.Errorf("%d messages too many", n)
			}
		})
	}
}

// backToBack is one such call.
func backToBack(t *testing.T, a, b *phone, i int) {
	t.Helper()
	da := a.dial("102", "v=0 offer-a")
	invite := b.want("INVITE")
	local := fmt.Sprint("b", i)
	b.reply(invite, 180, local, "")
	b.reply(invite, 183, local, "v=0 early")
	b.reply(invite, 200, local, "v=0 answer")
	a.want("180")
	if p := a.want("183"); body(p) != "v=0 via-pbx(early)" {
		t.Fatal(p)
	}
	da.learn(a.want("200"))
	b.want("ACK")
	da.request(sip.ACK, "")
	da.request(sip.INVITE, "v=0 new")
	da.request(sip.BYE, "")
	a.want("100")
	got := ""
	for range 2 {
		m := a.next()
		got += line(m) + "; "
		if strings.HasPrefix(m, "SIP/2.0 487") {
			da.refuseAck(m)
		}
	}
	if !strings.Contains(got, "200 OK") || !strings.Contains(got, "487 Request Terminated") {
		t.Fatalf("call %d: %s", i, got)
	}
	re := b.want("INVITE")
	b.reply(re, 200, "", "v=0 answer2")
	seen := map[string]int{}
	for range 2 {
		m := b.next()
		seen[strings.Fields(m)[0]]++
		if strings.HasPrefix(m, "BYE") {
			b.reply(m, 200, "", "")
		}
	}
	if seen["BYE"] != 1 || seen["ACK"] != 1 {
		t.Fatalf("call %d: the callee got %v", i, seen)
	}
}

// wire adds a phone on a real socket.
func (s *stack) wire(user string, id ports.ID) *phone {
	s.t.Helper()
	row, _ := ports.Lookup(ports.Table(), id)
	row.First, row.Last = 0, 0
	s.rows = append(s.rows, sip.Bind{Service: row, Addr: netip.MustParseAddr("127.0.0.1")})
	if err := s.ep.Reconcile(s.rows); err != nil {
		s.t.Fatal(err)
	}
	network := string(row.Proto)
	var to netip.AddrPort
	for _, l := range s.ep.Listening() {
		if l.ID == id {
			to = l.Addr
		}
	}
	c, err := net.Dial(network, to.String())
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { c.Close() })
	p := &phone{t: s.t, user: user, domain: "a.test", addr: netip.MustParseAddrPort(c.LocalAddr().String()), in: make(chan string, 2000), via: strings.ToUpper(network)}
	p.send = func(raw string) {
		if _, err := io.WriteString(c, raw); err != nil {
			s.t.Error(err)
		}
	}
	if network == "udp" {
		go readDatagrams(c, p.in)
	} else {
		go readStream(c, p.in)
	}
	return p
}

func readDatagrams(c net.Conn, to chan<- string) {
	buf := make([]byte, 65536)
	for {
		n, err := c.Read(buf)
		if err != nil {
			return
		}
		to <- string(buf[:n])
	}
}

// readStream cuts a stream into messages (RFC 3261 section 18.3).
func readStream(c net.Conn, to chan<- string) {
	r := bufio.NewReader(c)
	for {
		var b strings.Builder
		for {
			l, err := r.ReadString('\n')
			if err != nil {
				return
			}
			b.WriteString(l)
			if l == "\r\n" {
				break
			}
		}
		n, _ := strconv.Atoi(header(b.String(), "Content-Length"))
		rest := make([]byte, n)
		if _, err := io.ReadFull(r, rest); err != nil {
			return
		}
		b.Write(rest)
		to <- b.String()
	}
}
