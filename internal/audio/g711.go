package audio

import (
	"errors"
	"math/bits"
)

// errLong is a payload of more speech than a packet may hold.
var errLong = errors.New("payload lasts longer than a packet may")

// The tables of ITU-T G.711: the sample of every code, and back.
var (
	alawSamples = law(alawSample)
	ulawSamples = law(ulawSample)
	alawCodes   = codes(alawCode)
	ulawCodes   = codes(ulawCode)
)

func law(f func(byte) int16) (t [256]int16) {
	for i := range t {
		t[i] = f(byte(i))
	}
	return t
}

// codes has one entry for four neighbouring samples: neither law tells more
// than 14 bits apart.
func codes(f func(int16) byte) (t [1 << 14]byte) {
	for i := range t {
		t[i] = f(int16(uint16(i) << 2))
	}
	return t
}

// alawSample decodes A-law (G.711 table 1): even bits are inverted, 8 segments.
func alawSample(c byte) int16 {
	c ^= 0x55
	v := int16(c&0x0f)<<4 + 8
	if seg := c >> 4 & 7; seg > 0 {
		v = (v + 0x100) << (seg - 1)
	}
	if c&0x80 == 0 {
		return -v
	}
	return v
}

func alawCode(s int16) byte {
	v, sign := int32(s), byte(0x80)
	if v < 0 {
		v, sign = -v-1, 0
	}
	v >>= 4
	seg := max(bits.Len32(uint32(v))-4, 0)
	c := byte(v)
	if seg > 0 {
		c = byte(seg<<4) | byte(v>>(seg-1)&0x0f)
	}
	return (c | sign) ^ 0x55
}

// ulawSample decodes mu-law (G.711 table 2): all bits are inverted.
func ulawSample(c byte) int16 {
	c = ^c
	v := (int16(c&0x0f)<<3+0x84)<<(c>>4&7) - 0x84
	if c&0x80 != 0 {
		return -v
	}
	return v
}

func ulawCode(s int16) byte {
	v, sign := int32(s), byte(0)
	if v < 0 {
		v, sign = -v, 0x80
	}
	v = min(v, 32635) + 0x84
	seg := bits.Len32(uint32(v)) - 8
	return ^(sign | byte(seg<<4) | byte(v>>(seg+3)&0x0f))
}

// Recode returns the table that turns one law's codes into the other's, where
// speech needs no more than that.
func Recode(from, to string) *[256]byte {
	var t [256]byte
	switch {
	case from == "PCMA" && to == "PCMU":
		for i := range t {
			t[i] = ulawCodes[uint16(alawSamples[i])>>2]
		}
	case from == "PCMU" && to == "PCMA":
		for i := range t {
			t[i] = alawCodes[uint16(ulawSamples[i])>>2]
		}
	default:
		return nil
	}
	return &t
}

type g711Decoder struct{ table *[256]int16 }

func (d g711Decoder) Decode(pcm []int16, payload []byte) (int, error) {
	if len(payload) > len(pcm) {
		return 0, errLong
	}
	pcm = pcm[:len(payload)]
	for i, c := range payload {
		pcm[i] = d.table[c]
	}
	return len(pcm), nil
}

type g711Encoder struct{ table *[1 << 14]byte }

func (e g711Encoder) Encode(payload []byte, pcm []int16) ([]byte, error) {
	for _, s := range pcm {
		payload = append(payload, e.table[uint16(s)>>2])
	}
	return payload, nil
}

func newALaw(rate int) (Decoder, error) {
	return newWaveform(g711Decoder{&alawSamples}, 8000, rate)
}

func newULaw(rate int) (Decoder, error) {
	return newWaveform(g711Decoder{&ulawSamples}, 8000, rate)
}

func newALawEncoder(rate int) (Encoder, error) {
	return newResampledEncoder(g711Encoder{&alawCodes}, 8000, rate)
}

func newULawEncoder(rate int) (Encoder, error) {
	return newResampledEncoder(g711Encoder{&ulawCodes}, 8000, rate)
}
