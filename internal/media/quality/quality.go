// Package quality measures how well media travel: reception statistics and
// reports of RTCP (RFC 3550), and what they mean to a listener (ITU-T G.107).
// It holds no socket, no clock and no goroutine; who uses it says what time it
// is, and locks what is shared.
package quality

import "time"

// Interval is how far apart the reports about a stream are on average
// (RFC 3550 section 6.2), and how often its quality is judged.
const Interval = 5 * time.Second

// Reception is what was measured on packets over some time.
type Reception struct {
	Expected uint64 // packets that were sent, as their numbers tell
	Lost     uint64
	// Burst compares the runs of lost packets with those of random loss, which
	// has 1 (BurstR of ITU-T G.107 section 7.5).
	Burst  float64
	Jitter time.Duration
}

// Loss is the share of packets that never came, 0 to 1.
func (r Reception) Loss() float64 {
	if r.Expected == 0 {
		return 0
	}
	return float64(r.Lost) / float64(r.Expected)
}
