package presence

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"ringfence/internal/sip"
	"ringfence/internal/telephony"
)

func code(response string) string {
	_, c, _ := strings.Cut(response, " ")
	c, _, _ = strings.Cut(c, " ")
	return c
}

func TestSubscribeRefusals(t *testing.T) {
	inTime(t, func(t *testing.T) {
		w := newWorld(t, nil)
		p := w.phone("103", 5103)
		for _, c := range []struct {
			number  string
			headers []string
			want    string
			also    string
		}{
			{"102", []string{"Event: conference"}, "489", "Allow-Events: dialog, presence, message-summary, reg"},
			{"102", nil, "489", "Allow-Events"},
			{"102", []string{"Event: dialog", "Expires: 59"}, "423", "Min-Expires: 60"},
			{"102", []string{"Event: dialog", "Expires: soon"}, "400", ""},
			{"102", []string{"Event: dialog", "Accept: application/sdp"}, "406", "Accept: application/dialog-info+xml"},
			{"102", []string{"Event: dialog;id=\"x\""}, "400", ""},
			{"102", []string{"Event: dialog", "Contact: <sip:x@y>"}, "400", ""}, // two
			{"102", []string{"Event: message-summary"}, "403", ""},
			{"102", []string{"Event: reg"}, "403", ""},
			{"199", []string{"Event: dialog"}, "404", ""},
		} {
			got := p.ask(sip.SUBSCRIBE, c.number, c.headers...).do()
			if code(got) != c.want || !strings.Contains(got, c.also) {
				t.Errorf("%s %q: %s", c.number, c.headers, got)
			}
		}
		other := p.ask(sip.SUBSCRIBE, "102", "Event: dialog")
		other.uri = "sip:102@b.test" // not ours to watch
		if got := other.do(); code(got) != "404" {
			t.Errorf("another tenant's: %s", got)
		}
		p.quiet(time.Minute)
		if w.svc.Len() != 0 || w.ep.Stats().Pending != 0 {
			t.Errorf("%d subscriptions, %+v", w.svc.Len(), w.ep.Stats())
		}
	})
}

// TestStrangersLearnNothing: whatever is asked for, the answer is the same
// challenge.
func TestStrangersLearnNothing(t *testing.T) {
	inTime(t, func(t *testing.T) {
		w := newWorld(t, nil)
		p := w.phone("103", 5103)
		same := ""
		for _, number := range []string{"101", "102", "199", "666"} {
			for _, from := range []string{"103", "199"} {
				for _, method := range []string{sip.SUBSCRIBE, sip.PUBLISH} {
					p.user = from
					a := p.ask(method, number, "Event: presence")
					got := a.once("")
					shape := code(got) + " " + fmt.Sprint(strings.Count(got, "\r\n"))
					if same == "" {
						same = shape
					}
					if code(got) != "401" || shape != same {
						t.Errorf("%s of %s from %s: %s", method, number, from, got)
					}
				}
			}
		}
		inside := p.ask(sip.SUBSCRIBE, "102", "Event: dialog")
		inside.toTag = "guessed"
		if got := inside.once(""); code(got) != "401" {
			t.Errorf("within a dialog: %s", got)
		}
	})
}

func TestRefreshAndUnsubscribe(t *testing.T) {
	inTime(t, func(t *testing.T) {
		w := newWorld(t, nil)
		p := w.phone("103", 5103)
		p.seq = 100
		sub, _ := p.subscribe("dialog", "102", "Expires: 600")
		time.Sleep(500 * time.Second)
		sub.headers = []string{"Event: dialog", "Expires: 7200"}
		if ok := sub.do(); code(ok) != "200" || header(ok, "Expires") != "3600" || tagOf(header(ok, "To")) != sub.toTag {
			t.Fatalf("refresh: %s", ok)
		}
		if n := p.notified(); header(n, "Subscription-State") != "active;expires=3600" || header(n, "CSeq") != "2 NOTIFY" {
			t.Errorf("after the refresh: %s", n)
		}
		p.quiet(3500 * time.Second)
		p.seq -= 10
		if got := sub.do(); code(got) != "500" {
			t.Errorf("an old one: %s", got)
		}
		p.seq += 10
		wrong := *sub
		wrong.fromTag = "another"
		if got := wrong.do(); code(got) != "481" {
			t.Errorf("another tag: %s", got)
		}
		wrong = *sub
		wrong.headers = []string{"Event: presence"}
		if got := wrong.do(); code(got) != "481" {
			t.Errorf("another event: %s", got)
		}
		thief := w.phone("101", 5101)
		stolen := *sub
		stolen.p, stolen.headers = thief, []string{"Event: dialog", "Expires: 0"}
		thief.seq = 200
		if got := stolen.do(); code(got) != "481" {
			t.Errorf("another extension's: %s", got)
		}
		sub.headers = []string{"Event: dialog", "Expires: 0"}
		if ok := sub.do(); code(ok) != "200" || header(ok, "Expires") != "0" {
			t.Fatalf("unsubscribe: %s", ok)
		}
		if n := p.notified(); header(n, "Subscription-State") != "terminated;reason=timeout" || !strings.Contains(n, "</dialog-info>") {
			t.Errorf("last: %s", n)
		}
		w.set(callOf("c1", telephony.CallRinging), true)
		p.quiet(time.Minute)
		if got := sub.do(); code(got) != "481" {
			t.Errorf("after the end: %s", got)
		}
	})
}

