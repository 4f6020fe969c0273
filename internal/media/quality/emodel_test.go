package quality

import (
	"math"
	"testing"
	"time"
)

// ITU-T G.107 annex B, table B.1, and the default of its section 7.7.
func TestMOSOfRating(t *testing.T) {
	t.Parallel()
	clear := Path{Codec: "PCMU"}
	if r, mos := clear.Rating(), clear.MOS(); math.Abs(r-93.2) > 0.05 || math.Abs(mos-4.41) > 0.005 {
		t.Errorf("with the default values R is %.2f and MOS %.3f; want 93.2 and 4.41", r, mos)
	}
	for _, c := range []struct {
		loss float64 // of G.711 without delay, that makes R about the wanted
		r    float64
		mos  float64
	}{{0.0087, 90, 4.34}, {0.0403, 80, 4.03}, {0.0810, 70, 3.60}, {0.1351, 60, 3.10}, {0.2098, 50, 2.58}} {
		p := Path{Codec: "PCMA", Loss: c.loss, Burst: 1}
		if math.Abs(p.Rating()-c.r) > 0.1 || math.Abs(p.MOS()-c.mos) > 0.01 {
			t.Errorf("loss %.4f: R %.2f, MOS %.3f; want %.0f and %.2f", c.loss, p.Rating(), p.MOS(), c.r, c.mos)
		}
	}
}

// What planners' tables tell of delay alone (TELR 65, no loss, G.711).
func TestRatingFallsWithDelay(t *testing.T) {
	t.Parallel()
	for ms, r := range map[int]float64{0: 93.2, 100: 91, 150: 90, 200: 86, 250: 79, 300: 73, 400: 62} {
		if got := (Path{Codec: "PCMU", Delay: time.Duration(ms) * time.Millisecond}).Rating(); math.Abs(got-r) > 0.6 {
			t.Errorf("%d ms: R is %.1f, want %.0f", ms, got, r)
		}
	}
}

// Ie,eff = Ie + (95-Ie) * Ppl / (Ppl/BurstR + Bpl), worked by hand.
func TestRatingFallsWithLoss(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		codec       string
		loss, burst float64
		impairment  float64
	}{
		{"PCMU", 0, 1, 0}, {"PCMU", 0.01, 1, 3.640}, {"PCMA", 0.05, 1, 15.781}, {"PCMU", 0.2, 1, 42.129},
		{"PCMU", 0.05, 2, 17.210}, {"G729", 0, 1, 11}, {"G729", 0.02, 1, 19.0}, {"G729", 0.05, 1, 28.5},
		{"G723", 0, 1, 15}, {"OPUS", 0.01, 1, 3.640}, {"G722", 0, 1, 0}, {"whatever", 0, 0, 0},
	} {
		if got := (Path{Codec: c.codec, Loss: c.loss, Burst: c.burst}).lossImpairment(); math.Abs(got-c.impairment) > 0.005 {
			t.Errorf("%s at %.2f, burst %.0f: %.3f, want %.3f", c.codec, c.loss, c.burst, got, c.impairment)
		}
	}
}

func TestMOSStaysInItsScale(t *testing.T) {
	t.Parallel()
	last := 5.0
	for _, ms := range []int{-5, 0, 1, 50, 500, 5000, 1_000_000} {
		for _, loss := range []float64{-1, 0, 0.5, 1, 7} {
			mos := Path{Loss: loss, Burst: 8, Delay: time.Duration(ms) * time.Millisecond}.MOS()
			if mos < 1 || mos > 4.5 || math.IsNaN(mos) {
				t.Errorf("%d ms, loss %.1f: MOS %f", ms, loss, mos)
			}
		}
		if mos := (Path{Delay: time.Duration(ms) * time.Millisecond}).MOS(); mos > last {
			t.Errorf("%d ms: MOS rises to %f", ms, mos)
		} else {
			last = mos
		}
	}
}

func TestScoreOfAReception(t *testing.T) {
	t.Parallel()
	if s := (Reception{}).Score("PCMU", 0); s != 0 {
		t.Errorf("nothing was due, and scores %f", s)
	}
	good := Reception{Expected: 250, Burst: 1}.Score("PCMU", 20*time.Millisecond)
	bad := Reception{Expected: 250, Lost: 50, Burst: 1, Jitter: 30 * time.Millisecond}.Score("PCMU", 200*time.Millisecond)
	if good < 4.3 || good > 4.41 || bad > 2.6 || bad < 1.5 {
		t.Errorf("good %.2f, bad %.2f", good, bad)
	}
}
