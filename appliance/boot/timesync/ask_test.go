package timesync

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// server is a time server on loopback whose clock is off by a known time.
type server struct {
	conn  *net.UDPConn
	addr  netip.AddrPort
	asked atomic.Int32
	off   time.Duration
	// bend changes an answer before it is sent; nil sends it as it is. It
	// returns false for silence.
	bend func(request, answer []byte) bool
	// other sends the answers in place of conn.
	other *net.UDPConn
}

const second = 1 << 32

// stamp is the time in the format of the protocol (RFC 5905 section 6).
func stamp(t time.Time) uint64 {
	s := t.Unix() + 2208988800
	return uint64(s)<<32 | uint64(t.Nanosecond())*second/uint64(time.Second)
}

func listen(t *testing.T, at string) *net.UDPConn {
	t.Helper()
	conn, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.MustParseAddrPort(at)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// start serves at an address of loopback; port 0 is any.
func (s *server) start(t *testing.T, host string, port uint16) *server {
	t.Helper()
	s.conn = listen(t, netip.AddrPortFrom(netip.MustParseAddr(host), port).String())
	s.addr = netip.MustParseAddrPort(s.conn.LocalAddr().String())
	go func() {
		in := make([]byte, 1024)
		for {
			n, from, err := s.conn.ReadFromUDPAddrPort(in)
			if err != nil {
				return // closed
			}
			s.asked.Add(1)
			out := s.answer(in[:n])
			if s.bend != nil && !s.bend(in[:n], out) {
				continue
			}
			by := s.conn
			if s.other != nil {
				by = s.other
			}
			_, _ = by.WriteToUDPAddrPort(out, from)
		}
	}()
	return s
}

func (s *server) answer(in []byte) []byte {
	now := time.Now().Add(s.off)
	out := make([]byte, 48)
	out[0], out[1], out[2], out[3] = 4<<3|4, 2, 6, 0xec // version 4, mode server, stratum 2
	binary.BigEndian.PutUint32(out[4:], 1<<10)          // root delay, 16 ms
	binary.BigEndian.PutUint32(out[8:], 1<<10)
	copy(out[12:], []byte{192, 0, 2, 1})
	binary.BigEndian.PutUint64(out[16:], stamp(now.Add(-time.Minute)))
	copy(out[24:], in[40:48])
	binary.BigEndian.PutUint64(out[32:], stamp(now))
	binary.BigEndian.PutUint64(out[40:], stamp(now))
	return out
}

func kiss(code string) func([]byte, []byte) bool {
	return func(_, out []byte) bool {
		out[0], out[1] = 3<<6|out[0], 0
		copy(out[12:], code)
		return true
	}
}

func asker(port uint16) Asker {
	return Asker{Port: port, Gap: time.Millisecond, Timeout: 200 * time.Millisecond, Lookup: func(_ context.Context, name string) ([]netip.Addr, error) {
		return nil, errors.New("no such name")
	}}
}

func group(list ...string) []Group { return []Group{{FromConfig, list}} }

func near(got, want time.Duration) bool { return (got - want).Abs() < 100*time.Millisecond }

func TestOffsetOfARightServerAndOfAWrongOne(t *testing.T) {
	t.Parallel()
	for _, off := range []time.Duration{0, time.Hour, -time.Hour, 30 * 365 * 24 * time.Hour} {
		s := (&server{off: off}).start(t, "127.0.0.1", 0)
		a := asker(s.addr.Port()).Ask(t.Context(), group("127.0.0.1"))
		if a.Problem != "" || !near(a.Offset, off) || a.Server != s.addr.Addr() || a.Origin != FromConfig || a.Distance <= 0 || s.asked.Load() != samples {
			t.Errorf("off by %s: %+v after %d questions", off, a, s.asked.Load())
		}
	}
	s := (&server{off: time.Hour}).start(t, "::1", 0)
	if a := asker(s.addr.Port()).Ask(t.Context(), group("::1")); !near(a.Offset, time.Hour) || a.Server != s.addr.Addr() {
		t.Errorf("IPv6: %+v", a)
	}
}

func TestAnswersThatAreRefused(t *testing.T) {
	t.Parallel()
	var before []byte
	for name, x := range map[string]struct {
		bend func(in, out []byte) bool
		want string
	}{
		"silent": {func(_, _ []byte) bool { return false }, "does not answer"},
		"replayed": {func(_, out []byte) bool {
			before = append(before, out...)
			copy(out, before)
			out[24] ^= 1
			return true
		}, "match"},
		"origin of zeros":   {func(_, out []byte) bool { clear(out[24:32]); return true }, "match"},
		"not in sync":       {func(_, out []byte) bool { out[0] |= 3 << 6; return true }, "leap"},
		"stratum 16":        {func(_, out []byte) bool { out[1] = 16; return true }, "stratum"},
		"a client":          {func(_, out []byte) bool { out[0] = 4<<3 | 3; return true }, "mode"},
		"broadcast":         {func(_, out []byte) bool { out[0] = 4<<3 | 5; return true }, "mode"},
		"no transmit time":  {func(_, out []byte) bool { clear(out[40:48]); return true }, "transmit"},
		"ticks backwards":   {func(_, out []byte) bool { out[35] -= 9; copy(out[40:44], []byte{0, 0, 0, 1}); return true }, "backwards"},
		"far from the root": {func(_, out []byte) bool { binary.BigEndian.PutUint32(out[8:], 6<<16); return true }, "wrong by"},
		"long ago in sync": {func(_, out []byte) bool {
			binary.BigEndian.PutUint64(out[16:], stamp(time.Now().Add(-48*time.Hour)))
			return true
		}, "fresh"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := (&server{bend: x.bend}).start(t, "127.0.0.1", 0)
			a := asker(s.addr.Port()).Ask(t.Context(), group("127.0.0.1"))
			if a.Server.IsValid() || a.NoSource || !strings.Contains(a.Problem, x.want) || s.asked.Load() != samples {
				t.Errorf("%+v after %d questions", a, s.asked.Load())
			}
		})
	}
}

