package tone

import "math"

// Source makes samples without end.
type Source struct {
	rate    int
	cadence cadence
	at      int // segment
	left    int // samples of it
	phase   [2]float64
}

// amplitude of one frequency, about -13 dBm0; each of two is 3 dB less.
const amplitude = 5000.0

// New makes the tone of a country at a sample rate.
func New(country string, t Tone, rate int) *Source {
	s := &Source{rate: rate, cadence: countries(country)[min(t, tones-1)]}
	s.left = s.samples()
	return s
}

func (s *Source) samples() int {
	return int(s.cadence[s.at].d.Milliseconds()) * s.rate / 1000
}

// Read fills pcm.
func (s *Source) Read(pcm []int16) {
	for len(pcm) > 0 {
		if s.left == 0 {
			s.at = (s.at + 1) % len(s.cadence)
			s.left = s.samples()
		}
		n := min(s.left, len(pcm))
		s.fill(pcm[:n])
		pcm, s.left = pcm[n:], s.left-n
	}
}

func (s *Source) fill(pcm []int16) {
	hz := s.cadence[s.at].hz
	switch {
	case hz[0] == 0:
		clear(pcm)
		s.phase = [2]float64{}
		return
	case hz[1] == 0:
		for i := range pcm {
			pcm[i] = int16(amplitude * math.Sin(s.phase[0]))
			s.phase[0] += 2 * math.Pi * hz[0] / float64(s.rate)
		}
	default:
		for i := range pcm {
			pcm[i] = int16(amplitude / math.Sqrt2 * (math.Sin(s.phase[0]) + math.Sin(s.phase[1])))
			s.phase[0] += 2 * math.Pi * hz[0] / float64(s.rate)
			s.phase[1] += 2 * math.Pi * hz[1] / float64(s.rate)
		}
	}
	for i := range s.phase {
		s.phase[i] = math.Mod(s.phase[i], 2*math.Pi)
	}
}
