package b2bua

import (
	"math"
	"testing"
	"time"

	"ringfence/internal/audio/tone"
	"ringfence/internal/siptest"
	"ringfence/internal/telephony"
)

// hears waits until a call has heard for 600 ms what is wanted.
func (o *office) hears(what string, c *siptest.Call, wanted func(h siptest.Heard) bool) {
	o.t.Helper()
	var h siptest.Heard
	c.Forget()
	for deadline := time.Now().Add(15 * time.Second); time.Now().Before(deadline) && o.ctx.Err() == nil; time.Sleep(50 * time.Millisecond) {
		h = c.Heard()
		if n := len(h.Samples) - 4800; n >= 0 {
			h.Samples = h.Samples[n:]
			if wanted(h) {
				return
			}
		}
	}
	o.t.Fatalf("%s is not heard: likeness to music %.2f, %s", what, musical(h.Samples), h)
}

// tones wants frequencies and nothing else.
func tones(hz ...float64) func(siptest.Heard) bool {
	return func(h siptest.Heard) bool {
		sum := 0.0
		for _, f := range hz {
			sum += h.Share(f)
		}
		return sum > 0.9
	}
}

func music(h siptest.Heard) bool { return musical(h.Samples) > 0.9 }

// musical is how much samples resemble the first seconds of the music on hold, at
// the place where they do most: the correlation of 200 ms with it.
func musical(pcm []int16) float64 {
	if len(pcm) < 1600 {
		return 0
	}
	pcm = pcm[len(pcm)-1600:]
	piece := tone.Music(8000)[:8*8000]
	dot := func(a, b []int16) (sum int) {
		for i, s := range a {
			sum += int(s) * int(b[i])
		}
		return sum
	}
	own, energy, best := float64(dot(pcm, pcm)), dot(piece[:len(pcm)], piece), 0.0
	for at := range len(piece) - len(pcm) {
		part := piece[at : at+len(pcm)]
		best = max(best, float64(dot(pcm, part))/math.Sqrt(own*float64(energy)+1))
		gone, come := int(part[0]), int(piece[at+len(pcm)])
		energy += come*come - gone*gone
	}
	return best
}

// TestHeldPartyHearsMusic: in every spelling of hold, whoever holds, and whatever
// the holder's phone goes on sending; and the voice again afterwards.
func TestHeldPartyHearsMusic(t *testing.T) {
	for _, c := range []struct {
		name  string
		offer siptest.Offer
	}{
		{"sendonly", siptest.Offer{Direction: "sendonly"}},
		{"inactive", siptest.Offer{Direction: "inactive"}},
		{"null address", siptest.Offer{Null: true}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			o := newOffice(t)
			a, b := o.start("101"), o.start("102")
			out, in := o.connect(a, b, "102")
			o.talk(a, out, b, in)
			for _, side := range []struct{ holder, held *siptest.Call }{{out, in}, {in, out}} {
				side.holder.Forget()
				o.must("hold", side.holder.ReInvite(o.ctx, c.offer))
				o.must("being held", side.held.WaitDirection(o.ctx, "sendonly"))
				o.hears("music", side.held, music)
				if live := o.svc.Calls(1); live[0].State != telephony.CallHeld {
					t.Errorf("the call is %s", live[0].State)
				}
				side.holder.Forget()
				time.Sleep(200 * time.Millisecond)
				if h := side.holder.Heard(); h.Packets > 2 {
					t.Errorf("the holder hears %s", h)
				}
				o.must("resume", side.holder.Resume(o.ctx))
				o.talk(a, out, b, in)
			}
			o.must("hanging up", out.HangUp())
			o.quitted(1)
		})
	}
}

// TestHoldingPhonePlaysItsOwnMusic where that is set: what it sends is heard.
func TestHoldingPhonePlaysItsOwnMusic(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	o.rules(func(r *telephony.CallRules) { *r = telephony.DefaultCallRules(); r.Music = telephony.MusicOfPhone })
	a, b := o.start("101"), o.start("102")
	out, in := o.connect(a, b, "102")
	o.must("hold", out.Hold(o.ctx))
	o.must("being held", in.WaitDirection(o.ctx, "sendonly"))
	o.hears("the holder", in, tones(o.tones[a]))
	o.must("hold", out.ReInvite(o.ctx, siptest.Offer{Direction: "inactive"}))
	o.must("being held", in.WaitDirection(o.ctx, "inactive"))
	time.Sleep(100 * time.Millisecond)
	in.Forget()
	time.Sleep(300 * time.Millisecond)
	if h := in.Heard(); h.Packets > 0 {
		t.Errorf("heard %s", h)
	}
	o.must("hanging up", out.HangUp())
	o.quitted(1)
}

