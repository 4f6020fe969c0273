package media

import (
	"bytes"
	"encoding/binary"
	"math"
	"testing"
	"time"

	"ringfence/internal/media/quality"
	"ringfence/internal/siptest/impair"
)

// rtcp builds one packet, padded with zeros to whole words.
func rtcp(count, kind byte, body ...byte) []byte {
	for len(body)%4 != 0 {
		body = append(body, 0)
	}
	p := append([]byte{0x80 | count, kind, 0, 0}, body...)
	binary.BigEndian.PutUint16(p[2:], uint16(len(p)/4-1))
	return p
}

func item(kind byte, text string) []byte {
	return append([]byte{kind, byte(len(text))}, text...)
}

// What a peer says about itself does not reach the other, whatever it asks
// along with it; what it asks does, and our own reports name nobody.
func TestReportsTellNoNames(t *testing.T) {
	t.Parallel()
	e := testEngine(t, 23300, 23319, nil)
	a, b := newPeer(t, loopback, 0xa), newPeer(t, loopback, 0xb)
	br := newBridge(t, e, a, b)
	a.send(br.a.RTP(), 5)
	b.send(br.b.RTP(), 5)
	eventually(t, "both are heard", func() bool { return b.heard(0xa) == 5 && a.heard(0xb) == 5 })
	secret := "101@10.99.0.9"
	chunk := append([]byte{0, 0, 0, 0xa}, item(1, secret)...)
	chunk = append(append(chunk, item(8, "\x03x-i"+secret)...), item(6, secret)...)
	sdes := rtcp(1, 202, append(chunk, 0)...)
	bye := rtcp(1, 203, append([]byte{0, 0, 0, 0xa, byte(len(secret))}, secret...)...)
	app := rtcp(0, 204, append([]byte{0, 0, 0, 0xa, 'n', 'a', 'm', 'e'}, secret...)...)
	xr := rtcp(0, 207, append([]byte{0, 0, 0, 0xa}, secret...)...)
	words := rtcp(15, 206, append([]byte{0, 0, 0, 0xa, 0, 0, 0, 0xb}, secret...)...)
	pli := rtcp(1, 206, 0, 0, 0, 0xa, 0, 0, 0, 0xb)
	a.reportRaw(br.a.RTP(), bytes.Join([][]byte{quality.AppendRR(nil, 0xa), sdes, app, xr, words, pli, bye}, nil))
	eventually(t, "b is asked", func() bool { return b.asked() == 1 })
	br.a.report(nil, time.Now(), false)
	br.b.report(nil, time.Now(), true)
	eventually(t, "both get reports", func() bool { return len(a.compounds()) > 0 && len(b.compounds()) > 1 })
	all := bytes.Join(append(a.compounds(), b.compounds()...), nil)
	if bytes.Contains(all, []byte("10.99")) || bytes.Contains(all, []byte("127.0")) {
		t.Errorf("%q", all)
	}
}

func (p *peer) compounds() [][]byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([][]byte(nil), p.rtcpGot...)
}

