package api

import (
	"context"
	"net/http"
	"net/netip"
	"time"

	"ringfence/internal/login"
	"ringfence/internal/store"
	"ringfence/internal/telephony"
)

// Token is a token that a program uses in place of a log-in.
type Token struct {
	ID          int64      `json:"id"`
	Name        string     `json:"name"`
	ReadOnly    bool       `json:"read_only" doc:"It changes nothing."`
	Permissions []string   `json:"permissions" nullable:"false" doc:"The only ones it uses of its user's; none is all of them."`
	Sources     []string   `json:"sources" nullable:"false" doc:"The only networks it is good from; none is everywhere."`
	CreatedAt   time.Time  `json:"created_at"`
	ExpiresAt   *time.Time `json:"expires_at,omitempty" doc:"Absent if it does not end by itself."`
	UsedAt      *time.Time `json:"used_at,omitempty" doc:"Last use; to within a minute."`
	UsedFrom    string     `json:"used_from" doc:"Address of that use, or empty."`
}

// TokenList lists tokens.
type TokenList struct {
	Items []Token `json:"items" nullable:"false" doc:"At most 50."`
}

// TokenInput is a new token.
type TokenInput struct {
	Name        string     `json:"name" minLength:"1" maxLength:"64" doc:"Stands in the audit log behind the user's."`
	ReadOnly    bool       `json:"read_only,omitempty"`
	Permissions []string   `json:"permissions,omitempty" maxItems:"64" nullable:"false"`
	Sources     []string   `json:"sources,omitempty" maxItems:"64" nullable:"false" doc:"Networks such as 192.0.2.0/24, or addresses."`
	ExpiresAt   *time.Time `json:"expires_at,omitempty"`
}

// NewToken answers a token once.
type NewToken struct {
	Secret string `json:"secret" doc:"Goes into the header: Authorization: Bearer SECRET. It is not shown again."`
	Token  Token  `json:"token"`
}

type tokenPath struct {
	Token int64 `path:"token" minimum:"1" doc:"Number of the token."`
}

func (s *Server) registerTokens() {
	handle(s, operation{id: "list-tokens", method: http.MethodGet, path: "/tokens", tag: "session", summary: "The own API tokens", access: inPerson}, s.listTokens)
	handle(s, operation{id: "create-token", method: http.MethodPost, path: "/tokens", tag: "session", summary: "Make an API token; answers it once", access: inPerson, status: http.StatusCreated, errors: []int{http.StatusConflict}}, s.createToken)
	handle(s, operation{id: "delete-token", method: http.MethodDelete, path: "/tokens/{token}", tag: "session", summary: "End an API token of one's own", access: inPerson, status: http.StatusNoContent, errors: []int{http.StatusNotFound}}, s.deleteToken)
}

func tokenOf(t store.Token) Token {
	out := Token{ID: t.ID, Name: t.Name, ReadOnly: t.ReadOnly, Permissions: []string{}, Sources: []string{}, CreatedAt: t.Created.UTC(), ExpiresAt: moment(t.Expires), UsedAt: moment(t.Used)}
	for _, p := range t.Permissions {
		out.Permissions = append(out.Permissions, string(p))
	}
	for _, p := range t.Sources {
		out.Sources = append(out.Sources, p.String())
	}
	if t.UsedFrom.IsValid() {
		out.UsedFrom = t.UsedFrom.String()
	}
	return out
}

// moment is a time, or nothing if it is zero.
func moment(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}

func (s *Server) listTokens(ctx context.Context, _ *noInput) (*body[TokenList], error) {
	all, err := s.cfg.Login.Tokens(ctx, callerOf(ctx).session.User)
	if err != nil {
		return nil, err
	}
	out := TokenList{Items: make([]Token, 0, len(all))}
	for _, t := range all {
		out.Items = append(out.Items, tokenOf(t))
	}
	return &body[TokenList]{out}, nil
}

func (s *Server) createToken(ctx context.Context, in *body[TokenInput]) (*body[NewToken], error) {
	c := callerOf(ctx)
	v := login.TokenSpec{Name: in.Body.Name, ReadOnly: in.Body.ReadOnly}
	for _, p := range in.Body.Permissions {
		v.Permissions = append(v.Permissions, telephony.Permission(p))
	}
	for _, text := range in.Body.Sources {
		p, err := network(text)
		if err != nil {
			return nil, &telephony.FieldError{Field: "sources", Reason: "must be networks such as 192.0.2.0/24, or addresses"}
		}
		v.Sources = append(v.Sources, p)
	}
	if in.Body.ExpiresAt != nil {
		// The zero time would mean never.
		if v.Expires = in.Body.ExpiresAt.UTC().Truncate(time.Microsecond); v.Expires.IsZero() {
			v.Expires = time.Unix(0, 0)
		}
	}
	secret, t, err := s.cfg.Login.CreateToken(ctx, c.actor(), c.session.User, v)
	if err != nil {
		return nil, err
	}
	return &body[NewToken]{NewToken{Secret: secret, Token: tokenOf(t)}}, nil
}

// network reads a network, or an address as a network of its own.
func network(text string) (netip.Prefix, error) {
	if a, err := netip.ParseAddr(text); err == nil {
		return a.Unmap().Prefix(a.Unmap().BitLen())
	}
	p, err := netip.ParsePrefix(text)
	return p.Masked(), err
}

func (s *Server) deleteToken(ctx context.Context, in *tokenPath) (*struct{}, error) {
	c := callerOf(ctx)
	return nil, s.cfg.Login.DeleteToken(ctx, c.actor(), c.session.User, in.Token)
}
