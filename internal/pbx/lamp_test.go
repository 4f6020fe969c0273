package pbx_test

import (
	"encoding/xml"
	"strconv"
	"strings"
	"testing"
	"time"

	"ringfence/internal/pbx"
	"ringfence/internal/pbxtest"
	"ringfence/internal/ports"
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

// TestLampsAreRightAfterARestart: a phone that does nothing hears the state as
// it is, in the subscription it has, within seconds.
func TestLampsAreRightAfterARestart(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	first := pbxtest.Open(t, pbx.Options{DataDir: dir, Extensions: 3})
	watcher := first.Phone("103", 0)
	ctx := within(t, 40*time.Second)
	lamp, err := watcher.Subscribe(ctx, "dialog", "102", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	a, b := first.Phone("101", 440), first.Phone("102", 880)
	connect(t, a, b, "102")
	lit, err := lamp.Wait(ctx, "<state>confirmed</state>")
	if err != nil {
		t.Fatal(err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := lamp.Wait(ctx, "<state>terminated</state>"); err != nil {
		t.Errorf("the call ended with the first run: %v", err)
	}
	pbxtest.Open(t, pbx.Options{DataDir: dir, Extensions: 3})
	dark, err := lamp.Next(within(t, 5*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	body := string(dark.Body())
	if strings.Contains(body, "<dialog ") || !strings.HasPrefix(dark.GetHeader("Subscription-State").Value(), "active") {
		t.Errorf("after the restart: %s", dark)
	}
	if dark.CSeq().SeqNo <= lit.CSeq().SeqNo || version(t, body) <= version(t, string(lit.Body())) {
		t.Errorf("sequence or version went back:\n%s\n%s", lit, dark)
	}
}

// TestPresenceOutlivesARestart: what somebody published is told after a restart,
// and the phone refreshes it by the entity-tag it had.
func TestPresenceOutlivesARestart(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	first := pbxtest.Open(t, pbx.Options{DataDir: dir, Extensions: 2})
	ctx := within(t, 40*time.Second)
	publish := func(p *siptest.Phone, body string, headers ...string) string {
		t.Helper()
		res, err := p.Do(ctx, siptest.Request{Method: "PUBLISH", URI: p.URI(), To: p.URI(), Headers: append(headers, "Event: presence"), Body: body})
		if err != nil || res.StatusCode != 200 {
			t.Fatalf("publishing: %v, %v", res, err)
		}
		return res.GetHeader("SIP-ETag").Value()
	}
	tag := publish(first.Phone("101", 0), `<?xml version="1.0"?><presence xmlns="urn:ietf:params:xml:ns:pidf" entity="sip:101@x">`+
		`<tuple id="t"><status><basic>open</basic></status><note>at the lake</note></tuple></presence>`, "Content-Type: application/pidf+xml")
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	second := pbxtest.Open(t, pbx.Options{DataDir: dir, Extensions: 2})
	phone := func(number string) *siptest.Phone {
		e := first.Extension(number)
		return siptest.NewPhone(t, siptest.Config{Server: second.Addr(ports.SIPUDP), User: e.SIPUser, Password: e.SIPPassword, Domain: e.Domain})
	}
	seen, err := phone("102").Subscribe(ctx, "presence", "101", time.Hour)
	if err == nil {
		_, err = seen.Wait(ctx, "at the lake")
	}
	if err != nil {
		t.Error(err)
	}
	if next := publish(phone("101"), "", "SIP-If-Match: "+tag); next == tag {
		t.Error("a refresh kept its entity-tag")
	}
}

func version(t *testing.T, body string) int {
	t.Helper()
	_, v, _ := strings.Cut(body, `dialog-info" version="`)
	v, _, _ = strings.Cut(v, `"`)
	n, err := strconv.Atoi(v)
	if err != nil {
		t.Fatalf("%v in %s", err, body)
	}
	return n
}

// TestPickUpFromALamp: what a ringing lamp names is enough for its phone to
// take the call (RFC 3891, RFC 4235).
func TestPickUpFromALamp(t *testing.T) {
	t.Parallel()
	p := pbxtest.New(t)
	a, b, c := p.Phone("101", 440), p.Phone("102", 880), p.Phone("103", 660)
	ctx := within(t, 30*time.Second)
	lamp, err := c.Subscribe(ctx, "dialog", "102", time.Hour)
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
	var info struct {
		Dialog struct {
			CallID    string `xml:"call-id,attr"`
			LocalTag  string `xml:"local-tag,attr"`
			RemoteTag string `xml:"remote-tag,attr"`
		} `xml:"dialog"`
	}
	if err := xml.Unmarshal(ringing.Body(), &info); err != nil {
		t.Fatal(err)
	}
	d := info.Dialog
	taken, err := c.CallWith(ctx, "102", siptest.CallOptions{Headers: []string{
		"Replaces: " + d.CallID + ";to-tag=" + d.RemoteTag + ";from-tag=" + d.LocalTag + ";early-only", "Require: replaces",
	}})
	if err != nil {
		t.Fatal(err)
	}
	for _, call := range []*siptest.Call{out, taken} {
		if err := call.Wait(ctx, siptest.Answered); err != nil {
			t.Fatal(err)
		}
	}
	if err := in.Wait(ctx, siptest.Ended); err != nil {
		t.Fatal(err)
	}
	if _, err := lamp.Wait(ctx, "<state>terminated</state>"); err != nil {
		t.Errorf("the lamp still rings: %v", err)
	}
}
