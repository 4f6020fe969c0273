package pbx_test

import (
	"bytes"
	"context"
	"fmt"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"ringfence/internal/pbxtest"
	"ringfence/internal/ports"
	"ringfence/internal/siptest"
)

// mark is what a phone inside puts wherever it can.
const mark = "Zinnober"

// marked headers go into every message of a phone inside.
var marked = strings.Join([]string{
	"", "User-Agent: " + mark + "/1", "Server: " + mark + "/2", "Call-Info: <http://zinnober.inner.test/i>;purpose=icon",
	"Alert-Info: <http://10.99.0.9/zinnober.wav>", "Error-Info: <sip:zinnober@10.99.0.9>", "Organization: " + mark, "Subject: " + mark,
	`Warning: 399 10.99.0.9 "zinnober"`, "In-Reply-To: zinnober@10.99.0.9", "Reply-To: <sip:zinnober@10.99.0.9>",
	`Reason: SIP;cause=480;text="zinnober"`, "P-Asserted-Identity: <sip:zinnober@10.99.0.9>", "P-Preferred-Identity: <sip:zinnober@10.99.0.9>",
	"Remote-Party-ID: <sip:zinnober@10.99.0.9>;party=calling", "History-Info: <sip:zinnober@10.99.0.9>;index=1",
	"Diversion: <sip:zinnober@10.99.0.9>;reason=deflection", "Referred-By: <sip:zinnober@10.99.0.9>", "Geolocation: <cid:zinnober@10.99.0.9>",
	"Accept-Language: zinnober", "Accept-Contact: *;zinnober", "Server-Timing: zinnober", "Timestamp: 991199", "X-Zinnober: 10.99.0.9",
	"User-to-User: zinnober;encoding=hex", "Session-ID: 99aa99aa99aa99aa99aa99aa99aa99aa", "P-Charging-Vector: icid-value=zinnober;icid-generated-at=10.99.0.9",
}, "\r\n")

// markedMedia goes into every session description of a phone inside.
var (
	markedSession = "s=zinnober\r\ni=zinnober\r\nu=http://zinnober.inner.test/\r\ne=zinnober@inner.test\r\np=+99 zinnober\r\n"
	markedMedia   = strings.Join([]string{
		"i=zinnober", "b=X-ZINNOBER:99", "a=tool:zinnober", "a=x-host:zinnober.inner.test", "a=label:zinnober", "a=mid:zinnober", "a=cname:zinnober",
		"a=rtcp:4711 IN IP4 10.99.0.9", "a=candidate:1 1 UDP 2130706431 10.99.0.9 4711 typ host", "a=ssrc:99119911 cname:zinnober@10.99.0.9", "a=msid:zinnober a", "",
	}, "\r\n")
)

// mark puts the marks into a message.
func (h *hiding) mark(out bool, _ netip.AddrPort, datagram []byte) [][]byte {
	if !out {
		return [][]byte{datagram}
	}
	head, body, ok := bytes.Cut(datagram, []byte("\r\n\r\n"))
	if !ok {
		return [][]byte{datagram}
	}
	text := string(body)
	if strings.HasPrefix(text, "v=0") {
		text = strings.Replace(text, "s=call\r\n", markedSession, 1) + markedMedia
	}
	lines := strings.Split(string(head), "\r\n")
	for i, l := range lines {
		switch {
		case strings.HasPrefix(l, "Content-Length:"):
			lines[i] = fmt.Sprintf("Content-Length: %d", len(text))
		case strings.HasPrefix(l, "From: <"):
			lines[i] = strings.Replace(l, "<", `"zinnober" <`, 1)
		case strings.HasPrefix(l, "Contact: <sip:") && !strings.HasPrefix(lines[0], "REGISTER"):
			lines[i] = strings.Replace(l, "<", `"zinnober" <`, 1) + ";zinnober=1"
		}
	}
	return [][]byte{[]byte(strings.Join(lines, "\r\n") + marked + "\r\n\r\n" + text)}
}

