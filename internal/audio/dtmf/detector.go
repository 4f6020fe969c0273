package dtmf

import "math"

// The frequencies of ITU-T Q.23.
var (
	rows    = [4]float64{697, 770, 852, 941}
	columns = [4]float64{1209, 1336, 1477, 1633}
	pad     = [4]string{"123A", "456B", "789C", "*0#D"}
)

const (
	span = 102 // samples at 8000 a second, after which all frequencies are apart
	// A digit is both of its tones, and little else: the share of the energy
	// that the two have. Speech has not.
	purity = 0.82
	// Twist: the column tone may be 8 dB weaker or 4 dB stronger than the row's
	// and the other way round (ITU-T Q.24 leaves it to administrations).
	normalTwist, reverseTwist = 6.31, 2.51
	// Others of its group are at least 8 dB weaker.
	relative = 6.3
	// Least level, about -36 dBm0 a tone.
	floor = 260.0
)

// Detector hears digits in audio of 8000 samples a second. A digit is told
// once, after two spans (25 ms) that agree, and again only after a pause.
type Detector struct {
	state  [8][2]float64
	energy float64
	n      int
	last   byte // of the last span
	told   byte
	misses int
}

// coefficients are 2 cos w, rows first.
var coefficients = func() (c [8]float64) {
	for i := range 4 {
		c[i] = 2 * math.Cos(2*math.Pi*rows[i]/8000)
		c[4+i] = 2 * math.Cos(2*math.Pi*columns[i]/8000)
	}
	return c
}()

// Hear takes samples and returns the digits that were recognized, appended to
// digits.
func (d *Detector) Hear(digits []byte, pcm []int16) []byte {
	for len(pcm) > 0 {
		n := min(len(pcm), span-d.n)
		d.goertzel(pcm[:n])
		pcm = pcm[n:]
		if d.n += n; d.n < span {
			continue
		}
		if key := d.decide(d.match()); key != 0 {
			digits = append(digits, key)
		}
		d.state, d.energy, d.n = [8][2]float64{}, 0, 0
	}
	return digits
}

func (d *Detector) goertzel(pcm []int16) {
	for _, s := range pcm {
		d.energy += float64(s) * float64(s)
	}
	for i := range d.state {
		c, a, b := coefficients[i], d.state[i][0], d.state[i][1]
		for _, s := range pcm {
			a, b = float64(s)+c*a-b, a
		}
		d.state[i][0], d.state[i][1] = a, b
	}
}

// match is the digit of the span that ended, or 0.
func (d *Detector) match() byte {
	var power [8]float64
	for i, s := range d.state {
		power[i] = s[0]*s[0] + s[1]*s[1] - coefficients[i]*s[0]*s[1]
	}
	row, column := strongest(power[:4]), strongest(power[4:])
	if row < 0 || column < 0 {
		return 0
	}
	r, c := power[row], power[4+column]
	const least = floor * floor * span * span / 4
	switch {
	case r < least || c < least,
		r > c*normalTwist && r > c, c > r*reverseTwist && c > r,
		2*(r+c)/span < purity*d.energy:
		return 0
	}
	return pad[row][column]
}

// strongest is the one that stands out of a group, or -1.
func strongest(power []float64) int {
	best := 0
	for i, p := range power {
		if p > power[best] {
			best = i
		}
	}
	for i, p := range power {
		if i != best && p*relative > power[best] {
			return -1
		}
	}
	return best
}

// decide tells a digit once.
func (d *Detector) decide(key byte) (told byte) {
	switch {
	case key != 0 && key == d.last && key != d.told:
		d.told, told = key, key
	case key == 0:
		if d.misses++; d.misses >= 2 {
			d.told = 0
		}
	}
	if key != 0 {
		d.misses = 0
	}
	d.last = key
	return told
}

// Sounding reports whether a digit is heard that was told, or what may become
// one.
func (d *Detector) Sounding() bool { return d.told != 0 || d.last != 0 }

// Tone makes the two frequencies of a digit.
type Tone struct {
	step, phase [2]float64
	left        int
}

// NewTone makes n samples of a digit, at a rate. It is silent for what is none.
func NewTone(key byte, rate, n int) Tone {
	for r, line := range pad {
		for c := range line {
			if line[c] == key {
				return Tone{step: [2]float64{2 * math.Pi * rows[r] / float64(rate), 2 * math.Pi * columns[c] / float64(rate)}, left: n}
			}
		}
	}
	return Tone{}
}

// Fill writes the tone over pcm and returns how many samples it lasted.
func (t *Tone) Fill(pcm []int16) int {
	const amplitude = 5200 // -9 dBm0 and -9 dBm0
	n := min(t.left, len(pcm))
	for i := range n {
		pcm[i] = int16(amplitude * (math.Sin(t.phase[0]) + math.Sin(t.phase[1])))
		t.phase[0] += t.step[0]
		t.phase[1] += t.step[1]
	}
	t.left -= n
	return n
}
