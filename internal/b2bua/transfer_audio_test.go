package b2bua

import (
	"context"
	"log/slog"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"ringfence/internal/media"
	"ringfence/internal/ports"
	"ringfence/internal/siptest"
	"ringfence/internal/telephony"
)

// office is a PBX on real sockets with the real media engine, and phones of
// another make that each send a tone of their own.
type office struct {
	*stack
	t      *testing.T
	ctx    context.Context
	engine *media.Engine
	server netip.AddrPort
	tones  map[*siptest.Phone]float64
}

func newOffice(t *testing.T) *office {
	t.Helper()
	row, _ := ports.Lookup(ports.Table(), ports.RTPCore)
	engine := media.New(media.Config{Pools: map[ports.Side]ports.Service{ports.Core: row}, Logger: slog.New(slog.DiscardHandler)})
	t.Cleanup(engine.Close)
	s := newStack(t, func(c *Config) { c.Media = Engine(engine) })
	ctx, cancel := context.WithTimeout(t.Context(), 40*time.Second)
	t.Cleanup(cancel)
	return &office{stack: s, t: t, ctx: ctx, engine: engine, server: s.listen(), tones: map[*siptest.Phone]float64{}}
}

func (o *office) must(what string, err error) {
	o.t.Helper()
	if err != nil {
		o.t.Fatalf("%s: %v", what, err)
	}
}

func (o *office) start(user string) *siptest.Phone {
	o.t.Helper()
	tone := siptest.Tones()[len(o.tones)]
	p := siptest.NewPhone(o.t, siptest.Config{Server: o.server, User: user, Password: "pw" + user, Domain: "a.test", Tone: tone})
	o.must("registering", p.Register(o.ctx))
	o.tones[p] = tone
	return p
}

// connect lets a call b, who answers.
func (o *office) connect(a, b *siptest.Phone, number string, headers ...string) (out, in *siptest.Call) {
	o.t.Helper()
	out, err := a.CallWith(o.ctx, number, siptest.CallOptions{Headers: headers})
	o.must("calling", err)
	in, err = b.WaitCall(o.ctx)
	o.must("being called", err)
	o.must("ringing", in.Ring())
	o.must("answering", in.Answer())
	o.must("being answered", out.Wait(o.ctx, siptest.Answered))
	return out, in
}

// talk checks that both hear each other and nobody else.
func (o *office) talk(a *siptest.Phone, x *siptest.Call, b *siptest.Phone, y *siptest.Call) {
	o.t.Helper()
	o.must("changing the session", x.WaitDirection(o.ctx, "sendrecv"))
	o.must("changing the session", y.WaitDirection(o.ctx, "sendrecv"))
	time.Sleep(200 * time.Millisecond) // what is on its way
	others := func(p *siptest.Phone) (all []float64) {
		for q, tone := range o.tones {
			if q != p {
				all = append(all, tone)
			}
		}
		return all
	}
	for _, side := range []struct {
		call *siptest.Call
		from *siptest.Phone
	}{{x, b}, {y, a}} {
		side.call.Forget()
		h, err := side.call.Hear(o.ctx, time.Second)
		o.must("listening", err)
		o.must("hearing", h.Middle(600*time.Millisecond).Only(o.tones[side.from], others(side.from)...))
	}
}

// notified waits until the phone was told a final status by NOTIFY.
func (o *office) notified(p *siptest.Phone, status string) {
	o.t.Helper()
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if slices.ContainsFunc(p.Trace(), func(m siptest.Message) bool {
			return !m.Out && strings.HasPrefix(m.Text, "NOTIFY") && strings.Contains(m.Text, "SIP/2.0 "+status) && strings.Contains(m.Text, "terminated")
		}) {
			return
		}
	}
	o.t.Fatalf("no NOTIFY of %s", status)
}

// quitted checks that everything is over and given back.
func (o *office) quitted(records int) []telephony.CallRecord {
	o.t.Helper()
	var out []telephony.CallRecord
	for range records {
		select {
		case r := <-o.records:
			out = append(out, r)
		case <-o.ctx.Done():
			o.t.Fatalf("%d records, want %d", len(out), records)
		}
	}
	deadline := time.Now().Add(5 * time.Second)
	for o.svc.dialogs.Len() > 0 && time.Now().Before(deadline) {
		time.Sleep(10 * time.Millisecond)
	}
	if st := o.engine.Stats(); st.Calls != 0 || st.Legs != 0 || o.svc.dialogs.Len() != 0 || len(o.svc.Calls(telephony.System)) != 0 || len(o.records) != 0 {
		o.t.Errorf("left: media %+v, %d dialogs, calls %+v, %d records", st, o.svc.dialogs.Len(), o.svc.Calls(telephony.System), len(o.records))
	}
	return out
}