// hiding is one phone on the edge and several inside.
type hiding struct {
	t      *testing.T
	p      *pbxtest.PBX
	ctx    context.Context
	edge   *siptest.Phone
	inside []*siptest.Phone
}

// inner registers a phone inside that marks all it says.
func (h *hiding) inner(number string, last byte) *siptest.Phone {
	h.t.Helper()
	e := h.p.Extension(number)
	phone := siptest.NewPhone(h.t, siptest.Config{
		Server: h.p.Addr(ports.SIPUDP), User: e.SIPUser, Password: e.SIPPassword, Domain: e.Domain,
		Listen: netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 9, last}), 0), ViaServer: true,
	})
	phone.SetFilter(h.mark)
	h.inside = append(h.inside, phone)
	if err := phone.Register(h.ctx); err != nil {
		h.t.Fatal(err)
	}
	return phone
}

func (h *hiding) must(err error) {
	h.t.Helper()
	if err != nil {
		h.t.Fatal(err)
	}
}

// A phone on the edge learns nothing of those inside but what is set for them:
// no address, port, name, Call-ID, tag, branch, header or line of theirs is in
// anything it ever receives, nor any that we use towards them (P10, P12).
func TestEdgeHidesTheTopology(t *testing.T) {
	for _, over := range []ports.ID{ports.EdgeUDP, ports.EdgeTCP, ports.EdgeWSS} {
		t.Run(string(over), func(t *testing.T) {
			t.Parallel()
			h := &hiding{t: t, p: pbxtest.New(t), ctx: within(t, 60*time.Second)}
			h.inner("101", 1) // another phone of the same extension
			h.edge = h.p.PhoneOn(over, "101", 440)
			b, c := h.inner("102", 2), h.inner("103", 3)
			h.subscriptions(b)
			h.placed(b)
			h.received(b, c)
			h.refused(b, c)
			h.watched(b, c)
			h.check()
		})
	}
}

// subscriptions: all that can be subscribed to, and what is published.
func (h *hiding) subscriptions(b *siptest.Phone) {
	for event, number := range map[string]string{"reg": "101", "dialog": "101", "presence": "102", "message-summary": "101"} {
		s, err := h.edge.Subscribe(h.ctx, event, number, time.Hour)
		h.must(err)
		_, err = s.Next(h.ctx)
		h.must(err)
	}
	_, err := b.Do(h.ctx, siptest.Request{
		Method: "PUBLISH", URI: b.URI(), Headers: []string{"Event: presence", "Content-Type: application/pidf+xml"},
		Body: `<presence xmlns="urn:ietf:params:xml:ns:pidf" entity="pres:zinnober@10.99.0.9"><tuple id="zinnober"><status><basic>open</basic></status><contact>sip:zinnober@10.99.0.9</contact></tuple></presence>`,
	})
	h.must(err)
}

// placed: calls the phone on the edge places.
func (h *hiding) placed(b *siptest.Phone) {
	out, err := h.edge.Call(h.ctx, "102")
	h.must(err)
	in, err := b.WaitCall(h.ctx)
	h.must(err)
	h.must(in.Ring())
	h.must(in.Progress())
	h.must(in.Answer())
	h.must(out.Wait(h.ctx, siptest.Answered))
	h.must(in.Hold(h.ctx))
	h.must(in.Resume(h.ctx))
	h.must(out.Hold(h.ctx))
	h.must(out.Resume(h.ctx))
	for _, method := range []string{"INFO", "MESSAGE", "UPDATE", "OPTIONS"} {
		_, err = in.Do(h.ctx, method, []string{"Content-Type: text/plain"}, "hello")
		h.must(err)
	}
	h.must(out.Refer(h.ctx, "<sip:103@"+h.p.Extension("103").Domain+">"))
	moved, err := h.inside[2].WaitCall(h.ctx)
	h.must(err)
	h.must(moved.Answer())
	h.must(out.Wait(h.ctx, siptest.Ended))
	h.must(moved.HangUp())
	h.must(in.Wait(h.ctx, siptest.Ended))
}

