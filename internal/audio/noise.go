package audio

import "math"

// Noise is a level of comfort noise in -dBov, the first octet of a CN payload
// (RFC 3389 section 3.1): 0 is overload, 127 silence.
type Noise uint8

// quiet is what we make of a peer that sends nothing and says nothing of its
// noise: audible as a line that is open, not as a sound.
const quiet Noise = 66

// ParseCN reads the level of a CN payload. The spectrum that may follow is left
// out: our noise is as white as that of most phones.
func ParseCN(payload []byte) Noise {
	if len(payload) == 0 {
		return quiet
	}
	return Noise(payload[0] & 0x7f)
}

// AppendCN writes a CN payload of that level.
func (n Noise) AppendCN(payload []byte) []byte { return append(payload, byte(n&0x7f)) }

// NoiseOf is the level of samples. The overload point is the mean power of a
// full-scale square wave.
func NoiseOf(pcm []int16) Noise {
	var sum int64
	for _, s := range pcm {
		sum += int64(s) * int64(s)
	}
	if sum == 0 {
		return 127
	}
	power := float64(sum) / float64(len(pcm)) / (32768 * 32768)
	return Noise(max(0, min(127, math.Round(-10*math.Log10(power)))))
}

// Comfort makes noise for pauses.
type Comfort struct {
	level     Noise
	amplitude int32
	seed      uint32
	last      int32
}

// NewComfort makes a source of quiet noise.
func NewComfort() *Comfort {
	c := &Comfort{seed: 0x9e3779b9}
	c.Set(quiet)
	return c
}

// Set changes the level. What would be louder than speech is not noise, and
// is made quiet.
func (c *Comfort) Set(n Noise) {
	c.level = max(n, 30)
	// Evenly distributed values of amplitude a, smoothed over two, have the
	// power a*a/6.
	c.amplitude = int32(32768 * math.Sqrt(6) * math.Pow(10, -float64(c.level)/20))
}

// Fill writes noise over pcm.
func (c *Comfort) Fill(pcm []int16) {
	if c.level >= 127 {
		clear(pcm)
		return
	}
	for i := range pcm {
		c.seed ^= c.seed << 13 // xorshift
		c.seed ^= c.seed >> 17
		c.seed ^= c.seed << 5
		v := int32(int64(int32(c.seed)) * int64(c.amplitude) >> 31)
		pcm[i] = saturate((v + c.last) / 2)
		c.last = v
	}
}
