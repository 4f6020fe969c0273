package store

import (
	"math"
	"time"

	"ringfence/internal/telephony"
)

// maxHistory bounds the points of a leg's history that are kept.
const maxHistory = 120

// legRow is the columns of a leg that are not kept as they are: times are in
// microseconds, a MOS is in thousandths.
type legRow struct {
	q                                telephony.LegQuality
	jitter, toJitter, rtt, step      int64
	mos, worstMOS, toMOS, toWorstMOS int64
	history                          []byte // two a point
}

// legValues are the columns of a leg, in the order of callRecordColumns.
func legValues(q telephony.LegQuality) []any {
	history := make([]byte, 0, 2*len(q.History))
	for _, p := range q.History[:min(len(q.History), maxHistory)] {
		history = append(history, p.From, p.To)
	}
	return []any{q.Codec, clamp(q.Packets), clamp(q.Dropped), clamp(q.LostRTP), thousandths(q.JitterMs),
		q.Suite, thousandths(q.MOS), thousandths(q.WorstMOS), clamp(q.Sent), q.Reported, clamp(q.ToLost), thousandths(q.ToJitterMs),
		thousandths(q.ToMOS), thousandths(q.ToWorstMOS), thousandths(q.RTTMs), clamp(q.Malformed), clamp(q.Forged), history, q.Step.Microseconds()}
}

func (l *legRow) pointers() []any {
	q := &l.q
	return []any{&q.Codec, &q.Packets, &q.Dropped, &q.LostRTP, &l.jitter,
		&q.Suite, &l.mos, &l.worstMOS, &q.Sent, &q.Reported, &q.ToLost, &l.toJitter,
		&l.toMOS, &l.toWorstMOS, &l.rtt, &q.Malformed, &q.Forged, &l.history, &l.step}
}

func (l *legRow) quality() telephony.LegQuality {
	q := l.q
	part := func(v int64) float64 { return float64(v) / 1000 }
	q.JitterMs, q.ToJitterMs, q.RTTMs = part(l.jitter), part(l.toJitter), part(l.rtt)
	q.MOS, q.WorstMOS, q.ToMOS, q.ToWorstMOS = part(l.mos), part(l.worstMOS), part(l.toMOS), part(l.toWorstMOS)
	q.Step = time.Duration(l.step) * time.Microsecond
	for i := 0; i+1 < len(l.history) && i < 2*maxHistory; i += 2 {
		q.History = append(q.History, telephony.MOSPoint{From: l.history[i], To: l.history[i+1]})
	}
	return q
}

// clamp keeps a counter inside SQLite's signed range.
func clamp(n uint64) int64 { return int64(min(n, math.MaxInt64)) }

// thousandths keeps a measure that may not be a number out of the database.
func thousandths(v float64) int64 {
	if math.IsNaN(v) {
		return 0
	}
	return int64(math.Round(min(max(v, 0), 1e9) * 1000))
}
