package b2bua

import (
	"log/slog"
	"time"

	"ringfence/internal/events"
	"ringfence/internal/media/quality"
	"ringfence/internal/telephony"
)

// auditEvery is how often calls are looked at that may be dead.
const auditEvery = 10 * time.Second

// watch looks after the media of the calls: whether they are well, and whether
// anybody hears them at all.
func (s *Service) watch() {
	look := time.NewTicker(quality.Interval)
	defer look.Stop()
	audit := time.NewTicker(auditEvery)
	defer audit.Stop()
	for {
		select {
		case <-s.stop:
			return
		case <-look.C:
			for _, c := range s.all() {
				c.box.Post(c.look)
			}
		case <-audit.C:
			for _, c := range s.all() {
				c.box.Post(c.audit)
			}
		}
	}
}

// measure notes the quality of both legs in the record.
func (c *call) measure() {
	if c.caller.media != nil {
		c.record.CallerLeg = c.caller.media.Quality()
	}
	if c.callee != nil && c.callee.media != nil {
		c.record.CalleeLeg = c.callee.media.Quality()
	}
}

// look judges the media of an answered call, and shows how they are.
func (c *call) look() {
	if c.finished || c.callee == nil || c.caller.media == nil || c.callee.media == nil {
		return
	}
	for _, p := range []*party{&c.caller, &c.callee.party} {
		if err := p.media.Unkeyed(c.record.Answered); err != nil {
			c.unkeyed(p, err)
			return
		}
	}
	c.measure()
	defer c.show()
	verdict := c.judge.Look(c.caller.media.Look(), c.callee.media.Look())
	if verdict == quality.Fine || c.record.Alarm != telephony.AlarmNone {
		return
	}
	c.record.Alarm = telephony.Alarm(verdict)
	a, b := c.record.CallerLeg, c.record.CalleeLeg
	c.s.c.Logger.Warn("media of a call are bad", slog.String("call", string(c.id)), slog.String("alarm", string(verdict)),
		legAttrs("caller", a), legAttrs("callee", b))
	c.s.publish(events.CallAlarm{Call: c.show()})
}

func legAttrs(name string, q telephony.LegQuality) slog.Attr {
	return slog.Group(name, "codec", q.Codec, "mos", q.MOS, "to_mos", q.ToMOS, "packets", q.Packets, "lost", q.LostRTP,
		"sent", q.Sent, "to_lost", q.ToLost, "jitter_ms", q.JitterMs, "rtt_ms", q.RTTMs, "strangers", q.Dropped, "forged", q.Forged)
}
