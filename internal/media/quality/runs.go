package quality

import "math/bits"

// window is how many packets late a packet may come and still count as not
// lost when runs are told apart.
const window = 64

// runs counts lost packets and the runs they come in. A loss is settled once
// it is window packets old, so that reordering makes no runs.
type runs struct {
	missing uint64 // bit i: the packet i before the highest has not come
	lost    uint64 // settled
	runs    uint64
	inside  bool // the packet settled last was lost
}

// restart settles everything: a new sequence begins.
func (r *runs) restart() {
	r.settle(window)
	r.missing, r.inside = 0, false
}

// advance notes the packet n after the highest; those between are missing.
func (r *runs) advance(n uint32) {
	if n == 1 && r.missing == 0 { // nearly always
		r.inside = false
		return
	}
	r.settle(min(n, window))
	if n > window {
		r.lose(uint64(n - window))
	}
	if n >= window {
		r.missing = ^uint64(1)
		return
	}
	r.missing = r.missing<<n | (1<<n - 2)
}

// late notes the packet n before the highest.
func (r *runs) late(n uint32) {
	if n < window {
		r.missing &^= 1 << n
	}
}

// settle decides about the n oldest packets of the window.
func (r *runs) settle(n uint32) {
	if r.missing>>(window-n) == 0 {
		r.inside = false
		return
	}
	for i := range n {
		if r.missing&(1<<(window-1-i)) != 0 {
			r.lose(1)
		} else {
			r.inside = false
		}
	}
}

func (r *runs) lose(n uint64) {
	r.lost += n
	if !r.inside {
		r.inside = true
		r.runs++
	}
}

// count is the losses and runs so far, those that may still turn out as late
// packets included.
func (r *runs) count() (lost, many uint64) {
	ahead := *r
	if bits.OnesCount64(ahead.missing) > 0 {
		ahead.settle(window)
	}
	return ahead.lost, ahead.runs
}

// burstRatio is BurstR of ITU-T G.107 section 7.5: the average length of the
// runs of lost packets over that which random loss would make, 1/(1-loss). It
// is kept to what the E-model was validated for.
func burstRatio(lost, runs uint64, loss float64) float64 {
	if runs == 0 {
		return 1
	}
	return min(max(float64(lost)/float64(runs)*(1-loss), 1), 8)
}
