package b2bua

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"ringfence/internal/sip"
)

// TestInfo: DTMF of older phones goes through, with its answer.
func TestInfo(t *testing.T) {
	inTime(t, func(t *testing.T) {
		_, a, b := pair(t, nil)
		da, _ := talking(a, b)
		da.request(sip.INFO, "", "Content-Type: application/dtmf-relay")
		b.reply(b.want("INFO"), 200, "", "")
		a.want("200")
		da.infoDigit("application/dtmf-relay", "Signal=5\r\nDuration=160\r\n")
		info := b.want("INFO sip:102@192.0.2.50:5102 SIP/2.0")
		if body(info) != "Signal=5\r\nDuration=160\r\n" || header(info, "CSeq") != "3 INFO" || header(info, "Content-Type") != "application/dtmf-relay" {
			t.Error(info)
		}
		b.reply(info, 415, "", "")
		a.want("415")
		da.request("UPDATE", "")
		a.want("200")
		da.request("NOTIFY", "")
		a.want("405")
		da.request(sip.OPTIONS, "")
		a.want("200")
	})
}

// infoDigit sends an INFO with a body of a type.
func (d *dialogue) infoDigit(contentType, content string, extra ...string) {
	send := d.p.send
	d.p.send = func(raw string) {
		send(strings.Replace(raw, "Content-Type: application/sdp", "Content-Type: "+contentType, 1))
	}
	d.request(sip.INFO, content, extra...)
	d.p.send = send
}

// TestInfoKeepsItsOrder: digits that come back to back reach the other phone one
// after the other, also when the first is lost on the way; both directions for
// themselves. Too many are refused, and what still waits when the call ends is
// answered.
func TestInfoKeepsItsOrder(t *testing.T) {
	inTime(t, func(t *testing.T) {
		s, a, b := pair(t, nil)
		da, db := talking(a, b)
		synctest.Wait()
		for _, digit := range "12345" {
			da.infoDigit("application/dtmf", string(digit))
		}
		db.infoDigit("application/dtmf", "9")
		back := a.want("INFO")
		if body(back) != "9" {
			t.Error(back)
		}
		a.reply(back, 200, "", "")
		b.want("INFO") // lost
		if ok := b.want("200"); header(ok, "CSeq") != "1 INFO" {
			t.Error(ok)
		}
		for i, digit := range "12345" {
			info := b.want("INFO")
			if body(info) != string(digit) || header(info, "CSeq") != fmt.Sprint(i+2, " INFO") {
				t.Errorf("digit %c is\n%s", digit, info)
			}
			b.reply(info, 200, "", "")
			if ok := a.want("200"); header(ok, "CSeq") != fmt.Sprint(i+3, " INFO") {
				t.Error(ok)
			}
		}
		for range maxPassing + 1 {
			da.infoDigit("application/dtmf", "0")
		}
		if no := a.want("503"); header(no, "Retry-After") == "" {
			t.Error(no)
		}
		b.want("INFO")
		db.request(sip.BYE, "")
		b.want("200")
		a.reply(a.want("BYE"), 200, "", "")
		for range maxPassing {
			a.want("481")
		}
		time.Sleep(time.Minute)
		a.in <- "" // nothing else came
		if m := a.next(); m != "" {
			t.Error(m)
		}
		if st := s.ep.Stats(); st.Pending != 0 {
			t.Errorf("%d transactions left", st.Pending)
		}
	})
}

// TestInfoPackageIsRefused: we said that we receive none (RFC 6086 section 4.2.2).
func TestInfoPackageIsRefused(t *testing.T) {
	inTime(t, func(t *testing.T) {
		_, a, b := pair(t, nil)
		da, _ := talking(a, b)
		da.infoDigit("application/conf+xml", "<x/>", "Info-Package: conference")
		no := a.want("469")
		if !strings.Contains(no, "\r\nRecv-Info: \r\n") || !strings.HasPrefix(no, "SIP/2.0 469 Bad Info Package\r\n") {
			t.Error(no)
		}
		b.quiet(time.Second)
	})
}

