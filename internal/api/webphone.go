package api

import (
	"context"
	"net/http"
	"time"

	"ringfence/internal/telephony"
)

// WebPhones hands out credentials for browsers. Session names the web session
// they end with.
type WebPhones interface {
	Issue(aor telephony.AOR, session []byte) (name, password string, expires time.Time)
	Revoke(session []byte)
	RevokeAll(aor telephony.AOR)
}

func (s *Server) registerWebPhone() {
	handle(s, operation{id: "create-web-phone-credentials", method: http.MethodPost, path: "/web-phone/credentials", tag: "live", summary: "Credentials for the own extension's web phone, for a few hours", access: anyUser, errors: []int{http.StatusConflict}}, s.createWebPhoneCredentials)
}

func (s *Server) createWebPhoneCredentials(ctx context.Context, _ *noInput) (*body[WebPhoneCredentials], error) {
	c := callerOf(ctx)
	e, t, ok := s.ownExtension(c)
	if !ok || s.cfg.WebPhones == nil {
		return nil, problem(http.StatusConflict, "the user has no extension")
	}
	aor := e.AOR(t.Domain)
	name, password, expires := s.cfg.WebPhones.Issue(aor, []byte(c.cookie))
	if err := s.cfg.Store.ForTenant(t.ID).Record(ctx, c.actor(), "web_phone.credentials", e.Number, nil); err != nil {
		return nil, err
	}
	return &body[WebPhoneCredentials]{WebPhoneCredentials{
		Number: e.Number, DisplayName: e.DisplayName, URI: aor.String(), AuthUser: name, Password: password, ExpiresAt: expires.UTC(),
	}}, nil
}

// ownExtension is the extension of the session's user.
func (s *Server) ownExtension(c caller) (telephony.Extension, telephony.Tenant, bool) {
	u, snap := c.session.User, s.cfg.Store.Snapshot()
	t, ok := snap.Tenant(u.Tenant)
	if !ok || u.Extension == "" {
		return telephony.Extension{}, t, false
	}
	e, ok := snap.Extension(t.ID, u.Extension)
	return e, t, ok
}

// endWebPhones ends the credentials of the session's web phone: those it asked
// for itself, or all of the user's extension.
func (s *Server) endWebPhones(c caller, all bool) {
	if s.cfg.WebPhones == nil {
		return
	}
	s.cfg.WebPhones.Revoke([]byte(c.cookie))
	if e, t, ok := s.ownExtension(c); ok && all {
		s.cfg.WebPhones.RevokeAll(e.AOR(t.Domain))
	}
}
