package quality

import (
	"math"
	"time"
)

// The E-model (ITU-T G.107) with the default values of its table 2: without
// delay and loss it gives R = 93.2. A, the advantage factor, is 0: nobody is
// expected to bear more because a phone is mobile.
const (
	ro   = 94.769 // signal-to-noise ratio, equation 7-2
	is   = 1.414  // simultaneous impairments, equation 7-8
	no   = -61.179
	rlr  = 2.0
	telr = 65.0
	wepl = 110.0
)

// Path is what speech went through.
type Path struct {
	Codec string  // encoding name of SDP, in capitals
	Loss  float64 // 0 to 1
	Burst float64 // BurstR; 1 is random loss
	// Delay is from mouth to ear.
	Delay time.Duration
}

// Rating is R, 0 to 93.2.
func (p Path) Rating() float64 {
	return max(ro-is-delayImpairment(p.Delay)-p.lossImpairment(), 0)
}

// MOS is what listeners would say on average, 1 (bad) to 4.41 (ITU-T G.107
// annex B).
func (p Path) MOS() float64 {
	r := p.Rating()
	return max(1+0.035*r+r*(r-60)*(100-r)*7e-6, 1)
}

// lossImpairment is Ie,eff (equation 7-29).
func (p Path) lossImpairment() float64 {
	ie, bpl := equipment(p.Codec)
	loss := 100 * min(max(p.Loss, 0), 1)
	if loss == 0 {
		return ie
	}
	return ie + (95-ie)*loss/(loss/max(p.Burst, 1)+bpl)
}

// equipment is the impairment Ie of a codec without loss, and its robustness
// Bpl, from ITU-T G.113 appendix I. G.711 is that with concealment of lost
// packets, which all phones have (without it Bpl is 4.3).
//
// The scale is that of narrow-band speech: what G.722 and Opus add to it cannot
// be told in it. They count as free of impairment, with the robustness of G.711,
// which their decoders have at least. So do codecs that are not listed.
func equipment(codec string) (ie, bpl float64) {
	switch codec {
	case "G729":
		return 11, 19
	case "G723":
		return 15, 16.1
	}
	return 0, 25.1
}

// delayImpairment is Id (equation 7-18): what is told to the talker by echo
// (Idte), to the listener by echo (Idle), and by waiting for each other (Idd).
func delayImpairment(delay time.Duration) float64 {
	t := max(delay.Seconds()*1000, 0)
	return talkerEcho(t) + listenerEcho(2*t) + waiting(t)
}

func talkerEcho(t float64) float64 {
	terv := telr - 40*math.Log10((1+t/10)/(1+t/150)) + 6*math.Exp(-0.3*t*t)
	roe := -1.5 * (no - rlr)
	re := 80 + 2.5*(terv-14)
	idte := ((roe-re)/2 + math.Sqrt((roe-re)*(roe-re)/4+100) - 1) * (1 - math.Exp(-t))
	return max(idte, 0) // below zero by a hair in the first milliseconds
}

func listenerEcho(round float64) float64 {
	rle := 10.5 * (wepl + 7) * math.Pow(round+1, -0.25)
	return (ro-rle)/2 + math.Sqrt((ro-rle)*(ro-rle)/4+169)
}

func waiting(t float64) float64 {
	if t <= 100 {
		return 0
	}
	x := math.Log2(t / 100)
	return 25 * (math.Pow(1+math.Pow(x, 6), 1.0/6) - 3*math.Pow(1+math.Pow(x/3, 6), 1.0/6) + 2)
}

// Delay is how long speech takes to an ear, as far as it can be told of one
// leg: half the round trip, the packet itself, and a jitter buffer that follows
// the jitter.
func Delay(rtt, jitter time.Duration) time.Duration {
	const packet, buffer = 20 * time.Millisecond, 20 * time.Millisecond
	return rtt/2 + packet + buffer + 2*jitter
}

// Score is the MOS of a reception. Zero is unknown: nothing was due.
func (r Reception) Score(codec string, rtt time.Duration) float64 {
	if r.Expected == 0 {
		return 0
	}
	return Path{Codec: codec, Loss: r.Loss(), Burst: r.Burst, Delay: Delay(rtt, r.Jitter)}.MOS()
}
