package api

import (
	"context"
	"errors"
	"net/http"

	"ringfence/internal/login"
	"ringfence/internal/sso"
	"ringfence/internal/store"
	"ringfence/internal/telephony"
)

// ssoCookie ties a sign-in at a provider to the browser that began it.
const ssoCookie = "__Host-ringfence-sso"

// ssoPage is our page that providers send people back to.
const ssoPage = "/sso"

// SSO is the OpenID Connect provider of the organisation.
type SSO struct {
	Enabled     bool     `json:"enabled"`
	Label       string   `json:"label" doc:"On the sign-in page, for everybody to read; empty shows no button."`
	Issuer      string   `json:"issuer" doc:"https URL, as the provider names itself."`
	ClientID    string   `json:"client_id"`
	Domains     []string `json:"domains" nullable:"false" doc:"Domains of the e-mail addresses that the provider speaks for."`
	CreateUsers bool     `json:"create_users" doc:"Make a user with the role standard of whoever is none yet."`
	RedirectURI string   `json:"redirect_uri" doc:"To be entered at the provider, for the host name this request came to."`
}

// SSOInput replaces the provider.
type SSOInput struct {
	Enabled      bool     `json:"enabled"`
	Label        string   `json:"label,omitempty" maxLength:"100"`
	Issuer       string   `json:"issuer" minLength:"1" maxLength:"255"`
	ClientID     string   `json:"client_id" minLength:"1" maxLength:"255"`
	ClientSecret string   `json:"client_secret,omitempty" maxLength:"512" format:"password" doc:"Left out, it stays; it is never shown."`
	Domains      []string `json:"domains" minItems:"1" maxItems:"32" nullable:"false"`
	CreateUsers  bool     `json:"create_users,omitempty"`
}

// SSOButton is a provider on the sign-in page.
type SSOButton struct {
	Domain string `json:"domain" doc:"SIP domain of the organisation."`
	Label  string `json:"label"`
}

// SSOButtons lists them.
type SSOButtons struct {
	Items []SSOButton `json:"items" nullable:"false"`
}

// SSOStart begins a sign-in.
type SSOStart struct {
	Domain string `json:"domain" minLength:"1" maxLength:"253" doc:"SIP domain of the organisation."`
}

// SSOGo says where the browser goes.
type SSOGo struct {
	URL string `json:"url"`
}

// SSOAnswer is what the provider sent the browser back with.
type SSOAnswer struct {
	State  string `json:"state" minLength:"1" maxLength:"128"`
	Code   string `json:"code" minLength:"1" maxLength:"4096"`
	Issuer string `json:"iss,omitempty" maxLength:"255" doc:"RFC 9207."`
}

type ssoFinish struct {
	Browser string `cookie:"__Host-ringfence-sso" maxLength:"64"`
	Body    SSOAnswer
}

func (s *Server) registerSSO() {
	const own = "/sign-in/sso"
	tries := []int{http.StatusNotFound, http.StatusTooManyRequests, http.StatusBadRequest}
	handle(s, operation{id: "get-sso", method: http.MethodGet, path: own, tag: "tenant", summary: "The sign-in provider of the organisation (OpenID Connect)", access: manageSecurity}, s.getSSO)
	handle(s, operation{id: "put-sso", method: http.MethodPut, path: own, tag: "tenant", summary: "Set the sign-in provider", access: manageSecurity, errors: []int{http.StatusNotFound}}, s.putSSO)
	handle(s, operation{id: "delete-sso", method: http.MethodDelete, path: own, tag: "tenant", summary: "Take the sign-in provider away", access: manageSecurity, status: http.StatusNoContent, errors: []int{http.StatusNotFound}}, s.deleteSSO)
	handle(s, operation{id: "list-sso", method: http.MethodGet, path: "/sso", tag: "session", summary: "The sign-in providers that want a button", access: anyone}, s.listSSO)
	handle(s, operation{id: "start-sso", method: http.MethodPost, path: "/sso/start", tag: "session", summary: "Begin to sign in at a provider", access: anyone, errors: tries}, s.startSSO)
	handle(s, operation{id: "finish-sso", method: http.MethodPost, path: "/sso/finish", tag: "session", summary: "Sign in with what the provider sent back", access: anyone, errors: tries}, s.finishSSO)
}

