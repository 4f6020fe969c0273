package audio

import "math"

// Mixer adds up voices, so that each party hears all but itself. A turn is a
// frame: Begin, Add for each voice, then Without for each listener. It
// allocates nothing once it has seen its longest frame.
type Mixer struct {
	sum []int32
}

// Begin starts a frame of n samples.
func (m *Mixer) Begin(n int) {
	if cap(m.sum) < n {
		m.sum = make([]int32, n)
	}
	m.sum = m.sum[:n]
	clear(m.sum)
}

// Add adds a voice.
func (m *Mixer) Add(pcm []int16) {
	for i, s := range pcm[:min(len(pcm), len(m.sum))] {
		m.sum[i] += int32(s)
	}
}

// Without writes what a party hears to out: everybody's voice less its own,
// which is nil for one that only listens. A sum beyond 16 bits is saturated.
func (m *Mixer) Without(out, own []int16) {
	for i, s := range m.sum[:min(len(out), len(m.sum))] {
		if i < len(own) {
			s -= int32(own[i])
		}
		out[i] = saturate(s)
	}
}

// Level follows how loud a party speaks, quick to rise and slow to fall, for
// showing who speaks.
type Level struct{ power float64 }

// Frame takes a frame of samples.
func (l *Level) Frame(pcm []int16) {
	var sum int64
	for _, s := range pcm {
		sum += int64(s) * int64(s)
	}
	p := float64(sum) / float64(max(1, len(pcm))) / (32768 * 32768)
	if p > l.power {
		l.power += (p - l.power) / 2
	} else {
		l.power += (p - l.power) / 16
	}
}

// DB is the level in dB below overload, at least -127.
func (l *Level) DB() float64 { return max(-127, 10*math.Log10(l.power+1e-13)) }

// Speaking reports whether that is a voice and not the noise of a room.
func (l *Level) Speaking() bool { return l.DB() > -45 }
