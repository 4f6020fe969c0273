package media

import (
	"errors"
	"fmt"
	"runtime"
	"testing"
	"time"

	"ringfence/internal/siptest"
)

// guest is a talker in a conference.
type guest struct {
	*talker
	leg  *Leg
	seat *Seat
	tone float64
}

// enter gives a talker a leg of its own call, and a seat.
func enter(t *testing.T, e *Engine, r *Room, p *talker, tone float64) *guest {
	t.Helper()
	c := e.NewCall("guest")
	t.Cleanup(c.Close)
	g := &guest{talker: p, leg: newLeg(t, c, loopback), tone: tone}
	must(t, g.leg.SetRemote(p.sdp()))
	answer, err := g.leg.Answer(nil)
	must(t, err)
	p.learn(answer)
	p.to = g.leg.RTP()
	g.seat, err = r.Join(g.leg)
	must(t, err)
	return g
}

func newRoom(t *testing.T, e *Engine, o RoomOptions) *Room {
	t.Helper()
	r, err := e.NewRoom(o)
	must(t, err)
	t.Cleanup(r.Close)
	return r
}

// since is what a talker heard after a time.
func (p *talker) since(at time.Time) []int16 {
	d, err := p.codec.NewDecoder(8000)
	must(p.t, err)
	pcm := make([]int16, 8000)
	var out []int16
	for _, a := range p.heardPackets() {
		if a.payloadType == p.pt {
			n, err := d.Decode(pcm, a.payload)
			must(p.t, err)
			if a.at.After(at) {
				out = append(out, pcm[:n]...)
			}
		}
	}
	return out
}

// conference has four guests of all codecs, one with SRTP.
func conference(t *testing.T, first uint16) (*Engine, *Room, []*guest) {
	t.Helper()
	e := testEngine(t, first, first+29, nil)
	r := newRoom(t, e, RoomOptions{Seats: 4})
	return e, r, []*guest{
		enter(t, e, r, newTalker(t, "PCMU", 0, 20), 440),
		enter(t, e, r, newTalker(t, "PCMA", 8, 20).shield(), 660),
		enter(t, e, r, newTalker(t, "G722", 9, 40), 880),
		enter(t, e, r, newTalker(t, "opus", 111, 20).shield(), 1000),
	}
}

func (g *guest) speak(i int, tone float64) {
	if n := g.ptime / 20; i%n == 0 {
		g.say(tone)
	}
}

// Everybody hears the three others, in its own codec, and not itself.
func TestConferenceEverybodyHearsAllOthers(t *testing.T) {
	t.Parallel()
	_, r, guests := conference(t, 23600)
	if len(r.Seats()) != 4 {
		t.Errorf("%d seats are taken", len(r.Seats()))
	}
	began := time.Now()
	steady := clockwork(3*time.Second, func(i int) {
		for _, g := range guests {
			g.speak(i, g.tone)
		}
	})
	for _, g := range guests {
		heard := g.since(began.Add(time.Second))
		if len(heard) < 8000 {
			t.Errorf("the one at %g Hz hears %d samples", g.tone, len(heard))
		}
		checkLine(t, g.codec.Name, g.talker, 1)
		if !steady {
			continue
		}
		if n := len(g.heardPackets()) * g.ptime / 20; n < 145 || n > 160 {
			t.Errorf("the one at %g Hz hears %d frames in 3 s", g.tone, n)
		}
		for _, o := range guests {
			s := siptest.Share(heard, 8000, o.tone)
			if o == g && s > 0.02 {
				t.Errorf("the one at %g Hz hears itself, %.3f", g.tone, s)
			} else if o != g && (s < 0.15 || s > 0.5) {
				t.Errorf("the one at %g Hz hears %.3f of the one at %g Hz", g.tone, s, o.tone)
			}
		}
	}
}

// Who speaks is told, who is muted is not heard and hears, and who leaves is
// gone.
func TestConferenceTellsWhoSpeaks(t *testing.T) {
	t.Parallel()
	e, r, guests := conference(t, 23640)
	if _, err := r.Join(newLeg(t, e.NewCall("fifth"), loopback)); !errors.Is(err, ErrFull) {
		t.Errorf("a fifth finds a seat: %v", err)
	}
	again, err := r.Join(guests[3].leg)
	must(t, err)
	guests[3].seat = again
	if len(r.Seats()) != 4 {
		t.Errorf("%d seats after one changed his", len(r.Seats()))
	}
	part := func(speaks int, d time.Duration) (time.Time, bool) {
		began := time.Now()
		steady := clockwork(d, func(i int) {
			for k, g := range guests {
				tone := 0.0
				if k == speaks {
					tone = g.tone
				}
				g.speak(i, tone)
			}
		})
		return began, steady
	}
	_, steady := part(2, 1500*ms)
	for i, g := range guests {
		if s := g.seat; steady && (s.Speaking() != (i == 2) || (s.Level() > -20) != (i == 2)) {
			t.Errorf("guest %d: speaking %t, %d dBov", i, s.Speaking(), s.Level())
		}
	}
	if steady && r.Floor() != guests[2].seat {
		t.Error("somebody else has the floor")
	}
	guests[2].seat.Mute(true)
	began, steady := part(2, 1000*ms)
	if guests[2].seat.Speaking() || !guests[2].seat.Muted() || steady && guests[2].seat.Level() < -20 {
		t.Errorf("muted: speaking %t, %d dBov", guests[2].seat.Speaking(), guests[2].seat.Level())
	}
	if s := siptest.Share(guests[0].since(began.Add(400*ms)), 8000, 880); s > 0.02 {
		t.Errorf("who is muted is heard, %.3f", s)
	}
	if _, steady = part(0, 1500*ms); steady && r.Floor() != guests[0].seat {
		t.Error("who spoke before keeps the floor")
	}
	guests[1].seat.Leave()
	guests[1].seat.Leave()
	began, steady = part(1, 1000*ms)
	if n := len(guests[1].since(began.Add(100 * ms))); n != 0 || len(r.Seats()) != 3 {
		t.Errorf("who left hears %d samples; %d seats", n, len(r.Seats()))
	}
	if s := siptest.Share(guests[0].since(began.Add(300*ms)), 8000, 660); steady && s > 0.02 {
		t.Errorf("who left is heard, %.3f", s)
	}
	guests[3].leg.Close()
	if len(r.Seats()) != 2 {
		t.Errorf("%d seats after a leg was closed", len(r.Seats()))
	}
	if _, err := r.Join(guests[3].leg); !errors.Is(err, ErrClosed) {
		t.Errorf("a closed leg joins: %v", err)
	}
}