func (s *Server) redirectURI(c caller) string { return "https://" + c.host + ssoPage }

func (s *Server) getSSO(ctx context.Context, _ *noInput) (*body[SSO], error) {
	c := callerOf(ctx)
	v, _, err := s.cfg.Store.ForTenant(c.tenant).SSO(ctx)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return nil, err
	}
	return &body[SSO]{SSO{Enabled: v.Enabled, Label: v.Label, Issuer: v.Issuer, ClientID: v.ClientID,
		Domains: append([]string{}, v.Domains...), CreateUsers: v.CreateUsers, RedirectURI: s.redirectURI(c)}}, nil
}

func (s *Server) putSSO(ctx context.Context, in *body[SSOInput]) (*body[SSO], error) {
	b := in.Body
	v := telephony.SSO{Enabled: b.Enabled, Label: b.Label, Issuer: b.Issuer, ClientID: b.ClientID, Domains: b.Domains, CreateUsers: b.CreateUsers}
	if err := s.change(ctx, func(tx *store.Tx) error { return tx.PutSSO(v, b.ClientSecret) }); err != nil {
		return nil, err
	}
	return s.getSSO(ctx, nil)
}

func (s *Server) deleteSSO(ctx context.Context, _ *noInput) (*struct{}, error) {
	return nil, s.change(ctx, func(tx *store.Tx) error { return tx.DeleteSSO() })
}

func (s *Server) listSSO(ctx context.Context, _ *noInput) (*body[SSOButtons], error) {
	all, err := s.cfg.Store.SSOProviders(ctx)
	if err != nil {
		return nil, err
	}
	out := SSOButtons{Items: make([]SSOButton, 0, len(all))}
	for _, v := range all {
		out.Items = append(out.Items, SSOButton(v))
	}
	return &body[SSOButtons]{out}, nil
}

func (s *Server) startSSO(ctx context.Context, in *body[SSOStart]) (*cookieAnswer[SSOGo], error) {
	c := callerOf(ctx)
	t, ok := s.cfg.Store.Snapshot().TenantByDomain(in.Body.Domain)
	if !ok {
		return nil, store.ErrNotFound
	}
	v, secret, err := s.cfg.Store.ForTenant(t.ID).SSO(ctx)
	if err != nil {
		return nil, err
	}
	if !v.Enabled {
		return nil, store.ErrNotFound
	}
	to, browser, err := s.sso.Begin(ctx, sso.Provider{Tenant: t.ID, Issuer: v.Issuer, ClientID: v.ClientID, ClientSecret: secret, Redirect: s.redirectURI(c)})
	if err != nil {
		return nil, s.ssoProblem(c, err)
	}
	k := http.Cookie{Name: ssoCookie, Value: browser, Path: "/", MaxAge: 600, Secure: true, HttpOnly: true, SameSite: http.SameSiteStrictMode}
	return &cookieAnswer[SSOGo]{SetCookie: k.String(), Body: SSOGo{URL: to}}, nil
}

func (s *Server) finishSSO(ctx context.Context, in *ssoFinish) (*cookieAnswer[Session], error) {
	c := callerOf(ctx)
	id, err := s.sso.Finish(ctx, in.Body.State, in.Browser, in.Body.Code, in.Body.Issuer)
	if err != nil {
		return nil, s.ssoProblem(c, err)
	}
	v, err := s.cfg.Login.LoginBy(ctx, c.addr, id)
	if errors.Is(err, login.ErrStranger) {
		s.cfg.Logger.Warn("sign-in by a provider refused", "source", c.addr.String(), "err", err)
		return nil, problem(http.StatusForbidden, "the provider's account belongs to no user here: ask your administrator")
	}
	if err != nil {
		return nil, err
	}
	return s.begun(ctx, v)
}

// ssoProblem says that it failed; why is for the log, since it may hold what a
// provider sent.
func (s *Server) ssoProblem(c caller, err error) error {
	if errors.Is(err, sso.ErrBusy) {
		return later(0, "too many sign-ins at once: try again")
	}
	s.cfg.Logger.Warn("sign-in by a provider failed", "source", c.addr.String(), "err", cut(err.Error(), 500))
	return problem(http.StatusBadRequest, "the sign-in at the provider failed; the log of the PBX says why")
}
