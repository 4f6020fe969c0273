package trunk

import (
	"cmp"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"ringfence/internal/sip"
	"ringfence/internal/telephony"
)

const (
	// refusedEvery is how often credentials are tried that were refused: somebody
	// may have corrected them at the provider, and a provider bans who tries often.
	refusedEvery = 10 * time.Minute
	// minGranted is the shortest life of a registration that is believed.
	minGranted = 10 * time.Second
	maxExpires = 24 * time.Hour
	// maxRaised is how often a 423 may raise what is asked for.
	maxRaised = 2
	// maxServiceRoutes and maxServiceRoute bound what a registrar may put before
	// our calls (RFC 3608).
	maxServiceRoutes, maxServiceRoute = 4, 256
)

// registration is that of a trunk with its provider (RFC 3261 section 10.2).
type registration struct {
	callID, tag string
	seq         uint32
	expires     time.Duration // asked for
	at          time.Time     // of the next REGISTER
	busy        bool          // one is on its way
	raised      int

	home          *server // where it stands; nil is nowhere
	until         time.Time
	contact       string // as it stands there
	serviceRoutes []string
	refused       string // why the provider does not want these credentials
	reason        string // why it does not stand
	left          bool   // un-registered for good
}

func (r *registration) reset(t telephony.Trunk) {
	*r = registration{callID: sip.NewCallID(), tag: sip.NewTag(), expires: t.RegisterInterval}
	if r.expires <= 0 {
		r.expires = time.Hour
	}
}

// soon has the next REGISTER sent at once.
func (r *registration) soon(now time.Time) { r.at = now }

// lost notes that the server of the registration is of no use any more.
func (r *registration) lost(now time.Time) {
	r.home, r.at = nil, now
}

// keepRegistered registers if that is due, if our address changed, or if a
// server is back that is preferred to the one we are registered with.
func (l *line) keepRegistered(now time.Time) {
	r := &l.reg
	if r.busy || r.left {
		return
	}
	s := l.registrar(now)
	if s == nil {
		return // when a server is back, there is a next step
	}
	moved := r.home != nil && (s != r.home || r.contact != l.contact(s))
	if r.refused == "" && moved && now.Before(r.until) {
		r.at = now
	}
	if !now.Before(r.at) {
		l.register(s)
	}
}

// registrar is the server to register with: the one that has us, unless a
// preferred one is known to be back.
func (l *line) registrar(now time.Time) *server {
	var best *server
	for _, s := range l.servers {
		if !s.usable(l.t) || s.suspect && s != l.reg.home {
			continue
		}
		if best == nil || s.level < best.level || s == l.reg.home && s.level == best.level {
			best = s
		}
	}
	return best
}

// contact is where the provider reaches us.
func (l *line) contact(s *server) string {
	return l.s.c.Endpoint.Contact(s.flow, l.token).Value
}

// request is a REGISTER.
func (l *line) registerRequest(s *server, life time.Duration) *sip.Outgoing {
	r := &l.reg
	r.seq++
	aor := "<sip:" + sip.EscapeUser(l.t.User) + "@" + l.domain() + ">"
	seconds := strconv.Itoa(int(life / time.Second))
	contact := l.contact(s)
	if life == 0 && r.contact != "" {
		contact = r.contact
	}
	out := &sip.Outgoing{
		Method: sip.REGISTER, URI: "sip:" + l.uriHost(), From: aor + ";tag=" + r.tag, To: aor, CallID: r.callID, CSeq: r.seq,
		Headers: append(l.routes(), sip.Header{Name: "Contact", Value: contact + ";expires=" + seconds}, sip.Header{Name: "Expires", Value: seconds}, sip.Allow()),
	}
	if p := l.s.c.Endpoint.Product(); p != "" {
		out.Headers = append(out.Headers, sip.Header{Name: "User-Agent", Value: p})
	}
	return out
}

func (l *line) register(s *server) {
	l.reg.busy = true
	out, contact := l.registerRequest(s, l.reg.expires), l.contact(s)
	l.ask(s, out, l.auth, func(res *sip.Response, rtt time.Duration, err error) {
		l.reg.busy = false
		l.reg.seq = out.CSeq
		l.registered(s, contact, res, rtt, err)
	})
}

// registered takes the answer to a REGISTER.
func (l *line) registered(s *server, contact string, res *sip.Response, rtt time.Duration, err error) {
	now, r := time.Now(), &l.reg
	switch {
	case res.Success():
		s.works(rtt)
		l.accepted(s, contact, res, now)
	case err != nil, res.Code == 403, res.Code == 401, res.Code == 407:
		s.works(rtt)
		r.refused = refusal(res, err)
		r.home, r.until, r.at = nil, time.Time{}, now.Add(refusedEvery)
		l.log.Warn("trunk is not registered: credentials are refused", "reason", r.refused, "next", r.at)
	case res.Code == 423 && r.raised < maxRaised:
		if least := secondsOf(res.Header("Min-Expires")); least > r.expires && least <= maxExpires {
			r.raised++
			r.expires, r.at = least, now
			return
		}
		l.unregistered(s, res, now)
	case res.Code >= 300 && res.Code < 400 && l.redirected(s, res):
		r.at = now
	default:
		l.unregistered(s, res, now)
	}
}

