package audio

const (
	// speaks and pauses are the levels in dBov above which a party has begun to
	// speak and below which it has ended. Between them it is what it was.
	speaks, pauses = -40.0, -50.0
	// beginning and ending are how many frames in a row that takes: 60 ms of a
	// voice, and half a second of silence, which words have between them.
	beginning, ending = 3, 25
)

// Activity follows whether a party speaks. A cough, or the end of a word, does
// not change that.
type Activity struct {
	level Level
	on    bool
	run   int // frames in a row that say otherwise
}

// Frame takes 20 ms of samples.
func (a *Activity) Frame(pcm []int16) {
	a.level.Frame(pcm)
	now := -float64(NoiseOf(pcm))
	otherwise, enough := now > speaks, beginning
	if a.on {
		otherwise, enough = now < pauses, ending
	}
	if a.run++; !otherwise {
		a.run = 0
	}
	if a.run >= enough {
		a.on, a.run = !a.on, 0
	}
}

// DB is how loud the party is, quick to rise and slow to fall, in dBov: 0 is overload, -127 silence.
func (a *Activity) DB() float64 { return a.level.DB() }

// Speaking reports whether the party speaks.
func (a *Activity) Speaking() bool { return a.on }
