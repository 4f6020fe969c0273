package interop

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"ringfence/internal/ports"
	"ringfence/internal/siptest"
	"ringfence/tests/clients"
)

// sipp is one user of sipp's; port is its own.
func (b *bench) sipp(t *testing.T, over ports.ID, number, callee string, port uint16, steps ...[]clients.Step) clients.SIPp {
	t.Helper()
	e := b.pbx.Extension(number)
	return clients.SIPp{
		Dir: t.TempDir(), Command: b.phones.Command, Server: b.pbx.Addr(over), TCP: over == ports.SIPTCP,
		Local: netip.AddrPortFrom(netip.MustParseAddr("10.77.0.2"), port),
		User:  e.SIPUser, Password: e.SIPPassword, Domain: e.Domain, Callee: callee, Steps: slices.Concat(steps...),
	}
}

// Pieces of scenarios.

// dial is an INVITE with its challenge; more are header lines.
func dial(sdp bool, more ...string) []clients.Step {
	return []clients.Step{
		clients.Request("INVITE", clients.Callee, sdp, append(more, "CSeq: 1 INVITE")...),
		clients.Expect(100, `optional="true"`),
		clients.Expect(407, `auth="true"`),
		clients.Within("ACK", 1),
		clients.Request("INVITE", clients.Callee, sdp, append(more, "CSeq: 2 INVITE", "[auth]")...),
		clients.Expect(100, `optional="true"`),
	}
}

// taken is the answer to the INVITE numbered seq.
func taken(seq int, more ...clients.Step) []clients.Step {
	return append([]clients.Step{
		clients.Expect(180, `optional="true"`),
		clients.Expect(200, `rrs="true"`),
		clients.Request("ACK", "[next_url]", false, fmt.Sprintf("CSeq: %d ACK", seq), "[routes]"),
	}, more...)
}

func bye(seq int) []clients.Step {
	return []clients.Step{
		clients.Request("BYE", "[next_url]", false, fmt.Sprintf("CSeq: %d BYE", seq), "[routes]"),
		clients.Expect(200),
	}
}

// told is a request that is answered with 200.
func told(method, where, pattern, name string) []clients.Step {
	return []clients.Step{clients.ExpectRequest(method, where, pattern, name), clients.Reply("200 OK")}
}

const body = `search_in="body"`

// sippCase is a scenario and what the far end does and sees meanwhile.
type sippCase struct {
	name  string
	steps [][]clients.Step
	far   func(ctx context.Context, t *testing.T, far, other *siptest.Phone)
}

func sippCases(other string) []sippCase {
	takes := func(ctx context.Context, t *testing.T, far, _ *siptest.Phone) {
		if err := slowly(ctx, t, far).Wait(ctx, siptest.Ended); err != nil {
			t.Error(err)
		}
	}
	update := []clients.Step{clients.Request("UPDATE", "[next_url]", true, "CSeq: 3 UPDATE", "[routes]"), clients.ExpectWith(200, body, "m=audio", "line")}
	refresh := []clients.Step{
		clients.Request("UPDATE", "[next_url]", false, "CSeq: 5 UPDATE", "[routes]", "Supported: timer", "Session-Expires: 120;refresher=uac"),
		clients.ExpectWith(200, `search_in="hdr" header="Session-Expires:"`, "120", "refreshed"),
	}
	return []sippCase{
		{"call", [][]clients.Step{dial(true), taken(2), bye(3)}, takes},
		{"CANCEL", [][]clients.Step{dial(true), {
			clients.Expect(180),
			clients.Within("CANCEL", 2),
			clients.Expect(200), clients.Expect(487),
			clients.Within("ACK", 2),
		}}, rung},
		{"100rel", [][]clients.Step{dial(true, "Require: 100rel"), {
			clients.ExpectWith(180, `search_in="hdr" header="RSeq:"`, "[0-9]+", "rseq", `rrs="true"`),
			clients.Request("PRACK", "[next_url]", false, "CSeq: 3 PRACK", "RAck: [$rseq] 2 INVITE", "[routes]"),
			clients.Expect(200),
		}, taken(2), bye(4)}, takes},
		{"session timer", [][]clients.Step{dial(true, "Supported: timer", "Session-Expires: 60"), {
			clients.ExpectWith(422, `search_in="hdr" header="Min-SE:"`, "[0-9]+", "minse"),
			clients.Within("ACK", 2),
			clients.Request("INVITE", clients.Callee, true, "CSeq: 4 INVITE", "Supported: timer", "Session-Expires: 120", "Min-SE: [$minse]", "[auth]"),
			clients.Expect(100, `optional="true"`), clients.Expect(180, `optional="true"`),
			clients.ExpectWith(200, `search_in="hdr" header="Session-Expires:"`, "[0-9]+", "expires", `rrs="true"`),
			clients.Request("ACK", "[next_url]", false, "CSeq: 4 ACK", "[routes]"),
		}, refresh, bye(6)}, takes},
		{"UPDATE", [][]clients.Step{dial(true), taken(2), update, bye(4)}, takes},
		{"re-INVITE without SDP", [][]clients.Step{dial(true), taken(2), {
			clients.Request("INVITE", "[next_url]", false, "CSeq: 3 INVITE", "[routes]"),
			clients.Expect(100, `optional="true"`),
			clients.ExpectWith(200, body, "m=audio [1-9]", "line"),
			clients.Request("ACK", "[next_url]", true, "CSeq: 3 ACK", "[routes]"),
			clients.Pause(300 * time.Millisecond),
		}, bye(4)}, takes},
		{"REFER", [][]clients.Step{dial(true), taken(2), {
			clients.Request("REFER", "[next_url]", false, "CSeq: 3 REFER", "[routes]", "Refer-To: <sip:"+other+"@[domain]>"),
			clients.Expect(202),
		}, told("NOTIFY", body, "SIP/2.0 100", "tried"), told("NOTIFY", body, "SIP/2.0 180", "rang"), told("NOTIFY", body, "SIP/2.0 200", "joined"), told("BYE", "", "", "")}, referred},
	}
}

