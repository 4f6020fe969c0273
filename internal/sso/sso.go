// Package sso signs people in by an OpenID Connect provider of their
// organisation: the code flow with PKCE, state and nonce (OpenID Connect Core
// section 3.1, RFC 7636).
package sso

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"ringfence/internal/dialout"
	"ringfence/internal/telephony"
)

const (
	waitFor    = 10 * time.Minute // at the provider, for the person
	maxWaiting = 1000             // log-ins under way; beyond them the oldest is forgotten
	maxAnswer  = 1 << 20          // bytes of one answer of a provider
	answerTime = 15 * time.Second
	maxAtOnce  = 8 // conversations with providers
)

// ErrRefused says that a log-in by a provider did not succeed. What is wrapped
// is for the log.
var ErrRefused = errors.New("the sign-in at the provider failed")

// ErrBusy asks to come again.
var ErrBusy = errors.New("too many sign-ins by providers at once")

// Provider is where a tenant's people sign in.
type Provider struct {
	Tenant       telephony.TenantID
	Issuer       string
	ClientID     string
	ClientSecret string
	Redirect     string // our page that the provider sends people back to
}

// Identity is who the provider says it is.
type Identity struct {
	Tenant          telephony.TenantID
	Issuer, Subject string
	Email           string // empty unless the provider has verified it
	GivenName       string
	FamilyName      string
}

// Options are for tests.
type Options struct {
	AllowLoopback bool
	Roots         *x509.CertPool // nil are the system's
}

// Client talks to providers. It is safe for concurrent use.
type Client struct {
	http *http.Client
	busy chan struct{}

	mu      sync.Mutex
	waiting map[string]waiting // by state
}

type waiting struct {
	provider Provider
	verifier string // of PKCE
	nonce    string
	browser  [32]byte // hash of what its browser keeps
	until    time.Time
}

// New returns a client.
func New(o Options) *Client {
	dial := dialout.Dialer{AllowLoopback: o.AllowLoopback}
	t := &http.Transport{
		DialContext: dial.DialContext, TLSHandshakeTimeout: answerTime, ResponseHeaderTimeout: answerTime,
		MaxIdleConns: 8, IdleConnTimeout: time.Minute, MaxResponseHeaderBytes: 64 << 10, ForceAttemptHTTP2: true,
	}
	t.TLSClientConfig = tlsConfig(o.Roots)
	return &Client{
		http: &http.Client{Transport: bounded{t}, Timeout: answerTime,
			// A provider that sends us elsewhere is not the one that was named.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }},
		busy: make(chan struct{}, maxAtOnce), waiting: make(map[string]waiting),
	}
}

// Close ends idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// bounded speaks HTTPS only and cuts off answers that are too long.
type bounded struct{ next http.RoundTripper }

func (b bounded) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Scheme != "https" {
		return nil, fmt.Errorf("asking %s: only https is spoken with providers", r.URL.Redacted())
	}
	a, err := b.next.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	a.Body = struct {
		io.Reader
		io.Closer
	}{io.LimitReader(a.Body, maxAnswer), a.Body}
	return a, nil
}

func random() string {
	b := make([]byte, 32)
	rand.Read(b)
	return base64.RawURLEncoding.EncodeToString(b)
}

func (c *Client) enter() error {
	select {
	case c.busy <- struct{}{}:
		return nil
	default:
		return ErrBusy
	}
}

// discover reads the provider's metadata (OpenID Connect Discovery section 4);
// the library insists that they name the same issuer.
func (c *Client) discover(ctx context.Context, p Provider) (*oidc.Provider, *oauth2.Config, error) {
	found, err := oidc.NewProvider(ctx, p.Issuer)
	if err != nil {
		return nil, nil, fmt.Errorf("%w: reading the provider's metadata: %w", ErrRefused, err)
	}
	at := found.Endpoint()
	for _, text := range []string{at.AuthURL, at.TokenURL} {
		if u, err := url.Parse(text); err != nil || u.Scheme != "https" || u.Host == "" {
			return nil, nil, fmt.Errorf("%w: the provider's metadata name no https endpoints", ErrRefused)
		}
	}
	// Guessing would send the code twice. RFC 8414 section 2: basic, unless they
	// say otherwise.
	var more struct {
		Methods []string `json:"token_endpoint_auth_methods_supported"`
	}
	if err := found.Claims(&more); err != nil {
		return nil, nil, fmt.Errorf("%w: reading the provider's metadata: %w", ErrRefused, err)
	}
	at.AuthStyle = oauth2.AuthStyleInHeader
	if len(more.Methods) > 0 && !slices.Contains(more.Methods, "client_secret_basic") {
		at.AuthStyle = oauth2.AuthStyleInParams
	}
	return found, &oauth2.Config{
		ClientID: p.ClientID, ClientSecret: p.ClientSecret, Endpoint: at, RedirectURL: p.Redirect,
		Scopes: []string{oidc.ScopeOpenID, "email", "profile"},
	}, nil
}

