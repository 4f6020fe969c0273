package audio

// concealer fills gaps of a waveform codec by repeating the last pitch period,
// fading out, after the idea of ITU-T G.711 appendix I.
type concealer struct {
	rate    int
	past    []int16 // the newest samples that were heard or made up
	period  []int16 // what is repeated during a gap
	length  int     // of it
	at      int     // in it
	gap     int     // samples made up since the last good one
	scratch []int16
}

const (
	concealFull = 10 // ms at full loudness
	concealFade = 60 // ms until silence
	concealJoin = 4  // ms of fading into what comes after
	pitchLow    = 66 // Hz
	pitchHigh   = 400
)

func newConcealer(rate int) *concealer {
	longest := rate / pitchLow
	return &concealer{
		rate: rate, past: make([]int16, 3*longest), period: make([]int16, longest),
		scratch: make([]int16, rate*concealJoin/1000),
	}
}

// good takes samples that came, and smooths their beginning after a gap.
func (c *concealer) good(pcm []int16) {
	if c.gap > 0 {
		n := min(len(c.scratch), len(pcm))
		made := c.scratch[:n]
		c.repeat(made)
		for i := range made {
			pcm[i] = int16((int32(pcm[i])*int32(i) + int32(made[i])*int32(n-i)) / int32(n))
		}
		c.gap = 0
	}
	c.keep(pcm)
}

// lost fills pcm.
func (c *concealer) lost(pcm []int16) {
	if c.gap == 0 {
		c.listen()
	}
	c.repeat(pcm)
	c.keep(pcm)
}

func (c *concealer) keep(pcm []int16) {
	if n := len(c.past) - len(pcm); n > 0 {
		copy(c.past, c.past[len(pcm):])
		copy(c.past[n:], pcm)
		return
	}
	copy(c.past, pcm[len(pcm)-len(c.past):])
}

// listen finds the pitch of the past and keeps its last period, whose end is
// faded into what came one period before: so it repeats without a click.
func (c *concealer) listen() {
	c.length = c.pitch()
	c.at = 0
	n := len(c.past)
	copy(c.period, c.past[n-c.length:])
	join := c.length / 4
	for i := range join {
		at := c.length - join + i
		earlier := c.past[n-c.length-join+i]
		c.period[at] = int16((int32(c.period[at])*int32(join-i) + int32(earlier)*int32(i)) / int32(join))
	}
}

// pitch is the lag at which the past resembles itself most.
func (c *concealer) pitch() int {
	shortest, longest := c.rate/pitchHigh, c.rate/pitchLow
	step := max(1, c.rate/8000)
	best, bestScore := longest, -1.0
	n := len(c.past)
	window := c.past[n-longest:]
	for lag := shortest; lag <= longest; lag++ {
		var dot, energy int64
		old := c.past[n-longest-lag:]
		for i := 0; i < longest; i += step {
			dot += int64(window[i]) * int64(old[i])
			energy += int64(old[i]) * int64(old[i])
		}
		if dot <= 0 || energy == 0 {
			continue
		}
		if score := float64(dot) * float64(dot) / float64(energy); score > bestScore*1.001 {
			best, bestScore = lag, score
		}
	}
	return best
}

func (c *concealer) repeat(pcm []int16) {
	full, end := c.rate*concealFull/1000, c.rate*concealFade/1000
	for i := range pcm {
		gain := end - full
		if c.gap > full {
			gain = max(0, end-c.gap)
		}
		pcm[i] = 0
		if c.length > 0 {
			pcm[i] = int16(int(c.period[c.at]) * gain / (end - full))
			if c.at++; c.at == c.length {
				c.at = 0
			}
		}
		c.gap = min(c.gap+1, end)
	}
}