// A lossy way to us and from us: both directions of the leg tell their own
// loss, and the E-model makes of it what its table says.
func TestLossBothWaysIsMeasured(t *testing.T) {
	t.Parallel()
	e := testEngine(t, 23320, 23339, nil)
	a, b := newPeer(t, loopback, 0xa), newPeer(t, loopback, 0xb)
	br := newBridge(t, e, a, b)
	dropped := uint64(0)
	const packets = 600
	var back quality.Link // what a measures of what it gets, as a phone does
	for i := range packets {
		p := a.packet(0)
		if i%10 == 9 && i < packets-1 {
			dropped++
		} else if _, err := a.rtp.WriteToUDPAddrPort(p, br.a.RTP()); err != nil {
			t.Fatal(err)
		}
		b.send(br.b.RTP(), 1)
		if i%20 != 19 || i == packets-1 { // one of 20 is lost on its way to a
			back.In.Packet(quality.Header{SSRC: 0xb, Sequence: uint16(i)}, 8000, time.Duration(i)*20*time.Millisecond)
		}
		time.Sleep(time.Millisecond)
	}
	eventually(t, "all is relayed", func() bool { return a.heard(0xb) == packets })
	block, _ := back.In.Block()
	a.reportRaw(br.a.RTP(), quality.AppendRR(nil, 0xa, block))
	eventually(t, "the report is read", func() bool { return br.a.Quality().Reported })
	q := br.a.Quality()
	if q.LostRTP != dropped || q.Packets != packets-dropped || q.Sent != packets || q.ToLost != packets/20-1 {
		t.Errorf("%+v; dropped %d", q, dropped)
	}
	want := func(loss float64) float64 {
		return quality.Path{Codec: "PCMU", Loss: loss, Burst: 1, Delay: 40 * time.Millisecond}.MOS()
	}
	if from, to := want(0.1), want(0.05); math.Abs(q.MOS-from) > 0.1 || math.Abs(q.ToMOS-to) > 0.1 || q.MOS >= q.ToMOS {
		t.Errorf("MOS %.2f and %.2f, want %.2f and %.2f", q.MOS, q.ToMOS, from, to)
	}
	// What a lost on the way is no loss of b's leg: the relay adds none.
	if q := br.b.Quality(); q.LostRTP != 0 || q.Sent != packets-dropped || q.MOS < 4.3 || q.Reported {
		t.Errorf("the other leg: %+v", q)
	}
	br.a.streams[audio].Load().look(time.Now())
	q = br.a.Quality()
	if n := len(q.History); n == 0 || q.History[n-1].From > 40 || q.History[n-1].From < 30 || q.WorstMOS > q.MOS { // the clerk looks too, on a slow machine
		t.Errorf("history %+v, worst %.2f", q.History, q.WorstMOS)
	}
}

// phone answers our reports as a phone does, over a line that takes its time.
func TestRoundTripThroughASlowLine(t *testing.T) {
	t.Parallel()
	const delay = 60 * time.Millisecond // each way
	e := testEngine(t, 23340, 23359, nil)
	a, b := newPeer(t, loopback, 0xa), newPeer(t, loopback, 0xb)
	br := newBridge(t, e, a, b)
	b.send(br.b.RTP(), 5)
	a.send(br.a.RTP(), 5)
	eventually(t, "media flow", func() bool { return a.heard(0xb) == 5 && b.heard(0xa) == 5 })
	br.a.report(nil, time.Now(), false)
	eventually(t, "a gets a report", func() bool { return len(a.compounds()) > 0 })
	var phone quality.Link
	var wall quality.Wall
	clock := quality.NewClock(time.Now().Add(-time.Hour))
	phone.In.Packet(quality.Header{SSRC: 0xb}, 8000, 0)
	sr, _ := quality.Next(a.compounds()[0])
	if i, ok := sr.SenderInfo(); !ok || i.Packets != 5 || i.Octets != 5*160 {
		t.Fatalf("our report says %+v", i)
	}
	time.Sleep(delay) // there
	phone.Take(sr, 0xa, &wall, clock, time.Now().Add(-time.Hour))
	hold := time.Now()
	time.Sleep(30 * time.Millisecond)
	report := phone.AppendReport(nil, quality.Sent{SSRC: 0xa, Packets: 5}, clock, time.Now().Add(-time.Hour))
	held := time.Since(hold)
	time.Sleep(delay) // back
	a.reportRaw(br.a.RTP(), report)
	eventually(t, "the round trip is known", func() bool { return br.a.Quality().RTTMs > 0 })
	if rtt := br.a.Quality().RTTMs; rtt < 110 || rtt > 250 {
		t.Errorf("round trip %.1f ms, want 120 (it held our report for %s)", rtt, held)
	}
	if rtt := br.b.Quality().RTTMs; rtt != 0 {
		t.Errorf("the other leg has a round trip of %.1f ms", rtt)
	}
}

