package b2bua

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"ringfence/internal/media"
	"ringfence/internal/ports"
	"ringfence/internal/siptest"
	"ringfence/internal/telephony"
)

// TestTalk is the whole way on real sockets: two phones of another make than
// our code call each other through the real media engine, hear each other and
// not themselves, hold and resume, and the record tells of it.
func TestTalk(t *testing.T) {
	t.Parallel()
	row, _ := ports.Lookup(ports.Table(), ports.RTPCore)
	engine := media.New(media.Config{Pools: map[ports.Side]ports.Service{ports.Core: row}, Logger: slog.New(slog.DiscardHandler)})
	t.Cleanup(engine.Close)
	s := newStack(t, func(c *Config) { c.Media = Engine(engine) })
	server := s.listen()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	start := func(user string, tone float64) *siptest.Phone {
		p := siptest.NewPhone(t, siptest.Config{Server: server, User: user, Password: "pw" + user, Domain: "a.test", Tone: tone})
		if err := p.Register(ctx); err != nil {
			t.Fatal(err)
		}
		return p
	}
	a, b := start("101", 440), start("102", 880)
	out, err := a.Call(ctx, "102")
	if err != nil {
		t.Fatal(err)
	}
	in, err := b.WaitCall(ctx)
	if err != nil {
		t.Fatal(err)
	}
	must := func(what string, err error) {
		t.Helper()
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
	}
	must("ringing", in.Ring())
	must("hearing it ring", out.Wait(ctx, siptest.Ringing))
	must("answering", in.Answer())
	must("being answered", out.Wait(ctx, siptest.Answered))
	hear := func() {
		t.Helper()
		out.Forget()
		in.Forget()
		h, err := out.Hear(ctx, time.Second)
		must("caller listening", err)
		must("caller hears", h.Middle(600*time.Millisecond).Only(880, 440))
		h, err = in.Hear(ctx, time.Second)
		must("callee listening", err)
		must("callee hears", h.Middle(600*time.Millisecond).Only(440, 880))
	}
	hear()
	must("hold", out.Hold(ctx))
	must("being held", in.WaitDirection(ctx, "sendonly"))
	if live := s.svc.Calls(1); len(live) != 1 || live[0].State != telephony.CallHeld {
		t.Errorf("live %+v", live)
	}
	must("resume", out.Resume(ctx))
	hear()
	must("hanging up", in.HangUp())
	must("ending", out.Wait(ctx, siptest.Ended))
	r := <-s.records
	if r.Reason != telephony.EndCalleeHungUp || r.StatusCode != 200 || r.CallerLeg.Packets < 50 || r.CalleeLeg.Packets < 50 || r.CallerLeg.Codec == "" {
		t.Errorf("record %+v", r)
	}
	for end := time.Now().Add(2 * time.Second); engine.Stats().Calls+engine.Stats().Legs > 0; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("media left: %+v", engine.Stats())
		}
	}
}
