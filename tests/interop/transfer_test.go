package interop

import (
	"fmt"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"ringfence/internal/api"
	"ringfence/internal/ports"
	"ringfence/internal/siptest"
	"ringfence/tests/clients"
)

// A baresip over TLS transfers the call of one over UDP to one over TCP, as the
// caller and as the called, and is out; the other two hear each other.
func TestBaresipTransfersBlind(t *testing.T) {
	t.Parallel()
	for _, caller := range []bool{true, false} {
		t.Run(map[bool]string{true: "as caller", false: "as called"}[caller], func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			a := b.baresipOver(t, ports.SIPTLS, "101", 0, 440, ";answermode=auto")
			c := b.baresipOver(t, ports.SIPUDP, "102", 1, 660, ";answermode=auto")
			d := b.baresipOver(t, ports.SIPTCP, "103", 2, 880, ";answermode=auto")
			if caller {
				do(t, a, "dial", "102")
			} else {
				do(t, c, "dial", "101")
			}
			established(t, a, c)
			time.Sleep(time.Second)
			do(t, a, "transfer", "sip:103@"+b.pbx.Extension("103").Domain)
			established(t, d)
			closed(t, a)
			time.Sleep(2500 * time.Millisecond)
			do(t, c, "hangup", "")
			closed(t, c, d)
			c.Close()
			d.Close()
			for p, want := range map[*clients.Baresip]float64{c: 880, d: 660} {
				heard := recordings(t, p)
				if len(heard) != 1 {
					t.Fatalf("%d recordings; log:\n%s", len(heard), p.Log())
				}
				if err := last(heard[0], time.Second).Only(want, 440); err != nil {
					t.Error(err)
				}
			}
			if h := recordings(t, d)[0]; h.Share(440) > 0.01 {
				t.Errorf("the target heard the transferor: %v", h)
			}
			list := records(t, b.pbx.Admin(t), 2)
			if len(list) != 2 {
				t.Errorf("call records %+v", list)
			}
		})
	}
}

// dialled is the dialog of the newest call that a baresip made, as its log has
// it: Call-ID, own tag, the other's tag.
func dialled(t *testing.T, p *clients.Baresip) (id, local, remote string) {
	t.Helper()
	log := p.Log()
	for _, m := range strings.Split(log, "SIP/2.0 200 OK\r\n")[1:] {
		head, _, _ := strings.Cut(m, "\r\n\r\n")
		if !regexp.MustCompile(`(?m)^CSeq: \d+ INVITE`).MatchString(head) {
			continue
		}
		one := func(pattern string) string {
			g := regexp.MustCompile(`(?m)^` + pattern).FindStringSubmatch(head)
			if g == nil {
				t.Fatalf("no %s in %s", pattern, head)
			}
			return g[1]
		}
		id, local, remote = one(`Call-ID: (\S+)`), one(`From:.*;tag=([^;\s]+)`), one(`To:.*;tag=([^;\s]+)`)
	}
	if id == "" {
		t.Fatalf("baresip made no call; log:\n%s", log)
	}
	return id, local, remote
}

// A baresip over TLS holds a call, asks another one back, and joins the two: the
// target, a baresip over TCP that knows nothing of Replaces, just goes on
// talking, to the phone over UDP that was held.
func TestBaresipTransfersAttended(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	ctx := within(t, time.Minute)
	domain := b.pbx.Extension("101").Domain
	a := b.baresipOver(t, ports.SIPTLS, "101", 0, 440, "")
	d := b.baresipOver(t, ports.SIPTCP, "103", 2, 880, ";answermode=auto")
	held := b.phone(t, "102", 660)
	if err := held.Register(ctx); err != nil {
		t.Fatal(err)
	}
	do(t, a, "dial", "102")
	call := answer(ctx, t, held)
	established(t, a)
	hears(ctx, t, call, 440, 880)
	do(t, a, "hold", "")
	if err := call.WaitDirection(ctx, "sendonly"); err != nil {
		t.Fatal(err)
	}
	do(t, a, "dial", "103")
	established(t, a, d)
	time.Sleep(1200 * time.Millisecond)
	id, local, remote := dialled(t, a)
	do(t, a, "line", "1")
	replaces := url.QueryEscape(fmt.Sprintf("%s;to-tag=%s;from-tag=%s", id, remote, local))
	do(t, a, "transfer", fmt.Sprintf("<sip:103@%s?Replaces=%s>", domain, replaces))
	closed(t, a)
	hears(ctx, t, call, 880, 440)
	time.Sleep(time.Second)
	if err := call.HangUp(); err != nil {
		t.Fatal(err)
	}
	closed(t, d)
	d.Close()
	heard := recordings(t, d)
	if len(heard) != 1 {
		t.Fatalf("%d recordings; log:\n%s", len(heard), d.Log())
	}
	if err := last(heard[0], time.Second).Only(660, 440); err != nil {
		t.Errorf("the target: %v", err)
	}
	if heard[0].Share(440) < 0.1 {
		t.Errorf("the target did not hear the transferor before: %v", heard[0])
	}
}

