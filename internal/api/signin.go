package api

import (
	"context"
	"net/http"

	"ringfence/internal/store"
	"ringfence/internal/telephony"
)

// PasswordPolicy is what new passwords must be like.
type PasswordPolicy struct {
	Mode           string `json:"mode" enum:"rules,nist" doc:"rules: every switch below counts. nist: length and the list of common passwords only, as NIST SP 800-63B asks; min is 15 or more."`
	Min            int    `json:"min" minimum:"6" maximum:"128" doc:"Fewest characters."`
	Max            int    `json:"max" minimum:"6" maximum:"128" doc:"Most characters."`
	Letter         bool   `json:"letter" doc:"At least one Latin letter."`
	Digit          bool   `json:"digit" doc:"At least one digit 0-9."`
	UpperOrSpecial bool   `json:"upper_or_special" doc:"At least one upper-case Latin letter or ASCII special character."`
	NoSequence     bool   `json:"no_sequence" doc:"No run of four letters or digits up or down, such as 7890."`
	NoRepeat       bool   `json:"no_repeat" doc:"No character three times in a row."`
	NoAccount      bool   `json:"no_account" doc:"Nothing of the account's own names and numbers."`
}

// SignIn is how people sign in.
type SignIn struct {
	Passwords    PasswordPolicy `json:"passwords" doc:"For portal and SIP passwords set from now on; those that exist stay."`
	SecondFactor string         `json:"second_factor" enum:"optional,administrators,everybody" doc:"Who has to sign in with a second factor: nobody, roles with any permission, or everybody."`
}

func signInOf(v telephony.SignIn) SignIn {
	return SignIn{Passwords: policyOf(v.Passwords), SecondFactor: string(v.SecondFactor)}
}

func policyOf(p telephony.PasswordPolicy) PasswordPolicy {
	p = p.Effective()
	return PasswordPolicy{
		Mode: string(p.Mode), Min: p.Min, Max: p.Max, Letter: p.Letter, Digit: p.Digit, UpperOrSpecial: p.UpperOrSpecial,
		NoSequence: p.NoSequence, NoRepeat: p.NoRepeat, NoAccount: p.NoAccount,
	}
}

func (p PasswordPolicy) policy() telephony.PasswordPolicy {
	return telephony.PasswordPolicy{
		Mode: telephony.PasswordMode(p.Mode), Min: p.Min, Max: p.Max, Letter: p.Letter, Digit: p.Digit, UpperOrSpecial: p.UpperOrSpecial,
		NoSequence: p.NoSequence, NoRepeat: p.NoRepeat, NoAccount: p.NoAccount,
	}.Effective()
}

// signInFields are where the fields of the rules stand in a request.
func signInFields() map[string]string {
	return map[string]string{"mode": "body.passwords.mode", "min": "body.passwords.min", "max": "body.passwords.max"}
}

func (s *Server) registerSignIn() {
	handle(s, operation{id: "get-sign-in", method: http.MethodGet, path: "/sign-in", tag: "tenant", summary: "How the people of the organisation sign in", access: manageSecurity}, s.getSignIn)
	handle(s, operation{id: "put-sign-in", method: http.MethodPut, path: "/sign-in", tag: "tenant", summary: "Change how the people of the organisation sign in", access: manageSecurity, errors: []int{http.StatusNotFound}, fields: signInFields()}, s.putSignIn)
	handle(s, operation{id: "get-box-sign-in", method: http.MethodGet, path: "/box/sign-in", tag: "box", summary: "How the administrators of the box sign in", access: systemOnly}, s.getBoxSignIn)
	handle(s, operation{id: "put-box-sign-in", method: http.MethodPut, path: "/box/sign-in", tag: "box", summary: "Change how the administrators of the box sign in", access: systemOnly, fields: signInFields()}, s.putBoxSignIn)
	handle(s, operation{id: "get-session-policy", method: http.MethodGet, path: "/session/password-policy", tag: "session", summary: "What a new password of one's own must be like", access: ownSession}, s.getSessionPolicy)
}

func (s *Server) getSignIn(ctx context.Context, _ *noInput) (*body[SignIn], error) {
	return &body[SignIn]{signInOf(s.cfg.Store.Snapshot().SignIn(callerOf(ctx).tenant))}, nil
}

func (s *Server) getBoxSignIn(context.Context, *noInput) (*body[SignIn], error) {
	return &body[SignIn]{signInOf(s.cfg.Store.Snapshot().SignIn(telephony.System))}, nil
}

func (s *Server) putSignIn(ctx context.Context, in *body[SignIn]) (*body[SignIn], error) {
	// Without a tenant this would be the box's.
	if callerOf(ctx).tenant == telephony.System {
		return nil, store.ErrNotFound
	}
	if err := s.change(ctx, in.Body.change); err != nil {
		return nil, err
	}
	return s.getSignIn(ctx, nil)
}

func (s *Server) putBoxSignIn(ctx context.Context, in *body[SignIn]) (*body[SignIn], error) {
	if _, err := s.cfg.Store.System().Update(ctx, callerOf(ctx).actor(), in.Body.change); err != nil {
		return nil, err
	}
	return s.getBoxSignIn(ctx, nil)
}

// change puts the rules in place of those of the transaction's scope.
func (v SignIn) change(tx *store.Tx) error {
	now, err := tx.SignIn()
	if err != nil {
		return err
	}
	now.Passwords, now.SecondFactor = v.Passwords.policy(), telephony.SecondFactor(v.SecondFactor)
	return tx.PutSignIn(now)
}

func (s *Server) getSessionPolicy(ctx context.Context, _ *noInput) (*body[PasswordPolicy], error) {
	return &body[PasswordPolicy]{policyOf(s.cfg.Login.Policy(callerOf(ctx).session.User.Tenant))}, nil
}
