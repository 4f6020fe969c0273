package api

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"ringfence/internal/login"
	"ringfence/internal/telephony"
)

// cookieAnswer carries a session cookie besides its body.
type cookieAnswer[T any] struct {
	SetCookie string `header:"Set-Cookie"`
	Body      T
}

// cookieOnly carries a session cookie and no body.
type cookieOnly struct {
	SetCookie string `header:"Set-Cookie"`
}

func (s *Server) registerSession() {
	handle(s, operation{id: "login", method: http.MethodPost, path: "/login", tag: "session", summary: "Log in", access: anyone, errors: []int{http.StatusUnauthorized, http.StatusTooManyRequests}}, s.login)
	handle(s, operation{id: "get-session", method: http.MethodGet, path: "/session", tag: "session", summary: "Who is logged in", access: halfSession}, s.getSession)
	handle(s, operation{id: "delete-session", method: http.MethodDelete, path: "/session", tag: "session", summary: "Log out", access: halfSession, status: http.StatusNoContent}, s.deleteSession)
	handle(s, operation{id: "put-session-password", method: http.MethodPut, path: "/session/password", tag: "session", summary: "Change the own password; other sessions end", access: ownSession, errors: []int{http.StatusTooManyRequests}, fields: map[string]string{"password": "body.new"}}, s.putSessionPassword)
}

// setCookie is the Set-Cookie header of a session. It carries no Max-Age: the
// server knows when the session ends.
func setCookie(value string) string {
	c := http.Cookie{Name: CookieName, Value: value, Path: "/", Secure: true, HttpOnly: true, SameSite: http.SameSiteStrictMode}
	if value == "" {
		c.MaxAge = -1
	}
	return c.String()
}

func isNoSession(err error) bool { return errors.Is(err, login.ErrNoSession) }

// sessionOf shows a session that works in a tenant.
func (s *Server) sessionOf(v login.Session, tenant telephony.TenantID) Session {
	u := v.User
	out := Session{
		User: SessionUser{Name: u.Name, FirstName: u.FirstName, LastName: u.LastName, Email: u.Email, Extension: u.Extension},
		Role: string(u.Role), Permissions: []string{},
		CSRFToken: v.CSRF, ExpiresAt: v.Expires.UTC(), MustChangePassword: u.MustChangePassword,
		SecondFactorOwed: v.Owed, MustSetUpSecondFactor: v.MustEnrol && !v.Owed,
	}
	if v.Owed { // whoever has the password alone learns nothing else
		out.User = SessionUser{Name: u.Name}
		return out
	}
	rights, _ := s.cfg.Store.Snapshot().Role(u.Tenant, u.Role)
	for _, p := range rights.Permissions {
		out.Permissions = append(out.Permissions, string(p))
	}
	if t, ok := s.cfg.Store.Snapshot().Tenant(tenant); ok {
		out.Tenant = SessionTenant{ID: int64(t.ID), Name: t.Name, Domain: t.Domain, ExtensionFirst: t.ExtensionFirst, ExtensionLast: t.ExtensionLast}
	}
	return out
}

func (s *Server) login(ctx context.Context, in *body[Login]) (*cookieAnswer[Session], error) {
	v, err := s.cfg.Login.Login(ctx, callerOf(ctx).addr, in.Body.Name, in.Body.Password)
	if err != nil {
		return nil, refused(err, http.StatusUnauthorized, "")
	}
	return s.begun(ctx, v)
}

// refused turns the errors of package login into answers. wrong is the status
// of a wrong password, where the field it came in.
func refused(err error, wrong int, where string) error {
	var blocked *login.BlockedError
	switch {
	case errors.Is(err, login.ErrWrong):
		p := problem(wrong, "wrong user name or password")
		if where != "" {
			p = problem(wrong, "the current password is wrong")
			p.Errors = []*huma.ErrorDetail{{Location: where, Message: "is wrong"}}
		}
		return p
	case errors.As(err, &blocked):
		// From here on the packet filter answers for blocked sources: with
		// silence.
		return later(time.Until(blocked.Until), "too many failed log-ins: wait")
	case errors.Is(err, login.ErrBusy):
		return later(2*time.Second, "too many log-ins at once: try again")
	}
	return err
}

// later is a 429 that says when to come again (RFC 6585 section 4).
func later(wait time.Duration, detail string) error {
	seconds := max(1, int(wait.Round(time.Second)/time.Second))
	return huma.ErrorWithHeaders(problem(http.StatusTooManyRequests, detail), http.Header{"Retry-After": {strconv.Itoa(seconds)}})
}

func (s *Server) getSession(ctx context.Context, _ *noInput) (*body[Session], error) {
	return &body[Session]{s.sessionOf(callerOf(ctx).session, callerOf(ctx).tenant)}, nil
}

func (s *Server) deleteSession(ctx context.Context, _ *noInput) (*cookieOnly, error) {
	c := callerOf(ctx)
	if err := s.cfg.Login.Logout(ctx, c.cookie); err != nil {
		return nil, err
	}
	s.endWebPhones(c, false)
	scope := s.cfg.Store.System()
	if c.session.User.Tenant != telephony.System {
		scope = s.cfg.Store.ForTenant(c.session.User.Tenant)
	}
	if err := scope.Record(ctx, c.actor(), "session.logout", c.session.User.Name, nil); err != nil {
		return nil, err
	}
	return &cookieOnly{SetCookie: setCookie("")}, nil
}

func (s *Server) putSessionPassword(ctx context.Context, in *body[PasswordChange]) (*cookieAnswer[Session], error) {
	c := callerOf(ctx)
	v, err := s.cfg.Login.ChangePassword(ctx, c.addr, c.session, in.Body.Current, in.Body.New)
	if err != nil {
		return nil, refused(err, http.StatusForbidden, "body.current")
	}
	s.endWebPhones(c, true)
	return &cookieAnswer[Session]{SetCookie: setCookie(v.Cookie), Body: s.sessionOf(v, c.tenant)}, nil
}
