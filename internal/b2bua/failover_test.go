package b2bua

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"ringfence/internal/sip"
	"ringfence/internal/telephony"
)

// registerFlow binds one of several flows of a device (RFC 5626 section 4.2).
func (p *phone) registerFlow(instance string, id int) {
	p.t.Helper()
	send := p.send
	p.send = func(raw string) {
		contact := fmt.Sprintf("<sip:%s@%s>", p.user, p.addr)
		send(strings.Replace(raw, "Contact: "+contact, fmt.Sprintf(`Contact: %s;+sip.instance="<urn:uuid:%s>";reg-id=%d`, contact, instance, id), 1))
	}
	p.register("Supported: outbound, path")
	p.send = send
	time.Sleep(time.Second) // the later one is preferred
}

// severalFlows is a stack with 101, and a device of 102 with n flows, the
// preferred one first.
func severalFlows(t *testing.T, n int) (s *stack, a *phone, flows []*phone) {
	s = newStackWith(t, sip.Config{Timers: sip.Timers{T1: 200 * time.Millisecond}}, nil)
	a = s.phone("101", 5101)
	a.register()
	for i := range n {
		f := s.phone("102", uint16(5300+i))
		f.registerFlow("one", i+1)
		flows = append([]*phone{f}, flows...)
	}
	return s, a, flows
}

// TestNextFlowOfADevice: a flow that failed gives way to the next of the same
// device, one at a time (RFC 5626 section 5.3).
func TestNextFlowOfADevice(t *testing.T) {
	t.Parallel()
	for _, how := range []string{"430", "408"} {
		inTime2(t, how, func(t *testing.T) {
			s, a, b := severalFlows(t, 3)
			da := a.dial("102", "v=0 offer-a")
			for _, p := range b[:2] {
				var code int
				fmt.Sscan(how, &code)
				synctest.Wait()
				if n := len(b[0].in) + len(b[1].in) + len(b[2].in); n != 1 {
					t.Fatalf("%d requests at once", n)
				}
				p.reply(p.want("INVITE"), code, "x", "")
				p.want("ACK")
			}
			invite := b[2].want("INVITE")
			b[2].reply(invite, 180, "b1", "")
			a.want("180")
			b[2].reply(invite, 200, "b1", "v=0 answer-b")
			b[2].want("ACK")
			ok := a.want("200")
			if body(ok) != "v=0 via-pbx(answer-b)" {
				t.Error(ok)
			}
			da.learn(ok)
			da.request(sip.ACK, "")
			b[0].quiet(time.Second)
			da.request(sip.BYE, "")
			a.want("200")
			b[2].bye()
			s.ended(telephony.EndCallerHungUp, 200)
		})
	}
}

// TestSilentFlow: one that says nothing, not even 100, costs seconds and not the
// half minute of timer B. What it says too late has no effect.
func TestSilentFlow(t *testing.T) {
	t.Parallel()
	for _, late := range []string{"never", "rings", "answers", "refuses"} {
		inTime2(t, late, func(t *testing.T) {
			s, a, b := severalFlows(t, 3)
			da := a.dial("102", "v=0 offer-a")
			silent := b[0].want("INVITE")
			b[1].quiet(flowTime - time.Millisecond)
			invite := b[1].want("INVITE")
			b[1].reply(invite, 100, "", "")
			b[2].quiet(2 * flowTime) // b[1] is alive
			for len(b[0].in) > 0 {
				b[0].want("INVITE")
			}
			switch late {
			case "rings":
				b[0].reply(silent, 180, "x", "")
				b[0].reply(b[0].want("CANCEL"), 200, "x", "")
				b[0].reply(silent, 487, "x", "")
				b[0].want("ACK")
			case "answers":
				b[0].reply(silent, 200, "x", "v=0 late")
				b[0].want("ACK")
				b[0].bye()
			case "refuses":
				b[0].reply(silent, 603, "x", "")
				b[0].want("ACK")
			}
			b[1].reply(invite, 180, "b1", "")
			a.want("180")
			time.Sleep(time.Second)
			b[1].reply(invite, 200, "b1", "v=0 answer-b")
			b[1].want("ACK")
			ok := a.want("200")
			if body(ok) != "v=0 via-pbx(answer-b)" {
				t.Error(ok)
			}
			da.learn(ok)
			da.request(sip.ACK, "")
			da.request(sip.BYE, "")
			a.want("200")
			b[1].bye()
			b[2].quiet(time.Minute)
			s.ended(telephony.EndCallerHungUp, 200)
			if n := s.svc.dialogs.Len(); n != 0 {
				t.Errorf("%d legs left", n)
			}
		})
	}
}