// TestFetch: an initial SUBSCRIBE with Expires 0 asks once.
func TestFetch(t *testing.T) {
	inTime(t, func(t *testing.T) {
		w := newWorld(t, nil)
		w.set(callOf("c1", telephony.CallConnected), true)
		time.Sleep(time.Second)
		p := w.phone("103", 5103)
		_, n := p.subscribe("dialog", "102", "Expires: 0")
		if header(n, "Subscription-State") != "terminated;reason=timeout" || lit(t, n) != "confirmed" || w.svc.Len() != 0 {
			t.Errorf("fetched %s", n)
		}
		p.quiet(time.Minute)
	})
}

func TestSubscriptionExpires(t *testing.T) {
	inTime(t, func(t *testing.T) {
		w := newWorld(t, nil)
		p := w.phone("103", 5103)
		p.subscribe("dialog", "102", "Expires: 60")
		p.quiet(59 * time.Second)
		if n := p.notified(); header(n, "Subscription-State") != "terminated;reason=timeout" {
			t.Errorf("expired: %s", n)
		}
		p.quiet(time.Minute)
		w.checkEmpty()
	})
}

// TestAnswersToNotify: what a subscriber's answer means for its subscription.
func TestAnswersToNotify(t *testing.T) {
	for _, c := range []struct {
		name  string
		code  int
		extra []string
		alive bool
		pause time.Duration
	}{
		{"unknown subscription", 481, nil, false, 0},
		{"unknown with Retry-After", 481, []string{"Retry-After: 5"}, false, 0},
		{"refused", 603, nil, false, 0},
		{"challenged", 401, []string{`WWW-Authenticate: Digest realm="x", nonce="y"`}, false, 0},
		{"busy", 503, []string{"Retry-After: 30 (in a moment);duration=9"}, true, 30 * time.Second},
		{"busy for years", 500, []string{"Retry-After: 4294967295"}, false, 0}, // longer than it lasts
		{"nothing", 0, nil, false, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			inTime(t, func(t *testing.T) {
				w := newWorld(t, nil)
				p := w.phone("103", 5103)
				p.subscribe("dialog", "102", "Expires: 600")
				w.set(callOf("c1", telephony.CallRinging), true)
				n := p.next("NOTIFY ")
				if c.code != 0 {
					p.reply(n, c.code, c.extra...)
				} else {
					time.Sleep(40 * time.Second)
					for len(p.in) > 0 { // its retransmissions
						if m := <-p.in; header(m, "CSeq") != header(n, "CSeq") {
							t.Errorf("another NOTIFY while one was in flight: %s", m)
						}
					}
				}
				w.end(callOf("c1", ""), true)
				if !c.alive {
					p.quiet(time.Minute)
					time.Sleep(10 * time.Minute)
					if w.svc.Len() != 0 {
						t.Error("subscription lives")
					}
					return
				}
				p.quiet(c.pause - time.Second)
				if got := lit(t, p.notified()); got != "terminated" {
					t.Errorf("after the pause %q", got)
				}
			})
		})
	}
}

// TestForgedAnswersChangeNothing: an answer that matches no transaction, or
// comes when it is over, is nobody's.
func TestForgedAnswersChangeNothing(t *testing.T) {
	inTime(t, func(t *testing.T) {
		w := newWorld(t, nil)
		p := w.phone("103", 5103)
		_, first := p.subscribe("dialog", "102")
		p.reply(first, 481) // late: it was answered already
		p.reply(strings.Replace(first, "branch=z9hG4bK", "branch=z9hG4bKforged", 1), 481)
		synctest.Wait()
		w.set(callOf("c1", telephony.CallRinging), true)
		n := p.next("NOTIFY ")
		p.reply(strings.Replace(n, "branch=z9hG4bK", "branch=z9hG4bKforged", 1), 481)
		p.reply(n, 200)
		w.end(callOf("c1", ""), true)
		if lit(t, p.notified()) != "terminated" || w.svc.Len() != 1 {
			t.Error("subscription gone")
		}
	})
}