// TestTransfereeHearsItRing: whom the transferor holds, or has left, hears music
// until the target rings, then the ringing of its country, and then who answers.
func TestTransfereeHearsItRing(t *testing.T) {
	for _, left := range []bool{false, true} {
		t.Run(map[bool]string{false: "transferor there", true: "transferor gone"}[left], func(t *testing.T) {
			t.Parallel()
			o := newOffice(t)
			o.rules(func(r *telephony.CallRules) { *r = telephony.DefaultCallRules(); r.Tones = "GB" })
			a, b, c := o.start("101"), o.start("102"), o.start("103")
			out, in := o.connect(a, b, "102")
			o.must("hold", out.Hold(o.ctx))
			o.hears("music", in, music)
			o.must("transfer", out.Refer(o.ctx, "<sip:103@a.test>"))
			third, err := c.WaitCall(o.ctx)
			o.must("ringing", err)
			if left {
				o.must("hanging up", out.HangUp())
			}
			o.hears("music still", in, music)
			o.must("ringing", third.Ring())
			o.hears("ringing", in, func(h siptest.Heard) bool { return h.Share(400)+h.Share(450) > 0.4 }) // 400 ms of it
			o.must("answering", third.Answer())
			o.talk(b, in, c, third)
			o.must("hanging up", in.HangUp())
			o.quitted(2)
		})
	}
}

// TestHeldPartyComesBackToTheMusic: the target of its transfer refuses, and the
// transferor is still there.
func TestHeldPartyComesBackToTheMusic(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	a, b, c := o.start("101"), o.start("102"), o.start("103")
	out, in := o.connect(a, b, "102")
	o.must("hold", out.Hold(o.ctx))
	o.must("transfer", out.Refer(o.ctx, "<sip:103@a.test>"))
	third, err := c.WaitCall(o.ctx)
	o.must("ringing", err)
	o.must("ringing", third.Ring())
	o.hears("ringing", in, tones(425))
	o.must("busy", third.Reject(486))
	o.notified(a, "486")
	o.hears("music", in, music)
	o.must("resume", out.Resume(o.ctx))
	o.talk(a, out, b, in)
	o.must("hanging up", out.HangUp())
	o.quitted(2)
}

// TestTransfereeHearsBusy for some seconds before it is released, when nobody is
// left to have it back.
func TestTransfereeHearsBusy(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	o.rules(func(r *telephony.CallRules) { *r = telephony.DefaultCallRules(); r.Tones = "US" })
	a, b, c := o.start("101"), o.start("102"), o.start("103")
	out, in := o.connect(a, b, "102")
	o.must("transfer", out.Refer(o.ctx, "<sip:103@a.test>"))
	third, err := c.WaitCall(o.ctx)
	o.must("being called", err)
	o.must("hanging up", out.HangUp())
	o.must("busy", third.Reject(486))
	o.hears("busy", in, func(h siptest.Heard) bool { return h.Share(480)+h.Share(620) > 0.6 })
	o.must("end", in.Wait(o.ctx, siptest.Ended))
	if r := o.quitted(2); r[1].Reason != telephony.EndBusy || r[1].StatusCode != 486 {
		t.Errorf("%+v", r[1])
	}
}

// TestCallerHearsRingingAfterEarlyMedia: the phone whose announcement it heard
// refused, and another one rings; the caller's phone does not ring by itself.
func TestCallerHearsRingingAfterEarlyMedia(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	o.handle(map[string]telephony.CallHandling{"102": {ForwardBusy: "103"}})
	a, b, c := o.start("101"), o.start("102"), o.start("103")
	out, err := a.Call(o.ctx, "102")
	o.must("calling", err)
	in, err := b.WaitCall(o.ctx)
	o.must("being called", err)
	o.must("early media", in.Progress())
	o.hears("the announcement", out, tones(o.tones[b]))
	o.must("busy", in.Reject(486))
	third, err := c.WaitCall(o.ctx)
	o.must("being called", err)
	o.must("ringing", third.Ring())
	o.hears("ringing", out, tones(425))
	o.must("answering", third.Answer())
	o.must("being answered", out.Wait(o.ctx, siptest.Answered))
	o.talk(a, out, c, third)
	o.must("hanging up", out.HangUp())
	o.quitted(1)
}
