package api

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"ringfence/internal/login"
	"ringfence/internal/store"
	"ringfence/internal/telephony"
	"ringfence/provision"
)

// CodeInput is the code of an authenticator app, or a recovery code.
type CodeInput struct {
	Code string `json:"code" minLength:"1" maxLength:"64" doc:"Six digits of the app, or a recovery code."`
}

// PasswordAgain is the password of somebody who is logged in already.
type PasswordAgain struct {
	Password string `json:"password" minLength:"1" maxLength:"512" format:"password"`
}

// OwnFactor is the second factor of the session's user.
type OwnFactor struct {
	On            bool `json:"on" doc:"Log-in asks for a code."`
	Required      bool `json:"required" doc:"The organisation asks for it."`
	RecoveryCodes int  `json:"recovery_codes" doc:"How many are left."`
}

// TOTPEnrolment is what an authenticator app needs; it is shown once.
type TOTPEnrolment struct {
	Secret string `json:"secret" doc:"Base32, for typing."`
	URI    string `json:"uri" doc:"otpauth URI, what the QR code says."`
	QR     string `json:"qr" doc:"QR code as a data URI."`
}

// RecoveryCodes open once each, in place of the app.
type RecoveryCodes struct {
	Codes []string `json:"recovery_codes" nullable:"false" doc:"Shown now and never again."`
}

func (s *Server) registerFactor() {
	const factor = "/session/second-factor"
	tries := []int{http.StatusTooManyRequests}
	handle(s, operation{id: "post-second-factor", method: http.MethodPost, path: factor, tag: "session", summary: "Second step of the log-in", access: halfSession, errors: tries}, s.postSecondFactor)
	handle(s, operation{id: "get-second-factor", method: http.MethodGet, path: factor, tag: "session", summary: "The own second factor", access: ownSession}, s.getSecondFactor)
	handle(s, operation{id: "begin-totp", method: http.MethodPost, path: factor + "/totp", tag: "session", summary: "Begin to set up an authenticator app (RFC 6238)", access: ownSession, errors: append(tries, http.StatusConflict)}, s.beginTOTP)
	handle(s, operation{id: "confirm-totp", method: http.MethodPut, path: factor + "/totp", tag: "session", summary: "Show the app's first code; log-in asks for one from now on. Other sessions end", access: ownSession, errors: []int{http.StatusConflict, http.StatusNotFound}}, s.confirmTOTP)
	handle(s, operation{id: "disable-second-factor", method: http.MethodPost, path: factor + "/disable", tag: "session", summary: "Take the own second factor off", access: ownSession, status: http.StatusNoContent, errors: tries}, s.disableFactor)
	handle(s, operation{id: "renew-recovery-codes", method: http.MethodPost, path: factor + "/recovery-codes", tag: "session", summary: "Make new recovery codes; the old ones are void", access: inPerson, errors: append(tries, http.StatusNotFound)}, s.renewRecoveryCodes)
	handle(s, operation{id: "reset-second-factor", method: http.MethodDelete, path: "/users/{user}/second-factor", tag: "users", summary: "Take a user's second factor off, such as after a lost phone; the user's sessions end", access: manageSecurity, status: http.StatusNoContent, errors: []int{http.StatusNotFound}}, s.resetFactor)
}

func (s *Server) postSecondFactor(ctx context.Context, in *body[CodeInput]) (*cookieAnswer[Session], error) {
	c := callerOf(ctx)
	v, err := s.cfg.Login.SecondFactor(ctx, c.addr, c.session, in.Body.Code)
	if errors.Is(err, login.ErrWrong) {
		p := problem(http.StatusForbidden, "the code is wrong, or was used")
		p.Errors = []*huma.ErrorDetail{{Location: "body.code", Message: "is wrong, or was used"}}
		return nil, p
	}
	if isNoSession(err) {
		return nil, problem(http.StatusConflict, "the session owes no second factor")
	}
	if err != nil {
		return nil, refused(err, http.StatusForbidden, "")
	}
	return s.begun(ctx, v)
}

// begun answers with a session that was just made.
func (s *Server) begun(ctx context.Context, v login.Session) (*cookieAnswer[Session], error) {
	if err := s.cfg.Login.Describe(ctx, v, callerOf(ctx).agent); err != nil {
		return nil, err
	}
	return &cookieAnswer[Session]{SetCookie: setCookie(v.Cookie), Body: s.sessionOf(v, s.tenantOf(v.User))}, nil
}

func (s *Server) getSecondFactor(ctx context.Context, _ *noInput) (*body[OwnFactor], error) {
	u := callerOf(ctx).session.User
	left, err := s.cfg.Login.RecoveryCodes(ctx, u)
	if err != nil {
		return nil, err
	}
	return &body[OwnFactor]{OwnFactor{On: u.SecondFactor, Required: s.cfg.Login.NeedsSecondFactor(u), RecoveryCodes: left}}, nil
}

func (s *Server) beginTOTP(ctx context.Context, in *body[PasswordAgain]) (*body[TOTPEnrolment], error) {
	c := callerOf(ctx)
	e, err := s.cfg.Login.BeginTOTP(ctx, c.addr, c.session, in.Body.Password)
	if err != nil {
		return nil, refused(err, http.StatusForbidden, "body.password")
	}
	qr, err := provision.QR(e.URI)
	if err != nil {
		return nil, err
	}
	return &body[TOTPEnrolment]{TOTPEnrolment{Secret: e.Secret, URI: e.URI, QR: qr}}, nil
}