// received: calls and messages that come to it.
func (h *hiding) received(b, c *siptest.Phone) {
	domain := h.p.Extension("101").Domain
	call := func(from *siptest.Phone) (out, in *siptest.Call) {
		out, err := from.Call(h.ctx, "101")
		h.must(err)
		in, err = h.edge.WaitCall(h.ctx)
		h.must(err)
		other, err := h.inside[0].WaitCall(h.ctx)
		h.must(err)
		h.must(in.Answer())
		h.must(out.Wait(h.ctx, siptest.Answered))
		h.must(other.Wait(h.ctx, siptest.Ended))
		return out, in
	}
	out, in := call(b)
	first, err := b.Call(h.ctx, "103")
	h.must(err)
	second, err := c.WaitCall(h.ctx)
	h.must(err)
	h.must(second.Answer())
	h.must(first.Wait(h.ctx, siptest.Answered))
	h.must(out.Refer(h.ctx, "<sip:103@"+domain+"?Replaces="+url.QueryEscape(first.Replaces())+">"))
	h.must(out.Wait(h.ctx, siptest.Ended))
	h.must(first.Wait(h.ctx, siptest.Ended))
	time.Sleep(200 * time.Millisecond) // the two are told
	h.must(second.HangUp())
	h.must(in.Wait(h.ctx, siptest.Ended))

	out, in = call(c)
	h.must(out.Refer(h.ctx, "<sip:102@"+domain+";zinnober=1?Subject=zinnober>"))
	moved, err := b.WaitCall(h.ctx)
	h.must(err)
	h.must(moved.Answer())
	h.must(moved.Wait(h.ctx, siptest.Answered))
	time.Sleep(200 * time.Millisecond) // the caller is told
	h.must(moved.HangUp())
	h.must(in.Wait(h.ctx, siptest.Ended))

	res, err := b.Do(h.ctx, siptest.Request{Method: "MESSAGE", URI: h.edge.URI(), Headers: []string{"Content-Type: text/plain", "Contact: <" + "sip:zinnober@10.99.0.9>"}, Body: "hello"})
	if err != nil || res.StatusCode != 200 {
		h.t.Fatalf("MESSAGE: %v, %v", res, err)
	}
	out, err = b.Call(h.ctx, "101")
	h.must(err)
	in, err = h.edge.WaitCall(h.ctx)
	h.must(err)
	h.must(in.Ring())
	h.must(out.Wait(h.ctx, siptest.Ringing))
	h.must(out.Cancel())
	h.must(in.Wait(h.ctx, siptest.Ended))
}

// refused: what goes wrong.
func (h *hiding) refused(b, c *siptest.Phone) {
	domain := h.p.Extension("101").Domain
	for _, refusal := range []struct {
		code    int
		headers []string
	}{
		{486, nil}, {302, []string{"Contact: <sip:103@" + domain + ";zinnober=1>"}}, {302, []string{"Contact: <sip:zinnober@10.99.0.9>"}},
		{401, []string{`WWW-Authenticate: Digest realm="zinnober", nonce="zinnober"`}}, {500, nil}, {603, nil}, {420, []string{"Unsupported: zinnober"}},
	} {
		out, err := h.edge.Call(h.ctx, "102")
		h.must(err)
		in, err := b.WaitCall(h.ctx)
		h.must(err)
		h.must(in.Reject(refusal.code, refusal.headers...))
		if refusal.code == 302 && strings.Contains(refusal.headers[0], "103") {
			next, err := c.WaitCall(h.ctx)
			h.must(err)
			h.must(next.Reject(480))
		}
		h.must(out.Wait(h.ctx, siptest.Ended))
	}
	_, err := h.edge.Do(h.ctx, siptest.Request{Method: "MESSAGE", URI: "sip:102@" + domain, Headers: []string{"Content-Type: text/plain"}, Body: "hello"})
	h.must(err)
	_, err = h.edge.Do(h.ctx, siptest.Request{Method: "OPTIONS", URI: "sip:102@" + domain})
	h.must(err)
}

