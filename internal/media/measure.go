package media

import (
	"time"

	"ringfence/internal/media/quality"
	"ringfence/internal/telephony"
)

// gauge follows the quality of an audio stream; guarded by stream.mu.
type gauge struct {
	mark   quality.Mark
	sent   uint64 // packets, at the last look
	series quality.Series
	now    float64 // the worse direction's MOS at the last look; 0 is unknown
}

// look measures how the stream was since the last look.
func (s *stream) look(now time.Time) {
	out := s.outgoing()
	s.mu.Lock()
	defer s.mu.Unlock()
	l, g := &s.links[0], &s.gauge
	in := l.In.Since(&g.mark)
	_, far, _ := l.Far(out.sent, out.lines[0].clock, now)
	if out.sent == g.sent {
		far = quality.Reception{} // nothing was sent that could be lost
	}
	g.sent = out.sent
	from, to := in.Score(s.codec, l.RTT()), far.Score(out.codec, l.RTT())
	g.now = worse(from, to)
	if s.linked > 0 || out.n > 0 {
		g.series.Add(quality.Point{In: quality.Tenths(from), Out: quality.Tenths(to)})
	}
}

// worse is the lower of two MOS that are known.
func worse(a, b float64) float64 {
	if a == 0 || b != 0 && b < a {
		return b
	}
	return a
}

// Quality is what was measured on the audio from and to this leg's peer.
func (l *Leg) Quality() telephony.LegQuality {
	s := l.streams[audio].Load()
	out := s.outgoing()
	refused, suite := s.transport.guarded()
	s.mu.Lock()
	defer s.mu.Unlock()
	link := &s.links[0]
	total := link.In.Total()
	far, _, reported := link.Far(out.sent, out.lines[0].clock, time.Now())
	q := telephony.LegQuality{
		Codec: s.codec, Suite: suite,
		Packets: link.In.Packets(), LostRTP: total.Lost, JitterMs: milliseconds(total.Jitter), MOS: total.Score(s.codec, link.RTT()),
		Sent: out.sent, Reported: reported, ToLost: far.Lost, ToJitterMs: milliseconds(far.Jitter), ToMOS: far.Score(out.codec, link.RTT()),
		RTTMs: milliseconds(link.RTT()), Dropped: refused.strangers, Malformed: refused.malformed, Forged: refused.forged + refused.replayed,
	}
	worst := s.gauge.series.Worst()
	q.WorstMOS, q.ToWorstMOS = worse(float64(worst.In)/10, q.MOS), worse(float64(worst.Out)/10, q.ToMOS)
	points, step := s.gauge.series.Points()
	q.Step, q.History = step, make([]telephony.MOSPoint, len(points))
	for i, p := range points {
		q.History[i] = telephony.MOSPoint{From: p.In, To: p.Out}
	}
	return q
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// guarded is what the transport kept out, and how what it lets in is protected.
func (t *transport) guarded() (refused refusals, suite string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.in != nil {
		suite = t.in.Key().Suite.String()
	}
	return t.refused, suite
}

// Look is how the leg's audio is now: whether speech is expected from its peer
// and comes, and how well.
func (l *Leg) Look() quality.Side {
	s := l.streams[audio].Load()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.expecting.IsZero() {
		return quality.Side{MOS: s.gauge.now}
	}
	last, ever := s.expecting, false
	if !s.spoke.Before(s.expecting) {
		last, ever = s.spoke, true
	}
	return quality.Side{Expected: true, Ever: ever, Silent: time.Since(last), MOS: s.gauge.now}
}
