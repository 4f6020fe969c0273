package tone

import "math"

// The piece: eight bars of broken chords over a slow bass, made here and free
// of anybody's rights. Notes are semitones above A2.
const (
	beat  = 0.55 // seconds
	steps = 8    // of half a beat in a bar
)

var bars = [8][4]int{
	{3, 10, 15, 19}, // C
	{0, 7, 12, 15},  // A minor
	{8, 12, 15, 20}, // F
	{10, 14, 17, 22},
	{7, 10, 15, 19}, // E minor
	{0, 7, 12, 15},
	{5, 8, 12, 17}, // D minor
	{10, 14, 17, 19},
}

// order in which the notes of a bar are struck.
var order = [steps]int{0, 1, 2, 3, 2, 1, 3, 2}

// Music is a piece of music on hold at a sample rate, to be repeated. Made once
// it serves all who wait: about half a megabyte at 16000 samples a second.
func Music(rate int) []int16 {
	length := int(float64(len(bars)*steps) * beat / 2 * float64(rate))
	mix := make([]float64, length)
	for b, notes := range bars {
		start := float64(b*steps) * beat / 2
		strike(mix, rate, start, pitch(notes[0]-12), 0.5, 2.2)
		for i, n := range order {
			level := 0.42
			if i == 0 {
				level = 0.5
			}
			strike(mix, rate, start+float64(i)*beat/2, pitch(notes[n]+12), level, 0.9)
		}
		strike(mix, rate, start+beat, pitch(notes[3]+24), 0.16, 1.4)
		strike(mix, rate, start+2.5*beat, pitch(notes[2]+24), 0.13, 1.4)
	}
	pcm := make([]int16, length)
	for i, v := range mix {
		pcm[i] = int16(9000 * math.Tanh(v))
	}
	return pcm
}

func pitch(semitone int) float64 { return 110 * math.Pow(2, float64(semitone)/12) }

// strike adds a note that rings out, a soft bell of three harmonics. What rings
// beyond the end goes on at the beginning, so the piece repeats without a seam.
func strike(mix []float64, rate int, start, hz, level, decay float64) {
	const attack = 0.012
	from, step := int(start*float64(rate)), 1/float64(rate)
	sin, cos := 0.0, 1.0 // turned by turnSin, turnCos for every sample
	turnSin, turnCos := math.Sincos(2 * math.Pi * hz * step)
	fade := math.Exp(-step / decay * 1.6)
	second, third := 0.3, 0.12
	secondFade, thirdFade := math.Exp(-3*step), math.Exp(-5*step)
	envelope := level * 0.55
	for i := range int(4 * decay * float64(rate)) {
		v := sin + second*2*sin*cos + third*(3*sin-4*sin*sin*sin)
		mix[(from+i)%len(mix)] += envelope * min(1, float64(i)*step/attack) * v
		envelope, second, third = envelope*fade, second*secondFade, third*thirdFade
		sin, cos = sin*turnCos+cos*turnSin, cos*turnCos-sin*turnSin
	}
}
