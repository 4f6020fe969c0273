package trunk

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"time"

	"ringfence/internal/b2bua"
	"ringfence/internal/ports"
	"ringfence/internal/sip"
	"ringfence/internal/telephony"
)

const (
	// coolDown is how long a server that failed is left alone, at first and at
	// most; it doubles each time.
	coolDown, maxCoolDown = 5 * time.Second, 2 * time.Minute
	// maxRetryAfter bounds what a server may ask for.
	maxRetryAfter = 10 * time.Minute
	// keepAliveEvery keeps NATs open, whose shortest memory for UDP is 30 s.
	keepAliveEvery = 25 * time.Second
	// silences is how many questions in a row may stay without an answer: a single
	// datagram may be lost with all its copies.
	silences = 2
	// overloads is how many calls in a row a server may refuse with 503 before it
	// is left alone.
	overloads = 5
)

// breaker is the circuit breaker of a server.
type breaker int

const (
	closed breaker = iota // in use
	open                  // left alone until the cool-down is over
	half                  // to be tried
)

// server is one server of a trunk. It belongs to its line's goroutine.
type server struct {
	target
	flow    sip.Flow
	dialing bool
	dialAt  time.Time
	since   time.Time // when it was connected
	drops   int       // connections in a row that did not last
	pingAt  time.Time

	asking  bool // OPTIONS is on its way
	askAt   time.Time
	known   bool // it has answered, or failed to
	silent  int  // questions without an answer in a row
	busy    int  // calls refused with 503 in a row
	suspect bool // a call got no answer, and OPTIONS has not yet explained it
	rtt     time.Duration

	breaker breaker
	until   time.Time // open until then
	fails   int
	reason  string // of the last failure; empty when it works
}

func (s *server) String() string {
	text := s.addr.String()
	if s.name != s.addr.Addr().String() {
		text = s.name + " (" + text + ")"
	}
	return text
}

// usable reports whether requests can be sent to it, and may be. One that failed
// and is asked with OPTIONS is not, before it has answered.
func (s *server) usable(t telephony.Trunk) bool {
	return s.flow.Valid() && s.flow.Live() && (s.breaker == closed || s.breaker == half && t.OptionsInterval == 0)
}

// fresh reports whether it is not known yet if the server is there.
func (s *server) fresh(t telephony.Trunk) bool {
	return !s.known && (t.OptionsInterval > 0 || t.Transport != telephony.TrunkUDP)
}

// due is when the server must be looked at next; zero is never.
func (s *server) due(t telephony.Trunk) (at time.Time) {
	soonest := func(x time.Time) {
		if !x.IsZero() && (at.IsZero() || x.Before(at)) {
			at = x
		}
	}
	if s.breaker == open {
		soonest(s.until)
	}
	if !s.flow.Live() && !s.dialing {
		soonest(s.dialAt)
	}
	if s.flow.Valid() && !s.asking && (t.OptionsInterval > 0 || s.suspect) && s.breaker != open {
		soonest(s.askAt)
	}
	soonest(s.pingAt)
	return at
}

// works notes that the server answered.
func (s *server) works(rtt time.Duration) {
	s.known, s.silent, s.fails, s.suspect = true, 0, 0, false
	s.breaker, s.reason = closed, ""
	if rtt > 0 {
		s.rtt = rtt
	}
}

// fail opens the breaker, for at least that long.
func (s *server) fail(now time.Time, reason string, least time.Duration) {
	wait := min(coolDown<<min(s.fails, 10), maxCoolDown)
	wait += rand.N(wait/5 + 1) // trunks of one provider do not come back all at once
	s.known, s.breaker, s.reason = true, open, reason
	s.until = now.Add(max(wait, min(least, maxRetryAfter)))
	s.fails++
	s.silent, s.busy = 0, 0
}

// keep does what is due about one server.
func (l *line) keep(ctx context.Context, s *server, now time.Time) {
	if s.breaker == open && !now.Before(s.until) {
		s.breaker, s.askAt = half, now
	}
	l.connect(ctx, s, now)
	if !s.flow.Valid() || !s.flow.Live() {
		return
	}
	if !now.Before(s.pingAt) {
		s.pingAt = now.Add(keepAliveEvery)
		if s.flow.Token != "" {
			_ = s.flow.Ping()
		} else if l.t.Kind == telephony.TrunkRegister {
			l.s.c.Endpoint.SendRaw(s.flow, []byte("\r\n\r\n")) // RFC 5626 section 3.5.1, without its answer
		}
	}
	if (l.t.OptionsInterval > 0 || s.suspect) && !s.asking && s.breaker != open && !now.Before(s.askAt) {
		l.options(s, now)
	}
}