// watched: a lamp for a call inside, which is picked up by what it says.
func (h *hiding) watched(b, c *siptest.Phone) {
	lamp, err := h.edge.Subscribe(h.ctx, "dialog", "102", time.Hour)
	h.must(err)
	out, err := c.Call(h.ctx, "102")
	h.must(err)
	in, err := b.WaitCall(h.ctx)
	h.must(err)
	h.must(in.Ring())
	ringing, err := lamp.Wait(h.ctx, "<state>early</state>")
	h.must(err)
	body := string(ringing.Body())
	name := func(attribute string) string {
		_, v, _ := strings.Cut(body, " "+attribute+`="`)
		v, _, _ = strings.Cut(v, `"`)
		return v
	}
	if name("call-id") == "" {
		h.t.Errorf("the ringing call is not named: %s", body)
	}
	taken, err := h.edge.CallWith(h.ctx, "102", siptest.CallOptions{Headers: []string{
		"Replaces: " + name("call-id") + ";to-tag=" + name("remote-tag") + ";from-tag=" + name("local-tag"), "Require: replaces",
	}})
	h.must(err)
	h.must(taken.Wait(h.ctx, siptest.Answered))
	h.must(out.Wait(h.ctx, siptest.Answered))
	_, err = lamp.Wait(h.ctx, "<state>terminated</state>")
	h.must(err)
	h.must(out.HangUp())
	h.must(taken.Wait(h.ctx, siptest.Ended))
	h.must(h.edge.Register(h.ctx))
}

// word matches what identifies something in a message.
var word = regexp.MustCompile(`(?:;tag=|;branch=|(?m:^Call-ID: ))([^;\s]+)`)

// check looks for secrets in all that the phone on the edge received.
func (h *hiding) check() {
	own, told := &strings.Builder{}, &strings.Builder{}
	for _, m := range h.edge.Trace() {
		if m.Out {
			own.WriteString(m.Text)
		} else {
			told.WriteString(m.Text)
		}
	}
	secrets := h.secrets()
	if len(secrets) < 100 || told.Len() < 10_000 {
		h.t.Fatalf("%d secrets, %d bytes seen: too few for a test", len(secrets), told.Len())
	}
	for _, s := range secrets {
		if strings.Contains(own.String(), s) {
			continue
		}
		for _, m := range h.edge.Trace() {
			if !m.Out && strings.Contains(strings.ToLower(m.Text), strings.ToLower(s)) {
				h.t.Errorf("%q of inside is in\n%s", s, m.Text)
				break
			}
		}
	}
}

// secrets are the marks, and all that identifies anything on the wires inside.
func (h *hiding) secrets() []string {
	secrets := []string{mark, "10.99.0.9", "inner.test", "99aa99aa", "99119911", "991199", "127.0.9.", fmt.Sprintf(":%d", h.p.Addr(ports.SIPUDP).Port())}
	for _, phone := range h.inside {
		secrets = append(secrets, fmt.Sprintf(":%d", phone.Addr().Port()))
		for _, m := range phone.Trace() {
			for _, found := range word.FindAllStringSubmatch(m.Text, -1) {
				secrets = append(secrets, found[1])
			}
			if body := bodyOf(m.Text); strings.HasPrefix(body, "v=0") {
				d, err := siptest.ParseSDP(body)
				h.must(err)
				secrets = append(secrets, fmt.Sprintf("m=audio %d ", d.Addr.Port()), d.Session)
			}
		}
	}
	slices.Sort(secrets)
	return slices.Compact(secrets)
}

func bodyOf(text string) string {
	_, body, _ := strings.Cut(text, "\r\n\r\n")
	return body
}
