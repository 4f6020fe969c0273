// Package impair is a network for tests that loses, delays, reorders and
// doubles datagrams, the same way for the same seed.
package impair

import (
	"math/rand/v2"
	"time"
)

// Profile says what a line does to datagrams. The zero value is a perfect one.
type Profile struct {
	Loss, Duplicate, Reorder float64 // shares of datagrams, 0 to 1
	Delay                    time.Duration
	// Jitter is the most that a datagram waits beyond Delay. Like a queue it
	// keeps the order.
	Jitter time.Duration
}

// Line is one direction of a network. It is not safe for concurrent use.
type Line struct {
	profile Profile
	rnd     *rand.Rand
	last    time.Time // when the last datagram that kept its place arrives
	Counts
}

// Counts is what a line did so far.
type Counts struct{ Sent, Lost, Doubled, Reordered int }

// NewLine makes a line; seed decides every datagram's fate.
func NewLine(p Profile, seed uint64) *Line {
	return &Line{profile: p, rnd: rand.New(rand.NewPCG(seed, 0x5eed))}
}

// Send says when a datagram that is sent now arrives: not at all, once or
// twice.
func (l *Line) Send(now time.Time) []time.Time {
	l.Sent++
	// Every datagram takes the same number of dice: a profile with more loss
	// loses the ones of a profile with less, and others.
	loss, double, order, wait := l.rnd.Float64(), l.rnd.Float64(), l.rnd.Float64(), l.rnd.Float64()
	if loss < l.profile.Loss {
		l.Lost++
		return nil
	}
	at := now.Add(l.profile.Delay + time.Duration(wait*float64(l.profile.Jitter)))
	if at.Before(l.last) {
		at = l.last
	}
	if order < l.profile.Reorder {
		l.Reordered++
		at = at.Add(l.overtaken())
	} else {
		l.last = at
	}
	if double < l.profile.Duplicate {
		l.Doubled++
		return []time.Time{at, at.Add(time.Millisecond)}
	}
	return []time.Time{at}
}

// overtaken is how long a datagram stays behind: one to three that follow, at
// 20 ms each, pass it.
func (l *Line) overtaken() time.Duration {
	return time.Duration(1+l.rnd.IntN(3))*20*time.Millisecond + 5*time.Millisecond
}
