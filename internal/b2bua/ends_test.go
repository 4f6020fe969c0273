package b2bua

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"ringfence/internal/sip"
	"ringfence/internal/telephony"
)

// TestAnswerIsRepeatedUntilAck is RFC 3261 section 13.3.1.4.
func TestAnswerIsRepeatedUntilAck(t *testing.T) {
	inTime(t, func(t *testing.T) {
		s, a, b := pair(t, nil)
		da := a.dial("102", "v=0 offer-a")
		b.reply(b.want("INVITE"), 200, "b1", "v=0 answer-b")
		b.want("ACK")
		start := time.Now()
		var at []string
		var ok string
		for range 5 {
			ok = a.want("200")
			at = append(at, fmt.Sprint(time.Since(start)))
		}
		if got := strings.Join(at, " "); got != "0s 500ms 1.5s 3.5s 7.5s" {
			t.Errorf("answers at %s", got)
		}
		da.learn(ok)
		da.request(sip.ACK, "")
		a.quiet(20 * time.Second)
		if len(s.svc.Calls(1)) != 1 {
			t.Error("call is gone")
		}
	})
}

func TestAnswerIsNeverAcknowledged(t *testing.T) {
	inTime(t, func(t *testing.T) {
		s, a, b := pair(t, nil)
		a.dial("102", "v=0 offer-a")
		b.reply(b.want("INVITE"), 200, "b1", "v=0 answer-b")
		b.want("ACK")
		time.Sleep(33 * time.Second)
		b.reply(b.want("BYE"), 200, "", "")
		for m := a.next(); !strings.HasPrefix(m, "BYE"); m = a.next() {
			if !strings.HasPrefix(m, "SIP/2.0 200") {
				t.Fatal(m)
			}
		}
		s.ended(telephony.EndFailed, 200)
	})
}

// TestCalleeHangsUpBeforeAck: our BYE to the caller waits for its ACK (RFC 3261
// section 15).
func TestCalleeHangsUpBeforeAck(t *testing.T) {
	inTime(t, func(t *testing.T) {
		s, a, b := pair(t, nil)
		da := a.dial("102", "v=0 offer-a")
		invite := b.want("INVITE")
		b.reply(invite, 200, "b1", "v=0 answer-b")
		b.want("ACK")
		ok := a.want("200")
		b.dialogueOf(invite, "b1").request(sip.BYE, "")
		b.want("200")
		a.quiet(400 * time.Millisecond)
		da.learn(ok)
		da.request(sip.ACK, "")
		a.reply(a.want("BYE"), 200, "", "")
		s.ended(telephony.EndCalleeHungUp, 200)
	})
}

func TestHangUpByAdministrator(t *testing.T) {
	inTime(t, func(t *testing.T) {
		s, a, b := pair(t, nil)
		talking(a, b)
		id := s.svc.Calls(1)[0].ID
		if err := s.svc.HangUp(t.Context(), 2, id); !errors.Is(err, ErrNoCall) {
			t.Errorf("another tenant: %v", err)
		}
		if err := s.svc.HangUp(t.Context(), 1, id); err != nil {
			t.Error(err)
		}
		a.reply(a.want("BYE"), 200, "", "")
		b.reply(b.want("BYE"), 200, "", "")
		s.ended(telephony.EndAdmin, 200)
		if err := s.svc.HangUp(context.Background(), 1, id); !errors.Is(err, ErrNoCall) {
			t.Errorf("a second time: %v", err)
		}
		da := a.dial("102", "v=0 offer-a") // one that only rings
		b.reply(b.want("INVITE"), 180, "b1", "")
		a.want("180")
		if err := s.svc.HangUp(t.Context(), telephony.System, s.svc.Calls(1)[0].ID); err != nil {
			t.Error(err)
		}
		b.want("CANCEL")
		da.refuseAck(a.want("480"))
		s.ended(telephony.EndAdmin, 480)
	})
}

