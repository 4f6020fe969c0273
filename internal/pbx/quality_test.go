package pbx_test

import (
	"testing"
	"time"

	"ringfence/internal/pbxtest"
	"ringfence/internal/siptest"
)

// leg is what the API tells of the sound between the PBX and a phone.
type leg struct {
	Codec   string
	Packets uint64
	Sent    uint64
	MOS     float64 `json:"mos"`
	History struct {
		Step float64   `json:"step_seconds"`
		From []float64 `json:"from"`
	}
}

type heardCall struct {
	Alarm  string
	Caller leg `json:"caller_leg"`
	Callee leg `json:"callee_leg"`
}

// A callee that is not heard while the caller is: the live call says so within
// seconds, and the record for good; what was measured stands in both.
func TestOneWayAudioIsAlarmed(t *testing.T) {
	t.Parallel()
	p := pbxtest.New(t)
	a, b := p.Phone("101", 440), p.Phone("102", 880)
	ctx := within(t, time.Minute)
	out, err := a.Call(ctx, "102")
	if err != nil {
		t.Fatal(err)
	}
	in, err := b.WaitCall(ctx)
	if err != nil {
		t.Fatal(err)
	}
	in.Mute(true)
	if err := in.Answer(); err != nil {
		t.Fatal(err)
	}
	if err := out.Wait(ctx, siptest.Answered); err != nil {
		t.Fatal(err)
	}
	admin := p.Admin()
	var list struct{ Items []heardCall }
	for began := time.Now(); ; time.Sleep(200 * time.Millisecond) {
		if err := admin.Do(ctx, "GET", "/calls", nil, &list); err != nil {
			t.Fatal(err)
		}
		if len(list.Items) == 1 && list.Items[0].Alarm != "" {
			break
		}
		if time.Since(began) > 30*time.Second {
			t.Fatalf("no alarm: %+v", list.Items)
		}
	}
	check := func(where string, c heardCall) {
		if c.Alarm != "one_way_audio" || c.Callee.Packets != 0 || c.Callee.MOS != 0 || c.Callee.Sent == 0 {
			t.Errorf("%s, the callee: %+v", where, c)
		}
		if c.Caller.Codec == "" || c.Caller.Packets == 0 || c.Caller.MOS < 3.5 || len(c.Caller.History.From) == 0 || c.Caller.History.Step != 5 {
			t.Errorf("%s, the caller: %+v", where, c)
		}
	}
	check("live", list.Items[0])
	if err := out.HangUp(); err != nil {
		t.Fatal(err)
	}
	records(t, p, 1)
	if err := admin.Do(ctx, "GET", "/cdrs", nil, &list); err != nil || len(list.Items) != 1 {
		t.Fatalf("%v %+v", err, list.Items)
	}
	check("record", list.Items[0])
}
