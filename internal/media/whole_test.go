package media_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"ringfence/internal/pbxtest"
	"ringfence/internal/siptest"
)

// The tests of this file drive the media of a whole PBX with phones.

func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Error(err)
	}
}

// parties is a call through a PBX; each end has a tone of its own.
type parties struct {
	a, b    *siptest.Phone
	out, in *siptest.Call
}

func newParties(t *testing.T) *parties {
	p := pbxtest.New(t)
	return &parties{a: p.Phone("101", 440), b: p.Phone("102", 880)}
}

func (p *parties) call(ctx context.Context, t *testing.T, o siptest.CallOptions) {
	t.Helper()
	var err error
	if p.out, err = p.a.CallWith(ctx, "102", o); err != nil {
		t.Fatal(err)
	}
	if p.in, err = p.b.WaitCall(ctx); err != nil {
		t.Fatal(err)
	}
}

func (p *parties) answer(ctx context.Context, t *testing.T) {
	t.Helper()
	ok(t, p.in.Answer())
	if err := p.out.Wait(ctx, siptest.Answered); err != nil {
		t.Fatal(err)
	}
}

// hear checks that each end hears the other and not itself.
func (p *parties) hear(ctx context.Context, t *testing.T, when string) {
	t.Helper()
	p.out.Forget()
	p.in.Forget()
	atCaller, err := p.out.Hear(ctx, 500*time.Millisecond)
	if err == nil {
		err = atCaller.Only(880, 440)
	}
	if err != nil {
		t.Errorf("%s: the caller: %v", when, err)
	}
	atCallee, err := p.in.Hear(ctx, 500*time.Millisecond)
	if err == nil {
		err = atCallee.Only(440, 880)
	}
	if err != nil {
		t.Errorf("%s: the callee: %v", when, err)
	}
}

// Hold in three spellings, a refused hold, a new media port, re-INVITE without
// offer and digits, by the caller and by the callee.
func TestSessionChangesByEitherSide(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"caller", "callee"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			p := newParties(t)
			p.call(ctx, t, siptest.CallOptions{})
			p.answer(ctx, t)
			p.hear(ctx, t, "start")
			c, other := p.out, p.in
			if name == "callee" {
				c, other = p.in, p.out
			}
			for _, h := range []struct {
				offer siptest.Offer
				want  string
			}{
				{siptest.Offer{Direction: "sendonly"}, "recvonly"},
				{siptest.Offer{Direction: "inactive"}, "inactive"},
				{siptest.Offer{Direction: "sendrecv", Null: true}, "recvonly"},
			} {
				ok(t, c.ReInvite(ctx, h.offer))
				if d := c.Remote().Direction; d != h.want {
					t.Errorf("%+v was answered %s", h.offer, d)
				}
				time.Sleep(60 * time.Millisecond)
				c.Forget()
				time.Sleep(100 * time.Millisecond)
				if n := c.Heard().Packets; n != 0 {
					t.Errorf("%+v: the holder is sent %d packets", h.offer, n)
				}
				ok(t, c.Resume(ctx))
				time.Sleep(200 * time.Millisecond) // music that is on its way
				p.hear(ctx, t, "resumed")
			}
			ok(t, c.ReInvite(ctx, siptest.Offer{Move: true}))
			p.hear(ctx, t, "moved")
			ok(t, c.ReInvite(ctx, siptest.Offer{Late: true}))
			p.hear(ctx, t, "after a re-INVITE without offer")
			other.RefuseOffers(488)
			var refused *siptest.StatusError
			if err := c.Hold(ctx); !errors.As(err, &refused) || refused.Code != 488 {
				t.Errorf("refused hold: %v", err)
			}
			other.RefuseOffers(0)
			p.hear(ctx, t, "after a refused hold")
			ok(t, c.Hold(ctx))
			ok(t, c.ReInvite(ctx, siptest.Offer{Direction: "sendrecv", Late: true}))
			time.Sleep(200 * time.Millisecond)
			p.hear(ctx, t, "resumed without offer")
			other.Forget()
			ok(t, c.SendDigits(ctx, "42#"))
			for other.Heard().Digits != "42#" && ctx.Err() == nil {
				time.Sleep(10 * time.Millisecond)
			}
			ok(t, ctx.Err())
			if n := len(other.Heard().SSRCs); n != 1 {
				t.Errorf("%d SSRCs", n)
			}
			ok(t, other.HangUp())
			ok(t, c.Wait(ctx, siptest.Ended))
		})
	}
}

// Late offer, early media, and an offer of encryption only.
func TestWaysToSetUpMedia(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	p := newParties(t)
	p.call(ctx, t, siptest.CallOptions{LateOffer: true})
	ok(t, p.in.Ring())
	p.answer(ctx, t)
	p.hear(ctx, t, "late offer")
	ok(t, p.out.HangUp())

	p.call(ctx, t, siptest.CallOptions{})
	ok(t, p.in.Progress())
	h, err := p.out.Hear(ctx, 500*time.Millisecond)
	ok(t, err)
	ok(t, h.Only(880, 440))
	if s := p.out.State(); s != siptest.Ringing || !p.out.EarlyMedia() {
		t.Errorf("state %s", s)
	}
	p.answer(ctx, t)
	p.hear(ctx, t, "after early media")
	ok(t, p.out.HangUp())

	out, err := p.a.CallWith(ctx, "102", siptest.CallOptions{SDP: "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n" +
		"m=audio 4000 RTP/SAVP 0\r\na=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:x\r\n"})
	ok(t, err)
	var refused *siptest.StatusError
	if err := out.Wait(ctx, siptest.Answered); !errors.As(err, &refused) || refused.Code != 488 {
		t.Errorf("offer of SRTP alone: %v", err)
	}
}
