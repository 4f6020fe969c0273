package interop

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"ringfence/internal/siptest"
)

// voice is a real client that calls, answers, and tells what it heard. It has
// one call at a time.
type voice interface {
	// call calls a number, talks for a while and hangs up.
	call(ctx context.Context, number string, talk time.Duration) error
	// answer takes the next call and stays until the other hangs up.
	answer(ctx context.Context) error
	// heard is what the last call brought.
	heard() (siptest.Heard, error)
	// ciphers is the SRTP suite that protected its last call, as it says itself.
	ciphers() string
}

// member is a client of the matrix; its number and tone are its own.
type member struct {
	name, number string
	tone         float64
	voice
	// The SRTP suites that must come of its own offers and of ours, empty in
	// the clear.
	offers, takes string
}

const (
	talkTime = 4 * time.Second
	// judged is the part of a call that must be pure, from its middle.
	judged = 3 * time.Second
)

// Every kind of client calls every other: each hears the other's tone, and
// nobody else's, whatever protects the media on either side.
func TestEveryClientHearsEveryOther(t *testing.T) {
	t.Parallel()
	b := newBench(t, "-extensions", "8")
	members := b.members(t)
	if len(members)%2 == 1 {
		members = append(members, member{}) // whoever meets it has a break
	}
	// A tournament (the circle method): in each round everybody meets another
	// one, so that half as many calls as clients run at once.
	n := len(members)
	for round := range n - 1 {
		for _, back := range []bool{false, true} {
			var wg sync.WaitGroup
			for i := range n / 2 {
				from, to := seat(members, round, i), seat(members, round, n-1-i)
				if back {
					from, to = to, from
				}
				if from.voice == nil || to.voice == nil {
					continue
				}
				wg.Go(func() { meets(t, members, from, to) })
			}
			wg.Wait()
		}
	}
}

// seat is who sits where in a round: the first stays, the others move on.
func seat(members []member, round, i int) member {
	if i == 0 {
		return members[0]
	}
	return members[1+(i-1+round)%(len(members)-1)]
}

// meets has one call another.
func meets(t *testing.T, members []member, from, to member) {
	what := from.name + " calls " + to.name
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	answered := make(chan error, 1)
	go func() { answered <- to.answer(ctx) }()
	time.Sleep(200 * time.Millisecond) // a sipp listens only while it plays
	err := from.call(ctx, to.number, talkTime)
	if err != nil {
		cancel()
	}
	if err := errors.Join(err, <-answered); err != nil {
		t.Errorf("%s: %.4000v", what, err)
		return
	}
	if got := from.ciphers(); got != from.offers {
		t.Errorf("%s: the caller's media are protected by %q, want %q", what, got, from.offers)
	}
	if got := to.ciphers(); got != to.takes {
		t.Errorf("%s: the callee's media are protected by %q, want %q", what, got, to.takes)
	}
	for _, x := range [][2]member{{from, to}, {to, from}} {
		if err := x[0].judge(members, x[1]); err != nil {
			t.Errorf("%s: %s: %v", what, x[0].name, err)
		}
	}
}

// judge checks that a member heard another one and nobody else.
func (m member) judge(members []member, other member) error {
	h, err := m.heard()
	if err != nil {
		return err
	}
	if h.Duration() < talkTime-time.Second {
		return fmt.Errorf("heard %s of %s", h.Duration(), talkTime)
	}
	var never []float64
	for _, x := range members {
		if x.voice != nil && x.tone != other.tone {
			never = append(never, x.tone)
		}
	}
	h = h.Middle(judged)
	for _, f := range never {
		if s := h.Share(f); s >= 0.01 {
			return fmt.Errorf("share at %g Hz is %.3f: %s", f, s, h)
		}
	}
	// A machine that has other things to do tears a hole into the best line: a
	// second without one is enough.
	err = errors.New("nothing was heard")
	for at := 0; at+h.Rate <= len(h.Samples) && err != nil; at += h.Rate / 4 {
		part := h
		part.Samples = h.Samples[at : at+h.Rate]
		err = part.Only(other.tone)
	}
	return err
}