// Begin starts a log-in: the browser goes to the URL, and keeps a secret so
// that nobody else can end what it began.
func (c *Client) Begin(ctx context.Context, p Provider) (to, browser string, err error) {
	if err := c.enter(); err != nil {
		return "", "", err
	}
	defer func() { <-c.busy }()
	_, conf, err := c.discover(oidc.ClientContext(ctx, c.http), p)
	if err != nil {
		return "", "", err
	}
	state, browser := random(), random()
	w := waiting{provider: p, verifier: oauth2.GenerateVerifier(), nonce: random(), browser: sha256.Sum256([]byte(browser)), until: time.Now().Add(waitFor)}
	c.keep(state, w)
	return conf.AuthCodeURL(state, oidc.Nonce(w.nonce), oauth2.S256ChallengeOption(w.verifier)), browser, nil
}

func (c *Client) keep(state string, w waiting) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for len(c.waiting) >= maxWaiting {
		oldest, at := "", time.Time{}
		for s, v := range c.waiting {
			if oldest == "" || v.until.Before(at) {
				oldest, at = s, v.until
			}
		}
		delete(c.waiting, oldest)
	}
	c.waiting[state] = w
}

// take finds what was begun; each is taken once.
func (c *Client) take(state, browser string) (waiting, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	w, ok := c.waiting[state]
	hash := sha256.Sum256([]byte(browser))
	if !ok || subtle.ConstantTimeCompare(hash[:], w.browser[:]) != 1 {
		return waiting{}, false // and another browser does not end what this one began
	}
	delete(c.waiting, state)
	return w, time.Now().Before(w.until)
}

// Finish ends a log-in with what the provider sent the browser back with.
// issuer is the iss parameter of RFC 9207, or empty.
func (c *Client) Finish(ctx context.Context, state, browser, code, issuer string) (Identity, error) {
	w, ok := c.take(state, browser)
	switch {
	case !ok:
		return Identity{}, fmt.Errorf("%w: it was not begun here, or took too long", ErrRefused)
	case issuer != "" && issuer != w.provider.Issuer:
		return Identity{}, fmt.Errorf("%w: the answer is of another issuer", ErrRefused)
	}
	if err := c.enter(); err != nil {
		return Identity{}, err
	}
	defer func() { <-c.busy }()
	ctx = oidc.ClientContext(ctx, c.http)
	found, conf, err := c.discover(ctx, w.provider)
	if err != nil {
		return Identity{}, err
	}
	tokens, err := conf.Exchange(ctx, code, oauth2.VerifierOption(w.verifier))
	if err != nil {
		return Identity{}, fmt.Errorf("%w: exchanging the code: %w", ErrRefused, err)
	}
	raw, _ := tokens.Extra("id_token").(string)
	return verify(ctx, found, w, raw)
}

// verify checks an ID token as OpenID Connect Core section 3.1.3.7 says:
// signature by a key of the provider, issuer, audience, times, nonce.
func verify(ctx context.Context, found *oidc.Provider, w waiting, raw string) (Identity, error) {
	token, err := found.VerifierContext(ctx, &oidc.Config{
		ClientID: w.provider.ClientID,
		// Neither "none" nor one whose key is the client's secret.
		SupportedSigningAlgs: []string{oidc.RS256, oidc.RS384, oidc.RS512, oidc.ES256, oidc.ES384, oidc.ES512, oidc.PS256, oidc.PS384, oidc.PS512, oidc.EdDSA},
	}).Verify(ctx, raw)
	if err != nil {
		return Identity{}, fmt.Errorf("%w: %w", ErrRefused, err)
	}
	if subtle.ConstantTimeCompare([]byte(token.Nonce), []byte(w.nonce)) != 1 {
		return Identity{}, fmt.Errorf("%w: the ID token is not the answer to this sign-in", ErrRefused)
	}
	var claims struct {
		AZP           string `json:"azp"`
		Email         string `json:"email"`
		EmailVerified bool   `json:"email_verified"`
		GivenName     string `json:"given_name"`
		FamilyName    string `json:"family_name"`
	}
	if err := token.Claims(&claims); err != nil {
		return Identity{}, fmt.Errorf("%w: reading the claims: %w", ErrRefused, err)
	}
	if token.Subject == "" || len(token.Subject) > 255 || len(token.Audience) > 1 && claims.AZP != w.provider.ClientID {
		return Identity{}, fmt.Errorf("%w: the ID token is for somebody else, or nobody", ErrRefused)
	}
	id := Identity{Tenant: w.provider.Tenant, Issuer: w.provider.Issuer, Subject: token.Subject, GivenName: claims.GivenName, FamilyName: claims.FamilyName}
	if claims.EmailVerified {
		id.Email = claims.Email
	}
	return id, nil
}