// slowly takes a phone's next call, after it rang for a moment.
func slowly(ctx context.Context, t *testing.T, p *siptest.Phone) *siptest.Call {
	t.Helper()
	c, err := p.WaitCall(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Ring(); err != nil {
		t.Fatal(err)
	}
	time.Sleep(500 * time.Millisecond)
	if err := c.Answer(); err != nil {
		t.Fatal(err)
	}
	if err := c.Wait(ctx, siptest.Answered); err != nil {
		t.Fatal(err)
	}
	return c
}

// rung is a phone that rings until the call is cancelled.
func rung(ctx context.Context, t *testing.T, far, _ *siptest.Phone) {
	c, err := far.WaitCall(ctx)
	if err != nil {
		t.Error(err)
		return
	}
	if err := c.Ring(); err != nil {
		t.Error(err)
	}
	_ = c.Wait(ctx, siptest.Ended)
	if c.Status() != 487 || !c.EndedByPeer() {
		t.Errorf("the far end's call ended with %d", c.Status())
	}
}

// referred is a phone that is sent on to another.
func referred(ctx context.Context, t *testing.T, far, other *siptest.Phone) {
	first := answer(ctx, t, far)
	second := slowly(ctx, t, other)
	hears(ctx, t, first, 880)
	hears(ctx, t, second, 660)
	if err := first.HangUp(); err != nil {
		t.Error(err)
	}
}

// Scenarios of sipp's, each over UDP and TCP, with a phone at the far end that
// must see its part.
func TestSIPpScenarios(t *testing.T) {
	t.Parallel()
	b := newBench(t, "-extensions", "6")
	for i, over := range []ports.ID{ports.SIPUDP, ports.SIPTCP} {
		own, callee, other := fmt.Sprint(101+3*i), fmt.Sprint(102+3*i), fmt.Sprint(103+3*i)
		t.Run(transport(over), func(t *testing.T) {
			t.Parallel()
			far, third := b.phone(t, callee, 660), b.phone(t, other, 880)
			for _, p := range []*siptest.Phone{far, third} {
				if err := p.Register(within(t, 20*time.Second)); err != nil {
					t.Fatal(err)
				}
			}
			for n, c := range sippCases(other) {
				t.Run(c.name, func(t *testing.T) {
					b.play(t, b.sipp(t, over, own, callee, uint16(6500+100*i+n), c.steps...), func(ctx context.Context) { c.far(ctx, t, far, third) })
				})
			}
		})
	}
}

// play runs a scenario beside what the other ends do, who need not wait for what
// a scenario that failed does not send.
func (b *bench) play(t *testing.T, s clients.SIPp, others func(ctx context.Context)) {
	t.Helper()
	ctx, cancel := context.WithCancel(within(t, 20*time.Second))
	defer cancel()
	ended := make(chan error, 1)
	go func() {
		err := s.Run(ctx)
		if err != nil {
			cancel()
		}
		ended <- err
	}()
	// Also when others end the test: it says more than they do.
	defer func() {
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}()
	others(ctx)
}

// A sipp registers, and then answers what comes to its port: a call with an
// early answer that it wants acknowledged (RFC 3262) and offers of its own
// within, and a call that it sends on with 302.
func TestSIPpAnswers(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	ctx := within(t, 90*time.Second)
	caller, third := b.phone(t, "102", 660), b.phone(t, "103", 880)
	for _, p := range []*siptest.Phone{caller, third} {
		if err := p.Register(ctx); err != nil {
			t.Fatal(err)
		}
	}
	const own = 6700
	register := b.sipp(t, ports.SIPUDP, "101", "102", own, registers())
	if err := register.Run(ctx); err != nil {
		t.Fatal(err)
	}
	b.registeredOver(t, "101", ports.SIPUDP)

	b.play(t, b.sipp(t, ports.SIPUDP, "101", "102", own, []clients.Step{
		clients.ExpectFirst(),
		clients.Response("183 Session Progress", true, "Require: 100rel", "RSeq: 5"),
		clients.ExpectRequest("PRACK", `search_in="hdr" header="RAck:"`, "5 [0-9]+ INVITE", "rack"), clients.Reply("200 OK"),
		clients.Pause(300 * time.Millisecond),
		clients.AnswerFirst("200 OK"),
		clients.ExpectRequest("ACK", "", "", ""),
		clients.ExpectRequest("BYE", "", "", ""), clients.Reply("200 OK"),
	}), func(ctx context.Context) {
		out, err := caller.Call(ctx, "101")
		if err != nil {
			t.Fatal(err)
		}
		if err := out.Wait(ctx, siptest.Answered); err != nil {
			t.Fatal(err)
		}
		if !out.EarlyMedia() {
			t.Error("the caller saw no early answer")
		}
		if err := out.HangUp(); err != nil {
			t.Fatal(err)
		}
	})
	b.play(t, b.sipp(t, ports.SIPUDP, "101", "102", own, []clients.Step{
		clients.ExpectRequest("INVITE", "", "", ""),
		clients.Redirect("sip:103@[domain]"),
		clients.ExpectRequest("ACK", "", "", ""),
	}), func(ctx context.Context) {
		out, err := caller.Call(ctx, "101")
		if err != nil {
			t.Fatal(err)
		}
		in := answer(ctx, t, third)
		if err := out.Wait(ctx, siptest.Answered); err != nil {
			t.Fatal(err)
		}
		b.joined(ctx, t, out, in)
	})
}

// A lamp of sipp's follows a call of the phone it watches, over UDP and TCP.
func TestSIPpLampFollowsACall(t *testing.T) {
	t.Parallel()
	b := newBench(t, "-extensions", "6")
	for i, over := range []ports.ID{ports.SIPUDP, ports.SIPTCP} {
		own, callee, other := fmt.Sprint(101+3*i), fmt.Sprint(102+3*i), fmt.Sprint(103+3*i)
		t.Run(transport(over), func(t *testing.T) {
			t.Parallel()
			ctx := within(t, 40*time.Second)
			far, caller := b.phone(t, callee, 660), b.phone(t, other, 880)
			for _, p := range []*siptest.Phone{far, caller} {
				if err := p.Register(ctx); err != nil {
					t.Fatal(err)
				}
			}
			subscribe := func(seq string, more ...string) clients.Step {
				return clients.Request("SUBSCRIBE", clients.Callee, false, append(more, "CSeq: "+seq+" SUBSCRIBE", "Event: dialog", "Accept: application/dialog-info+xml", "Expires: 300")...)
			}
			b.play(t, b.sipp(t, over, own, callee, uint16(6800+100*i), []clients.Step{
				subscribe("1"), clients.Expect(401, `auth="true"`), subscribe("2", "[auth]"), clients.Expect(200, `rrs="true"`),
			}, told("NOTIFY", body, "state=\"full\"", "first"), told("NOTIFY", body, "early</state>", "rings"),
				told("NOTIFY", body, "confirmed</state>", "talks"), told("NOTIFY", body, "terminated</state>", "ends")), func(ctx context.Context) {
				time.Sleep(time.Second) // the lamp is there first
				out, err := caller.Call(ctx, callee)
				if err != nil {
					t.Fatal(err)
				}
				in, err := far.WaitCall(ctx)
				if err != nil {
					t.Fatal(err)
				}
				if err := in.Ring(); err != nil {
					t.Fatal(err)
				}
				time.Sleep(500 * time.Millisecond)
				if err := in.Answer(); err != nil {
					t.Fatal(err)
				}
				if err := out.Wait(ctx, siptest.Answered); err != nil {
					t.Fatal(err)
				}
				time.Sleep(500 * time.Millisecond)
				if err := out.HangUp(); err != nil {
					t.Fatal(err)
				}
			})
		})
	}
}
