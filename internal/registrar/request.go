package registrar

import (
	"errors"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"ringfence/internal/sip"
	"ringfence/internal/telephony"
)

const (
	defaultQ = 1.0
	// Longest texts kept of a phone; a binding stays below 2 KB.
	maxContact = 512
	maxCallID  = 256
	maxText    = 128
)

// errOrder says that a newer request of the same phone was handled before.
var errOrder = errors.New("registration out of order")

// request is what one REGISTER asks for.
type request struct {
	now         time.Time
	callID      string
	cseq        uint32
	all         bool // remove all: Contact "*"
	contacts    []wish
	maxContacts int
}

// wish is one Contact; a lifetime of 0 removes it.
type wish struct {
	binding telephony.Binding
	key     string
	life    time.Duration
}

// read checks the Contacts of a REGISTER.
func (s *Service) read(tx *sip.ServerTx, tenant telephony.TenantID, aor telephony.AOR) (*request, *sip.Reply) {
	r := tx.Request()
	q := &request{now: time.Now(), callID: strings.Clone(r.CallID), cseq: r.CSeq.Seq, maxContacts: s.c.MaxContacts}
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
	if err != nil || len(addresses) > s.c.MaxContacts {
		return nil, &sip.Reply{Code: 400, Reason: "Malformed Contact"}
	}
	for _, a := range addresses {
		w, refusal := s.wish(r, a)
		if refusal != nil {
			return nil, refusal
		}
		w.binding.Tenant, w.binding.AOR = tenant, aor
		w.binding.CallID, w.binding.CSeq = q.callID, q.cseq
		w.binding.UserAgent = clip(r.Header("User-Agent"))
		w.binding.Flow = tx.Endpoint().Stored(tx.Flow())
		w.binding.Registered, w.binding.Expires = q.now, q.now.Add(w.life)
		q.contacts = append(q.contacts, w)
	}
	return q, nil
}

func (s *Service) wish(r *sip.Request, a sip.NameAddr) (wish, *sip.Reply) {
	w := wish{key: sip.URIKey(a.URI)}
	w.binding.Contact = a.URI.String()
	if !isSIP(a.URI) || len(w.binding.Contact) > maxContact {
		return w, &sip.Reply{Code: 400, Reason: "Unusable Contact"}
	}
	w.life = s.c.DefaultExpires
	if v, ok := a.Param("expires"); ok {
		w.life = lifetime(v)
	} else if r.Has("Expires") {
		w.life = lifetime(r.Header("Expires"))
	}
	if w.life > 0 && w.life < s.c.MinExpires {
		least := strconv.Itoa(int(s.c.MinExpires / time.Second))
		return w, &sip.Reply{Code: 423, Headers: []sip.Header{{Name: "Min-Expires", Value: least}}}
	}
	w.life = min(w.life, s.c.MaxExpires)
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
	if v, ok := a.Param("reg-id"); ok {
		w.binding.RegID, _ = strconv.Atoi(v)
	}
	return w, nil
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
	for i := range q.contacts {
		var err error
		if live, err = q.put(live, &q.contacts[i]); err != nil {
			return nil, err
		}
	}
	for len(live) > q.maxContacts {
		live = slices.Delete(live, oldest(live), oldest(live)+1)
	}
	return live, nil
}

func (q *request) put(live []telephony.Binding, w *wish) ([]telephony.Binding, error) {
	i := slices.IndexFunc(live, func(b telephony.Binding) bool { return keyOf(b.Contact) == w.key })
	if i < 0 && w.binding.Instance != "" && w.life > 0 {
		// The same device with a new address takes the place of the old one
		// (RFC 5626 section 6).
		i = slices.IndexFunc(live, func(b telephony.Binding) bool {
			return b.Instance == w.binding.Instance && b.RegID == w.binding.RegID
		})
	}
	if i < 0 {
		if w.life > 0 {
			live = append(live, w.binding)
		}
		return live, nil
	}
	switch old := &live[i]; {
	case q.overtaken(old):
		return nil, errOrder
	case old.CallID == q.callID && old.CSeq == q.cseq:
		return live, nil // a retransmission
	case w.life == 0:
		return slices.Delete(live, i, i+1), nil
	default:
		live[i] = w.binding
		return live, nil
	}
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

func oldest(live []telephony.Binding) int {
	n := 0
	for i := range live {
		if live[i].Registered.Before(live[n].Registered) {
			n = i
		}
	}
	return n
}