// TestChangesAreGathered: a lamp that flickers costs three NOTIFYs at once and
// one a second, of which the last tells the truth; never two at a time.
func TestChangesAreGathered(t *testing.T) {
	inTime(t, func(t *testing.T) {
		w := newWorld(t, nil)
		p := w.phone("103", 5103)
		p.subscribe("dialog", "102")
		time.Sleep(10 * time.Second)
		before := w.notifies()
		// Ten seconds. A lamp is looked at every 20 ms while it flickers: a
		// period that divides those would be seen at the same place each time.
		for i := range 1430 {
			c := callOf(fmt.Sprintf("c%d", i), telephony.CallRinging)
			w.set(c, true)
			time.Sleep(4 * time.Millisecond)
			w.end(c, true)
			time.Sleep(3 * time.Millisecond)
			for len(p.in) > 0 {
				p.reply(<-p.in, 200)
			}
		}
		w.set(callOf("last", telephony.CallConnected), true)
		final := ""
		for end := time.Now().Add(5 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
			for len(p.in) > 0 {
				final = <-p.in
				p.reply(final, 200)
			}
		}
		if n := w.notifies() - before; n > 3+15 || n < 3 {
			t.Errorf("%d NOTIFYs in ten seconds", n)
		}
		if !strings.Contains(final, `<dialog id="lastours-b"`) || !strings.Contains(final, "confirmed") {
			t.Errorf("the last one: %s", final)
		}
	})
}

// TestManyLampsOfOneExtension: all 500 are told, with a bounded number in
// flight, also if nobody answers.
func TestManyLampsOfOneExtension(t *testing.T) {
	inTime(t, func(t *testing.T) {
		w := newWorld(t, func(c *Config) { c.InFlight = 50 })
		var phones []*phone
		for i := range 5 {
			p := w.phone([]string{"101", "102", "103"}[i%3], uint16(6000+i))
			phones = append(phones, p)
			for range 100 {
				p.subscribe("dialog", "102")
			}
		}
		if w.svc.Len() != 500 {
			t.Fatalf("%d subscriptions", w.svc.Len())
		}
		time.Sleep(time.Minute)
		w.set(callOf("c1", telephony.CallRinging), true)
		time.Sleep(100 * time.Millisecond)
		if n := w.ep.Stats().Pending; n != 50 {
			t.Errorf("%d NOTIFYs in flight", n)
		}
		told := map[string]bool{}
		for end := time.Now().Add(time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) {
			for _, p := range phones {
				for len(p.in) > 0 {
					n := <-p.in
					told[header(n, "Call-ID")] = true
					p.reply(n, 200)
				}
			}
		}
		if len(told) != 500 {
			t.Errorf("%d lamps told", len(told))
		}
		w.end(callOf("c1", ""), true) // and now nobody answers
		time.Sleep(20 * time.Minute)
		w.checkEmpty()
		if n := w.ep.Stats().Pending; n != 0 {
			t.Errorf("%d transactions pending", n)
		}
	})
}

// TestLimits: an extension's oldest subscription gives way, and beyond the
// whole number the newest is refused.
func TestLimits(t *testing.T) {
	inTime(t, func(t *testing.T) {
		w := newWorld(t, func(c *Config) { c.PerSubscriber, c.Subscriptions = 3, 5 })
		p := w.phone("103", 5103)
		first, _ := p.subscribe("dialog", "101")
		for range 2 {
			p.subscribe("dialog", "102")
		}
		a := p.ask(sip.SUBSCRIBE, "102", "Event: dialog")
		if ok := a.do(); code(ok) != "200" {
			t.Fatal(ok)
		}
		for range 2 { // the last of the oldest, the first of the newest
			n := p.notified()
			if gone := header(n, "Call-ID") == first.id; gone != strings.HasPrefix(header(n, "Subscription-State"), "terminated;reason=giveup") {
				t.Errorf("%s", n)
			}
		}
		if w.svc.Len() != 3 {
			t.Errorf("%d subscriptions", w.svc.Len())
		}
		q := w.phone("101", 5101)
		q.subscribe("dialog", "102")
		q.subscribe("dialog", "102")
		if got := q.ask(sip.SUBSCRIBE, "102", "Event: dialog").do(); code(got) != "503" || header(got, "Retry-After") == "" {
			t.Errorf("beyond the limit: %s", got)
		}
	})
}

// TestLongNamesAreNotKept: what is kept of a subscriber has a bound, its names
// included.
func TestLongNamesAreNotKept(t *testing.T) {
	inTime(t, func(t *testing.T) {
		w := newWorld(t, nil)
		a := w.phone("103", 5103).ask(sip.SUBSCRIBE, "102", "Event: dialog")
		a.display = `"` + strings.Repeat("x", maxText) + `" `
		if got := a.do(); code(got) != "400" || w.svc.Len() != 0 {
			t.Errorf("%d subscriptions, answered %s", w.svc.Len(), got)
		}
	})
}

