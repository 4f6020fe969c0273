package nstest

import (
	"context"
	"time"
)

// Sent says when packets left, since the first was due.
type Sent []time.Duration

// maxDebt is how far a sender that was held up may fall behind and still catch
// up; what is later is left out, so that a stall of the machine makes a gap and
// no burst.
const maxDebt = 250 * time.Millisecond

// Pace calls send rate times a second for a time, by deadlines counted from the
// start, and notes when it did.
func Pace(ctx context.Context, rate float64, length time.Duration, send func(i int) error) (Sent, error) {
	sent := make(Sent, 0, int(rate*length.Seconds())+1)
	step := time.Duration(float64(time.Second) / rate)
	began := time.Now()
	for due := time.Duration(0); due < length; due += step {
		now := time.Since(began)
		if now < due {
			// Short waits cost more than they are worth: a millisecond's packets
			// leave together.
			select {
			case <-ctx.Done():
				return sent, nil
			case <-time.After(max(due-now, time.Millisecond)):
			}
			now = time.Since(began)
		}
		due = max(due, now-maxDebt)
		if err := send(len(sent)); err != nil {
			return sent, err
		}
		sent = append(sent, now)
		if ctx.Err() != nil {
			return sent, nil
		}
	}
	return sent, nil
}

// Rate is the mean over the whole time.
func (s Sent) Rate() float64 {
	if len(s) < 2 {
		return 0
	}
	return float64(len(s)-1) / (s[len(s)-1] - s[0]).Seconds()
}

// Slowest is the number of packets of the poorest whole second.
func (s Sent) Slowest() int {
	counts := map[int]int{}
	for _, at := range s {
		counts[int(at/time.Second)]++
	}
	least := len(s)
	for second := 0; len(s) > 0 && second < int(s[len(s)-1]/time.Second); second++ {
		least = min(least, counts[second])
	}
	return least
}

// Trip is when a bucket of one second's worth that is filled at limit packets a
// second first runs over, if only packets from then on count.
func (s Sent) Trip(limit float64, from time.Duration) (time.Duration, bool) {
	tokens, last := limit, from
	for _, at := range s {
		if at < from {
			continue
		}
		tokens = min(limit, tokens+limit*(at-last).Seconds())
		last = at
		if tokens < 1 {
			return at, true
		}
		tokens--
	}
	return 0, false
}
