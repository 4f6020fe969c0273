package registrar

import (
	"errors"
	"math"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"ringfence/internal/sip"
	"ringfence/internal/telephony"
)

const (
	defaultQ = 1.0
	// Longest texts kept of a phone; a usual binding stays below 2 KB. Push
	// tokens make long Contacts (RFC 8599).
	maxContact = 1024
	maxCallID  = 256
	maxText    = 128
	maxRegID   = math.MaxInt32 // RFC 5626 section 4.2.1: 1 to 2^31-1
)

// errOrder says that a newer request of the same phone was handled before.
var errOrder = errors.New("registration out of order")

// request is what one REGISTER asks for.
type request struct {
	now         time.Time
	callID      string
	cseq        uint32
	flow        telephony.Flow
	path        string
	outbound    bool // a Contact is one of several flows of its phone
	all         bool // remove all: Contact "*"
	contacts    []wish
	maxContacts int
	moved       []move // what apply found
}

// move is a Contact that is at another flow than its binding was.
type move struct {
	contact string
	was     telephony.Flow // zero for a new binding
	other   netip.AddrPort // of what seems to be another phone, whose binding this was
}

// samePhone reports whether a binding of the same Contact is of the phone that
// registers now, and not of another one behind another NAT that has the same
// private address: a phone keeps its Call-ID until it starts again (RFC 3261
// section 10.2), and then it has no calls.
func samePhone(old, b *telephony.Binding) bool {
	return old.CallID == b.CallID || b.Instance != "" && old.Instance == b.Instance ||
		old.Flow.Remote.Addr() == b.Flow.Remote.Addr()
}

// wish is one Contact; a lifetime of 0 removes it.
type wish struct {
	binding telephony.Binding
	key     string
	life    time.Duration
}

// read checks the Contacts of a REGISTER.
func (s *Service) read(tx *sip.ServerTx, tenant telephony.Tenant, aor telephony.AOR) (*request, *sip.Reply) {
	r := tx.Request()
	q := &request{now: time.Now(), callID: strings.Clone(r.CallID), cseq: r.CSeq.Seq, maxContacts: tenant.MaxContacts, flow: tx.Endpoint().Stored(tx.Flow())}
	if len(r.CallID) > maxCallID {
		return nil, &sip.Reply{Code: 400, Reason: "Call-ID Too Long"}
	}
	if r.Wildcard() {
		if life, ok := seconds(r.Header("Expires")); !ok || life != 0 {
			return nil, &sip.Reply{Code: 400, Reason: "Wildcard Without Expires 0"} // section 10.2.2
		}
		q.all = true
		return q, nil
	}
	addresses, err := r.Addresses("Contact")
	if err != nil {
		return nil, &sip.Reply{Code: 400, Reason: "Malformed Contact"}
	}
	if len(addresses) > q.maxContacts {
		return nil, &sip.Reply{Code: 403, Reason: "Too Many Contacts"}
	}
	var refusal *sip.Reply
	if q.path, refusal = pathOf(r); refusal != nil {
		return nil, refusal
	}
	multi := wants(r, "outbound")
	for _, a := range addresses {
		w, refusal := s.wish(tx, a, q.path != "")
		if refusal == nil {
			refusal = q.flowOf(r, &w, a, multi)
		}
		if refusal != nil {
			return nil, refusal
		}
		w.binding.Tenant, w.binding.AOR = tenant.ID, aor
		w.binding.CallID, w.binding.CSeq = q.callID, q.cseq
		w.binding.UserAgent = clip(r.Header("User-Agent"))
		w.binding.Flow, w.binding.Path = q.flow, q.path
		w.binding.Registered, w.binding.Expires = q.now, q.now.Add(w.life)
		q.contacts = append(q.contacts, w)
	}
	return q, nil
}

func (s *Service) wish(tx *sip.ServerTx, a sip.NameAddr, proxied bool) (wish, *sip.Reply) {
	r := tx.Request()
	w := wish{key: sip.URIKey(a.URI)}
	w.binding.Contact = a.URI.String()
	if !isSIP(a.URI) || len(w.binding.Contact) > maxContact {
		return w, &sip.Reply{Code: 400, Reason: "Unusable Contact"}
	}
	w.binding.NAT = !proxied && behindNAT(r, a.URI)
	var refusal *sip.Reply
	if w.life, refusal = s.life(tx, a, w.binding.NAT); refusal != nil {
		return w, refusal
	}
	w.binding.Q = defaultQ
	if v, ok := a.Param("q"); ok {
		q, err := strconv.ParseFloat(v, 64)
		if err != nil || !(q >= 0 && q <= 1) {
			return w, &sip.Reply{Code: 400, Reason: "Malformed q"}
		}
		w.binding.Q = math.Round(q*1000) / 1000
	}
	if v, ok := a.Param("+sip.instance"); ok {
		w.binding.Instance = clip(v)
	}
	w.binding.Push = pushOf(a.URI)
	return w, nil
}

