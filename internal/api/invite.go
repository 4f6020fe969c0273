package api

import (
	"context"
	"errors"
	"net/http"
	"time"

	"ringfence/internal/login"
	"ringfence/internal/telephony"
)

// Invite is a one-time link by which a user sets a password.
type Invite struct {
	URL       string    `json:"url" doc:"For the user alone: whoever has it sets the password. It is not shown again."`
	ExpiresAt time.Time `json:"expires_at"`
}

// InviteSecret is what stands behind the # of the link.
type InviteSecret struct {
	Token string `json:"token" minLength:"1" maxLength:"64" format:"password"`
}

// Invited is what who holds a link may know before setting the password.
type Invited struct {
	Name      string         `json:"name" doc:"Login name."`
	Passwords PasswordPolicy `json:"passwords" doc:"What the password must be like."`
}

// InviteAnswer sets the password.
type InviteAnswer struct {
	InviteSecret
	Password string `json:"password" minLength:"1" maxLength:"512" format:"password"`
}

func (s *Server) registerInvites() {
	gone := []int{http.StatusNotFound, http.StatusTooManyRequests}
	handle(s, operation{id: "invite-user", method: http.MethodPost, path: "/users/{user}/invite", tag: "users", summary: "Make a one-time link by which the user sets a password within 72 hours; an older link is void", access: manageUsers, status: http.StatusCreated, errors: []int{http.StatusNotFound}}, s.inviteUser)
	handle(s, operation{id: "read-invite", method: http.MethodPost, path: "/invite/read", tag: "session", summary: "Whom a one-time link invites", access: anyone, errors: gone}, s.readInvite)
	handle(s, operation{id: "accept-invite", method: http.MethodPost, path: "/invite", tag: "session", summary: "Set the password by a one-time link, and log in", access: anyone, errors: gone}, s.acceptInvite)
}

func (s *Server) inviteUser(ctx context.Context, in *UserPath) (*body[Invite], error) {
	u, err := s.userFor(ctx, in.User)
	if err != nil {
		return nil, err
	}
	return s.invite(ctx, u)
}

func (s *Server) invite(ctx context.Context, u telephony.User) (*body[Invite], error) {
	c := callerOf(ctx)
	secret, until, err := s.cfg.Login.Invite(ctx, c.actor(), u)
	if err != nil {
		return nil, err
	}
	// Behind the # it reaches neither a log nor a Referer header.
	url := "https://" + c.host + "/invite#" + secret
	if s.cfg.Invited != nil {
		s.cfg.Invited(ctx, u, url, until)
	}
	return &body[Invite]{Invite{URL: url, ExpiresAt: until.UTC()}}, nil
}

func noInvite(err error) error {
	if errors.Is(err, login.ErrNoInvite) {
		return problem(http.StatusNotFound, "the invitation is unknown, was used, or is too old: ask for a new one")
	}
	return err
}

func (s *Server) readInvite(ctx context.Context, in *body[InviteSecret]) (*body[Invited], error) {
	u, err := s.cfg.Login.Invited(ctx, in.Body.Token)
	if err != nil {
		return nil, noInvite(err)
	}
	return &body[Invited]{Invited{Name: u.Name, Passwords: policyOf(s.cfg.Login.Policy(u.Tenant))}}, nil
}

func (s *Server) acceptInvite(ctx context.Context, in *body[InviteAnswer]) (*cookieAnswer[Session], error) {
	v, err := s.cfg.Login.AcceptInvite(ctx, callerOf(ctx).addr, in.Body.Token, in.Body.Password)
	if err != nil {
		return nil, busy(noInvite(err))
	}
	return s.begun(ctx, v)
}
