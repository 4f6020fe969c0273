package audio

import (
	"math"
	"math/rand/v2"
)

// sine is a tone; level is in dB below full scale.
func sine(rate, n int, hz, level float64) []int16 {
	pcm := make([]int16, n)
	for i := range pcm {
		pcm[i] = int16(math.Round(32767 * math.Pow(10, level/20) * math.Sin(2*math.Pi*hz*float64(i)/float64(rate))))
	}
	return pcm
}

// speechLike is a voice of wandering pitch with pauses between its syllables.
func speechLike(rate, n int) []int16 {
	pcm := make([]int16, n)
	phase := 0.0
	for i := range pcm {
		t := float64(i) / float64(rate)
		phase += 2 * math.Pi * (120 + 25*math.Sin(2*math.Pi*0.7*t)) / float64(rate)
		v := 0.0
		for h := 1.0; h < 24; h++ {
			v += math.Sin(h*phase) / h
		}
		pcm[i] = int16(6000 * v * (0.5 + 0.5*math.Sin(2*math.Pi*2.5*t)))
	}
	return pcm
}

func whiteNoise(n int, level float64) []int16 {
	r := rand.New(rand.NewPCG(1, 2))
	pcm := make([]int16, n)
	for i := range pcm {
		pcm[i] = saturate(int32(r.NormFloat64() * 32767 * math.Pow(10, level/20)))
	}
	return pcm
}

// share is the part of the energy at one frequency.
func share(pcm []int16, rate int, hz float64) float64 {
	var re, im, all float64
	for i, s := range pcm {
		a := 2 * math.Pi * hz * float64(i) / float64(rate)
		re += float64(s) * math.Cos(a)
		im += float64(s) * math.Sin(a)
		all += float64(s) * float64(s)
	}
	if all == 0 {
		return 0
	}
	return 2 * (re*re + im*im) / (float64(len(pcm)) * all)
}

// amplitude is that of one frequency.
func amplitude(pcm []int16, rate int, hz float64) float64 {
	var re, im float64
	for i, s := range pcm {
		a := 2 * math.Pi * hz * float64(i) / float64(rate)
		re += float64(s) * math.Cos(a)
		im += float64(s) * math.Sin(a)
	}
	return 2 * math.Hypot(re, im) / float64(len(pcm))
}

func rms(pcm []int16) float64 {
	var sum float64
	for _, s := range pcm {
		sum += float64(s) * float64(s)
	}
	return math.Sqrt(sum / float64(max(1, len(pcm))))
}

func dB(ratio float64) float64 { return 20 * math.Log10(ratio) }