func refusal(res *sip.Response, err error) string {
	text := fmt.Sprintf("%d %s", res.Code, sip.Reason(res.Code))
	switch {
	case errors.Is(err, sip.ErrRefused):
		return text + ": wrong user or password"
	case err != nil:
		return text + ": no user and password, or a challenge that is not known"
	}
	return text
}

// accepted notes a registration that stands.
func (l *line) accepted(s *server, contact string, res *sip.Response, now time.Time) {
	r := &l.reg
	granted := l.granted(res)
	if r.home != s || r.refused != "" || r.reason != "" || !r.until.After(now) {
		l.log.Info("trunk is registered", "server", s.String(), "expires", granted)
	}
	r.home, r.contact, r.refused, r.reason, r.raised = s, contact, "", "", 0
	r.until = now.Add(granted)
	// At 50 to 60 % of its life: time for other servers before it ends.
	r.at = now.Add(granted/2 + rand.N(granted/10+1))
	r.serviceRoutes = nil
	routes, err := res.Addresses("Service-Route")
	for i, a := range routes {
		if v := a.String(); err == nil && i < maxServiceRoutes && len(v) <= maxServiceRoute {
			r.serviceRoutes = append(r.serviceRoutes, v)
		}
	}
}

// granted is how long the registration stands: what is said of our Contact, of
// all, or what was asked for (RFC 3261 section 10.2.4).
func (l *line) granted(res *sip.Response) time.Duration {
	granted := secondsOf(res.Header("Expires"))
	if list, err := res.Addresses("Contact"); err == nil {
		for _, a := range list {
			if v, ok := a.Param("expires"); ok && a.URI.User == l.token {
				granted = secondsOf(v)
			}
		}
	}
	if granted <= 0 {
		granted = l.reg.expires
	}
	return min(max(granted, minGranted), maxExpires)
}

// unregistered notes a server that does not take the registration; the next one
// is tried at once.
func (l *line) unregistered(s *server, res *sip.Response, now time.Time) {
	r := &l.reg
	text := fmt.Sprintf("REGISTER: %d %s", res.Code, sip.Reason(res.Code))
	if res.Local && res.Code == 408 {
		text = "no answer to REGISTER"
	}
	s.fail(now, text, retryAfter(res))
	if r.reason != text {
		l.log.Warn("trunk is not registered with a server", "server", s.String(), "reason", text, "until", s.until)
	}
	r.reason = text
	if r.home == s {
		r.home = nil
	}
	// With another server that has us, there is time; else the next one now.
	if r.home == nil {
		r.at = now
	}
}

// redirected follows a 3xx to another registrar, for as long as DNS is not asked
// anew (RFC 3261 section 8.1.3.4). Only addresses are followed: a name would have
// to be resolved, and a provider with names has SRV records.
func (l *line) redirected(s *server, res *sip.Response) bool {
	list, err := res.Addresses("Contact")
	if err != nil || len(list) == 0 || l.reg.raised >= maxRaised {
		return false
	}
	u := list[0].URI
	a, ok := sip.ParseHost(u.Host)
	port := cmp.Or(uint16(u.Port), defaultPort(l.t.Transport))
	if !ok || l.s.c.Dial.Check(a) != nil || len(l.servers) >= maxServers {
		return false
	}
	to := netip.AddrPortFrom(a, port)
	if l.server(to) != nil {
		return false // a loop
	}
	l.reg.raised++
	next := &server{target: target{a.String(), to, s.level - 1}}
	l.servers = append([]*server{next}, l.servers...)
	l.log.Info("registrar sends us to another one", "server", s.String(), "other", to.String())
	return true
}

// unregister takes the registration back, and reports whether there was one.
func (l *line) unregister() bool {
	r := &l.reg
	s := r.home
	if s == nil || !s.usable(l.t) || !r.until.After(time.Now()) {
		r.left = true
		return false
	}
	out := l.registerRequest(s, 0)
	l.ask(s, out, l.auth, func(*sip.Response, time.Duration, error) {
		r.left = true
	})
	return true
}

// retryAfter is what a refusal asks for (RFC 3261 section 20.33).
func retryAfter(r *sip.Response) time.Duration {
	v, _, _ := strings.Cut(r.Header("Retry-After"), ";")
	v, _, _ = strings.Cut(v, "(")
	return min(secondsOf(v), maxRetryAfter)
}

func secondsOf(s string) time.Duration {
	n, err := strconv.ParseUint(strings.TrimSpace(s), 10, 32)
	if err != nil {
		return 0
	}
	return time.Duration(n) * time.Second
}
