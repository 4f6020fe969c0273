package b2bua

import (
	"net/url"
	"strconv"
	"strings"

	"ringfence/internal/dialog"
	"ringfence/internal/sip"
)

// replaces is a Replaces header (RFC 3891 section 6.1).
type replaces struct {
	callID, to, from string
	earlyOnly        bool
}

// parseReplaces reads the value of one Replaces header.
func parseReplaces(v string) (p replaces, ok bool) {
	parts := strings.Split(v, ";")
	p.callID = strings.TrimSpace(parts[0])
	for _, param := range parts[1:] {
		name, value, _ := strings.Cut(strings.TrimSpace(param), "=")
		name, value = strings.ToLower(strings.TrimSpace(name)), strings.TrimSpace(value)
		switch {
		case name == "to-tag" && p.to == "":
			p.to = value
		case name == "from-tag" && p.from == "":
			p.from = value
		case name == "to-tag", name == "from-tag":
			return p, false // exactly one of each
		case name == "early-only":
			p.earlyOnly = true
		}
	}
	return p, p.callID != "" && p.to != "" && p.from != ""
}

// referral is what a REFER asks for (RFC 3515 section 2.4).
type referral struct {
	to       sip.URI
	replaces *replaces
	silent   bool // no subscription is wanted (RFC 4488)
}

// parseReferral reads a REFER, or returns the status to refuse it with.
func parseReferral(r *sip.Request) (x referral, code int) {
	to, err := r.Addresses("Refer-To")
	if err != nil || len(to) != 1 {
		return x, 400 // section 2.4.2: exactly one
	}
	x.to = to[0].URI
	x.silent = strings.EqualFold(r.Header("Refer-Sub"), "false")
	if x.to.Scheme != "sip" && x.to.Scheme != "sips" {
		return x, 416
	}
	for _, p := range x.to.Params {
		if strings.EqualFold(p.Name, "method") && p.Value != sip.INVITE {
			return x, 403 // we refer calls only
		}
	}
	for _, h := range x.to.Headers {
		if !strings.EqualFold(h.Name, "Replaces") {
			continue
		}
		v, err := url.PathUnescape(h.Value)
		rep, ok := parseReplaces(v)
		if err != nil || !ok || x.replaces != nil {
			return x, 400
		}
		x.replaces = &rep
	}
	return x, 0
}

// subscription tells a transferor how its REFER fares (RFC 3515 section 2.4.4).
type subscription struct {
	leg    *dialog.Leg
	id     string // of the Event header
	silent bool
	busy   bool   // a NOTIFY waits for its answer
	last   int    // status told last
	next   int    // status to tell after that
	over   bool   // a final status was told
	done   func() // when the transferor has heard that
}

// tell reports a status, one NOTIFY at a time so that none overtakes another;
// done, if not nil, is called once the transferor knows of a final one.
func (s *subscription) tell(code int, done func()) {
	if s.over || code == s.last {
		return
	}
	s.over, s.done, s.last, s.next = code >= 200, done, code, code
	s.send()
}

func (s *subscription) send() {
	code := s.next
	if s.busy || code == 0 {
		return
	}
	s.next = 0
	if s.silent || s.leg.Ended() {
		s.heard(code)
		return
	}
	s.busy = true
	event, state := "refer", "active;expires=180"
	if s.id != "" {
		event += ";id=" + s.id
	}
	if code >= 200 {
		state = "terminated;reason=noresource"
	}
	s.leg.Do(sip.Outgoing{
		Method:      sip.NOTIFY,
		Headers:     []sip.Header{{Name: "Event", Value: event}, {Name: "Subscription-State", Value: state}},
		ContentType: "message/sipfrag;version=2.0",
		Body:        []byte("SIP/2.0 " + strconv.Itoa(code) + " " + sip.Reason(code) + "\r\n"),
	}, func(*sip.Response) {
		s.busy = false
		s.heard(code)
		s.send()
	})
}

func (s *subscription) heard(code int) {
	if code >= 200 && s.done != nil {
		s.done()
	}
}

// refer carries out a REFER within a call: many phones cannot, and none is to
// learn who else is in the call.
func (c *call) refer(l *dialog.Leg, tx *sip.ServerTx) {
	r := tx.Request()
	switch {
	case c.finished || c.callee == nil:
		tx.Reply(sip.Reply{Code: 481})
		return
	case c.own(l).line != nil:
		tx.Reply(sip.Reply{Code: 403}) // nobody outside sends people on, on our account
		return
	case c.leaving != nil:
		tx.Reply(sip.Reply{Code: 491}) // one transfer at a time
		return
	}
	x, code := parseReferral(r)
	if code != 0 {
		tx.Reply(sip.Reply{Code: code})
		return
	}
	accepted := sip.Reply{Code: 202}
	if x.silent {
		accepted.Headers = []sip.Header{{Name: "Refer-Sub", Value: "false"}}
	}
	tx.Reply(accepted)
	sub := &subscription{leg: l, silent: x.silent}
	if c.refers++; c.refers > 1 {
		sub.id = strconv.FormatUint(uint64(r.CSeq.Seq), 10) // section 2.4.6
	}
	sub.tell(100, nil)
	if x.replaces != nil {
		c.consulted(l, *x.replaces, sub)
		return
	}
	number, ok := c.dialled(x.to)
	if !ok {
		sub.tell(404, nil)
		return
	}
	c.transfer(l, strings.Clone(number), sub)
}
