// Package tone makes what a caller hears of the network: the tones of each
// country, and music on hold.
package tone

import "time"

// Tone is a signal to the caller.
type Tone uint8

// The tones of ITU-T E.180.
const (
	Dial Tone = iota
	Ringback
	Busy
	Congestion
	tones
)

// segment is a part of a cadence: frequencies, none for silence, for a time.
type segment struct {
	hz [2]float64
	d  time.Duration
}

// cadence repeats for ever.
type cadence []segment

// on and off alternate: milliseconds of a sound of one or two frequencies and
// of silence. No milliseconds at all is a sound without end.
func pulses(a, b float64, ms ...int) cadence {
	if len(ms) == 0 {
		return cadence{{[2]float64{a, b}, time.Second}}
	}
	var c cadence
	for i, n := range ms {
		s := segment{d: time.Duration(n) * time.Millisecond}
		if i%2 == 0 {
			s.hz = [2]float64{a, b}
		}
		c = append(c, s)
	}
	return c
}

// International is the country of those we have no tones of: the values that
// ITU-T E.180 recommends.
const International = "ITU"

// countries has the tones of each country by its ISO code, after the list in
// ITU-T E.180 Supplement 2.
func countries(country string) [tones]cadence {
	switch country {
	case "DE":
		return [tones]cadence{pulses(425, 0), pulses(425, 0, 1000, 4000), pulses(425, 0, 480, 480), pulses(425, 0, 240, 240)}
	case "AT":
		return [tones]cadence{pulses(420, 0), pulses(420, 0, 1000, 5000), pulses(420, 0, 400, 400), pulses(420, 0, 200, 200)}
	case "CH":
		return [tones]cadence{pulses(425, 0), pulses(425, 0, 1000, 4000), pulses(425, 0, 500, 500), pulses(425, 0, 200, 200)}
	case "FR":
		return [tones]cadence{pulses(440, 0), pulses(440, 0, 1500, 3500), pulses(440, 0, 500, 500), pulses(440, 0, 250, 250)}
	case "IT":
		return [tones]cadence{pulses(425, 0, 200, 200, 600, 1000), pulses(425, 0, 1000, 4000), pulses(425, 0, 500, 500), pulses(425, 0, 200, 200)}
	case "ES":
		return [tones]cadence{pulses(425, 0), pulses(425, 0, 1500, 3000), pulses(425, 0, 200, 200), pulses(425, 0, 200, 200, 200, 200, 200, 600)}
	case "NL":
		return [tones]cadence{pulses(425, 0), pulses(425, 0, 1000, 4000), pulses(425, 0, 500, 500), pulses(425, 0, 250, 250)}
	case "GB":
		return [tones]cadence{pulses(350, 440), pulses(400, 450, 400, 200, 400, 2000), pulses(400, 0, 375, 375), pulses(400, 0, 400, 350, 225, 525)}
	case "US", "CA":
		return [tones]cadence{pulses(350, 440), pulses(440, 480, 2000, 4000), pulses(480, 620, 500, 500), pulses(480, 620, 250, 250)}
	}
	return [tones]cadence{pulses(425, 0), pulses(425, 0, 1000, 4000), pulses(425, 0, 500, 500), pulses(425, 0, 250, 250)}
}

// Countries lists those whose tones are known.
func Countries() []string {
	return []string{"AT", "CA", "CH", "DE", "ES", "FR", "GB", "IT", "NL", "US", International}
}