// TestBlindTransferIsHeard: 101 holds 102, sends it to 103 and hangs up at
// once or waits; then 102 and 103 hear each other.
func TestBlindTransferIsHeard(t *testing.T) {
	for _, early := range []bool{false, true} {
		t.Run(map[bool]string{false: "waits", true: "leaves early"}[early], func(t *testing.T) {
			t.Parallel()
			o := newOffice(t)
			a, b, c := o.start("101"), o.start("102"), o.start("103")
			out, in := o.connect(a, b, "102")
			o.talk(a, out, b, in)
			o.must("hold", out.Hold(o.ctx))
			o.must("being held", in.WaitDirection(o.ctx, "sendonly"))
			o.must("transfer", out.Refer(o.ctx, "<sip:103@a.test>"))
			third, err := c.WaitCall(o.ctx)
			o.must("ringing", err)
			o.must("ringing", third.Ring())
			if early {
				o.must("hanging up", out.HangUp())
				time.Sleep(300 * time.Millisecond)
			}
			o.must("answering", third.Answer())
			o.talk(b, in, c, third)
			if !early {
				o.notified(a, "200")
				o.must("end", out.Wait(o.ctx, siptest.Ended))
			}
			if third.From() != "102" {
				t.Errorf("103 was called by %s", third.From())
			}
			// And hold and resume as before.
			o.must("hold", third.Hold(o.ctx))
			o.must("being held", in.WaitDirection(o.ctx, "sendonly"))
			o.must("resume", third.Resume(o.ctx))
			o.talk(b, in, c, third)
			o.must("hanging up", in.HangUp())
			o.must("end", third.Wait(o.ctx, siptest.Ended))
			if r := o.quitted(2); r[0].Reason != telephony.EndTransferred || r[1].CallerLeg.Packets == 0 || r[1].CalleeLeg.Packets == 0 {
				t.Errorf("%+v", r)
			}
		})
	}
}

// TestBlindTransferComesBack: the target is busy, and the transferor takes the
// call back.
func TestBlindTransferComesBack(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	a, b, c := o.start("101"), o.start("102"), o.start("103")
	out, in := o.connect(a, b, "102")
	o.talk(a, out, b, in)
	o.must("hold", in.Hold(o.ctx)) // the callee transfers
	o.must("transfer", in.Refer(o.ctx, "<sip:103@a.test>"))
	third, err := c.WaitCall(o.ctx)
	o.must("ringing", err)
	o.must("busy", third.Reject(486))
	o.notified(b, "486")
	o.must("resume", in.Resume(o.ctx))
	o.talk(a, out, b, in)
	o.must("hanging up", out.HangUp())
	o.quitted(2)
}

// TestAttendedTransferIsHeard: 101 talks to 102, holds it, consults 103, and
// joins the two; with what it has last said to each of them.
func TestAttendedTransferIsHeard(t *testing.T) {
	for _, both := range []bool{false, true} {
		t.Run(map[bool]string{false: "one on hold", true: "both on hold"}[both], func(t *testing.T) {
			t.Parallel()
			o := newOffice(t)
			a, b, c := o.start("101"), o.start("102"), o.start("103")
			out, in := o.connect(b, a, "101") // 102 called
			o.talk(b, out, a, in)
			o.must("hold", in.Hold(o.ctx))
			second, third := o.connect(a, c, "103")
			o.talk(a, second, c, third)
			if both {
				o.must("hold", second.Hold(o.ctx))
			}
			o.must("transfer", in.Refer(o.ctx, "<sip:103@a.test?Replaces="+url.QueryEscape(second.Replaces())+">"))
			o.must("end", in.Wait(o.ctx, siptest.Ended))
			o.must("end", second.Wait(o.ctx, siptest.Ended))
			o.talk(b, out, c, third)
			o.notified(a, "200")
			o.must("hanging up", third.HangUp())
			o.must("end", out.Wait(o.ctx, siptest.Ended))
			o.quitted(3)
		})
	}
}

// TestPickUpAndTakeOverAreHeard: 103 answers what rings at 102, and then 104
// goes on in 103's place.
func TestPickUpAndTakeOverAreHeard(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	a, b, c, d := o.start("101"), o.start("102"), o.start("103"), o.start("104")
	out, err := a.Call(o.ctx, "102")
	o.must("calling", err)
	in, err := b.WaitCall(o.ctx)
	o.must("being called", err)
	o.must("ringing", in.Ring())
	o.must("ringing", out.Wait(o.ctx, siptest.Ringing))
	leg := o.svc.Calls(1)[0].Legs[1]
	picked, err := c.CallWith(o.ctx, "102", siptest.CallOptions{Headers: []string{named(leg, true)}})
	o.must("picking up", err)
	o.must("picking up", picked.Wait(o.ctx, siptest.Answered))
	o.must("end", in.Wait(o.ctx, siptest.Ended))
	o.talk(a, out, c, picked)
	leg = o.svc.Calls(1)[0].Legs[1] // with 103
	taken, err := d.CallWith(o.ctx, "103", siptest.CallOptions{Headers: []string{named(leg, false)}})
	o.must("taking over", err)
	o.must("taking over", taken.Wait(o.ctx, siptest.Answered))
	o.must("end", picked.Wait(o.ctx, siptest.Ended))
	o.talk(a, out, d, taken)
	o.must("hanging up", out.HangUp())
	o.must("end", taken.Wait(o.ctx, siptest.Ended))
	o.quitted(3)
}

// TestForwardIsHeard: unanswered at 102, the call goes to 103.
func TestForwardIsHeard(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	o.handle(map[string]telephony.CallHandling{"102": {ForwardBusy: "103"}})
	a, b, c := o.start("101"), o.start("102"), o.start("103")
	out, err := a.Call(o.ctx, "102")
	o.must("calling", err)
	in, err := b.WaitCall(o.ctx)
	o.must("being called", err)
	o.must("ringing", in.Ring())
	o.must("busy", in.Reject(486))
	third, err := c.WaitCall(o.ctx)
	o.must("being called", err)
	o.must("answering", third.Answer())
	o.must("being answered", out.Wait(o.ctx, siptest.Answered))
	o.talk(a, out, c, third)
	o.must("hanging up", third.HangUp())
	o.quitted(1)
}
