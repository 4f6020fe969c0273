package b2bua

import (
	"log/slog"
	"time"

	"ringfence/internal/media"
	"ringfence/internal/sip"
	"ringfence/internal/telephony"
)

// What people hear of the PBX itself: music while they are on hold, and tones
// where nobody else tells them how their call fares. A phone that waits for an
// answer makes its own ringing; one that has media already would not.

// lamentTime is how long a person hears that the one it was transferred to does
// not answer, before it is released.
const lamentTime = 6 * time.Second

// hum lets a party hear a tune; it is told the media once.
func (c *call) hum(p *party, t media.Tune) {
	if p.tune == t || p.media == nil {
		return
	}
	p.tune = t
	if err := p.media.Hum(t, c.tenant.Calls.Tones); err != nil {
		c.s.c.Logger.Debug("nothing is played", slog.String("call", string(c.id)), slog.Any("error", err))
	}
}

// hums lets everybody in the call hear what is due.
func (c *call) hums() {
	switch {
	case c.finished || c.caller.media == nil:
	case c.callee != nil:
		if n := c.leaving; n != nil {
			_, other := c.sides(n.arriving.by.leg)
			c.hum(n.arriving.by, c.music(other))
			n.hums()
			return
		}
		c.hum(&c.caller, c.music(&c.callee.party))
		c.hum(&c.callee.party, c.music(&c.caller))
	case c.lament != nil:
	case c.arriving != nil:
		c.hum(&c.caller, c.arrival())
	default:
		c.hum(&c.caller, c.waitingTone())
	}
}

// music is what the other party of a holder hears.
func (c *call) music(holder *party) media.Tune {
	if holder.held && c.tenant.Calls.Music != telephony.MusicOfPhone {
		return media.Music
	}
	return media.NoTune
}

// arrival is what somebody hears who is being transferred. Who still talks to the
// transferor is not disturbed.
func (c *call) arrival() media.Tune {
	t := c.arriving
	if (t.gone || t.by.held) && !c.record.Rang.IsZero() {
		return media.Ringback
	}
	return c.music(t.by)
}

// waitingTone is for a caller whose phone has media already, though whoever
// those were from is not heard any more: it does not ring by itself.
func (c *call) waitingTone() media.Tune {
	if (c.answer != nil || c.said) && c.early == nil && c.state == telephony.CallRinging {
		return media.Ringback
	}
	return media.NoTune
}

// lamentable reports whether a call that ends so has an end worth hearing: its
// caller was transferred by somebody who has left, and there is nobody to tell it
// but us.
func (c *call) lamentable(reason telephony.EndReason) bool {
	if c.arriving == nil || !c.arriving.gone || c.lament != nil {
		return false
	}
	switch reason {
	case telephony.EndBusy, telephony.EndNoAnswer, telephony.EndUnavailable, telephony.EndNotFound, telephony.EndRejected,
		telephony.EndTrunks, telephony.EndNotAllowed, telephony.EndLimit:
		return true
	}
	return false
}

// mourn lets a transferred caller hear why nobody answers, and ends the call then.
func (c *call) mourn(reason telephony.EndReason, reply sip.Reply) {
	c.dropForks()
	c.arriving.sub.tell(reply.Code, nil)
	tune := media.Congestion
	if reason == telephony.EndBusy {
		tune = media.Busy
	}
	c.hum(&c.caller, tune)
	c.lament = &lament{reason, reply.Code, time.AfterFunc(lamentTime, func() {
		c.box.Post(func() {
			if c.callee == nil {
				c.end(reason, reply)
			}
		})
	})}
}

// lament is an end that the caller hears.
type lament struct {
	reason telephony.EndReason
	code   int
	timer  *time.Timer
}
