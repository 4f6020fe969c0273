package audio

// The tables of ITU-T G.722 at 64 kbit/s. Values have the names they bear in
// the recommendation.
var (
	g722ILB = [32]int32{
		2048, 2093, 2139, 2186, 2233, 2282, 2332, 2383, 2435, 2489, 2543, 2599, 2656, 2714, 2774, 2834,
		2896, 2960, 3025, 3091, 3158, 3228, 3298, 3371, 3444, 3520, 3597, 3676, 3756, 3838, 3922, 4008,
	}
	g722WL = [8]int32{-60, -30, 58, 172, 334, 538, 1198, 3042}
	g722WH = [2]int32{798, -214}
	g722RL = [16]uint8{0, 7, 6, 5, 4, 3, 2, 1, 7, 6, 5, 4, 3, 2, 1, 0}
	// g722Q4 is QM4, the output of the low band's predictor quantizer.
	g722Q4 = [16]int32{
		0, -20456, -12896, -8968, -6288, -4240, -2584, -1200, 20456, 12896, 8968, 6288, 4240, 2584, 1200, 0,
	}
	g722Q6 = [64]int32{
		-136, -136, -136, -136, -24808, -21904, -19008, -16704, -14984, -13512, -12280, -11192, -10232, -9360, -8576, -7856,
		-7192, -6576, -6000, -5456, -4944, -4464, -4008, -3576, -3168, -2776, -2400, -2032, -1688, -1360, -1040, -728,
		24808, 21904, 19008, 16704, 14984, 13512, 12280, 11192, 10232, 9360, 8576, 7856, 7192, 6576, 6000, 5456,
		4944, 4464, 4008, 3576, 3168, 2776, 2400, 2032, 1688, 1360, 1040, 728, 432, 136, -432, -136,
	}
	g722Q2 = [4]int32{-7408, -1616, 7408, 1616}
	// g722Decisions is Q6, the decision levels of the low band's quantizer.
	g722Decisions = [30]int32{
		0, 35, 72, 110, 150, 190, 233, 276, 323, 370, 422, 473, 530, 587, 650,
		714, 786, 858, 940, 1023, 1121, 1219, 1339, 1458, 1612, 1765, 1980, 2195, 2557, 2919,
	}
	// g722QMF is half of the symmetric quadrature mirror filter.
	g722QMF = [12]int32{3, -11, 12, 32, -210, 951, 3876, -805, 362, -156, 53, -11}
)

// g722Band is the adaptive differential coder of one sub-band: blocks 3 and 4
// of the recommendation. The index 0 of an array is the newest value.
type g722Band struct {
	s, sz int32    // prediction, and its part of zeros
	det   int32    // scale of the quantizer
	nb    int32    // its logarithm
	a     [2]int32 // poles
	b     [6]int32 // zeros
	r     [2]int32 // reconstructed signal
	p     [2]int32 // partially reconstructed signal
	d     [6]int32 // quantized differences
}

func clamp16(v int32) int32 { return max(-32768, min(32767, v)) }

// adapt takes a quantized difference into the predictor (block 4).
func (b *g722Band) adapt(d int32) {
	r, p := clamp16(b.s+d), clamp16(b.sz+d)
	b.poles(p)
	b.zeros(d)
	b.r[1], b.r[0] = b.r[0], r
	b.p[1], b.p[0] = b.p[0], p
	sp := clamp16(b.a[0]*clamp16(2*b.r[0])>>15 + b.a[1]*clamp16(2*b.r[1])>>15)
	b.sz = 0
	for i, z := range b.b {
		b.sz += z * clamp16(2*b.d[i]) >> 15
	}
	b.sz = clamp16(b.sz)
	b.s = clamp16(sp + b.sz)
}

// poles is UPPOL2 and UPPOL1.
func (b *g722Band) poles(p int32) {
	w := clamp16(b.a[0] << 2)
	if (p < 0) == (b.p[0] < 0) {
		w = min(-w, 32767)
	}
	a2 := w >> 7
	if (p < 0) == (b.p[1] < 0) {
		a2 += 128
	} else {
		a2 -= 128
	}
	a2 = max(-12288, min(12288, a2+b.a[1]*32512>>15))
	a1 := int32(-192)
	if (p < 0) == (b.p[0] < 0) {
		a1 = 192
	}
	limit := clamp16(15360 - a2)
	b.a[0] = max(-limit, min(limit, clamp16(a1+b.a[0]*32640>>15)))
	b.a[1] = a2
}

