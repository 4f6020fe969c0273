package b2bua

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"ringfence/internal/sip"
)

// say sends a MESSAGE and answers its challenge.
func (p *phone) say(number, text string, extra ...string) *dialogue {
	p.t.Helper()
	d := p.call(number)
	send := func(h ...string) {
		d.request(sip.MESSAGE, text, append(append([]string{}, extra...), h...)...)
	}
	send()
	ch := p.want("407")
	send(p.authorize(ch, sip.MESSAGE, d.target, "pw"+p.user))
	return d
}

func TestMessage(t *testing.T) {
	inTime(t, func(t *testing.T) {
		s, p := team(t, 2)
		a, b := p[0], p[1]
		b2 := s.phone("102", 5202)
		b2.register()
		a.say("102", "hello")
		for i, x := range []*phone{b, b2} {
			m := x.want("MESSAGE sip:102@192.0.2.50:5")
			if body(m) != "hello" || !strings.HasPrefix(header(m, "From"), `"Anna \"A\" Berg" <sip:101@a.test>;tag=`) || header(m, "To") != "<sip:102@a.test>" || strings.Contains(m, "Authorization") {
				t.Error(m)
			}
			x.reply(m, []int{480, 200}[i], "m1", "")
		}
		a.want("200")
		a.say("102", "again")
		b.reply(b.want("MESSAGE"), 415, "m1", "")
		b2.reply(b2.want("MESSAGE"), 500, "m1", "")
		a.want("415")
		a.say("102", "lost") // nobody answers
		if m := a.nextWithin(messageWait + time.Second); !strings.HasPrefix(m, "SIP/2.0 480") {
			t.Error(line(m))
		}
	})
}

// TestMessageRefused: the answers tell as much as those to an INVITE.
func TestMessageRefused(t *testing.T) {
	inTime(t, func(t *testing.T) {
		s, p := team(t, 2)
		a := p[0]
		a.say("999", "x")
		a.want("404")
		a.say("104", "x")
		a.want("480")
		a.say("102", strings.Repeat("x", maxMessage+1))
		a.want("413")
		d := a.call("102")
		d.local = strings.Replace(d.local, "101@", "103@", 1)
		d.request(sip.MESSAGE, "x")
		ch := a.want("407")
		d.request(sip.MESSAGE, "x", a.authorize(ch, sip.MESSAGE, d.target, "pw101"))
		a.want("403")
		p[1].quiet(time.Second)
		synctest.Wait()
		if n := s.ep.Stats().Pending; n != 0 {
			t.Errorf("%d transactions left", n)
		}
	})
}

func TestMessagesAreBounded(t *testing.T) {
	inTime(t, func(t *testing.T) {
		_, p := team(t, 2)
		a := p[0]
		for range messageBurst {
			a.say("999", "x")
			a.want("404")
		}
		a.say("999", "x")
		if m := a.want("480"); header(m, "Retry-After") == "" {
			t.Error(m)
		}
		time.Sleep(messageEvery + time.Millisecond)
		a.say("999", "x")
		a.want("404")
	})
}

func TestMessageInCall(t *testing.T) {
	inTime(t, func(t *testing.T) {
		_, p := team(t, 2)
		a, b := p[0], p[1]
		da, _ := talking(a, b)
		da.request(sip.MESSAGE, "in the call")
		m := b.want("MESSAGE")
		if body(m) != "in the call" {
			t.Error(m)
		}
		b.reply(m, 202, "", "")
		a.want("202")
		da.request(sip.MESSAGE, strings.Repeat("x", maxMessage+1))
		a.want("413")
	})
}
