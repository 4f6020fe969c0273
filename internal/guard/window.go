package guard

import "time"

// slots is how finely a window is divided: it covers between 9/10 and the whole
// of its length, never more, so that a rate below the limit never trips it.
const slots = 10

// window counts what happened within a length of time. The zero window is empty.
type window struct {
	counts [slots]int32
	at     int64 // the newest slot, counted from the epoch
}

// add counts n at now and returns the sum of the window, which is never negative.
func (w *window) add(now time.Time, length time.Duration, n int32) int {
	w.move(now, length)
	w.counts[w.at%slots] += n
	return w.sum()
}

// move empties the slots that fell out of the window. A clock put back counts on
// in the newest slot.
func (w *window) move(now time.Time, length time.Duration) {
	at := now.UnixNano() / max(int64(length)/slots, 1)
	if at-w.at >= slots {
		w.counts = [slots]int32{}
		w.at = at
	}
	for w.at < at {
		w.at++
		w.counts[w.at%slots] = 0
	}
}

func (w *window) sum() (n int) {
	for _, c := range w.counts {
		n += int(c)
	}
	return max(n, 0)
}