// connect sees to it that the server has a flow.
func (l *line) connect(ctx context.Context, s *server, now time.Time) {
	if l.t.Transport == telephony.TrunkUDP || l.t.Transport == "" {
		f, err := l.s.towards(l.t, s.addr)
		if err != nil {
			s.flow, s.known, s.reason = sip.Flow{}, true, err.Error()
			return
		}
		if !s.flow.Valid() && s.breaker == closed {
			s.reason = ""
		}
		s.flow = f
		return
	}
	if s.flow.Valid() && s.flow.Live() || s.dialing || now.Before(s.dialAt) || s.breaker == open {
		return
	}
	s.dialing = true
	c := sip.Connecting{Service: ports.SIPTCP, Remote: s.addr, Dial: l.s.dial(l.t), ServerName: l.domain(), Roots: l.s.c.Roots}
	if l.t.Transport == telephony.TrunkTLS {
		c.Service = ports.SIPTLS
	}
	c.Gone = func() { l.post(func() { l.disconnected(s) }) }
	l.dials.Go(func() {
		f, err := l.s.c.Endpoint.Connect(ctx, c)
		if !l.post(func() { l.connected(s, f, err) }) && err == nil {
			f.Close()
		}
	})
}

func (l *line) connected(s *server, f sip.Flow, err error) {
	now := time.Now()
	s.dialing = false
	if err == nil && !slices.Contains(l.servers, s) {
		f.Close() // DNS took it back meanwhile
		return
	}
	if err != nil {
		s.fail(now, "connecting: "+err.Error(), 0)
		s.dialAt = s.until
		return
	}
	s.flow, s.since, s.pingAt, s.askAt = f, now, now.Add(keepAliveEvery), now
	if l.t.OptionsInterval == 0 {
		s.works(0)
	}
	if l.t.Kind == telephony.TrunkRegister && (l.reg.home == s || l.reg.home == nil) {
		l.reg.soon(now) // calls must come by the new connection
	}
}

// disconnected is told when a connection of the server ended.
func (l *line) disconnected(s *server) {
	if s.flow.Live() {
		return // there is a newer one
	}
	now := time.Now()
	s.reason, s.known = "connection was lost", true
	if s.drops++; now.Sub(s.since) > time.Minute {
		s.drops = 0 // it lasted: the next one is made at once
	}
	s.dialAt = now
	if s.drops > 0 {
		s.dialAt = now.Add(min(time.Second<<min(s.drops, 10), maxCoolDown))
	}
	if l.reg.home == s {
		l.reg.lost(now)
	}
}

// options asks the server whether it is there (RFC 3261 section 11). Any answer
// says yes, but for those that say it cannot serve.
func (l *line) options(s *server, now time.Time) {
	s.asking = true
	host := l.uriHost()
	out := &sip.Outgoing{
		Method: sip.OPTIONS, URI: "sip:" + host, From: "<sip:" + l.from(s) + ">;tag=" + sip.NewTag(), To: "<sip:" + host + ">",
		CallID: sip.NewCallID(), CSeq: 1, Headers: append(l.routes(), sip.Header{Name: "Accept", Value: "application/sdp"}),
	}
	l.ask(s, out, nil, func(r *sip.Response, rtt time.Duration, _ error) {
		now := time.Now()
		s.asking = false
		s.askAt = now.Add(max(l.t.OptionsInterval, coolDown))
		switch {
		case r.Local && r.Code == 408:
			l.unanswered(s, now)
		case r.Local, r.Code == 503, r.Code == 502, r.Code == 504:
			s.fail(now, fmt.Sprintf("OPTIONS: %d %s", r.Code, sip.Reason(r.Code)), retryAfter(r))
			l.abandon(s, now)
		default:
			s.works(rtt)
		}
	})
}

// unanswered notes a question without an answer, and asks once more at once.
func (l *line) unanswered(s *server, now time.Time) {
	if s.silent++; s.silent < silences && s.breaker == closed {
		s.suspect, s.askAt = true, now
		return
	}
	s.fail(now, "no answer to OPTIONS", 0)
	s.flow.Close() // a connection may hang where a new one would not
	l.abandon(s, now)
}

// abandon registers elsewhere what is registered with a server that failed.
func (l *line) abandon(s *server, now time.Time) {
	s.suspect = false
	if l.reg.home == s {
		l.reg.lost(now)
	}
}

