package telephony

import (
	"slices"
	"strings"
)

// Limits of what may be set for calls to an extension.
const (
	MaxDialledLen = 32
	MaxRingAlso   = 8
	MaxCallLimit  = 32
)

// CallHandling is what becomes of calls to an extension. Numbers are dialled
// as if the extension itself did; an empty one forwards nothing.
type CallHandling struct {
	ForwardAlways       string // all calls; its phones do not ring
	ForwardBusy         string // when it is busy or does not want to be disturbed
	ForwardNoAnswer     string // after its NoAnswer
	ForwardUnregistered string // when no phone of it is registered
	DoNotDisturb        bool   // its phones do not ring; callers hear busy
	MaxCalls            int    // so many at once, then it is busy; 0..32, 0 is no limit
	// RingAlso are further extensions whose phones ring together with its own;
	// at most 8.
	RingAlso []string
}

// Equal compares all of it.
func (h CallHandling) Equal(o CallHandling) bool {
	a, b := h, o
	a.RingAlso, b.RingAlso = nil, nil
	return slices.Equal(h.RingAlso, o.RingAlso) &&
		a.ForwardAlways == b.ForwardAlways && a.ForwardBusy == b.ForwardBusy && a.ForwardNoAnswer == b.ForwardNoAnswer &&
		a.ForwardUnregistered == b.ForwardUnregistered && a.DoNotDisturb == b.DoNotDisturb && a.MaxCalls == b.MaxCalls
}

// check reports the first field that is not usable for the extension number.
func (h CallHandling) check(number string) error {
	for _, f := range []struct{ field, target string }{
		{"forward_always", h.ForwardAlways}, {"forward_busy", h.ForwardBusy},
		{"forward_no_answer", h.ForwardNoAnswer}, {"forward_unregistered", h.ForwardUnregistered},
	} {
		if f.target == "" {
			continue
		}
		if err := CheckDialled(f.field, f.target); err != nil {
			return err
		}
		if f.target == number {
			return refuse(f.field, "is the extension itself")
		}
	}
	if h.MaxCalls < 0 || h.MaxCalls > MaxCallLimit {
		return refuse("max_calls", "must be between 0 and %d", MaxCallLimit)
	}
	return h.checkRingAlso(number)
}

func (h CallHandling) checkRingAlso(number string) error {
	if len(h.RingAlso) > MaxRingAlso {
		return refuse("ring_also", "are more than %d", MaxRingAlso)
	}
	for i, n := range h.RingAlso {
		if err := CheckNumber("ring_also", n); err != nil {
			return err
		}
		if n == number || slices.Contains(h.RingAlso[:i], n) {
			return refuse("ring_also", "names an extension twice")
		}
	}
	return nil
}

// CheckDialled accepts what can be dialled: digits, * and #, with a + in front
// or without.
func CheckDialled(field, number string) error {
	rest := strings.TrimPrefix(number, "+")
	switch {
	case rest == "":
		return refuse(field, "must not be empty")
	case len(number) > MaxDialledLen:
		return refuse(field, "is longer than %d characters", MaxDialledLen)
	case strings.Trim(rest, "0123456789*#") != "":
		return refuse(field, "may only hold digits, * and #, and a + in front")
	}
	return nil
}