// linphone over TLS transfers a call, blind and attended, between phones on UDP
// and TCP.
func TestLinphoneTransfers(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	ctx := within(t, 2*time.Minute)
	domain := b.pbx.Extension("101").Domain
	a := b.linphone(t, "101", 0, 440)
	c, d := b.phone(t, "102", 660), b.phoneOver(t, ports.SIPTCP, "103", 880)
	for _, p := range []*siptest.Phone{c, d} {
		if err := p.Register(ctx); err != nil {
			t.Fatal(err)
		}
	}
	joined := func(x, y *siptest.Call) {
		t.Helper()
		hears(ctx, t, x, 880, 440)
		hears(ctx, t, y, 660, 440)
		if err := x.HangUp(); err != nil {
			t.Fatal(err)
		}
		if err := y.Wait(ctx, siptest.Ended); err != nil {
			t.Fatal(err)
		}
	}
	say(t, a, "call sip:102@"+domain)
	first := answer(ctx, t, c)
	state(t, a, "StreamsRunning")
	hears(ctx, t, first, 440, 880)
	say(t, a, "transfer sip:103@"+domain)
	second := answer(ctx, t, d)
	state(t, a, "Released")
	joined(first, second)

	say(t, a, "call sip:102@"+domain)
	first = answer(ctx, t, c)
	state(t, a, "StreamsRunning")
	say(t, a, "pause")
	state(t, a, "Paused")
	say(t, a, "call sip:103@"+domain)
	second = answer(ctx, t, d)
	state(t, a, "StreamsRunning")
	hears(ctx, t, second, 440, 660)
	say(t, a, "transfer 2 --to-call 3")
	state(t, a, "Released")
	joined(first, second)
}

// Calls of a baresip are forwarded to another, always and unanswered, and it
// talks to that one alone.
func TestBaresipIsForwarded(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	ctx := within(t, time.Minute)
	admin := b.pbx.Admin(t)
	a := b.baresipOver(t, ports.SIPTCP, "101", 0, 440, "")
	d := b.baresipOver(t, ports.SIPTLS, "103", 2, 880, ";answermode=auto")
	rings := b.phone(t, "102", 660)
	if err := rings.Register(ctx); err != nil {
		t.Fatal(err)
	}
	for _, handling := range []api.CallHandling{{ForwardAlways: "103"}, {ForwardNoAnswer: "103"}} {
		handling.RingAlso = []string{}
		change := api.ExtensionUpdate{DisplayName: "Phone 102", NoAnswerSeconds: 5, Handling: &handling}
		if err := admin.Do(ctx, "PUT", "/extensions/102", change, nil); err != nil {
			t.Fatal(err)
		}
		do(t, a, "dial", "102")
		if handling.ForwardNoAnswer != "" {
			in, err := rings.WaitCall(ctx)
			if err != nil {
				t.Fatal(err)
			}
			if err := in.Ring(); err != nil {
				t.Fatal(err)
			}
			if err := in.Wait(ctx, siptest.Ended); err == nil && in.Status() != 487 {
				t.Errorf("the phone that did not answer is left with %d", in.Status())
			}
		}
		established(t, a, d)
		time.Sleep(1500 * time.Millisecond)
		do(t, a, "hangup", "")
		closed(t, a, d)
	}
	a.Close()
	d.Close()
	heard(t, a, 880, 660)
	heard(t, d, 440, 660)
}