// answered is told what became of an INVITE.
func (l *line) answered(s *server, code int) {
	now := time.Now()
	switch {
	case code == 408: // nothing was heard of it
		s.suspect, s.askAt = true, now
		if s.silent++; s.silent >= silences {
			s.fail(now, "no answer to calls", 0)
			l.abandon(s, now)
		}
	case code == 503:
		if s.busy++; s.busy >= overloads {
			s.fail(now, "calls are refused: 503 Service Unavailable", 0)
			l.abandon(s, now)
		}
	default:
		s.busy = 0
		s.works(0)
	}
}

// preferred are the servers that calls can go to, the best first: those that
// work by DNS's order, the one we are registered with before all; then those that
// are to be tried, and if there is none, all others.
func (l *line) preferred(now time.Time) []*server {
	rank := func(s *server) int {
		switch {
		case s.breaker == open:
			return 3
		case s.suspect || s.breaker == half:
			return 2
		case s == l.reg.home && l.reg.until.After(now):
			return 0
		}
		return 1
	}
	var list []*server
	for _, s := range l.servers {
		if s.flow.Valid() && s.flow.Live() {
			list = append(list, s)
		}
	}
	slices.SortStableFunc(list, func(a, b *server) int { return cmp.Compare(rank(a), rank(b)) })
	if n := slices.IndexFunc(list, func(s *server) bool { return s.breaker == open }); n > 0 {
		list = list[:n]
	}
	return list
}

// way is how INVITEs reach a server.
func (l *line) way(s *server) b2bua.Way {
	w := b2bua.Way{
		Tenant: l.t.Tenant, Trunk: l.t.ID, Flow: s.flow, Host: l.uriHost(), Domain: l.domain(), Auth: l.auth, Key: s.addr.String(),
	}
	for _, h := range l.routes() {
		w.Routes = append(w.Routes, h.Value)
	}
	if l.t.Kind == telephony.TrunkRegister {
		w.Contact = l.token
		w.Routes = append(w.Routes, l.reg.serviceRoutes...)
	}
	return w
}

// domain is the host part of the trunk's address of record.
func (l *line) domain() string { return bracketed(strings.Trim(l.t.Host, "[]")) }

// uriHost is domain with the port, if one is set.
func (l *line) uriHost() string {
	if l.t.Port == 0 {
		return l.domain()
	}
	return fmt.Sprintf("%s:%d", l.domain(), l.t.Port)
}

func bracketed(host string) string {
	if a, err := netip.ParseAddr(host); err == nil && a.Is6() {
		return "[" + host + "]"
	}
	return host
}

// routes lead by the outbound proxy (RFC 3261 section 8.1.2).
func (l *line) routes() []sip.Header {
	if l.t.OutboundProxy == "" {
		return nil
	}
	host, port, err := splitHop(l.t.OutboundProxy)
	if err != nil {
		return nil
	}
	uri := "<sip:" + bracketed(host)
	if port != 0 {
		uri = fmt.Sprintf("%s:%d", uri, port)
	}
	if l.t.Transport != telephony.TrunkUDP {
		uri += ";transport=" + string(l.t.Transport)
	}
	return []sip.Header{{Name: "Route", Value: uri + ";lr>"}}
}

// from is who we are to the trunk: its account, or our address.
func (l *line) from(s *server) string {
	if l.t.User != "" {
		return sip.EscapeUser(l.t.User) + "@" + l.domain()
	}
	return l.s.c.Endpoint.Advertised(s.flow).String()
}

// ask sends a request and answers its challenges, if auth is given. done is told
// of the final answer in the line's goroutine, or of a local 408 when none came
// in time; its error says why a challenge was not answered.
func (l *line) ask(s *server, out *sip.Outgoing, auth *sip.ClientAuth, done func(r *sip.Response, rtt time.Duration, err error)) {
	auth.Authorize(out)
	over := false
	finish := func(f func()) bool {
		return l.post(func() {
			if !over {
				over = true
				f()
			}
		})
	}
	sent := time.Now()
	late := time.AfterFunc(patience, func() {
		finish(func() { done(&sip.Response{Code: 408, Local: true}, 0, nil) })
	})
	_, err := l.s.c.Endpoint.Request(s.flow, *out, func(r *sip.Response) {
		rtt := time.Since(sent)
		finish(func() {
			late.Stop()
			if auth == nil || r.Local || r.Code != 401 && r.Code != 407 {
				done(r, rtt, nil)
				return
			}
			if err := auth.Challenged(out, r); err != nil {
				done(r, rtt, err)
				return
			}
			out.CSeq++
			l.ask(s, out, auth, done)
		})
	})
	if err != nil {
		late.Stop()
		finish(func() { done(&sip.Response{Code: 503, Local: true}, 0, nil) })
	}
}