// zeros is UPZERO.
func (b *g722Band) zeros(d int32) {
	gain := int32(128)
	if d == 0 {
		gain = 0
	}
	for i := range b.b {
		w := -gain
		if (d < 0) == (b.d[i] < 0) {
			w = gain
		}
		b.b[i] = clamp16(w + b.b[i]*32640>>15)
	}
	copy(b.d[1:], b.d[:5])
	b.d[0] = d
}

// scale adapts the quantizer (block 3): LOGSCL and SCALEL, or LOGSCH and SCALEH.
func (b *g722Band) scale(w, limit, shift int32) {
	b.nb = max(0, min(limit, b.nb*127>>7+w))
	if down := shift - b.nb>>11; down >= 0 {
		b.det = g722ILB[b.nb>>6&31] >> down << 2
	} else {
		b.det = g722ILB[b.nb>>6&31] << -down << 2
	}
}

func (b *g722Band) low(code byte) {
	d := b.det * g722Q4[code>>2] >> 15
	b.scale(g722WL[g722RL[code>>2]], 18432, 8)
	b.adapt(d)
}

func (b *g722Band) high(code byte) {
	d := b.det * g722Q2[code] >> 15
	b.scale(g722WH[code&1], 22528, 10)
	b.adapt(d)
}

// g722State is what both directions keep: two bands and the filter between
// them, whose delay line is held twice as long so that it seldom moves.
type g722State struct {
	bands [2]g722Band
	line  [24 + 2*80]int32
	at    int // of the next pair
}

func newG722State() g722State {
	s := g722State{at: 22}
	s.bands[0].det, s.bands[1].det = 32, 8
	return s
}

// filter takes a pair into the delay line and returns both outputs.
func (s *g722State) filter(first, second int32) (even, odd int32) {
	if s.at == len(s.line) {
		copy(s.line[:22], s.line[len(s.line)-22:])
		s.at = 22
	}
	s.line[s.at], s.line[s.at+1] = first, second
	s.at += 2
	x := s.line[s.at-24 : s.at]
	for i, c := range g722QMF {
		even += x[2*i] * c
		odd += x[2*i+1] * g722QMF[11-i]
	}
	return even, odd
}

type g722Decoder struct{ g722State }

func (g *g722Decoder) Decode(pcm []int16, payload []byte) (int, error) {
	if 2*len(payload) > len(pcm) {
		return 0, errLong
	}
	low, high := &g.bands[0], &g.bands[1]
	for i, c := range payload {
		rl := max(-16384, min(16383, low.s+low.det*g722Q6[c&0x3f]>>15))
		rh := max(-16384, min(16383, high.s+high.det*g722Q2[c>>6]>>15))
		low.low(c & 0x3f)
		high.high(c >> 6)
		second, first := g.filter(rl+rh, rl-rh)
		pcm[2*i], pcm[2*i+1] = saturate(first>>11), saturate(second>>11)
	}
	return 2 * len(payload), nil
}

type g722Coder struct {
	g722State
	held int32 // a sample that waits for its pair
	odd  bool
}

func (g *g722Coder) Encode(payload []byte, pcm []int16) ([]byte, error) {
	for _, s := range pcm {
		if g.odd = !g.odd; g.odd {
			g.held = int32(s)
			continue
		}
		even, odd := g.filter(g.held, int32(s))
		payload = append(payload, g.code((even+odd)>>14, (odd-even)>>14))
	}
	return payload, nil
}

// code quantizes a sample of either band.
func (g *g722Coder) code(xl, xh int32) byte {
	low, high := &g.bands[0], &g.bands[1]
	cl := g722LowCode(clamp16(xl-low.s), low.det)
	ch := g722HighCode(clamp16(xh-high.s), high.det)
	low.low(cl)
	high.high(ch)
	return ch<<6 | cl
}

// g722LowCode is QUANTL: 60 steps, those of each sign counted down.
func g722LowCode(e, det int32) byte {
	size := e
	if e < 0 {
		size = -(e + 1)
	}
	step := byte(1)
	for step < 30 && size >= g722Decisions[step]*det>>12 {
		step++
	}
	switch {
	case e >= 0:
		return 62 - step
	case step <= 2:
		return 64 - step
	}
	return 34 - step
}

// g722HighCode is QUANTH.
func g722HighCode(e, det int32) byte {
	size, code := e, byte(2)
	if e < 0 {
		size, code = -(e + 1), 0
	}
	if size < 564*det>>12 {
		code++
	}
	return code
}

func newG722(rate int) (Decoder, error) {
	return newWaveform(&g722Decoder{newG722State()}, 16000, rate)
}

func newG722Encoder(rate int) (Encoder, error) {
	return newResampledEncoder(&g722Coder{g722State: newG722State()}, 16000, rate)
}
