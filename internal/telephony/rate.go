package telephony

import "time"

// Cost is what a call costs that was answered for d: the connection, the first
// interval in any case, and every further one that was begun. A call that was not
// answered costs nothing. It is rounded up to a millionth.
func (r Rate) Cost(d time.Duration) Money {
	if d <= 0 {
		return 0
	}
	first, next := max(r.First, time.Second), max(r.Next, time.Second)
	billed := first
	if d > first {
		billed += (d - first + next - 1) / next * next
	}
	const minute = int64(time.Minute)
	return r.Connect + Money((int64(r.Minute)*(int64(billed)/int64(time.Millisecond))+minute/int64(time.Millisecond)-1)/(minute/int64(time.Millisecond)))
}