func TestShortAnswersDoNoHarm(t *testing.T) {
	t.Parallel()
	conn := listen(t, "127.0.0.1:0")
	go func() {
		in := make([]byte, 1024)
		for n := 0; ; n++ {
			_, from, err := conn.ReadFromUDPAddrPort(in)
			if err != nil {
				return
			}
			_, _ = conn.WriteToUDPAddrPort(make([]byte, n*20), from)
		}
	}()
	if a := asker(netip.MustParseAddrPort(conn.LocalAddr().String()).Port()).Ask(t.Context(), group("127.0.0.1")); a.Server.IsValid() || a.Problem == "" {
		t.Errorf("%+v", a)
	}
}

func TestAnswerFromAnotherPortIsNotHeard(t *testing.T) {
	t.Parallel()
	s := (&server{other: listen(t, "127.0.0.1:0")}).start(t, "127.0.0.1", 0)
	if a := asker(s.addr.Port()).Ask(t.Context(), group("127.0.0.1")); a.Server.IsValid() || !strings.Contains(a.Problem, "does not answer") {
		t.Errorf("%+v", a)
	}
}

func TestKissOfDeath(t *testing.T) {
	t.Parallel()
	for code, want := range map[string]struct{ denied, slower bool }{"DENY": {true, false}, "RSTR": {true, false}, "RATE": {false, true}, "XXXX": {}} {
		s := (&server{bend: kiss(code)}).start(t, "127.0.0.1", 0)
		asks := asker(s.addr.Port())
		a := asks.Ask(t.Context(), group("127.0.0.1"))
		if a.Server.IsValid() || len(a.Denied) == 1 != want.denied || a.Slower != want.slower || s.asked.Load() != 1 {
			t.Errorf("%s: %+v after %d questions", code, a, s.asked.Load())
		}
		if asks.Denied = a.Denied; !want.denied {
			continue
		}
		if a := asks.Ask(t.Context(), group("127.0.0.1")); a.Problem == "" || a.NoSource || s.asked.Load() != 1 {
			t.Errorf("%s: asked again: %+v", code, a)
		}
	}
}

