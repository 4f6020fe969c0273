package pbx_test

import (
	"strings"
	"testing"
	"time"

	"ringfence/internal/pbxtest"
	"ringfence/internal/siptest"
)

// TestLampFollowsARealCall: a phone sees another's calls begin, be answered
// and end.
func TestLampFollowsARealCall(t *testing.T) {
	t.Parallel()
	p := pbxtest.New(t)
	a, b, watcher := p.Phone("101", 440), p.Phone("102", 880), p.Phone("103", 0)
	ctx := within(t, 30*time.Second)
	lamp, err := watcher.Subscribe(ctx, "dialog", "102", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	caller, err := watcher.Subscribe(ctx, "dialog", "101", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	out, err := a.Call(ctx, "102")
	if err != nil {
		t.Fatal(err)
	}
	in, err := b.WaitCall(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := in.Ring(); err != nil {
		t.Fatal(err)
	}
	ringing, err := lamp.Wait(ctx, "<state>early</state>")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(ringing.Body()), `call-id="`+in.ID()+`"`) || !strings.Contains(string(ringing.Body()), ">sip:101@") {
		t.Errorf("ringing: %s", ringing.Body())
	}
	if err := in.Answer(); err != nil {
		t.Fatal(err)
	}
	if err := out.Wait(ctx, siptest.Answered); err != nil {
		t.Fatal(err)
	}
	for _, l := range []*siptest.Subscription{lamp, caller} {
		if _, err := l.Wait(ctx, "<state>confirmed</state>"); err != nil {
			t.Fatal(err)
		}
	}
	if err := out.HangUp(); err != nil {
		t.Fatal(err)
	}
	for _, l := range []*siptest.Subscription{lamp, caller} {
		if _, err := l.Wait(ctx, "<state>terminated</state>"); err != nil {
			t.Fatal(err)
		}
	}
	if err := lamp.Refresh(ctx, 0); err != nil {
		t.Fatal(err)
	}
	if last, err := lamp.Next(ctx); err != nil || !strings.HasPrefix(last.GetHeader("Subscription-State").Value(), "terminated") {
		t.Errorf("after unsubscribing: %v, %v", last, err)
	}
}
