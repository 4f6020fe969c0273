package drills

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"time"

	"ringfence/internal/siptest"
)

// round is one call from its first INVITE to its end.
func (l *slot) round() {
	ctx, cancel := context.WithTimeout(context.Background(), 90*time.Second)
	defer cancel()
	clean := !l.wild
	l.wild = false
	if l.s.wild() && l.rnd.IntN(8) == 0 {
		l.s.count("loss")
		clean, l.wild = false, true
		l.lose(l.rnd.IntN(2))
		defer func() {
			l.phones[0].SetFilter(nil)
			l.phones[1].SetFilter(nil)
		}()
	}
	out, err := l.phones[0].Call(ctx, l.facts[1].Number)
	if err != nil {
		l.s.strange("calling: %v", err)
		return
	}
	if l.rnd.IntN(20) == 0 {
		l.s.count("cancel at once")
		l.wild = true
		l.cancel(ctx, out, clean)
		l.drain(1)
		return
	}
	in := l.rings(ctx, 1, out)
	if in == nil {
		if out.Status() == 503 {
			l.s.count("refused for overload")
		} else if clean {
			l.s.strange("%s called %s: no INVITE came; the call is %s, status %d", l.facts[0].Number, l.facts[1].Number, out.State(), out.Status())
		}
		_ = out.HangUp()
		return
	}
	l.answer(ctx, out, in, clean)
}

// rings is the next call of a phone that is not over already; nil if out ends
// or time runs out first.
func (l *slot) rings(ctx context.Context, k int, out *siptest.Call) *siptest.Call {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	go func() {
		_ = out.Wait(ctx, siptest.Ended)
		cancel()
	}()
	for {
		in, err := l.phones[k].WaitCall(ctx)
		if err != nil {
			return nil
		}
		if in.State() != siptest.Ended {
			return in
		}
	}
}

// answer is what the callee does with a call.
func (l *slot) answer(ctx context.Context, out, in *siptest.Call, clean bool) {
	if l.rnd.IntN(4) > 0 {
		_ = in.Ring()
	}
	l.pause(300)
	switch n := l.rnd.IntN(100); {
	case n < 8:
		l.s.count("busy")
		_ = in.Reject(486)
		l.over(ctx, out, clean, 486)
	case n < 12:
		l.s.count("decline")
		_ = in.Reject(603)
		l.over(ctx, out, clean, 603)
	case n < 22:
		l.s.count("cancel")
		l.cancel(ctx, out, clean)
	case n < 26 && l.s.wild():
		l.s.count("vanish ringing")
		k := l.rnd.IntN(2)
		l.vanish(k)
		if k == 1 {
			l.cancel(ctx, out, clean)
		}
		l.back(k)
	default:
		l.s.count("talk")
		if err := in.Answer(); err != nil {
			if clean {
				l.s.strange("answering: %v", err)
			}
			return
		}
		if err := out.Wait(ctx, siptest.Answered); err != nil && clean {
			l.s.strange("answered, and the caller does not know: %v", err)
		}
		l.talk(ctx, out, in, clean)
	}
}

// over waits for the end of the caller's call.
func (l *slot) over(ctx context.Context, out *siptest.Call, clean bool, want int) {
	ctx, cancel := context.WithTimeout(ctx, 40*time.Second)
	defer cancel()
	if err := out.Wait(ctx, siptest.Ended); err != nil && clean {
		l.s.strange("waiting for the end of a call that got %d: %v", want, err)
		return
	}
	if clean && out.Status() != want {
		l.s.strange("%s called %s: the caller got %d, the callee said %d", l.facts[0].Number, l.facts[1].Number, out.Status(), want)
	}
}

func (l *slot) cancel(ctx context.Context, out *siptest.Call, clean bool) {
	if err := out.Cancel(); err != nil { // answered or refused meanwhile
		_ = out.HangUp()
	}
	ctx, stop := context.WithTimeout(ctx, 40*time.Second)
	defer stop()
	if err := out.Wait(ctx, siptest.Ended); err != nil && clean {
		l.s.strange("cancelling: the call is %s: %v", out.State(), err)
	}
}

// drain lets calls end that came too late to be wanted.
func (l *slot) drain(k int) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	for {
		in, err := l.phones[k].WaitCall(ctx)
		if err != nil {
			return
		}
		if in.State() != siptest.Ended {
			_ = in.Reject(480)
		}
	}
}

// talk is an answered call: some features, and an end.
func (l *slot) talk(ctx context.Context, out, in *siptest.Call, clean bool) {
	defer l.decrypted(out, in, clean)
	l.pause(2000)
	for range l.rnd.IntN(5) {
		if time.Now().After(l.s.end) {
			break
		}
		c := out
		if l.rnd.IntN(2) == 0 {
			c = in
		}
		if l.feature(ctx, c, out, in, clean) {
			return
		}
		l.pause(1500)
	}
	n := l.rnd.IntN(12)
	switch {
	case n < 2 && l.s.wild():
		l.s.count("caller vanishes")
		l.vanish(0)
		_ = in.HangUp()
		l.back(0)
	case n < 4 && l.s.wild():
		l.s.count("callee vanishes")
		l.vanish(1)
		_ = out.HangUp()
		l.back(1)
	case n == 4 && l.s.wild() && l.s.chaos > time.Minute && l.rnd.IntN(10) == 0:
		l.s.count("both vanish")
		l.vanish(0)
		l.vanish(1)
		l.back(0)
		l.back(1)
	case n < 8:
		l.bye(ctx, in, out, clean)
	case n == 8:
		l.s.count("both hang up")
		go func() { _ = in.HangUp() }()
		l.bye(ctx, out, in, clean)
	default:
		l.bye(ctx, out, in, clean)
	}
}

