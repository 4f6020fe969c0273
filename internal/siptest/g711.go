package siptest

// Encoding and decoding of G.711 (ITU-T G.711), from its definition.

// ULaw is the mu-law of samples at 8 kHz.
func ULaw(samples []int16) []byte {
	b := make([]byte, len(samples))
	for i, s := range samples {
		b[i] = encodeULaw(s)
	}
	return b
}

// encodeULaw compresses a 16 bit sample.
func encodeULaw(s int16) byte {
	const bias, clip = 0x84, 32635
	v, sign := int(s), byte(0)
	if v < 0 {
		v, sign = -v, 0x80
	}
	v = min(v, clip) + bias
	exponent := 7
	for mask := 0x4000; exponent > 0 && v&mask == 0; mask >>= 1 {
		exponent--
	}
	return ^(sign | byte(exponent<<4) | byte(v>>(exponent+3))&0x0f)
}

func decodeULaw(b byte) int16 {
	b = ^b
	v := (int(b&0x0f)<<3 + 0x84) << (b >> 4 & 7)
	v -= 0x84
	if b&0x80 != 0 {
		return int16(-v)
	}
	return int16(v)
}

func encodeALaw(s int16) byte {
	v, sign := int(s), byte(0x80)
	if v < 0 {
		v, sign = -v-1, 0
	}
	exponent := 7
	for mask := 0x4000; exponent > 0 && v&mask == 0; mask >>= 1 {
		exponent--
	}
	shift := exponent + 3
	if exponent == 0 {
		shift = 4
	}
	return (sign | byte(exponent<<4) | byte(v>>shift)&0x0f) ^ 0x55
}

func decodeALaw(b byte) int16 {
	b ^= 0x55
	exponent := int(b >> 4 & 7)
	v := int(b&0x0f)<<4 + 8
	if exponent > 0 {
		v = (v + 0x100) << (exponent - 1)
	}
	if b&0x80 == 0 {
		return int16(-v)
	}
	return int16(v)
}
