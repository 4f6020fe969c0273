package api

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"math"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"ringfence/internal/login"
	"ringfence/internal/telephony"
)

// caller is who asks, as the handlers see it.
type caller struct {
	addr   netip.Addr
	host   string // Host of the request, with its port
	agent  string
	cookie string // or the token
	token  string // name of the token; empty is a session
	// Of a session; zero for the wizard and for log-in.
	session login.Session
	rights  telephony.RoleDefinition // what the role allows now
	tenant  telephony.TenantID       // the tenant the request works in
}

// actor is the caller in the audit log.
func (c caller) actor() telephony.Actor {
	if c.token != "" {
		return telephony.Actor{Kind: telephony.ActorToken, Name: c.session.User.Name + "/" + c.token, Addr: c.addr}
	}
	return telephony.Actor{Kind: telephony.ActorUser, Name: c.session.User.Name, Addr: c.addr}
}

// wizard is the caller in the audit log before there are users.
func (c caller) wizard() telephony.Actor {
	return telephony.Actor{Kind: telephony.ActorSetup, Name: "wizard", Addr: c.addr}
}

// may reports whether the caller's role allows something.
func (c caller) may(p telephony.Permission) bool { return c.rights.May(p) }

// isSystem reports whether the caller administers the box.
func (c caller) isSystem() bool { return c.rights.Name == telephony.RoleSystemAdmin }

type callerKey struct{}

// callerOf is who asks; every handler stands behind the gate that puts it
// there.
func callerOf(ctx context.Context) caller {
	c, _ := ctx.Value(callerKey{}).(caller)
	return c
}

// gate is the one access check around every route.
func (s *Server) gate(need access, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "no-store")
		c := caller{addr: source(r), host: r.Host, agent: cut(r.UserAgent(), 256)}
		status, why := s.admit(r, need, &c)
		if c.cookie != "" && c.session.User.ID != 0 {
			if wait := s.rates.take(sha256.Sum256([]byte(c.cookie)), time.Now()); wait > 0 {
				w.Header().Set("Retry-After", strconv.Itoa(max(1, int(math.Ceil(wait.Seconds())))))
				status, why = http.StatusTooManyRequests, "too many requests of one session or token: wait"
			}
		}
		if status != 0 {
			s.writeProblem(w, r, status, why)
			return
		}
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), callerKey{}, c)))
	})
}

// admit answers 0, or the status and the reason of a refusal.
func (s *Server) admit(r *http.Request, need access, c *caller) (int, string) {
	finished := s.cfg.Store.Snapshot().Settings.SetupDone
	switch {
	case finished == (need == wizard):
		// The wizard before it is finished, everything else after: whatever is
		// out of its time does not exist.
		return http.StatusNotFound, notThere
	case need == wizard && !s.cfg.Wizard.Admit(c.addr, r.Header.Get(tokenHeader)):
		return http.StatusNotFound, notThere
	case foreign(r) || s.origin.Check(r) != nil:
		return http.StatusForbidden, "requests from other sites are refused"
	case need == wizard || need == anyone:
		return 0, ""
	}
	if secret, ok := bearer(r); ok {
		return s.admitToken(r, need, c, secret)
	}
	return s.admitSession(r, need, c)
}

// bearer is the token of a request (RFC 6750 section 2.1). No browser sends one
// by itself, so nothing else needs to prove where the request comes from.
func bearer(r *http.Request) (string, bool) {
	scheme, secret, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	return strings.TrimSpace(secret), strings.EqualFold(scheme, "Bearer")
}

