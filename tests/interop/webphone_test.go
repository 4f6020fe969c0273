package interop

import (
	"context"
	"fmt"
	"maps"
	"os"
	"strings"
	"testing"
	"time"

	"ringfence/internal/ports"
	"ringfence/internal/siptest"
	"ringfence/tests/clients"
)

const webFolder = "../../web"

// browser starts a Chromium where the phones are.
func (b *bench) browser(t *testing.T) *clients.Browser {
	t.Helper()
	need(t, "node", "chromium")
	if _, err := os.Stat(webFolder + "/node_modules/jssip"); err != nil {
		t.Skip("JsSIP is not installed (make deps)")
	}
	// It ends with the test, which at times waits long for its turn.
	w, err := clients.StartBrowser(within(t, 20*time.Minute), b.phones.Command, webFolder, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Close)
	return w
}

// home is the origin of the PBX's own pages.
func (b *bench) home() string { return "https://" + b.pbx.Addr(ports.Portal).String() }

// webPhone opens a page of the PBX and registers it as an extension over WSS; it
// speaks a tone. More is for its start in page.mjs.
func (b *bench) webPhone(t *testing.T, w *clients.Browser, number string, tone int, more ...map[string]any) *clients.WebPhone {
	t.Helper()
	p, err := w.Open(number, b.home())
	if err != nil {
		t.Fatal(err)
	}
	b.start(t, p, number, tone, more...)
	happens(t, p, "", "registered")
	b.registeredOver(t, number, ports.EdgeWSS)
	return p
}

func (b *bench) start(t *testing.T, p *clients.WebPhone, number string, tone int, more ...map[string]any) {
	t.Helper()
	e := b.pbx.Extension(number)
	with := map[string]any{
		"url": "wss://" + b.pbx.Addr(ports.EdgeWSS).String(), "uri": "sip:" + e.SIPUser + "@" + e.Domain,
		"password": e.SIPPassword, "tone": tone,
	}
	for _, m := range more {
		maps.Copy(with, m)
	}
	run(t, p, "start", with)
}

func run(t *testing.T, p *clients.WebPhone, name string, with map[string]any) {
	t.Helper()
	if _, err := p.Do(name, with); err != nil {
		t.Fatal(err)
	}
}

// on is a function of one of a page's calls.
func on(call int) map[string]any { return map[string]any{"call": call} }

