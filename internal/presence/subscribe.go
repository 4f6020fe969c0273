package presence

import (
	"errors"
	"math"
	"strconv"
	"strings"
	"time"

	"ringfence/internal/sip"
	"ringfence/internal/telephony"
)

const (
	// Longest texts kept of a subscriber.
	maxText   = 512
	maxID     = 128
	maxRoutes = 8
)

// wish is what a SUBSCRIBE asks for.
type wish struct {
	event  eventPackage
	id     string
	life   time.Duration
	target string
}

// eventName is the event package of a request.
func eventName(r *sip.Request) string {
	name, _, _ := strings.Cut(r.Header("Event"), ";")
	return strings.ToLower(strings.TrimSpace(name))
}

// eventID is the id parameter of the Event header (RFC 6665 section 8.2.1).
func eventID(r *sip.Request) string {
	for i, p := range strings.Split(r.Header("Event"), ";") {
		k, v, _ := strings.Cut(p, "=")
		if i > 0 && strings.EqualFold(strings.TrimSpace(k), "id") {
			return strings.TrimSpace(v)
		}
	}
	return ""
}

// read checks a SUBSCRIBE.
func (s *Service) read(r *sip.Request) (wish, *sip.Reply) {
	p, known := packageOf(eventName(r))
	w := wish{event: p, id: eventID(r)}
	if !known {
		return w, badEvent()
	}
	if len(w.id) > maxID || !token(w.id) || len(r.CallID) > maxText || len(r.From.Tag()) > maxID || r.From.Tag() == "" {
		return w, &sip.Reply{Code: 400, Reason: "Malformed Subscription"}
	}
	if !accepted(r, p.contentType) {
		return w, &sip.Reply{Code: 406, Headers: []sip.Header{{Name: "Accept", Value: p.contentType}}}
	}
	life, refusal := s.lifetime(r)
	if refusal != nil {
		return w, refusal
	}
	w.life = life
	// Display names as long as they like are no use to anybody.
	if len(r.From.Display)+len(r.From.URI.String()) > maxText || len(r.To.Display)+len(r.To.URI.String()) > maxText {
		return w, &sip.Reply{Code: 400, Reason: "From or To Too Long"}
	}
	c, err := r.Addresses("Contact")
	if err != nil || len(c) != 1 || c[0].URI.Scheme != "sip" && c[0].URI.Scheme != "sips" {
		return w, &sip.Reply{Code: 400, Reason: "Malformed Contact"}
	}
	c[0].URI.Headers = nil
	if w.target = strings.Clone(c[0].URI.String()); len(w.target) > maxText {
		return w, &sip.Reply{Code: 400, Reason: "Contact Too Long"}
	}
	return w, nil
}

// token reports whether s is empty or a token, so that it can be given back.
func token(s string) bool {
	for i := range len(s) {
		b := s[i]
		if b <= ' ' || b >= 0x7f || strings.IndexByte(`()<>@,;:\"/[]?={}`, b) >= 0 {
			return false
		}
	}
	return true
}

func badEvent() *sip.Reply {
	return &sip.Reply{Code: 489, Headers: []sip.Header{sip.AllowEvents()}}
}

// accepted reports whether the subscriber takes documents of a type; no Accept
// means the package's own (RFC 6665 section 3.1.3).
func accepted(r *sip.Request, contentType string) bool {
	types := r.Values("Accept")
	for _, t := range types {
		t, _, _ = strings.Cut(t, ";")
		t = strings.ToLower(strings.TrimSpace(t))
		if t == contentType || t == "*/*" || t == "application/*" {
			return true
		}
	}
	return len(types) == 0
}

// lifetime is how long a subscription or publication is to last (RFC 6665
// section 4.2.1.1, RFC 3903 section 6).
func (s *Service) lifetime(r *sip.Request) (time.Duration, *sip.Reply) {
	if !r.Has("Expires") {
		return s.c.MaxExpires, nil
	}
	n, err := strconv.ParseUint(strings.TrimSpace(r.Header("Expires")), 10, 64)
	if errors.Is(err, strconv.ErrRange) {
		n, err = math.MaxUint32, nil
	}
	if err != nil {
		return 0, &sip.Reply{Code: 400, Reason: "Malformed Expires"}
	}
	life := time.Duration(min(n, math.MaxUint32)) * time.Second
	if life > 0 && life < s.c.MinExpires {
		return 0, &sip.Reply{Code: 423, Headers: []sip.Header{{Name: "Min-Expires", Value: seconds(s.c.MinExpires)}}}
	}
	return min(life, s.c.MaxExpires), nil
}

// subscribe makes a subscription, or answers a fetch (Expires 0; RFC 6665
// section 4.4.3).
func (s *Service) subscribe(tx *sip.ServerTx, tenant telephony.Tenant, who telephony.Extension) {
	r := tx.Request()
	w, refusal := s.read(r)
	if refusal != nil {
		tx.Reply(*refusal)
		return
	}
	e, ok := s.target(tx, tenant)
	if !ok {
		return
	}
	if w.event.private && e.number != who.Number {
		tx.Reply(sip.Reply{Code: 403})
		return
	}
	routes := r.Values("Record-Route")
	if len(routes) > maxRoutes || len(strings.Join(routes, "")) > 2*maxText {
		tx.Reply(sip.Reply{Code: 400, Reason: "Too Many Routes"})
		return
	}
	for i := range routes {
		routes[i] = strings.Clone(routes[i])
	}
	if tx.Begin(nil) != nil {
		return
	}
	u := s.newSubscription(tx, w, e, who)
	u.Routes = routes
	if !s.add(u) {
		tx.Reply(*sip.Busy())
		return
	}
	s.accept(tx, u, w.life)
}