func (s *Server) admitToken(r *http.Request, need access, c *caller, secret string) (int, string) {
	t, u, err := s.cfg.Login.Token(r.Context(), c.addr, secret)
	if errors.Is(err, login.ErrNoToken) {
		return http.StatusUnauthorized, "the API token is unknown, too old, or not good from this address"
	}
	if err != nil {
		s.cfg.Logger.Error("API token not read", "err", err)
		return http.StatusServiceUnavailable, "API tokens cannot be read now"
	}
	c.cookie, c.token, c.session = secret, t.Name, login.Session{User: u}
	c.rights, _ = s.cfg.Store.Snapshot().Role(u.Tenant, u.Role)
	c.rights = c.rights.CutDown(t.Permissions)
	switch {
	case !need.takesTokens():
		return http.StatusForbidden, "this is for people who are logged in, not for API tokens"
	case t.ReadOnly && !safe(r.Method):
		return http.StatusForbidden, "the API token may only read"
	case !need.grantedTo(c.rights):
		return http.StatusForbidden, "neither role nor API token allow this"
	}
	var ok bool
	if c.tenant, ok = s.tenantFor(r, u); !ok {
		return http.StatusNotFound, notThere
	}
	return 0, ""
}

const notThere = "there is no such resource"

func (s *Server) admitSession(r *http.Request, need access, c *caller) (int, string) {
	cookie, err := r.Cookie(CookieName)
	if err != nil {
		return http.StatusUnauthorized, "log in first"
	}
	c.cookie = cookie.Value
	if c.session, err = s.cfg.Login.Session(r.Context(), c.cookie); err != nil {
		if !isNoSession(err) {
			s.cfg.Logger.Error("session not read", "err", err)
			return http.StatusServiceUnavailable, "sessions cannot be read now"
		}
		return http.StatusUnauthorized, "the session has ended: log in again"
	}
	if !safe(r.Method) && subtle.ConstantTimeCompare([]byte(r.Header.Get(csrfHeader)), []byte(c.session.CSRF)) != 1 {
		return http.StatusForbidden, "the " + csrfHeader + " header is missing or wrong"
	}
	u := c.session.User
	c.rights, _ = s.cfg.Store.Snapshot().Role(u.Tenant, u.Role)
	if why := owes(c.session, need); why != "" {
		return http.StatusForbidden, why
	}
	if !need.grantedTo(c.rights) {
		return http.StatusForbidden, "the role does not allow this"
	}
	var ok bool
	if c.tenant, ok = s.tenantFor(r, u); !ok {
		return http.StatusNotFound, notThere
	}
	return 0, ""
}

// owes is what a session has to do before it may go on.
func owes(v login.Session, need access) string {
	switch {
	case need == halfSession:
		return ""
	case v.Owed:
		return "show the second factor first"
	case need == ownSession:
		return ""
	case v.User.MustChangePassword:
		return "change the password first"
	case v.MustEnrol:
		return "set up a second factor first"
	}
	return ""
}

// foreign says whether a browser sends the request for another site. Reading
// is refused as well: nothing of ours is meant to be embedded anywhere.
func foreign(r *http.Request) bool {
	site := r.Header.Get("Sec-Fetch-Site")
	return site != "" && site != "same-origin" && site != "none"
}

// tenantHeader names the tenant that a request of an administrator of the box
// works in.
const tenantHeader = "Ringfence-Tenant"

// tenantFor is the tenant a request works in: the one it names, which must be
// the user's own unless the user administers the box, or that of tenantOf. A
// browser's EventSource has no headers, so event streams name it in the query.
func (s *Server) tenantFor(r *http.Request, u telephony.User) (telephony.TenantID, bool) {
	named := r.Header.Get(tenantHeader)
	if named == "" && r.URL.Path == Base+eventsPath {
		named = r.URL.Query().Get("tenant")
	}
	if named == "" {
		return s.tenantOf(u), true
	}
	n, err := strconv.ParseInt(named, 10, 64)
	id := telephony.TenantID(n)
	if err != nil || (u.Role != telephony.RoleSystemAdmin && id != u.Tenant) {
		return 0, false
	}
	_, ok := s.cfg.Store.Snapshot().Tenant(id)
	return id, ok
}

// tenantOf is the tenant a user works in who names none. Administrators of the
// box work in its first one.
func (s *Server) tenantOf(u telephony.User) telephony.TenantID {
	if u.Tenant != telephony.System {
		return u.Tenant
	}
	if all := s.cfg.Store.Snapshot().Tenants(); len(all) > 0 {
		return all[0].ID
	}
	return telephony.System
}

func source(r *http.Request) netip.Addr {
	a, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	return a.Addr().Unmap()
}