// TestAllFlowsSilent: the caller hears it when timer B of the last one says so.
func TestAllFlowsSilent(t *testing.T) {
	inTime(t, func(t *testing.T) {
		s, a, b := severalFlows(t, 2)
		da := a.dial("102", "v=0 offer-a")
		b[0].want("INVITE")
		time.Sleep(flowTime)
		b[1].want("INVITE")
		time.Sleep(12800 * time.Millisecond) // 64*T1
		da.refuseAck(a.want("480"))
		s.ended(telephony.EndUnavailable, 480)
	})
}

// TestRefusalIsNotOfTheFlow: a phone that says no on one flow is not asked again
// on the other, and one that has no more flows cannot be reached.
func TestRefusalIsNotOfTheFlow(t *testing.T) {
	inTime(t, func(t *testing.T) {
		s, a, b := severalFlows(t, 2)
		da := a.dial("102", "v=0 offer-a")
		b[0].reply(b[0].want("INVITE"), 486, "x", "")
		b[0].want("ACK")
		da.refuseAck(a.want("486"))
		b[1].quiet(time.Second)
		s.ended(telephony.EndBusy, 486)
		da = a.dial("102", "v=0 offer-a")
		for _, p := range b {
			p.reply(p.want("INVITE"), 430, "x", "")
			p.want("ACK")
		}
		da.refuseAck(a.want("480"))
		s.ended(telephony.EndUnavailable, 480)
	})
}

// TestCancelDuringFailover: the caller gives up while the second flow rings.
func TestCancelDuringFailover(t *testing.T) {
	inTime(t, func(t *testing.T) {
		s, a, b := severalFlows(t, 3)
		da := a.dial("102", "v=0 offer-a")
		b[0].reply(b[0].want("INVITE"), 430, "x", "")
		b[0].want("ACK")
		invite := b[1].want("INVITE")
		b[1].reply(invite, 180, "b1", "")
		a.want("180")
		da.request(sip.CANCEL, "")
		a.want("200")
		da.refuseAck(a.want("487"))
		b[1].reply(b[1].want("CANCEL"), 200, "b1", "")
		b[1].reply(invite, 430, "b1", "") // even so
		b[1].want("ACK")
		b[2].quiet(time.Minute)
		s.ended(telephony.EndCancelled, 487)
		synctest.Wait()
		if n := s.svc.dialogs.Len(); n != 0 {
			t.Errorf("%d legs left", n)
		}
	})
}

// TestMessageOnTheNextFlow, and to the device once.
func TestMessageOnTheNextFlow(t *testing.T) {
	inTime(t, func(t *testing.T) {
		_, a, b := severalFlows(t, 2)
		a.say("102", "hello")
		b[0].reply(b[0].want("MESSAGE"), 430, "x", "")
		m := b[1].want("MESSAGE sip:102@192.0.2.50:5300")
		if body(m) != "hello" {
			t.Error(m)
		}
		b[1].reply(m, 200, "x", "")
		a.want("200")
		a.say("102", "again")
		b[0].reply(b[0].want("MESSAGE"), 200, "x", "")
		a.want("200")
		b[1].quiet(time.Minute)
		a.say("102", "to a silent flow")
		silent := b[0].want("MESSAGE")
		b[1].quiet(flowTime - time.Millisecond)
		b[1].reply(b[1].want("MESSAGE"), 200, "x", "")
		a.want("200")
		b[0].reply(silent, 200, "x", "")
		a.quiet(time.Minute)
	})
}

// TestDeviceDoesNotCallItself on its other flow.
func TestDeviceDoesNotCallItself(t *testing.T) {
	inTime(t, func(t *testing.T) {
		s, _, b := severalFlows(t, 2)
		da := b[0].dial("102", "v=0 offer")
		da.refuseAck(b[0].want("480"))
		b[1].quiet(time.Second)
		s.ended(telephony.EndUnavailable, 480)
	})
}
