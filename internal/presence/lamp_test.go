package presence

import (
	"strings"
	"testing"
	"time"

	"ringfence/internal/telephony"
)

// TestLampFollowsACall through all its states, with increasing versions.
func TestLampFollowsACall(t *testing.T) {
	inTime(t, func(t *testing.T) {
		w := newWorld(t, nil)
		p := w.phone("103", 5103)
		sub, first := p.subscribe("dialog;id=7", "102", "Record-Route: <sip:192.0.2.9;lr>", "Expires: 1800")
		for name, want := range map[string]string{
			"Event": "dialog;id=7", "Subscription-State": "active;expires=1800", "Route": "<sip:192.0.2.9;lr>",
			"Call-ID": sub.id, "Content-Type": "application/dialog-info+xml", "CSeq": "1 NOTIFY",
			"Contact": "<sip:102@192.0.2.1:5060>", "To": "<sip:103@a.test>;tag=" + sub.fromTag,
		} {
			if got := header(first, name); got != want {
				t.Errorf("NOTIFY has %s %q, want %q", name, got, want)
			}
		}
		if tagOf(header(first, "From")) != sub.toTag || !strings.HasPrefix(first, "NOTIFY sip:103@192.0.2.50:5103 SIP/2.0\r\n") {
			t.Errorf("not within the dialog:\n%s", first)
		}
		if d := lamp(t, first); d.Entity != "sip:102@a.test" || len(d.Dialogs) != 0 || d.Version != 0 {
			t.Errorf("first %+v", d)
		}
		version := 0
		for _, state := range []struct {
			is   telephony.CallState
			want string
		}{{telephony.CallTrying, "trying"}, {telephony.CallRinging, "early"}, {telephony.CallConnected, "confirmed"}, {telephony.CallHeld, "confirmed"}} {
			w.set(callOf("c1", state.is), true)
			if state.is == telephony.CallHeld { // nothing a lamp shows
				p.quiet(20 * time.Second)
				continue
			}
			n := p.notified()
			d := lamp(t, n)
			if version++; d.Version != version || len(d.Dialogs) != 1 || d.Dialogs[0].State != state.want {
				t.Fatalf("%s: %s", state.is, n)
			}
			x := d.Dialogs[0]
			if x.Direction != "recipient" || x.Remote.Identity.URI != "sip:101@a.test" || x.Remote.Identity.Display != "Anna" {
				t.Errorf("%s: %+v", state.is, x)
			}
			// Only a dialog that rings is named: who names it can take it over.
			if named := x.CallID == "c1-b" && x.LocalTag == "c1theirs-b" && x.RemoteTag == "c1ours-b"; named != (state.want == "early") {
				t.Errorf("%s names %+v", state.is, x)
			}
			time.Sleep(time.Second)
		}
		w.end(callOf("c1", ""), true)
		if got := lit(t, p.notified()); got != "terminated" {
			t.Errorf("after the end %q", got)
		}
		p.quiet(time.Minute)
	})
}

// TestLampOfSeveralCalls shows each as a dialog of its own.
func TestLampOfSeveralCalls(t *testing.T) {
	inTime(t, func(t *testing.T) {
		w := newWorld(t, nil)
		p := w.phone("103", 5103)
		w.set(callOf("c1", telephony.CallConnected), true)
		time.Sleep(time.Second)
		_, first := p.subscribe("dialog", "102")
		if lit(t, first) != "confirmed" {
			t.Errorf("first %s", first)
		}
		w.set(callOf("c2", telephony.CallRinging), true)
		if got := lit(t, p.notified()); got != "confirmed early" && got != "early confirmed" {
			t.Errorf("two calls: %q", got)
		}
		w.end(callOf("c1", ""), true)
		if got := lit(t, p.notified()); got != "terminated early" {
			t.Errorf("one ended: %q", got)
		}
		w.end(callOf("c2", ""), true)
		if got := lit(t, p.notified()); got != "terminated" {
			t.Errorf("both ended: %q", got)
		}
	})
}

// TestLampWithoutEvents: a lost event costs two seconds, not a wrong lamp.
func TestLampWithoutEvents(t *testing.T) {
	inTime(t, func(t *testing.T) {
		w := newWorld(t, nil)
		p := w.phone("103", 5103)
		p.subscribe("dialog", "102")
		w.set(callOf("c1", telephony.CallConnected), false)
		if lit(t, p.notified()) != "confirmed" {
			t.Error("lamp off")
		}
		w.end(callOf("c1", ""), false)
		if lit(t, p.notified()) != "terminated" {
			t.Error("lamp on")
		}
	})
}

// TestLampHidesWhoWithholds: neither the caller's lamp nor the callee's tells
// who talks to whom.
func TestLampHidesWhoWithholds(t *testing.T) {
	inTime(t, func(t *testing.T) {
		w := newWorld(t, nil)
		c := callOf("c1", telephony.CallRinging)
		c.Hidden = true
		w.set(c, true)
		time.Sleep(time.Second)
		p := w.phone("103", 5103)
		for _, number := range []string{"101", "102"} {
			_, n := p.subscribe("dialog", number)
			if d := lamp(t, n); len(d.Dialogs) != 1 || d.Dialogs[0].Remote != nil || strings.Contains(n, "Anna") && number == "102" {
				t.Errorf("lamp of %s: %s", number, n)
			}
		}
	})
}

// TestLampTextsAreEscaped: names come from people and may be anything.
func TestLampTextsAreEscaped(t *testing.T) {
	inTime(t, func(t *testing.T) {
		w := newWorld(t, nil)
		p := w.phone("103", 5103)
		for i, hostile := range []string{`"><dialog id="x"/><a b="`, "]]>&amp;<!--", "\x00\x01\xff\r\nNOTIFY x", "</dialog-info>", "ü😀\u202e"} {
			c := callOf("c1", telephony.CallRinging)
			c.Caller.Name, c.Legs[1].Name = hostile, hostile
			w.set(c, true)
			if i == 0 {
				time.Sleep(time.Second)
				p.subscribe("dialog", "102")
				continue
			}
			d := lamp(t, p.notified())
			want := strings.Map(func(r rune) rune {
				if r < ' ' && r != '\r' && r != '\n' {
					return '\ufffd'
				}
				return r
			}, strings.ToValidUTF8(hostile, "\ufffd"))
			if len(d.Dialogs) != 1 || d.Dialogs[0].Remote.Identity.Display != want {
				t.Errorf("%q became %+v", hostile, d.Dialogs)
			}
			time.Sleep(time.Second)
		}
	})
}