// life is how long a Contact is to live, by its phone and by us.
func (s *Service) life(tx *sip.ServerTx, a sip.NameAddr, nat bool) (time.Duration, *sip.Reply) {
	life := s.c.DefaultExpires
	if v, ok := a.Param("expires"); ok {
		life = lifetime(v)
	} else if tx.Request().Has("Expires") {
		life = lifetime(tx.Request().Header("Expires"))
	}
	if life > 0 && life < s.c.MinExpires {
		least := strconv.Itoa(int(s.c.MinExpires / time.Second))
		return 0, &sip.Reply{Code: 423, Headers: []sip.Header{{Name: "Min-Expires", Value: least}}}
	}
	longest := s.c.MaxExpires
	if nat && tx.Flow().Token == "" {
		// The NAT forgets a silent phone; a short life finds that out soon.
		longest = max(min(longest, s.c.NATExpires), s.c.MinExpires)
	}
	return min(life, longest), nil
}

// lifetime reads an expires value; a malformed one counts as an hour (RFC 3261
// section 10.2.1.1).
func lifetime(s string) time.Duration {
	if d, ok := seconds(s); ok {
		return d
	}
	return time.Hour
}

func seconds(s string) (time.Duration, bool) {
	n, err := strconv.ParseUint(s, 10, 64)
	if errors.Is(err, strconv.ErrRange) || n > math.MaxUint32 {
		return math.MaxUint32 * time.Second, true
	}
	return time.Duration(n) * time.Second, err == nil
}

// clip copies a text that is kept, so that it does not hold the whole message.
func clip(s string) string {
	return strings.Clone(s[:min(len(s), maxText)])
}

// apply is steps 6 and 7 of section 10.3: all of it or nothing.
func (q *request) apply(live []telephony.Binding) ([]telephony.Binding, error) {
	if q.all {
		for i := range live {
			if q.overtaken(&live[i]) {
				return nil, errOrder
			}
		}
		return nil, nil
	}
	q.moved = nil
	for i := range q.contacts {
		var err error
		if live, err = q.put(live, &q.contacts[i]); err != nil {
			return nil, err
		}
	}
	for len(live) > q.maxContacts {
		n := oldest(live)
		live = slices.Delete(live, n, n+1)
	}
	return live, nil
}

func (q *request) put(live []telephony.Binding, w *wish) ([]telephony.Binding, error) {
	i := q.find(live, w)
	if i < 0 {
		if w.life > 0 {
			live = append(live, w.binding)
			q.moved = append(q.moved, move{contact: w.binding.Contact})
		}
		return live, nil
	}
	switch old := &live[i]; {
	case q.overtaken(old):
		return nil, errOrder
	case old.CallID == q.callID && old.CSeq == q.cseq && old.Reach != telephony.Waiting:
		return live, nil // a retransmission
	case w.life == 0:
		return slices.Delete(live, i, i+1), nil
	default:
		b := w.binding
		switch {
		case old.Flow == b.Flow:
			b.RTT = old.RTT
		case samePhone(old, &b):
			q.moved = append(q.moved, move{contact: b.Contact, was: old.Flow})
		default:
			q.moved = append(q.moved, move{contact: b.Contact, other: old.Flow.Remote})
		}
		live[i] = b
		return live, nil
	}
}

// find looks for the binding that a Contact changes, or -1.
func (q *request) find(live []telephony.Binding, w *wish) int {
	b := &w.binding
	if b.Outbound {
		// Instance and reg-id name a flow, whatever its Contact (RFC 5626
		// section 6).
		return slices.IndexFunc(live, func(x telephony.Binding) bool {
			return x.Outbound && x.Instance == b.Instance && x.RegID == b.RegID
		})
	}
	i := slices.IndexFunc(live, func(x telephony.Binding) bool { return keyOf(x.Contact) == w.key })
	if i >= 0 || w.life == 0 {
		return i
	}
	return slices.IndexFunc(live, func(x telephony.Binding) bool {
		// The same device with a new address takes the place of the old one;
		// so does one that comes back after its connection was lost (RFC 3261
		// section 10.2.4: it keeps its Call-ID).
		return b.Instance != "" && x.Instance == b.Instance && !x.Outbound || x.Reach == telephony.Waiting && x.CallID == q.callID
	})
}

// overtaken reports whether a later request of the same Call-ID made b.
func (q *request) overtaken(b *telephony.Binding) bool {
	return b.CallID == q.callID && b.CSeq > q.cseq
}

func keyOf(contact string) string {
	u, err := sip.ParseURI(contact)
	if err != nil {
		return contact
	}
	return sip.URIKey(u)
}

// oldest is who gives way to a new phone: one that cannot be reached, or else
// the one that registered longest ago.
func oldest(live []telephony.Binding) int {
	n := 0
	for i := range live {
		lost, worst := live[i].Reach != telephony.Reachable, live[n].Reach != telephony.Reachable
		if lost && !worst || lost == worst && live[i].Registered.Before(live[n].Registered) {
			n = i
		}
	}
	return n
}