// forgeries is how many packets may come that do not decrypt: those on their way
// while keys change.
const forgeries = 10

// decrypted checks that what a call's phones got was for them.
func (l *slot) decrypted(out, in *siptest.Call, clean bool) {
	for _, c := range []*siptest.Call{out, in} {
		if c.Suite() == "" {
			continue
		}
		l.s.count("encrypted")
		if n := c.Heard().Forged; clean && n > forgeries {
			l.s.strange("%s: %d packets did not decrypt", c.Suite(), n)
		}
	}
}

// bye hangs up one side and waits for the other.
func (l *slot) bye(ctx context.Context, a, b *siptest.Call, clean bool) {
	if err := a.HangUp(); err != nil && clean && a.State() != siptest.Ended {
		l.s.strange("hanging up: %v", err)
	}
	ctx, cancel := context.WithTimeout(ctx, 40*time.Second)
	defer cancel()
	if err := b.Wait(ctx, siptest.Ended); err != nil {
		if clean {
			l.s.strange("one side hung up, the other is %s: %v", b.State(), err)
		}
		_ = b.HangUp()
	}
}

// feature does one thing to a call, and reports whether that ended it.
func (l *slot) feature(ctx context.Context, c, out, in *siptest.Call, clean bool) bool {
	ctx, cancel := context.WithTimeout(ctx, 40*time.Second)
	defer cancel()
	var err error
	switch l.rnd.IntN(11) {
	case 0, 1:
		l.s.count("hold")
		if err = c.Hold(ctx); err == nil {
			l.pause(1000)
			err = c.Resume(ctx)
		}
	case 2:
		l.s.count("old hold")
		if err = c.ReInvite(ctx, siptest.Offer{Null: true}); err == nil {
			err = c.Resume(ctx)
		}
	case 3:
		l.s.count("offer")
		err = c.ReInvite(ctx, siptest.Offer{Move: l.rnd.IntN(2) == 0, Late: l.rnd.IntN(3) == 0, Rekey: l.rnd.IntN(2) == 0, NewStream: l.rnd.IntN(2) == 0})
	case 4:
		l.s.count("glare")
		done := make(chan error, 1)
		go func() { done <- in.ReInvite(ctx, siptest.Offer{}) }()
		err = errors.Join(out.ReInvite(ctx, siptest.Offer{}), <-done)
	case 5:
		l.s.count("digits")
		err = c.SendDigits(ctx, "42#")
	case 6:
		l.s.count("mute")
		c.Mute(l.rnd.IntN(2) == 0)
	case 7:
		l.s.count("reregister")
		err = l.phones[l.rnd.IntN(2)].Register(ctx)
	case 8:
		l.s.count("refused offer")
		in.RefuseOffers(488)
		_ = out.ReInvite(ctx, siptest.Offer{})
		in.RefuseOffers(0)
	case 9:
		return l.transfer(ctx, out, in, "blind", "")
	case 10:
		return l.attended(ctx, out, in)
	}
	var status *siptest.StatusError
	if err != nil && clean && !errors.As(err, &status) {
		l.s.strange("in a call: %v", err)
	}
	return false
}

// attended asks the third phone first.
func (l *slot) attended(ctx context.Context, out, in *siptest.Call) bool {
	second, err := l.phones[0].Call(ctx, l.facts[2].Number)
	if err != nil {
		return false
	}
	third := l.rings(ctx, 2, second)
	if third == nil {
		_ = second.HangUp()
		return false
	}
	_ = third.Answer()
	_ = second.Wait(ctx, siptest.Answered)
	local, remote := second.Tags()
	replaces := fmt.Sprintf("%s;to-tag=%s;from-tag=%s", second.ID(), remote, local)
	done := l.transfer(ctx, out, in, "attended", "?Replaces="+url.QueryEscape(replaces))
	_ = second.HangUp()
	_ = third.HangUp()
	return done
}

// transfer refers the callee to the third phone, and reports whether the call
// is over.
func (l *slot) transfer(ctx context.Context, out, in *siptest.Call, kind, replaces string) bool {
	f := l.facts[2]
	to := fmt.Sprintf("Refer-To: <sip:%s@%s%s>", f.Number, f.Domain, replaces)
	res, err := out.Do(ctx, "REFER", []string{to}, "")
	if err != nil || res.StatusCode/100 != 2 {
		l.s.count(kind + " transfer refused")
		return false
	}
	l.s.count(kind + " transfer")
	if replaces == "" {
		if third := l.rings(ctx, 2, in); third != nil {
			_ = third.Answer()
			l.pause(1000)
			defer func() { _ = third.HangUp() }()
		}
	} else {
		l.pause(1000)
	}
	_ = out.HangUp()
	_ = in.HangUp()
	return true
}

// lose makes a phone's SIP lossy: one datagram in five, both ways, and some
// twice.
func (l *slot) lose(k int) {
	seed := l.rnd.Uint64()
	l.phones[k].SetFilter(func(_ bool, _ netip.AddrPort, d []byte) [][]byte {
		// Called from several goroutines: a generator of its own state would
		// have to be locked.
		if !l.s.wild() {
			return [][]byte{d}
		}
		seed := seed
		for _, c := range d {
			seed = seed*1099511628211 ^ uint64(c)
		}
		switch (seed ^ uint64(time.Now().UnixNano()>>20)) * 0x9e3779b97f4a7c15 >> 32 % 20 {
		case 0, 1, 2, 3:
			return nil
		case 4:
			return [][]byte{d, d}
		}
		return [][]byte{d}
	})
}
