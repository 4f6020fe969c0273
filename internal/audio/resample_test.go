package audio

import (
	"fmt"
	"math"
	"testing"
)

var ratePairs = [][2]int{{8000, 16000}, {16000, 8000}, {8000, 48000}, {48000, 8000}, {16000, 48000}, {48000, 16000}}

func resampled(from, to int, in []int16) []int16 {
	r := NewResampler(from, to)
	var out []int16
	buf := make([]int16, 5760)
	for ; len(in) >= from/50; in = in[from/50:] {
		out = append(out, buf[:r.Process(buf, in[:from/50])]...)
	}
	return out
}

func TestResamplerPassesSpeechFlat(t *testing.T) {
	t.Parallel()
	for _, p := range ratePairs {
		for hz := 100.0; hz <= 3400; hz += 300 {
			out := resampled(p[0], p[1], sine(p[0], p[0], hz, -6))
			if len(out) != p[1] {
				t.Fatalf("%v: %d samples of a second", p, len(out))
			}
			if g := dB(amplitude(out[p[1]/10:], p[1], hz) / 16422); math.Abs(g) > 0.5 {
				t.Errorf("%v: %.0f Hz changes by %.2f dB", p, hz, g)
			}
		}
	}
}

// What a tone leaves behind beside itself is below -40 dB: images above half
// the old rate, and what would fold over half the new one.
func TestResamplerKeepsImagesOut(t *testing.T) {
	t.Parallel()
	for _, p := range ratePairs {
		low := float64(min(p[0], p[1]))
		for _, hz := range []float64{300, 1000, 2000, 3400} {
			out := resampled(p[0], p[1], sine(p[0], p[0], hz, -6))[p[1]/10:]
			if image := low - hz; p[1] > p[0] {
				if g := dB(amplitude(out, p[1], image) / 16422); g > -40 {
					t.Errorf("%v: the image of %.0f Hz is at %.0f dB", p, hz, g)
				}
			}
			if s := share(out, p[1], hz); 10*math.Log10(1-s) > -40 {
				t.Errorf("%v: beside %.0f Hz there is %.0f dB", p, hz, 10*math.Log10(1-s))
			}
		}
		if p[1] < p[0] {
			for _, hz := range []float64{low - 3400, low, low + 700} {
				if hz >= float64(p[0])/2 || hz < low/2 {
					continue
				}
				out := resampled(p[0], p[1], sine(p[0], p[0], hz, -6))[p[1]/10:]
				if g := dB(rms(out) / 11612); g > -40 {
					t.Errorf("%v: %.0f Hz folds to %.0f dB", p, hz, g)
				}
			}
		}
	}
}

func TestResamplerAllocatesNothing(t *testing.T) {
	for _, p := range ratePairs {
		r := NewResampler(p[0], p[1])
		in, out := make([]int16, p[0]/50), make([]int16, p[1]/50+1)
		if n := testing.AllocsPerRun(100, func() { r.Process(out, in) }); n != 0 {
			t.Errorf("%v: %.0f allocations", p, n)
		}
	}
}

func TestResamplerTakesAnyLength(t *testing.T) {
	t.Parallel()
	for _, p := range ratePairs {
		r := NewResampler(p[0], p[1])
		total, in := 0, make([]int16, 1000)
		for n := range 1000 {
			out := make([]int16, r.Out(n))
			total += r.Process(out, in[:n])
		}
		if want := 999 * 1000 / 2 * p[1] / p[0]; total < want-1 || total > want+1 {
			t.Errorf("%v: %d samples, want %d", p, total, want)
		}
	}
}

func BenchmarkResample(b *testing.B) {
	for _, p := range ratePairs {
		b.Run(fmt.Sprint(p[0], " to ", p[1]), func(b *testing.B) {
			r := NewResampler(p[0], p[1])
			in, out := speechLike(p[0], p[0]), make([]int16, p[1]+1)
			for b.Loop() {
				r.Process(out, in)
			}
		})
	}
}