// Reports come by themselves, a few seconds apart, for as long as the leg lives,
// with a BYE at its end.
func TestReportsComeByThemselves(t *testing.T) {
	t.Parallel()
	e := testEngine(t, 23360, 23379, nil)
	a, b := newPeer(t, loopback, 0xa), newPeer(t, loopback, 0xb)
	br := newBridge(t, e, a, b)
	a.send(br.a.RTP(), 5)
	b.send(br.b.RTP(), 5)
	began := time.Now()
	for len(a.compounds()) == 0 || len(b.compounds()) == 0 {
		if time.Since(began) > 2*quality.Interval {
			t.Fatal("no reports")
		}
		time.Sleep(50 * time.Millisecond)
	}
	if since := time.Since(began); since < quality.Interval/4 {
		t.Errorf("the first report came after %s", since)
	}
	sr, rest := quality.Next(a.compounds()[0])
	if ssrc, _ := sr.SSRC(); ssrc != 0xb || !bytes.Contains(rest, []byte(br.a.desk.cname)) {
		t.Errorf("report %x of %x", a.compounds()[0], ssrc)
	}
	if block, ok := sr.Block(0xa); !ok || block.Lost != 0 || block.Highest&0xffff != uint32(a.seq) {
		t.Errorf("it says %+v about a", block)
	}
	br.a.Close()
	eventually(t, "goodbye", func() bool {
		all := a.compounds()
		last := all[len(all)-1]
		return bytes.Equal(last[max(0, len(last)-8):], rtcp(1, 203, 0, 0, 0, 0xb))
	})
}

// Side by side: one party is heard, the other is not.
func TestLookTellsWhoIsHeard(t *testing.T) {
	t.Parallel()
	e := testEngine(t, 23380, 23399, nil)
	a, b := newPeer(t, loopback, 0xa), newPeer(t, loopback, 0xb)
	br := newBridge(t, e, a, b)
	a.send(br.a.RTP(), 20)
	b.reportRaw(br.b.RTP(), quality.AppendRR(nil, 0xb)) // lives, but is not heard
	eventually(t, "a is heard", func() bool { return br.a.Look().Ever })
	if s := br.a.Look(); !s.Expected || s.Silent > time.Second {
		t.Errorf("a: %+v", s)
	}
	if s := br.b.Look(); !s.Expected || s.Ever || s.Silent < time.Millisecond {
		t.Errorf("b: %+v", s)
	}
	must(t, br.b.SetRemote(b.sdp("a=inactive")))
	if s := br.b.Look(); s.Expected {
		t.Errorf("b holds: %+v", s)
	}
}

// The loss that a bad line makes is what the leg measures, and its MOS falls as
// the E-model's table says.
func TestMOSFallsWithTheLossOfALine(t *testing.T) {
	t.Parallel()
	last := 4.5
	for i, loss := range []float64{0, 0.01, 0.05, 0.2} {
		e := testEngine(t, uint16(23400+20*i), uint16(23419+20*i), nil)
		a, b := newPeer(t, loopback, 0xa), newPeer(t, loopback, 0xb)
		c := e.NewCall("impaired")
		la, lb := newLeg(t, c, loopback), newLeg(t, c, loopback)
		line, err := impair.NewProxy(loopback, a.addr(), la.RTP(), impair.Profile{Loss: loss}, 7)
		must(t, err)
		t.Cleanup(line.Close)
		must(t, la.SetRemote(sdpAt(line.Far())))
		_, err = lb.Offer(la)
		must(t, err)
		must(t, lb.SetRemote(b.sdp()))
		_, err = la.Answer(lb)
		must(t, err)
		c.Bridge(la, lb)
		const packets = 1000
		for range packets {
			a.send(line.Near(), 1)
		}
		eventually(t, "what the line leaves is heard", func() bool {
			_, f := line.Counts()
			return f.Sent == packets && b.heard(0xa) == f.Sent-f.Lost
		})
		_, f := line.Counts()
		took := float64(f.Lost) / packets
		q := la.Quality()
		jitter := time.Duration(q.JitterMs * float64(time.Millisecond))
		want := quality.Path{Codec: "PCMU", Loss: took, Burst: 1, Delay: quality.Delay(0, jitter)}.MOS()
		if math.Abs(q.MOS-want) > 0.1 || loss > 0 && q.MOS >= last {
			t.Errorf("loss %.3f: MOS %.2f, want %.2f, below %.2f", took, q.MOS, want, last)
		}
		last = q.MOS
	}
}
