package audio

import "math"

// Resampler changes the sample rate of one stream by a polyphase FIR filter.
// It allocates nothing and delays by about 1.5 ms.
type Resampler struct {
	up, down int
	phases   [][]float32 // up filters, newest sample last
	history  []float32   // taps-1 samples of the past, then a block
	phase    int         // of the next sample, 0 <= phase; in steps of the output's grid
}

// block is how many samples are filtered at a time.
const block = 240

// NewResampler makes one between rates whose ratio is a small fraction, as
// those of 8000, 16000 and 48000.
func NewResampler(from, to int) *Resampler {
	g := gcd(from, to)
	r := &Resampler{up: to / g, down: from / g}
	taps := r.design(from, to)
	r.history = make([]float32, taps-1+block)
	return r
}

func gcd(a, b int) int {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

// design lays out a sinc in a Kaiser window of 60 dB at the higher of both
// rates: flat to 0.85 of the lower one's half, where telephone speech ends at
// 3400 of 4000 Hz, and closed where the image of that begins.
func (r *Resampler) design(from, to int) (taps int) {
	const attenuation, beta = 60.0, 5.65
	low := float64(min(from, to))
	grid := float64(r.up * from) // the rate at which the filter works
	width := 2 * math.Pi * 0.15 * low / grid
	taps = int(math.Ceil((attenuation-7.95)/(2.285*width)/float64(r.up))) | 1
	n := taps * r.up
	r.phases = make([][]float32, r.up)
	for p := range r.phases {
		r.phases[p] = make([]float32, taps)
	}
	centre := float64(n-1) / 2
	for i := range n {
		x := (float64(i) - centre) * low / grid // in periods of the lower rate
		h := low / float64(from) * sinc(x) * bessel(beta*math.Sqrt(max(0, 1-sq((float64(i)-centre)/centre)))) / bessel(beta)
		r.phases[i%r.up][taps-1-i/r.up] = float32(h)
	}
	for p := range r.phases { // each phase passes a constant as it is
		var sum float32
		for _, h := range r.phases[p] {
			sum += h
		}
		for i := range r.phases[p] {
			r.phases[p][i] /= sum
		}
	}
	return taps
}

func sq(x float64) float64 { return x * x }

func sinc(x float64) float64 {
	if x == 0 {
		return 1
	}
	return math.Sin(math.Pi*x) / (math.Pi * x)
}

// bessel is the modified Bessel function of the first kind, order 0.
func bessel(x float64) float64 {
	sum, term := 1.0, 1.0
	for k := 1.0; term > 1e-9*sum; k++ {
		term *= sq(x / (2 * k))
		sum += term
	}
	return sum
}

// Out is the most samples that Process makes of n.
func (r *Resampler) Out(n int) int { return (n*r.up + r.down - 1) / r.down }

// Process filters in and returns how many samples it wrote to out, which has
// room for Out(len(in)).
func (r *Resampler) Process(out, in []int16) int {
	done := 0
	for len(in) > 0 {
		n := min(len(in), block)
		done += r.filter(out[done:], in[:n])
		in = in[n:]
	}
	return done
}

func (r *Resampler) filter(out, in []int16) int {
	taps := len(r.phases[0])
	for i, s := range in {
		r.history[taps-1+i] = float32(s)
	}
	n := 0
	for ; r.phase < len(in)*r.up; r.phase += r.down {
		at := r.phase / r.up
		h := r.phases[r.phase%r.up]
		window := r.history[at : at+taps][:len(h)]
		var a, b float32
		i := 0
		for ; i+1 < len(h); i += 2 {
			a += h[i] * window[i]
			b += h[i+1] * window[i+1]
		}
		for ; i < len(h); i++ {
			a += h[i] * window[i]
		}
		out[n] = saturate(int32(math.Round(float64(a + b))))
		n++
	}
	r.phase -= len(in) * r.up
	copy(r.history, r.history[len(in):len(in)+taps-1])
	return n
}
