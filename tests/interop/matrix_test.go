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
	// handshakes is how long a call may be silent at its start.
	handshakes = 1500 * time.Millisecond
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
	var again meetings
	n := len(members)
	for round := range n - 1 {
		for _, back := range []bool{false, true} {
			var wg sync.WaitGroup
			for i := range n / 2 {
				m := meeting{seat(members, round, i), seat(members, round, n-1-i)}
				if back {
					m.from, m.to = m.to, m.from
				}
				if m.from.voice == nil || m.to.voice == nil {
					continue
				}
				wg.Go(func() {
					if err := m.take(t.Context(), members); err != nil {
						t.Logf("%s: %.2000v", m, err)
						again.add(m)
					}
				})
			}
			wg.Wait()
		}
	}
	// A machine that has other things to do tears holes into the best line:
	// what failed has a second chance, alone.
	if len(again.list) > mayFail {
		t.Fatalf("%d calls failed", len(again.list))
	}
	for _, m := range again.list {
		if err := m.take(t.Context(), members); err != nil {
			t.Errorf("%s, again: %.4000v", m, err)
		}
	}
}

// mayFail is how many calls may have a second chance.
const mayFail = 3

// meeting is one member calling another.
type meeting struct{ from, to member }

func (m meeting) String() string { return m.from.name + " calls " + m.to.name }

type meetings struct {
	mu   sync.Mutex
	list []meeting
}

func (l *meetings) add(m meeting) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.list = append(l.list, m)
}

// seat is who sits where in a round: the first stays, the others move on.
func seat(members []member, round, i int) member {
	if i == 0 {
		return members[0]
	}
	return members[1+(i-1+round)%(len(members)-1)]
}

// take has the call, and judges it at both ends.
func (m meeting) take(ctx context.Context, members []member) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	answered := make(chan error, 1)
	go func() { answered <- m.to.answer(ctx) }()
	time.Sleep(200 * time.Millisecond) // a sipp listens only while it plays
	err := m.from.call(ctx, m.to.number, talkTime)
	if err != nil {
		cancel()
	}
	if err := errors.Join(err, <-answered); err != nil {
		return err
	}
	return errors.Join(m.from.judge(members, m.to, m.from.offers), m.to.judge(members, m.from, m.to.takes))
}

// judge checks that a member heard another one and nobody else, and what
// protected its media.
func (m member) judge(members []member, other member, suite string) error {
	if got := m.ciphers(); got != suite {
		return fmt.Errorf("%s's media are protected by %q, want %q", m.name, got, suite)
	}
	h, err := m.heard()
	if err != nil {
		return fmt.Errorf("%s: %w", m.name, err)
	}
	if h.Duration() < talkTime-handshakes {
		return fmt.Errorf("%s heard %s of %s", m.name, h.Duration(), talkTime)
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
			return fmt.Errorf("%s: share at %g Hz is %.3f: %s", m.name, f, s, h)
		}
	}
	err = errors.New("nothing was heard") // a second without a hole is enough
	for at := 0; at+h.Rate <= len(h.Samples) && err != nil; at += h.Rate / 4 {
		part := h
		part.Samples = h.Samples[at : at+h.Rate]
		err = part.Only(other.tone)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", m.name, err)
	}
	return nil
}