func (s *Server) confirmTOTP(ctx context.Context, in *body[CodeInput]) (*body[RecoveryCodes], error) {
	c := callerOf(ctx)
	codes, err := s.cfg.Login.ConfirmTOTP(ctx, c.addr, c.session, in.Body.Code)
	if err != nil {
		return nil, err
	}
	return &body[RecoveryCodes]{RecoveryCodes{codes}}, nil
}

func (s *Server) disableFactor(ctx context.Context, in *body[PasswordAgain]) (*struct{}, error) {
	c := callerOf(ctx)
	if err := s.cfg.Login.DisableTOTP(ctx, c.addr, c.session, in.Body.Password); err != nil {
		return nil, refused(err, http.StatusForbidden, "body.password")
	}
	return nil, nil
}

func (s *Server) renewRecoveryCodes(ctx context.Context, in *body[PasswordAgain]) (*body[RecoveryCodes], error) {
	c := callerOf(ctx)
	codes, err := s.cfg.Login.RenewRecoveryCodes(ctx, c.addr, c.session, in.Body.Password)
	if err != nil {
		return nil, refused(err, http.StatusForbidden, "body.password")
	}
	return &body[RecoveryCodes]{RecoveryCodes{codes}}, nil
}

func (s *Server) resetFactor(ctx context.Context, in *UserPath) (*struct{}, error) {
	u, err := s.userFor(ctx, in.User)
	if err != nil {
		return nil, err
	}
	return nil, s.cfg.Login.ResetSecondFactor(ctx, callerOf(ctx).actor(), u)
}

// PersonSession is one session of a user.
type PersonSession struct {
	ID      string    `json:"id" doc:"Names the session; it is of no use in its place."`
	Address string    `json:"address" doc:"Where it was logged in from."`
	Browser string    `json:"browser" doc:"What the browser calls itself."`
	Since   time.Time `json:"since"`
	Seen    time.Time `json:"seen" doc:"Last used; to within a minute."`
	Own     bool      `json:"own" doc:"The session that asks."`
}

// PersonSessions lists sessions.
type PersonSessions struct {
	Items []PersonSession `json:"items" nullable:"false" doc:"The last used first; 20 at most."`
}

type sessionPath struct {
	Session string `path:"session" maxLength:"64"`
}

func (s *Server) registerSessions() {
	handle(s, operation{id: "list-sessions", method: http.MethodGet, path: "/sessions", tag: "session", summary: "The own sessions", access: inPerson}, s.listSessions)
	handle(s, operation{id: "end-other-sessions", method: http.MethodDelete, path: "/sessions", tag: "session", summary: "End all other sessions of one's own", access: inPerson, status: http.StatusNoContent}, s.endOtherSessions)
	handle(s, operation{id: "end-session", method: http.MethodDelete, path: "/sessions/{session}", tag: "session", summary: "End one session of one's own", access: inPerson, status: http.StatusNoContent, errors: []int{http.StatusNotFound}}, s.endSession)
	handle(s, operation{id: "list-user-sessions", method: http.MethodGet, path: "/users/{user}/sessions", tag: "users", summary: "The sessions of a user", access: manageSecurity, errors: []int{http.StatusNotFound}}, s.listUserSessions)
	handle(s, operation{id: "end-user-sessions", method: http.MethodDelete, path: "/users/{user}/sessions", tag: "users", summary: "End every session of a user", access: manageSecurity, status: http.StatusNoContent, errors: []int{http.StatusNotFound}}, s.endUserSessions)
}

func (s *Server) sessionsOf(ctx context.Context, u telephony.User) (*body[PersonSessions], error) {
	all, err := s.cfg.Login.Sessions(ctx, u, callerOf(ctx).session)
	if err != nil {
		return nil, err
	}
	out := PersonSessions{Items: make([]PersonSession, 0, len(all))}
	for _, v := range all {
		out.Items = append(out.Items, PersonSession{ID: v.ID, Address: v.Addr.String(), Browser: v.Agent, Since: v.Created.UTC(), Seen: v.Seen.UTC(), Own: v.Own})
	}
	return &body[PersonSessions]{out}, nil
}

func (s *Server) listSessions(ctx context.Context, _ *noInput) (*body[PersonSessions], error) {
	return s.sessionsOf(ctx, callerOf(ctx).session.User)
}

func (s *Server) listUserSessions(ctx context.Context, in *UserPath) (*body[PersonSessions], error) {
	u, _, err := s.cfg.Store.ForTenant(callerOf(ctx).tenant).User(ctx, in.User)
	if err != nil {
		return nil, err
	}
	return s.sessionsOf(ctx, u)
}

func (s *Server) endOtherSessions(ctx context.Context, _ *noInput) (*struct{}, error) {
	c := callerOf(ctx)
	return nil, s.cfg.Login.EndOthers(ctx, c.actor(), c.session)
}

func (s *Server) endSession(ctx context.Context, in *sessionPath) (*struct{}, error) {
	c := callerOf(ctx)
	err := s.cfg.Login.EndSession(ctx, c.actor(), c.session.User, in.Session)
	if isNoSession(err) {
		return nil, store.ErrNotFound
	}
	return nil, err
}

func (s *Server) endUserSessions(ctx context.Context, in *UserPath) (*struct{}, error) {
	u, err := s.userFor(ctx, in.User)
	if err != nil {
		return nil, err
	}
	return nil, s.cfg.Login.LogoutUser(ctx, callerOf(ctx).actor(), u)
}