func happens(t *testing.T, p *clients.WebPhone, detail string, names ...string) clients.WebEvent {
	t.Helper()
	e, err := p.Wait(within(t, 30*time.Second), detail, names...)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// JsSIP in Chromium registers over WSS, asks, writes, watches a lamp, and rings;
// and a page of somebody else's is not let in.
func TestWebPhoneOverWSS(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	ctx := within(t, 3*time.Minute)
	w := b.browser(t)
	web := b.webPhone(t, w, "101", 440)
	domain := b.pbx.Extension("101").Domain
	c, d := b.phone(t, "102", 660), b.phoneOver(t, ports.SIPTLS, "103", 880)
	for _, p := range []*siptest.Phone{c, d} {
		if err := p.Register(ctx); err != nil {
			t.Fatal(err)
		}
	}
	run(t, web, "options", map[string]any{"to": "sip:" + domain})
	happens(t, web, "200", "optionsAnswered")
	b.writes(ctx, t, web, c, domain)
	b.lamp(ctx, t, web, c, d, domain)
	b.rings(ctx, t, web, c)

	run(t, web, "stop", nil)
	happens(t, web, "", "unregistered")

	foreign, err := w.Open("foreign", "https://pages.example")
	if err != nil {
		t.Fatal(err)
	}
	b.start(t, foreign, "104", 520)
	happens(t, foreign, "Unexpected response code: 403", "console")
}

// writes has the web phone and a phone exchange messages.
func (b *bench) writes(ctx context.Context, t *testing.T, web *clients.WebPhone, c *siptest.Phone, domain string) {
	t.Helper()
	run(t, web, "message", map[string]any{"to": "sip:102@" + domain, "text": "from the browser"})
	happens(t, web, "", "messageSent")
	if !traced(c, "MESSAGE sip:", "from the browser") {
		t.Error("the message of the browser did not come")
	}
	res, err := c.Do(ctx, siptest.Request{Method: "MESSAGE", URI: "sip:101@" + domain, Headers: []string{"Content-Type: text/plain"}, Body: "to the browser"})
	if err != nil || res.StatusCode != 200 {
		t.Fatalf("a message to the browser: %v, %v", res, err)
	}
	happens(t, web, "to the browser", "message")
}

// traced reports whether a phone received a message with a start and a text.
func traced(p *siptest.Phone, start, text string) bool {
	for _, m := range p.Trace() {
		if !m.Out && strings.HasPrefix(m.Text, start) && strings.Contains(m.Text, text) {
			return true
		}
	}
	return false
}

// lamp has the browser watch a phone through a call of its.
func (b *bench) lamp(ctx context.Context, t *testing.T, web *clients.WebPhone, c, d *siptest.Phone, domain string) {
	t.Helper()
	run(t, web, "subscribe", map[string]any{"to": "sip:103@" + domain, "event": "dialog", "accept": "application/dialog-info+xml"})
	happens(t, web, "<dialog-info", "notify")
	out, err := c.Call(ctx, "103")
	if err != nil {
		t.Fatal(err)
	}
	in, err := d.WaitCall(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := in.Ring(); err != nil {
		t.Fatal(err)
	}
	happens(t, web, "early</state>", "notify")
	if err := in.Answer(); err != nil {
		t.Fatal(err)
	}
	happens(t, web, "confirmed</state>", "notify")
	if err := out.Wait(ctx, siptest.Answered); err != nil {
		t.Fatal(err)
	}
	if err := out.HangUp(); err != nil {
		t.Fatal(err)
	}
	happens(t, web, "terminated</state>", "notify")
	run(t, web, "unsubscribe", on(1))
	happens(t, web, "", "subscriptionEnded")
}

// rings has a phone ring the browser and give up, and be refused.
func (b *bench) rings(ctx context.Context, t *testing.T, web *clients.WebPhone, c *siptest.Phone) {
	t.Helper()
	out, err := c.Call(ctx, "101")
	if err != nil {
		t.Fatal(err)
	}
	e := happens(t, web, "102", "incoming")
	if err := out.Wait(ctx, siptest.Ringing); err != nil {
		t.Fatal(err)
	}
	if err := out.Cancel(); err != nil {
		t.Fatal(err)
	}
	if got := happens(t, web, "", "failed"); got.Call != e.Call || !strings.Contains(got.Detail, "Canceled") {
		t.Errorf("cancelled, the browser tells %+v", got)
	}
	if out, err = c.Call(ctx, "101"); err != nil {
		t.Fatal(err)
	}
	e = happens(t, web, "102", "incoming")
	run(t, web, "reject", map[string]any{"call": e.Call, "code": 486})
	if err := out.Wait(ctx, siptest.Ended); out.Status() != 486 {
		t.Errorf("refused by the browser with 486, the caller sees %d, %v", out.Status(), err)
	}
}

// JsSIP's calls with phones that speak plain RTP: out and in, hold and resume
// from both ends, blind and attended transfer; both ends hear each other.
func TestWebPhoneCalls(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	ctx := within(t, 90*time.Second)
	w := b.browser(t)
	web := b.webPhone(t, w, "101", 440)
	c, d := b.phone(t, "102", 660), b.phoneOver(t, ports.SIPTCP, "103", 880)
	for _, p := range []*siptest.Phone{c, d} {
		if err := p.Register(ctx); err != nil {
			t.Fatal(err)
		}
	}
	call := b.webCalls(ctx, t, web, c, "102")
	n := 1
	hears(ctx, t, call, 440, 660)
	webHears(t, web, n, 660, 440)
	b.secured(t, web, n)
	run(t, web, "hold", on(n))
	if err := call.WaitDirection(ctx, "sendonly"); err != nil {
		t.Fatal(err)
	}
	run(t, web, "unhold", on(n))
	if err := call.WaitDirection(ctx, "sendrecv"); err != nil {
		t.Fatal(err)
	}
	if err := call.Hold(ctx); err != nil {
		t.Fatal(err)
	}
	happens(t, web, "remote", "hold")
	if err := call.Resume(ctx); err != nil {
		t.Fatal(err)
	}
	happens(t, web, "remote", "unhold")
	hears(ctx, t, call, 440, 660)
	webHears(t, web, n, 660, 440)

	run(t, web, "refer", map[string]any{"call": n, "to": "sip:103@" + b.pbx.Extension("103").Domain})
	happens(t, web, "", "referred")
	second := answer(ctx, t, d)
	happens(t, web, "200", "transferred")
	ends(t, web, n)
	b.joined(ctx, t, call, second)

	back, err := c.Call(ctx, "101")
	if err != nil {
		t.Fatal(err)
	}
	n = happens(t, web, "102", "incoming").Call
	if err := back.Wait(ctx, siptest.Ringing); err != nil {
		t.Fatal(err)
	}
	run(t, web, "answer", on(n))
	happens(t, web, "", "confirmed")
	if err := back.Wait(ctx, siptest.Answered); err != nil {
		t.Fatal(err)
	}
	hears(ctx, t, back, 440, 660)
	webHears(t, web, n, 660, 440)
	b.secured(t, web, n)
	run(t, web, "hold", on(n))
	if err := back.WaitDirection(ctx, "sendonly"); err != nil {
		t.Fatal(err)
	}
	second = b.webCalls(ctx, t, web, d, "103")
	run(t, web, "refer", map[string]any{"call": n, "to": "sip:103@" + b.pbx.Extension("103").Domain, "replaces": n + 1})
	happens(t, web, "200", "transferred")
	b.joined(ctx, t, back, second)
}

// ends waits for the end of a page's call, which the page itself brings about
// where the PBX leaves it to the transferor.
func ends(t *testing.T, web *clients.WebPhone, call int) {
	t.Helper()
	if e, err := web.Wait(within(t, 3*time.Second), "", "ended"); err == nil && e.Call == call {
		return
	}
	run(t, web, "hangUp", on(call))
}

// webCalls has the web phone call a phone that answers.
func (b *bench) webCalls(ctx context.Context, t *testing.T, web *clients.WebPhone, p *siptest.Phone, number string) *siptest.Call {
	t.Helper()
	run(t, web, "call", map[string]any{"to": fmt.Sprintf("sip:%s@%s", number, b.pbx.Extension(number).Domain)})
	in := answer(ctx, t, p)
	happens(t, web, "180", "progress")
	happens(t, web, "", "confirmed")
	return in
}

// joined demands that 102 and 103 hear each other, and ends their call.
func (b *bench) joined(ctx context.Context, t *testing.T, c, d *siptest.Call) {
	t.Helper()
	hears(ctx, t, c, 880)
	hears(ctx, t, d, 660)
	if err := c.HangUp(); err != nil {
		t.Fatal(err)
	}
	if err := d.Wait(ctx, siptest.Ended); err != nil {
		t.Fatal(err)
	}
}
