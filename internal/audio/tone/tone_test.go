package tone

import (
	"math"
	"slices"
	"testing"
)

func share(pcm []int16, rate int, hz float64) float64 {
	var re, im, all float64
	for i, s := range pcm {
		a := 2 * math.Pi * hz * float64(i) / float64(rate)
		re += float64(s) * math.Cos(a)
		im += float64(s) * math.Sin(a)
		all += float64(s) * float64(s)
	}
	return 2 * (re*re + im*im) / (float64(len(pcm))*all + 1)
}

func rms(pcm []int16) float64 {
	var sum float64
	for _, s := range pcm {
		sum += float64(s) * float64(s)
	}
	return math.Sqrt(sum / float64(len(pcm)))
}

// Frequencies and cadences as a caller hears them, in pieces of 25 ms.
func TestTonesOfCountries(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		country string
		tone    Tone
		hz      []float64
		ms      []int // sound, silence, ...
	}{
		{"DE", Ringback, []float64{425}, []int{1000, 4000, 1000, 4000}},
		{"GB", Ringback, []float64{400, 450}, []int{400, 200, 400, 2000, 400}},
		{"US", Busy, []float64{480, 620}, []int{500, 500, 500}},
		{"US", Dial, []float64{350, 440}, []int{3000}},
		{"FR", Ringback, []float64{440}, []int{1500, 3500}},
		{"IT", Dial, []float64{425}, []int{200, 200, 600, 1000, 200}},
		{"ES", Congestion, []float64{425}, []int{200, 200, 200, 200, 200, 600, 200}},
		{"AT", Ringback, []float64{420}, []int{1000, 5000}},
		{"CH", Congestion, []float64{425}, []int{200, 200}},
		{"NL", Busy, []float64{425}, []int{500, 500}},
		{"XX", Busy, []float64{425}, []int{500, 500}},
	} {
		for _, rate := range []int{8000, 16000} {
			s := New(c.country, c.tone, rate)
			for i, ms := range c.ms {
				pcm := make([]int16, ms*rate/1000)
				for part := range slices.Chunk(pcm, 173) {
					s.Read(part)
				}
				if i%2 == 1 {
					if rms(pcm) != 0 {
						t.Errorf("%s %d: sound in the pause %d", c.country, c.tone, i)
					}
					continue
				}
				sum := 0.0
				for _, hz := range c.hz {
					sum += share(pcm, rate, hz)
				}
				if math.Abs(sum-1) > 0.1 || rms(pcm) < 2500 || rms(pcm) > 4000 {
					t.Errorf("%s %d, part %d: share %.2f, loudness %.0f", c.country, c.tone, i, sum, rms(pcm))
				}
			}
		}
	}
}

func TestEveryCountryHasEveryTone(t *testing.T) {
	t.Parallel()
	for _, country := range Countries() {
		for tone := range tones {
			pcm := make([]int16, 8000*7)
			New(country, tone, 8000).Read(pcm)
			if rms(pcm) < 500 {
				t.Errorf("%s %d is silent", country, tone)
			}
		}
	}
}

// Music has no gap, no click where it repeats, and the loudness of speech.
func TestMusicRepeatsWithoutASeam(t *testing.T) {
	t.Parallel()
	const rate = 8000
	m := Music(rate)
	if d := len(m) / rate; d < 10 || d > 40 {
		t.Errorf("it lasts %d s", d)
	}
	if r := rms(m); r < 1000 || r > 5000 {
		t.Errorf("loudness %.0f", r)
	}
	for i := range len(m) / 800 {
		if rms(m[i*800:(i+1)*800]) < 200 {
			t.Errorf("a gap at %d", i*800)
		}
	}
	largest := 0
	for i := range m[1:] {
		largest = max(largest, abs(int(m[i+1])-int(m[i])))
	}
	if seam := abs(int(m[0]) - int(m[len(m)-1])); seam > largest {
		t.Errorf("the seam jumps by %d, the piece by %d at most", seam, largest)
	}
}

func abs(v int) int { return max(v, -v) }

func BenchmarkMusic(b *testing.B) {
	for b.Loop() {
		Music(16000)
	}
}
