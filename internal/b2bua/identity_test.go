package b2bua

import (
	"strings"
	"testing"
	"time"

	"ringfence/internal/sip"
	"ringfence/internal/telephony"
)

// TestIdentityIsNotClaimed: the password of 101 does not make a caller 103, nor
// somebody of another tenant.
func TestIdentityIsNotClaimed(t *testing.T) {
	inTime(t, func(t *testing.T) {
		s, a, b := pair(t, nil)
		d := a.call("102")
		d.local = strings.Replace(d.local, "101@", "103@", 1)
		d.request(sip.INVITE, "v=0 x")
		ch := a.want("407")
		d.refuseAck(ch)
		d.request(sip.INVITE, "v=0 x", a.authorize(ch, sip.INVITE, d.target, "pw101"))
		a.want("403")
		d = a.call("102")
		d.local = strings.Replace(d.local, "a.test", "b.test", 1)
		d.request(sip.INVITE, "v=0 x")
		ch = a.want("407")
		d.request(sip.INVITE, "v=0 x", strings.Replace(a.authorize(ch, sip.INVITE, d.target, "pw101"), "b.test", "a.test", 1))
		a.want("407")
		b.quiet(time.Second)
		if len(s.records) != 0 || s.ep.Stats().Pending != 0 {
			t.Error("a refused caller left something behind")
		}
	})
}

func TestHiddenNumber(t *testing.T) {
	inTime(t, func(t *testing.T) {
		s, a, b := pair(t, nil)
		d := a.call("102")
		d.local = `"Anonymous" <sip:anonymous@anonymous.invalid>;tag=1`
		d.request(sip.INVITE, "v=0 x")
		ch := a.want("407")
		d.refuseAck(ch)
		d.request(sip.INVITE, "v=0 x", a.authorize(ch, sip.INVITE, d.target, "pw101"))
		a.want("100")
		invite := b.want("INVITE")
		if strings.Contains(invite, "From: <sip:101") || !strings.HasPrefix(header(invite, "From"), `"Anonymous" <sip:anonymous@anonymous.invalid>;tag=`) {
			t.Error(invite)
		}
		if strings.Contains(invite, "Anna") {
			t.Errorf("the name is told:\n%s", invite)
		}
		b.reply(invite, 486, "b1", "")
		a.want("486")
		if r := s.ended(telephony.EndBusy, 486); r.Caller.Number != "101" {
			t.Errorf("record %+v", r)
		}
	})
}

// TestOwnOtherPhone: who calls its own number rings its other phones.
func TestOwnOtherPhone(t *testing.T) {
	inTime(t, func(t *testing.T) {
		s, a, _ := pair(t, nil)
		d := a.dial("101", "v=0 x")
		d.refuseAck(a.want("480"))
		s.ended(telephony.EndUnavailable, 480)
		a2 := s.phone("101", 5201)
		a2.register()
		a.dial("101", "v=0 x")
		a2.want("INVITE")
		a.quiet(time.Second)
	})
}

// TestOutsideOfDialogs: requests that make sense only within one.
func TestOutsideOfDialogs(t *testing.T) {
	inTime(t, func(t *testing.T) {
		s := newStack(t, nil)
		a := s.phone("101", 5101)
		for method, want := range map[string]string{
			"BYE": "481", "INFO": "481", "MESSAGE": "407", "SUBSCRIBE": "405", "REFER": "403", "UPDATE": "405", "NEWMETHOD": "501", "OPTIONS": "200",
		} {
			a.call("102").request(method, "")
			if m := a.want(want); want[0] == '4' && want[2] == '5' && !strings.Contains(header(m, "Allow"), "INVITE") {
				t.Error(m)
			}
			d := a.call("102")
			d.remote += ";tag=nobody"
			d.request(method, "")
			a.want("481")
		}
	})
}

// TestHopsRunOut: a call cannot circle.
func TestHopsRunOut(t *testing.T) {
	inTime(t, func(t *testing.T) {
		s := newStack(t, nil)
		a := s.phone("101", 5101)
		d := a.call("102")
		d.request(sip.OPTIONS, "")
		a.want("200")
		a.send(strings.Replace(strings.Replace(d.lastRequest, "Max-Forwards: 70", "Max-Forwards: 0", 1), "OPTIONS", "INVITE", 2))
		a.want("483")
	})
}

// TestOverload: an INVITE that waited too long for a worker is refused at once,
// before anything is spent on it.
func TestOverload(t *testing.T) {
	inTime(t, func(t *testing.T) {
		s := newStack(t, nil)
		a := s.phone("101", 5101)
		s.ep.SetTrace(func(m sip.Trace) {
			if !m.Sent {
				time.Sleep(2 * time.Second)
			}
		})
		a.call("102").request(sip.INVITE, "v=0 x")
		if no := a.want("503"); header(no, "Retry-After") == "" {
			t.Error(no)
		}
	})
}