// TestMedianOfServersThatAgree: a minority of liars changes nothing, half of
// them stops everything.
func TestMedianOfServersThatAgree(t *testing.T) {
	t.Parallel()
	for _, x := range []struct {
		offs []time.Duration
		want time.Duration
		none bool
	}{
		{offs: []time.Duration{time.Minute, time.Minute + 50*time.Millisecond, 0}, want: time.Minute},
		{offs: []time.Duration{-24 * time.Hour, 2 * time.Second, 2 * time.Second}, want: 2 * time.Second},
		{offs: []time.Duration{0, time.Hour}, none: true},
		{offs: []time.Duration{0, 0, time.Hour, time.Hour}, none: true},
		{offs: []time.Duration{0, time.Hour, 2 * time.Hour}, none: true},
	} {
		first := (&server{off: x.offs[0]}).start(t, "127.0.0.1", 0)
		list := []string{"127.0.0.1"}
		for n, off := range x.offs[1:] {
			host := fmt.Sprintf("127.0.0.%d", n+2)
			(&server{off: off}).start(t, host, first.addr.Port())
			list = append(list, host)
		}
		a := asker(first.addr.Port()).Ask(t.Context(), group(list...))
		if x.none && (a.Server.IsValid() || !strings.Contains(a.Problem, "do not agree")) || !x.none && !near(a.Offset, x.want) {
			t.Errorf("%v: %+v", x.offs, a)
		}
	}
}

func TestGroupsAreAskedInOrder(t *testing.T) {
	t.Parallel()
	wrong := (&server{bend: kiss("DENY")}).start(t, "127.0.0.1", 0)
	right := (&server{off: time.Minute}).start(t, "127.0.0.2", wrong.addr.Port())
	never := (&server{}).start(t, "127.0.0.3", wrong.addr.Port())
	a := asker(wrong.addr.Port()).Ask(t.Context(), []Group{{FromConfig, nil}, {FromDHCP, []string{"127.0.0.1"}}, {FromCloud, []string{"127.0.0.2"}}, {FromCloud, []string{"127.0.0.3"}}})
	if a.Origin != FromCloud || a.Server != right.addr.Addr() || !near(a.Offset, time.Minute) || never.asked.Load() != 0 || a.Problem != "" {
		t.Errorf("%+v", a)
	}
	if a := asker(0).Ask(t.Context(), []Group{{FromConfig, nil}}); !a.NoSource || a.Server.IsValid() {
		t.Errorf("without servers: %+v", a)
	}
}

func TestNamesAreBounded(t *testing.T) {
	t.Parallel()
	a := asker(0)
	a.Lookup = func(_ context.Context, name string) ([]netip.Addr, error) {
		if name == "none.example" {
			return nil, errors.New("NXDOMAIN")
		}
		var many []netip.Addr
		for n := range 200 {
			many = append(many, netip.AddrFrom4([4]byte{192, 0, name[0], byte(n)}))
		}
		return many, nil
	}
	got, _ := a.resolve(t.Context(), []string{"a.example", "none.example", "b.example", "c.example", "192.0.2.1"})
	if len(got) != maxServers || got[3].As4()[2] != 'a' || got[4].As4()[2] != 'b' {
		t.Errorf("%v", got)
	}
	if got, err := a.resolve(t.Context(), []string{"none.example"}); len(got) != 0 || err == nil || !strings.Contains(err.Error(), "none.example") {
		t.Errorf("%v %v", got, err)
	}
}

func FuzzReadAnswer(f *testing.F) {
	f.Add([]byte(`{"offset":1000,"distance":5,"server":"192.0.2.1","origin":"DHCP","denied":["192.0.2.2"]}`))
	f.Add([]byte(`{"offset":-9223372036854775808,"server":"::1"}`))
	f.Fuzz(func(t *testing.T, in []byte) {
		a, err := ReadAnswer(in)
		if err == nil && (a.Offset.Abs() > maxOffset || a.Distance > maxDistance || len(a.Denied) > maxDenied || len(a.Problem) > maxProblem) {
			t.Errorf("passed: %+v", a)
		}
	})
}
