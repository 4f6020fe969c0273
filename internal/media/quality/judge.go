package quality

import "time"

// Verdict is what is wrong with a call.
type Verdict string

// The verdicts. Calls that are dead both ways are ended by whoever owns them.
const (
	Fine   Verdict = ""
	Bad    Verdict = "bad_quality"
	OneWay Verdict = "one_way_audio"
)

const (
	// BadMOS is where most users are dissatisfied (ITU-T G.107 annex B: R 60).
	BadMOS = 3.1
	// badLooks in a row below BadMOS are bad quality, not a hiccup.
	badLooks = 3
	// neverHeard is how long one side may stay silent from the start while the
	// other talks; notHeard is the same later in the call, when a phone may have
	// reason to save packets (silence suppression, mute).
	neverHeard = 10 * time.Second
	notHeard   = 30 * time.Second
	// heard is how recent the last packet is of a side that is heard.
	heard = 5 * time.Second
)

// Side is one side of a call at a look.
type Side struct {
	Expected bool          // speech should come from it
	Ever     bool          // speech has come
	Silent   time.Duration // since its last packet, or since it is expected
	MOS      float64       // the worse direction of the last Interval; 0 is unknown
}

// Judge follows one call. The zero Judge has seen nothing.
type Judge struct{ low [2]int }

// Look judges a call, once every Interval.
func (j *Judge) Look(a, b Side) Verdict {
	for i, s := range []Side{a, b} {
		switch {
		case s.MOS == 0:
		case s.MOS < BadMOS:
			j.low[i]++
		default:
			j.low[i] = 0
		}
	}
	switch {
	case a.mute() && b.speaks(), b.mute() && a.speaks():
		return OneWay
	case max(j.low[0], j.low[1]) >= badLooks:
		return Bad
	}
	return Fine
}

func (s Side) speaks() bool { return s.Expected && s.Ever && s.Silent < heard }

func (s Side) mute() bool {
	return s.Expected && (!s.Ever && s.Silent >= neverHeard || s.Silent >= notHeard)
}
