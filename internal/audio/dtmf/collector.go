package dtmf

import "time"

// Reason says why a collector is done.
type Reason uint8

// Why a collector is done.
const (
	Collecting Reason = iota
	Full              // as many digits as wanted
	Terminated        // the terminator was dialled; it is not among the digits
	TimedOut          // no digit for too long
)

// Collector gathers what a caller dials.
type Collector struct {
	Most       int           // digits
	Terminator byte          // ends the input, 0 for none
	First      time.Duration // to wait for the first digit
	Between    time.Duration // and for each other

	digits []byte
	since  time.Duration
	reason Reason
}

// maxDigits bounds what anybody may dial.
const maxDigits = 64

// Start begins anew at a time.
func (c *Collector) Start(now time.Duration) {
	c.digits, c.since, c.reason = c.digits[:0], now, Collecting
}

// Digit takes a digit.
func (c *Collector) Digit(key byte, now time.Duration) Reason {
	if c.Tick(now) != Collecting {
		return c.reason
	}
	if key == c.Terminator && key != 0 {
		c.reason = Terminated
		return c.reason
	}
	c.digits, c.since = append(c.digits, key), now
	if len(c.digits) >= min(max(c.Most, 1), maxDigits) {
		c.reason = Full
	}
	return c.reason
}

// Tick looks at the time.
func (c *Collector) Tick(now time.Duration) Reason {
	if c.reason == Collecting && now >= c.Deadline() {
		c.reason = TimedOut
	}
	return c.reason
}

// Deadline is when it times out.
func (c *Collector) Deadline() time.Duration {
	if len(c.digits) == 0 {
		return c.since + c.First
	}
	return c.since + c.Between
}

// Digits is what was dialled.
func (c *Collector) Digits() string { return string(c.digits) }
