package api

import (
	"math"

	"ringfence/internal/telephony"
)

func qualityOf(q telephony.LegQuality) LegQuality {
	out := LegQuality{
		Codec: q.Codec, Suite: q.Suite, RTTMs: rounded(q.RTTMs), Dropped: q.Dropped, Malformed: q.Malformed, Forged: q.Forged,
		Packets: q.Packets, Lost: q.LostRTP, JitterMs: rounded(q.JitterMs), MOS: rounded(q.MOS), WorstMOS: rounded(q.WorstMOS),
		Sent: q.Sent, Reported: q.Reported, ToLost: q.ToLost, ToJitterMs: rounded(q.ToJitterMs), ToMOS: rounded(q.ToMOS), ToWorstMOS: rounded(q.ToWorstMOS),
		History: MOSHistory{StepSeconds: q.Step.Seconds(), From: make([]float64, len(q.History)), To: make([]float64, len(q.History))},
	}
	for i, p := range q.History {
		out.History.From[i], out.History.To[i] = float64(p.From)/10, float64(p.To)/10
	}
	return out
}

// rounded keeps two decimals: more of a measure says nothing.
func rounded(v float64) float64 { return math.Round(v*100) / 100 }
