package b2bua

import (
	"net/netip"
	"strings"
	"testing"

	"ringfence/internal/sip"
	"ringfence/internal/telephony"
)

// privately is a phone behind a NAT, which names its private address.
func (s *stack) privately(user, public string) *phone {
	p := s.phone(user, 0)
	p.addr = netip.MustParseAddrPort(public)
	s.mu.Lock()
	s.phones[p.addr] = p.in
	s.mu.Unlock()
	send := p.send
	p.send = func(raw string) {
		send(strings.Replace(raw, "Contact: <sip:"+user+"@"+p.addr.String(), "Contact: <sip:"+user+"@192.168.1.10:5060", 1))
	}
	return p
}

// TestEqualContactsBehindTwoNATs: the phone that registered last has the binding
// (RFC 3261 section 10.3), but the call of the other stays where it is. One that
// goes on with its Call-ID is the same phone, and its call follows it.
func TestEqualContactsBehindTwoNATs(t *testing.T) {
	inTime(t, func(t *testing.T) {
		s := newStack(t, nil)
		a := s.phone("101", 5101)
		a.register()
		b, other := s.privately("102", "198.51.100.1:4000"), s.privately("102", "203.0.113.2:4001")
		own := b.call("102")
		own.target = "sip:a.test"
		register := func() {
			own.request(sip.REGISTER, "", "Expires: 3600")
			challenge := b.want("401")
			own.request(sip.REGISTER, "", "Expires: 3600", b.authorize(challenge, sip.REGISTER, own.target, "pw102"))
			b.want("200")
		}
		register()
		da, _ := talking(a, b)
		other.register()
		da.request(sip.INFO, "x")
		b.reply(b.want("INFO"), 200, "", "")
		a.want("200")
		d2 := a.dial("102", "v=0 offer-2")
		other.reply(other.want("INVITE"), 486, "x", "")
		other.want("ACK")
		d2.refuseAck(a.want("486"))
		<-s.records

		register() // takes it back
		s.mu.Lock()
		delete(s.phones, b.addr)
		b.addr = netip.MustParseAddrPort("198.51.100.9:4999")
		s.phones[b.addr] = b.in
		s.mu.Unlock()
		register()
		da.request(sip.INFO, "x")
		b.reply(b.want("INFO"), 200, "", "")
		a.want("200")
		da.request(sip.BYE, "")
		a.want("200")
		b.bye()
		s.ended(telephony.EndCallerHungUp, 200)
	})
}
