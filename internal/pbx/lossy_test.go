package pbx_test

import (
	"math"
	"sync"
	"testing"
	"time"

	"ringfence/internal/pbx"
	"ringfence/internal/pbxtest"
	"ringfence/internal/ports"
	"ringfence/internal/siptest"
	"ringfence/internal/siptest/impair"
)

// lossyLeg is what the API tells of the sound of a phone behind a bad line.
type lossyLeg struct {
	Suite    string
	Packets  uint64
	Lost     uint64
	JitterMs float64 `json:"jitter_ms"`
	MOS      float64 `json:"mos"`
}

type lossyCall struct {
	Caller lossyLeg `json:"caller_leg"`
	Callee lossyLeg `json:"callee_leg"`
}

// tableMOS is that of G.711 with concealment and random loss, by the equations of
// ITU-T G.107 (Ie,eff = 95 p/(p + 25.1), R = 93.2 - Ie,eff; annex B): 4.41 without
// loss, 4.33 at 1 %, 3.92 at 5 %, 2.63 at 20 %.
func tableMOS(loss float64) float64 {
	r := 93.2 - 95*100*loss/(100*loss+25.1)
	return 1 + 0.035*r + r*(r-60)*(100-r)*7e-6
}

// tableTolerance is for what the table leaves out: the delay of the path (at most
// 0.1 below 150 ms), and losses that chance put together.
const tableTolerance = 0.15

// Calls of phones behind bad lines, through a whole PBX: the other phone gets what
// the line left, each packet once; the live call and the record say what was lost,
// and their MOS is that of the E-model for it.
func TestLossyCallInItsRecord(t *testing.T) {
	t.Parallel()
	var lines sync.WaitGroup // not by t.Parallel: they wait more than they work
	defer lines.Wait()
	for _, c := range []struct {
		name    string
		profile impair.Profile
		suites  []string
	}{
		{"good", impair.Profile{}, nil},
		{"1 %", impair.Profile{Loss: 0.01}, []string{"AEAD_AES_256_GCM"}},
		{"5 %", impair.Profile{Loss: 0.05}, nil},
		{"20 %", impair.Profile{Loss: 0.2}, []string{"AES_256_CM_HMAC_SHA1_80"}},
		{"jitter", impair.Profile{Jitter: 100 * time.Millisecond}, nil},
		{"all of it", impair.Profile{Loss: 0.05, Jitter: 100 * time.Millisecond, Reorder: 0.05, Duplicate: 0.02}, []string{"AEAD_AES_256_GCM"}},
	} {
		lines.Go(func() { t.Run(c.name, func(t *testing.T) { hearLossy(t, c.profile, c.suites) }) })
	}
}

func hearLossy(t *testing.T, profile impair.Profile, suites []string) {
	p := pbxtest.Open(t, pbx.Options{DataDir: t.TempDir(), Extensions: 2})
	a := p.PhoneOn(ports.SIPUDP, "101", 440, func(x *siptest.Config) { x.Suites = suites })
	b := p.Phone("102", 880)
	out, in := connect(t, a, b, "102")
	time.Sleep(300 * time.Millisecond)
	out.Mute(true) // so that nothing is on its way between the two counts
	time.Sleep(500 * time.Millisecond)
	before, sent := in.Heard(), out.Sent()
	out.Impair(profile, impair.Profile{}, 7)
	out.Mute(false)
	time.Sleep(20 * time.Second)
	out.Mute(true)
	time.Sleep(500 * time.Millisecond) // what is on its way
	line, _ := out.Impaired()
	h := in.Heard()
	if got, want := h.Packets-before.Packets, line.Sent-line.Lost; got != want {
		t.Errorf("of %d packets the line lost %d and doubled %d; %d came to the other phone, want %d", line.Sent, line.Lost, line.Doubled, got, want)
	}
	var live, record struct{ Items []lossyCall }
	admin, ctx := p.Admin(), within(t, 20*time.Second)
	time.Sleep(5 * time.Second) // the next look
	if err := admin.Do(ctx, "GET", "/calls", nil, &live); err != nil || len(live.Items) != 1 {
		t.Fatalf("%v %+v", err, live.Items)
	}
	if err := out.HangUp(); err != nil {
		t.Fatal(err)
	}
	records(t, p, 1)
	if err := admin.Do(ctx, "GET", "/cdrs", nil, &record); err != nil || len(record.Items) != 1 {
		t.Fatalf("%v %+v", err, record.Items)
	}
	arrived := sent + line.Sent - line.Lost
	share := float64(line.Lost) / float64(sent+line.Sent)
	for where, got := range map[string]lossyCall{"live": live.Items[0], "record": record.Items[0]} {
		leg := got.Caller
		if off := int(leg.Packets) - arrived; off < -3 || off > line.Doubled+3 {
			t.Errorf("%s: %d packets came, want %d", where, leg.Packets, arrived)
		}
		// Doubles make up for losses in the count of RFC 3550 appendix A.3.
		if lost := int(leg.Lost); lost > line.Lost || lost < line.Lost-line.Doubled-5 {
			t.Errorf("%s: %d are said to be lost, the line took %d and doubled %d", where, lost, line.Lost, line.Doubled)
		}
		if want := tableMOS(share); math.Abs(leg.MOS-want) > tableTolerance+0.2*share {
			t.Errorf("%s: MOS %.2f at a loss of %.3f and %.0f ms of jitter, the table says %.2f", where, leg.MOS, share, leg.JitterMs, want)
		}
		if profile.Jitter > 0 && leg.JitterMs < 5 {
			t.Errorf("%s: jitter of %.1f ms on a line of 100 ms", where, leg.JitterMs)
		}
		if got.Callee.Lost != 0 || got.Callee.MOS < 4.2 {
			t.Errorf("%s: the good side %+v", where, got.Callee)
		}
	}
}