func (s *Service) newSubscription(tx *sip.ServerTx, w wish, e extension, who telephony.Extension) *subscription {
	r := tx.Request()
	to, from := r.To, r.From
	to.Params, from.Params = nil, nil
	now := time.Now()
	key := resourceKey{e, w.event.name}
	return &subscription{
		key: key, flow: tx.Flow(), counted: now, tokens: float64(s.c.Burst),
		Subscription: telephony.Subscription{
			Tenant: e.tenant, Subscriber: who.Number, Resource: e.number, Event: key.event, EventID: strings.Clone(w.id),
			CallID: strings.Clone(r.CallID), LocalTag: sip.NewTag(), RemoteTag: strings.Clone(r.From.Tag()),
			Local: to.String(), Remote: from.String(), Target: w.target, RemoteSeq: r.CSeq.Seq,
			Flow: tx.Endpoint().Stored(tx.Flow()), Expires: now.Add(w.life),
		},
	}
}

// add makes a subscription known. At the limit of one extension its oldest
// gives way: most likely that of a phone that was switched off and on.
func (s *Service) add(u *subscription) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closing || len(s.byTag)+s.waiting >= s.c.Subscriptions {
		return false
	}
	mine := s.owners[u.owner()]
	if len(mine) >= s.c.PerSubscriber {
		var oldest *subscription
		for x := range mine {
			if oldest == nil || x.began < oldest.began {
				oldest = x
			}
		}
		s.end(oldest, "giveup;retry-after=3600")
	}
	s.enter(u)
	return true
}

// enter puts a subscription into the indexes.
func (s *Service) enter(u *subscription) {
	s.model.count++
	u.began = s.model.count
	s.byTag[u.LocalTag] = u
	res := s.resources[u.key]
	if res == nil {
		res = &resource{subs: make(map[*subscription]struct{}, 1)}
		s.resources[u.key] = res
		res.seen = u.key.state(s)
	}
	res.subs[u] = struct{}{}
	mine := s.owners[u.owner()]
	if mine == nil {
		mine = make(map[*subscription]struct{}, 1)
		s.owners[u.owner()] = mine
	}
	mine[u] = struct{}{}
}

// leave takes it out again.
func (s *Service) leave(u *subscription) {
	delete(s.byTag, u.LocalTag)
	if res := s.resources[u.key]; res != nil {
		if delete(res.subs, u); len(res.subs) == 0 {
			delete(s.resources, u.key)
		}
	}
	if mine := s.owners[u.owner()]; mine != nil {
		if delete(mine, u); len(mine) == 0 {
			delete(s.owners, u.owner())
		}
	}
	s.note(u, true)
}

// accept answers with 200 and tells the state at once (RFC 6665 section
// 4.2.1.2); with a lifetime of zero for the last time.
func (s *Service) accept(tx *sip.ServerTx, u *subscription, life time.Duration) {
	s.mu.Lock()
	contact := u.contact(tx.Endpoint())
	s.mu.Unlock()
	tx.Reply(sip.Reply{Code: 200, Tag: u.LocalTag, Headers: []sip.Header{
		{Name: "Expires", Value: seconds(life)}, contact, sip.AllowEvents(),
	}})
	s.mu.Lock()
	switch {
	case s.byTag[u.LocalTag] != u: // ended meanwhile
	case life == 0:
		s.end(u, "timeout")
	default:
		s.note(u, false)
		s.queue(u)
	}
	s.mu.Unlock()
	s.pump()
}

// refresh handles a SUBSCRIBE within a subscription: a refresh, or with
// Expires 0 its end.
func (s *Service) refresh(tx *sip.ServerTx, tenant telephony.Tenant, who telephony.Extension) {
	r := tx.Request()
	w, refusal := s.read(r)
	if refusal != nil {
		tx.Reply(*refusal)
		return
	}
	if tx.Begin(nil) != nil {
		return
	}
	s.mu.Lock()
	u := s.byTag[r.To.Tag()]
	switch {
	case u == nil || u.CallID != r.CallID || u.RemoteTag != r.From.Tag() || u.owner() != (extension{tenant.ID, who.Number}),
		w.event.name != u.key.event, w.id != u.EventID:
		s.mu.Unlock()
		tx.Reply(sip.Reply{Code: 481})
		return
	case r.CSeq.Seq <= u.RemoteSeq:
		s.mu.Unlock()
		tx.Reply(sip.Reply{Code: 500, Reason: "Out of Order"}) // RFC 3261 section 12.2.2
		return
	}
	u.RemoteSeq, u.Target = r.CSeq.Seq, w.target
	u.flow, u.Flow = tx.Flow(), tx.Endpoint().Stored(tx.Flow())
	u.Expires = time.Now().Add(w.life)
	s.mu.Unlock()
	s.accept(tx, u, w.life)
}