// The recording of one in a conference has him on one side and what he hears on
// the other; nothing of him while he is muted.
func TestConferenceIsRecordedAsOneHearsIt(t *testing.T) {
	t.Parallel()
	for i, rate := range []int{8000, 16000} {
		t.Run(fmt.Sprint(rate), func(t *testing.T) {
			t.Parallel()
			_, _, guests := conference(t, uint16(23820+30*i))
			r := recordTo(t, guests[0].leg, RecordOptions{Rate: rate})
			steady := clockwork(3*time.Second, func(i int) {
				guests[0].seat.Mute(i >= 100)
				for _, g := range guests {
					g.speak(i, g.tone)
				}
			})
			file := finish(t, r)
			if !steady {
				return
			}
			file.share(t, "left", file.left, 400*ms, 1900*ms, 440, 0.9)
			file.silent(t, "left, muted", file.left, 2300*ms, 2900*ms)
			for _, g := range guests {
				s := siptest.Share(file.part(file.right, 500*ms, 1900*ms), file.rate, g.tone)
				if g == guests[0] && s > 0.02 || g != guests[0] && (s < 0.15 || s > 0.5) {
					t.Errorf("the right has %.3f of %g Hz", s, g.tone)
				}
			}
		})
	}
}

// A bridge takes a leg out of its conference, and a conference out of its
// bridge.
func TestConferenceAndBridgeExcludeEachOther(t *testing.T) {
	t.Parallel()
	e := testEngine(t, 23680, 23699, nil)
	a, b := newPeer(t, loopback, 0xa), newPeer(t, loopback, 0xb)
	br := newBridge(t, e, a, b)
	r := newRoom(t, e, RoomOptions{})
	_, err := r.Join(br.a)
	must(t, err)
	if s := br.b.streams[audio].Load(); s.partner.Load() != nil || br.b.partner != nil {
		t.Error("the bridge is still there")
	}
	br.call.Bridge(br.a, br.b)
	if len(r.Seats()) != 0 || br.a.streams[audio].Load().seat.Load() != nil {
		t.Error("the seat is still there")
	}
	a.send(br.a.RTP(), 3)
	eventually(t, "b hears a", func() bool { return b.heard(0xa) == 3 })
	r.Close()
	if _, err := r.Join(br.a); !errors.Is(err, ErrClosed) {
		t.Errorf("a closed conference takes a guest: %v", err)
	}
}

// Conferences leave no goroutine behind, also where the engine has to end them.
// It measures the process and is not run in parallel.
func TestConferencesLeaveNothing(t *testing.T) {
	e := testEngine(t, 23800, 23999, func(c *Config) { c.Rest = time.Millisecond })
	before := runtime.NumGoroutine()
	var last *Room
	for range 20 {
		r, err := e.NewRoom(RoomOptions{})
		must(t, err)
		c := e.NewCall("guest")
		for range 3 {
			_, err := r.Join(newLeg(t, c, loopback))
			must(t, err)
		}
		c.Close()
		if len(r.Seats()) != 0 {
			t.Fatalf("%d seats", len(r.Seats()))
		}
		r.Close()
		r.Close()
		last = r
	}
	eventually(t, "no goroutine is left", func() bool { return runtime.NumGoroutine() <= before })
	if len(e.rooms) != 0 || last.Floor() != nil {
		t.Errorf("%d conferences are left", len(e.rooms))
	}
	_, err := e.NewRoom(RoomOptions{})
	must(t, err)
	e.Close()
	if _, err := e.NewRoom(RoomOptions{}); !errors.Is(err, ErrClosed) {
		t.Errorf("a conference after Close: %v", err)
	}
}

// Mixing allocates nothing.
func TestMixingAllocatesNothing(t *testing.T) {
	e := testEngine(t, 23720, 23799, nil)
	r := newRoom(t, e, RoomOptions{})
	p := newPeer(t, loopback, 0xa)
	c := e.NewCall("guests")
	for range 8 {
		l := newLeg(t, c, loopback)
		must(t, l.SetRemote(p.sdp()))
		_, err := l.Answer(nil)
		must(t, err)
		_, err = r.Join(l)
		must(t, err)
	}
	own := &Room{engine: e, rate: r.rate, most: r.most} // no goroutine turns it
	own.seats.Store(&[]*Seat{})
	seats := *r.seats.Load()
	r.seats.Store(&[]*Seat{})
	time.Sleep(3 * frameTime)
	own.seats.Store(&seats)
	now := time.Now()
	own.turn(now)
	if n := testing.AllocsPerRun(100, func() { now = now.Add(frameTime); own.turn(now) }); n > 0.5 {
		t.Errorf("%g allocations", n)
	}
}
