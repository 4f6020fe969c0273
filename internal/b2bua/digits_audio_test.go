package b2bua

import (
	"strings"
	"testing"
	"time"

	"ringfence/internal/telephony"
)

// TestDigitsBetweenEventsAndINFO: what one phone sends as events the other gets in
// INFO, and the other way round, as is set for each.
func TestDigitsBetweenEventsAndINFO(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	o.set(func(*telephony.Tenant) {}, func(e *telephony.Extension) {
		if e.Number == "102" {
			e.DTMF = telephony.DTMFInfo
		}
	})
	a, b := o.start("101"), o.start("102")
	out, in := o.connect(a, b, "102")
	o.talk(a, out, b, in)
	if text := in.Remote().Text; strings.Contains(text, "telephone-event") {
		t.Errorf("102 is offered telephone-events:\n%s", text)
	}
	o.must("dialling", out.SendDigits(o.ctx, "15#"))
	got := func() (digits string) {
		for _, m := range b.Trace() {
			if _, rest, ok := strings.Cut(m.Text, "Signal="); ok && !m.Out && strings.HasPrefix(m.Text, "INFO") {
				digits += rest[:1]
			}
		}
		return digits
	}
	for deadline := time.Now().Add(10 * time.Second); got() != "15#" && time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
	}
	if got() != "15#" {
		t.Errorf("102 got %q in INFO", got())
	}
	out.Forget()
	for _, digit := range "42" {
		res, err := in.Do(o.ctx, "INFO", []string{"Content-Type: application/dtmf-relay"}, "Signal="+string(digit)+"\r\nDuration=100\r\n")
		o.must("dialling", err)
		if res.StatusCode != 200 {
			t.Errorf("INFO was answered %d", res.StatusCode)
		}
	}
	for deadline := time.Now().Add(10 * time.Second); out.Heard().Digits != "42" && time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
	}
	if h := out.Heard(); h.Digits != "42" || len(h.SSRCs) != 1 {
		t.Errorf("101 got %q: %s", h.Digits, h)
	}
	o.talk(a, out, b, in)
	o.must("hanging up", out.HangUp())
	o.quitted(1)
}
