package media

import (
	"fmt"
	"testing"
	"time"

	"ringfence/internal/siptest/impair"
)

// 50 calls at the pace of calls lose nothing in the relay.
func TestRelayAddsNoLoss(t *testing.T) {
	t.Parallel()
	const calls, packets = 50, 75
	e := testEngine(t, 22600, 22899, nil)
	type party struct {
		a, b *peer
		br   bridge
	}
	var all []party
	for i := range calls {
		p := party{a: newPeer(t, loopback, uint32(2*i+1)), b: newPeer(t, loopback, uint32(2*i+2))}
		p.br = newBridge(t, e, p.a, p.b)
		all = append(all, p)
	}
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for range packets {
		<-tick.C
		for _, p := range all {
			for _, x := range []struct {
				from *peer
				to   *Leg
			}{{p.a, p.br.a}, {p.b, p.br.b}} {
				if _, err := x.from.rtp.WriteToUDPAddrPort(x.from.packet(0), x.to.RTP()); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	for i, p := range all {
		eventually(t, fmt.Sprintf("call %d is complete", i), func() bool {
			return p.a.heard(p.b.ssrc) == packets && p.b.heard(p.a.ssrc) == packets
		})
		if q := p.br.a.Quality(); q.LostRTP != 0 || q.Dropped != 0 {
			t.Errorf("call %d: %+v", i, q)
		}
	}
}

// What a bad line leaves of a stream arrives, once even where the line doubles
// it, and what it took is counted as lost and as nothing else.
func TestBadLineIsRelayedAsItIs(t *testing.T) {
	t.Parallel()
	for i, p := range []impair.Profile{
		{Loss: 0.01}, {Loss: 0.05}, {Loss: 0.2},
		{Jitter: 100 * time.Millisecond}, {Reorder: 0.1}, {Duplicate: 0.1},
		{Loss: 0.05, Jitter: 100 * time.Millisecond, Reorder: 0.05, Duplicate: 0.02},
	} {
		t.Run(fmt.Sprintf("%+v", p), func(t *testing.T) {
			t.Parallel()
			const packets = 500
			e := testEngine(t, uint16(22900+10*i), uint16(22909+10*i), nil)
			a, b := newPeer(t, loopback, 0xa), newPeer(t, loopback, 0xb)
			c := e.NewCall("impaired")
			la, lb := newLeg(t, c, loopback), newLeg(t, c, loopback)
			line, err := impair.NewProxy(loopback, a.addr(), la.RTP(), p, uint64(i))
			must(t, err)
			t.Cleanup(line.Close)
			must(t, la.SetRemote(sdpAt(line.Far())))
			_, err = lb.Offer(la)
			must(t, err)
			must(t, lb.SetRemote(b.sdp()))
			_, err = la.Answer(lb)
			must(t, err)
			c.Bridge(la, lb)
			for range packets {
				a.send(line.Near(), 1)
				time.Sleep(time.Millisecond)
			}
			eventually(t, "what the line leaves is heard", func() bool {
				_, f := line.Counts()
				return f.Sent == packets && b.heard(0xa) == f.Sent-f.Lost
			})
			_, f := line.Counts()
			// Doubles make up for losses in the count of RFC 3550 appendix A.3;
			// nobody misses what was lost at the very end.
			if lost := int(la.Quality().LostRTP); lost > max(0, f.Lost) || lost < f.Lost-f.Doubled-5 {
				t.Errorf("%d are said to be lost, the line took %d, and doubled %d", lost, f.Lost, f.Doubled)
			}
			b.send(lb.RTP(), 1)
			eventually(t, "the other way works", func() bool {
				n, _ := line.Counts()
				return n.Sent == 1 && a.heard(0xb) == n.Sent-n.Lost
			})
		})
	}
}
