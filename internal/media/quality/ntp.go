package quality

import "time"

// ntpEpoch is 1970 in seconds since 1900.
const ntpEpoch = 2208988800

// Clock tells NTP time that never jumps, however often the machine's clock is
// set: report times are compared with each other.
type Clock struct{ start time.Time }

// NewClock starts a clock.
func NewClock(now time.Time) Clock { return Clock{now} }

// NTP is a moment as NTP timestamp: 32 bits of seconds, 32 of their fraction.
func (c Clock) NTP(t time.Time) uint64 {
	since := t.Sub(c.start) // of the monotonic clocks
	at := c.start.Round(0).Add(since)
	return uint64(at.Unix()+ntpEpoch)<<32 | uint64(at.Nanosecond())<<32/uint64(time.Second)
}

// middle is the middle 32 bits of an NTP timestamp, in 1/65536 s.
func middle(ntp uint64) uint32 { return uint32(ntp >> 16) }

// short is a duration in 1/65536 s.
func short(d time.Duration) uint32 {
	return uint32(uint64(max(d, 0)) << 16 / uint64(time.Second))
}

func unshort(v uint32) time.Duration { return time.Duration(uint64(v) * uint64(time.Second) >> 16) }