func TestClose(t *testing.T) {
	inTime(t, func(t *testing.T) {
		s, a, b := pair(t, nil)
		c := s.phone("103", 5103)
		talking(a, b)
		dc := c.dial("102", "v=0 offer-c")
		i := b.want("INVITE")
		b.reply(i, 180, "b2", "")
		c.want("180")
		done := make(chan error)
		go func() { done <- s.svc.Close() }()
		a.reply(a.want("BYE"), 200, "", "")
		var cancel, bye string
		for range 2 {
			if m := b.next(); strings.HasPrefix(m, "BYE") {
				bye = m
			} else {
				cancel = m
			}
		}
		b.reply(bye, 200, "", "")
		b.reply(cancel, 200, "b2", "")
		b.reply(i, 487, "b2", "")
		dc.refuseAck(c.want("503"))
		start := time.Now()
		if err := <-done; err != nil || time.Since(start) > time.Second {
			t.Errorf("closed after %v: %v", time.Since(start), err)
		}
		if len(s.records) != 2 {
			t.Errorf("%d records", len(s.records))
		}
		for range 2 {
			if r := <-s.records; r.Reason != telephony.EndShutdown {
				t.Errorf("record %+v", r)
			}
		}
		d := a.call("102")
		d.request(sip.INVITE, "v=0 x")
		ch := a.want("407")
		d.request(sip.INVITE, "v=0 x", a.authorize(ch, sip.INVITE, d.target, "pw101"))
		a.want("503")
	})
}

func TestCallLimit(t *testing.T) {
	inTime(t, func(t *testing.T) {
		s, a, b := pair(t, func(c *Config) { c.MaxCalls = 1 })
		da, _ := talking(a, b)
		c := s.phone("103", 5103)
		d := c.call("102")
		d.request(sip.INVITE, "v=0 x")
		ch := c.want("407")
		d.refuseAck(ch)
		d.request(sip.INVITE, "v=0 x", c.authorize(ch, sip.INVITE, d.target, "pw103"))
		if no := c.want("503"); header(no, "Retry-After") == "" {
			t.Error(no)
		}
		da.request(sip.BYE, "")
		a.want("200")
		b.reply(b.want("BYE"), 200, "", "")
		s.ended(telephony.EndCallerHungUp, 200)
		c.dial("102", "v=0 x")
	})
}

// TestDeadMedia: nobody sends RTP for ten minutes.
func TestDeadMedia(t *testing.T) {
	inTime(t, func(t *testing.T) {
		s, a, b := pair(t, nil)
		talking(a, b)
		time.Sleep(30 * time.Minute) // media flows
		if len(s.svc.Calls(1)) != 1 {
			t.Fatal("ended although media flows")
		}
		s.media.silent.Store(time.Now().UnixNano())
		time.Sleep(9 * time.Minute)
		if len(s.svc.Calls(1)) != 1 {
			t.Fatal("ended too early")
		}
		time.Sleep(2 * time.Minute)
		a.want("BYE")
		b.want("BYE")
		s.ended(telephony.EndMediaTimeout, 200)
	})
}

// TestDeadMediaAsTheTenantWants: sooner, or never.
func TestDeadMediaAsTheTenantWants(t *testing.T) {
	t.Parallel()
	for _, limit := range []time.Duration{0, 30 * time.Second} {
		t.Run(limit.String(), func(t *testing.T) {
			inTime(t, func(t *testing.T) {
				s, a, b := pair(t, nil)
				s.rules(func(r *telephony.CallRules) { r.DeadMedia = limit })
				talking(a, b)
				s.media.silent.Store(time.Now().UnixNano())
				time.Sleep(29 * time.Second)
				if len(s.svc.Calls(1)) != 1 {
					t.Fatal("ended too early")
				}
				if limit == 0 {
					// The phones are asked for a sign of life instead.
					for range 3 {
						a.reply(a.nextWithin(11*time.Minute), 200, "", "")
						b.reply(b.want("OPTIONS"), 200, "", "")
					}
					if len(s.svc.Calls(1)) != 1 {
						t.Error("ended although that is switched off")
					}
					return
				}
				time.Sleep(12 * time.Second)
				a.want("BYE")
				b.want("BYE")
				s.ended(telephony.EndMediaTimeout, 200)
			})
		})
	}
}

// TestPanicEndsTheCall: the record is written and both ends hear of it.
func TestPanicEndsTheCall(t *testing.T) {
	inTime(t, func(t *testing.T) {
		s, a, b := pair(t, nil)
		talking(a, b)
		s.svc.mu.Lock()
		for _, c := range s.svc.calls {
			c.box.Post(func() { panic("test") })
		}
		s.svc.mu.Unlock()
		a.want("BYE")
		b.want("BYE")
		s.ended(telephony.EndFailed, 200)
	})
}