// TestDeletedExtensions: nobody watches what is gone, nor does who is gone.
func TestDeletedExtensions(t *testing.T) {
	inTime(t, func(t *testing.T) {
		w := newWorld(t, nil)
		p, q := w.phone("103", 5103), w.phone("101", 5101)
		p.subscribe("dialog", "102")
		q.subscribe("dialog", "103")
		var left []telephony.Extension
		for _, e := range w.snap.Extensions(1) {
			if e.Number == "101" {
				left = append(left, e)
			}
		}
		next := telephony.NewSnapshot(2, telephony.DefaultSettings(), w.snap.Tenants(), left)
		w.mu.Lock()
		w.snap = next
		w.mu.Unlock()
		w.svc.Reconcile(next)
		if n := p.notified(); header(n, "Subscription-State") != "terminated;reason=rejected" {
			t.Errorf("subscriber gone: %s", n)
		}
		if n := q.notified(); header(n, "Subscription-State") != "terminated;reason=noresource" {
			t.Errorf("resource gone: %s", n)
		}
		if w.svc.Len() != 0 {
			t.Errorf("%d left", w.svc.Len())
		}
	})
}

// TestCloseTells: at the end those hear of it that will not hear from the next
// start.
func TestCloseTells(t *testing.T) {
	for _, keep := range []bool{false, true} {
		t.Run(fmt.Sprint("stored ", keep), func(t *testing.T) {
			inTime(t, func(t *testing.T) {
				w := newWorld(t, func(c *Config) { c.KeepAtShutdown = keep })
				p := w.phone("103", 5103)
				p.subscribe("dialog", "102")
				closed := make(chan struct{})
				go func() { w.svc.Close(); close(closed) }()
				if keep {
					<-closed
					p.quiet(time.Second)
					return
				}
				if n := p.notified(); header(n, "Subscription-State") != "terminated;reason=deactivated" {
					t.Errorf("at the end: %s", n)
				}
				<-closed
			})
		})
	}
}

// TestRestoredSubscriptions go on in their dialog, with higher numbers, and
// can be refreshed and ended.
func TestRestoredSubscriptions(t *testing.T) {
	inTime(t, func(t *testing.T) {
		keep := func(c *Config) { c.KeepAtShutdown = true }
		w := newWorld(t, keep)
		p := w.phone("103", 5103)
		sub, first := p.subscribe("dialog;id=x", "102", "Record-Route: <sip:192.0.2.9;lr>")
		short, _ := p.subscribe("dialog", "102", "Expires: 60")
		c := w.svc.Take()
		if len(c.Put) != 2 || len(c.Removed) != 0 {
			t.Fatalf("to store: %+v", c)
		}
		w.svc.Return(c) // the disk did not take it
		if again := w.svc.Take(); len(again.Put) != 2 || !w.svc.Take().Empty() {
			t.Fatalf("to store again: %+v", again)
		}
		time.Sleep(59 * time.Second)
		if last := p.notified(); header(last, "Call-ID") != short.id {
			t.Errorf("expired: %s", last)
		}
		synctest.Wait()
		if c := w.svc.Take(); len(c.Removed) != 1 || c.Removed[0].CallID != short.id {
			t.Errorf("removed: %+v", c)
		}
		w.close()

		v := newWorld(t, keep)
		v.phones = w.phones
		p.w = v
		v.set(callOf("c1", telephony.CallConnected), true)
		v.svc.Restore(c.Put)
		if v.svc.Len() != 1 {
			t.Fatalf("%d restored; one had expired", v.svc.Len())
		}
		time.Sleep(time.Second)
		p.quiet(time.Second)
		v.svc.Resume()
		v.svc.Resume()
		n := p.notified()
		if header(n, "Call-ID") != sub.id || tagOf(header(n, "From")) != sub.toTag || header(n, "Route") != "<sip:192.0.2.9;lr>" || header(n, "Event") != "dialog;id=x" {
			t.Errorf("restored: %s", n)
		}
		if lamp(t, n).Version <= lamp(t, first).Version || lit(t, n) != "confirmed" || header(n, "CSeq") != fmt.Sprintf("%d NOTIFY", 1+gap) {
			t.Errorf("restored: %s", n)
		}
		p.quiet(time.Minute)
		sub.headers = []string{"Event: dialog;id=x", "Expires: 0"}
		if ok := sub.do(); code(ok) != "200" {
			t.Errorf("ending it: %s", ok)
		}
		p.notified()
	})
}