// keys is a leg of media that can pass digits on, or says that the other peer wants
// them in INFO.
type keys struct {
	MediaLeg
	able bool
	sent *[]string
}

func (k keys) OnSignal(func(byte, time.Duration)) {}

func (k keys) Dialled(digit byte, length time.Duration) bool {
	if k.able {
		*k.sent = append(*k.sent, fmt.Sprintf("%c %v", digit, length))
	}
	return k.able
}

// TestInfoBecomesATone: media that can send telephone events get the digits of an
// INFO; what is no digit, and what the peer does not take as events, goes through.
func TestInfoBecomesATone(t *testing.T) {
	t.Parallel()
	for _, able := range []bool{true, false} {
		inTime2(t, fmt.Sprint(able), func(t *testing.T) {
			s, a, b := pair(t, nil)
			da, _ := talking(a, b)
			synctest.Wait()
			var sent []string
			c := s.svc.all()[0]
			c.box.Post(func() { c.caller.media = keys{c.caller.media, able, &sent} })
			da.infoDigit("application/dtmf-relay", "Signal= *\r\nDuration= 9999\r\n")
			if !able {
				b.reply(b.want("INFO"), 200, "", "")
			}
			a.want("200")
			da.infoDigit("application/dtmf", "d")
			if !able {
				b.reply(b.want("INFO"), 200, "", "")
			}
			a.want("200")
			da.infoDigit("application/media_control+xml", "<picture_fast_update/>")
			b.reply(b.want("INFO"), 200, "", "")
			a.want("200")
			if able != (fmt.Sprint(sent) == "[* 8s D 160ms]") {
				t.Errorf("sent %v", sent)
			}
		})
	}
}

// signals is a leg of media whose phone is to get digits in INFO.
type signals struct {
	keys
	f *func(byte, time.Duration)
}

func (s signals) OnSignal(f func(byte, time.Duration)) { *s.f = f }

// TestDigitsOfTheMediaBecomeInfo, one after the other, each after the answer to the
// last; none when the call is over.
func TestDigitsOfTheMediaBecomeInfo(t *testing.T) {
	inTime(t, func(t *testing.T) {
		s, a, b := pair(t, nil)
		da, _ := talking(a, b)
		synctest.Wait()
		var press func(byte, time.Duration)
		c := s.svc.all()[0]
		c.box.Post(func() { c.takesDigits(signals{keys{MediaLeg: c.callee.media}, &press}, c.callee.leg) })
		synctest.Wait()
		for _, digit := range "7*" {
			press(byte(digit), 160*time.Millisecond)
		}
		for _, digit := range "7*" {
			info := b.want("INFO")
			if body(info) != fmt.Sprintf("Signal=%c\r\nDuration=160\r\n", digit) || header(info, "Content-Type") != "application/dtmf-relay" {
				t.Error(info)
			}
			b.quiet(100 * time.Millisecond)
			b.reply(info, 200, "", "")
		}
		da.request(sip.BYE, "")
		a.want("200")
		b.reply(b.want("BYE"), 200, "", "")
		press('1', 160*time.Millisecond)
		b.quiet(time.Second)
	})
}

func TestDigitsInInfo(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ contentType, body, want string }{
		{"application/dtmf-relay", "Signal=1\r\nDuration=250\r\n", "1 250ms"},
		{"application/dtmf-relay", "Signal=#\nDuration=10", "# 40ms"},
		{"application/dtmf-relay", "duration=x\nsignal=b", "B 160ms"},
		{"application/dtmf-relay", "Duration=100\n", ""},
		{"application/dtmf-relay", "Signal=12\n", ""},
		{"application/dtmf", "7\r\n", "7 160ms"},
		{"application/dtmf", "", ""},
		{"application/dtmf", "16", ""},
		{"text/plain", "7", ""},
	} {
		got := ""
		if digit, length, ok := parseDigit(c.contentType, []byte(c.body)); ok {
			got = fmt.Sprintf("%c %v", digit, length)
		}
		if got != c.want {
			t.Errorf("%s %q is %q, want %q", c.contentType, c.body, got, c.want)
		}
	}
}
