package pbx_test

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"ringfence/internal/pbx"
	"ringfence/internal/pbxtest"
	"ringfence/internal/ports"
	"ringfence/internal/siptest"
)

// scanner is a third address that throws what looks like media at ports, and
// counts what comes back.
type scanner struct {
	conn *net.UDPConn
	got  atomic.Int64
}

func newScanner(t *testing.T, wg *sync.WaitGroup) *scanner {
	t.Helper()
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 66)})
	if err != nil {
		t.Fatal(err)
	}
	s := &scanner{conn: conn}
	wg.Go(func() {
		buf := make([]byte, 2048)
		for {
			if _, _, err := conn.ReadFromUDPAddrPort(buf); err != nil {
				return
			}
			s.got.Add(1)
		}
	})
	return s
}

// attack sends RTP, a forged sender report, a BYE, and a report in SRTCP that was
// never under any key, to the RTP port of a leg and the one above it.
func (s *scanner) attack(at netip.AddrPort, victim uint32, n int) {
	rtp := make([]byte, 172)
	rtp[0] = 0x80
	binary.BigEndian.PutUint16(rtp[2:], uint16(n))
	binary.BigEndian.PutUint32(rtp[4:], uint32(160*n))
	binary.BigEndian.PutUint32(rtp[8:], victim)
	sr := make([]byte, 28)
	sr[0], sr[1], sr[3] = 0x80, 200, 6
	binary.BigEndian.PutUint32(sr[4:], victim)
	bye := []byte{0x81, 203, 0, 1, 0, 0, 0, 0}
	binary.BigEndian.PutUint32(bye[4:], victim)
	sealed := append(append([]byte(nil), sr...), make([]byte, 20)...)
	for _, p := range [][]byte{rtp, sr, bye, append(sr, bye...), sealed} {
		for _, port := range []uint16{at.Port(), at.Port() + 1} {
			_, _ = s.conn.WriteToUDPAddrPort(p, netip.AddrPortFrom(at.Addr(), port))
		}
	}
}

// A third address, that even knows the SSRCs, sweeps the media ports of 50 calls
// under SDES and DTLS-SRTP: nothing leaks to it, nothing of it gets in, every
// packet of the phones arrives, and no call ends.
func TestSweepOfProtectedCalls(t *testing.T) {
	t.Parallel()
	const calls = 50
	p := pbxtest.Open(t, pbx.Options{DataDir: t.TempDir(), Extensions: 2 * calls})
	type talk struct{ out, in *siptest.Call }
	var all []talk
	for i := range calls {
		number := func(n int) string { return fmt.Sprint(101 + n) }
		kinds := []func(*siptest.Config){
			func(c *siptest.Config) { c.Suites = []string{"AEAD_AES_256_GCM"} },
			func(c *siptest.Config) { c.DTLS = true },
			func(c *siptest.Config) { c.Suites, c.Opportunistic = []string{"AES_256_CM_HMAC_SHA1_80"}, true },
			func(c *siptest.Config) { c.DTLS, c.Opportunistic, c.NoMux = true, true, true },
		}
		keep := func(c *siptest.Config) { c.Keep = -1 }
		a := p.PhoneOn(ports.SIPUDP, number(2*i), 440, kinds[i%4], keep)
		b := p.PhoneOn(ports.SIPUDP, number(2*i+1), 880, kinds[(i/4)%4], keep)
		out, in := connect(t, a, b, number(2*i+1))
		all = append(all, talk{out, in})
	}
	ctx := within(t, time.Minute)
	for _, c := range all {
		for _, x := range []*siptest.Call{c.out, c.in} {
			if err := x.WaitKeys(ctx); err != nil {
				t.Fatal(err)
			}
		}
	}
	time.Sleep(300 * time.Millisecond)
	var wg sync.WaitGroup
	s := newScanner(t, &wg)
	before := make([][2]siptest.Heard, calls)
	for i, c := range all {
		before[i] = [2]siptest.Heard{c.out.Heard(), c.in.Heard()}
	}
	for n := range 20 {
		for _, c := range all {
			s.attack(c.out.Remote().Addr, c.out.SSRC(), n)
			s.attack(c.in.Remote().Addr, c.in.SSRC(), n)
		}
		time.Sleep(50 * time.Millisecond)
	}
	time.Sleep(300 * time.Millisecond)
	for i, c := range all {
		for k, x := range []*siptest.Call{c.out, c.in} {
			h, was, at := x.Heard(), before[i][k], x.Remote().Addr
			if x.State() != siptest.Answered || h.Packets-was.Packets < 40 || h.Lost != was.Lost || h.ForgedFrom(at) != was.ForgedFrom(at) || len(h.SSRCs) != len(was.SSRCs) || len(h.Sources) != len(was.Sources) {
				t.Errorf("call %d, %s: %s; %d packets of %s, %d lost, %d forged", i, x.Suite(), x.State(), h.Packets-was.Packets, h, h.Lost-was.Lost, h.ForgedFrom(at)-was.ForgedFrom(at))
			}
		}
	}
	s.conn.Close()
	wg.Wait()
	if n := s.got.Load(); n != 0 {
		t.Errorf("%d packets leaked", n)
	}
}
