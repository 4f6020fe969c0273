package sso

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"ringfence/internal/dialout"
)

const (
	clientID = "ringfence"
	secret   = "the client's secret"
	redirect = "https://pbx.example:8887/sso"
)

// idp is a provider that answers as it is told.
type idp struct {
	*httptest.Server
	key    *ecdsa.PrivateKey
	claims map[string]any            // beside the usual ones, or in their place
	sign   func(input string) string // in place of the honest signature
	header map[string]any
	token  func(http.ResponseWriter, *http.Request) bool // answers instead
	meta   map[string]any
	asked  url.Values // at the token endpoint
	nonce  string
}

func newIDP(t *testing.T) *idp {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	p := &idp{key: key}
	mux := http.NewServeMux()
	mux.HandleFunc("/.well-known/openid-configuration", func(w http.ResponseWriter, r *http.Request) {
		m := map[string]any{
			"issuer": p.URL, "authorization_endpoint": p.URL + "/auth", "token_endpoint": p.URL + "/token", "jwks_uri": p.URL + "/keys",
			"id_token_signing_alg_values_supported": []string{"ES256", "none", "HS256"},
		}
		for k, v := range p.meta {
			m[k] = v
		}
		answer(w, m)
	})
	mux.HandleFunc("/keys", func(w http.ResponseWriter, r *http.Request) {
		b, err := key.PublicKey.ECDH()
		if err != nil {
			panic(err)
		}
		point := b.Bytes()
		answer(w, map[string]any{"keys": []any{map[string]any{"kty": "EC", "crv": "P-256", "kid": "one", "use": "sig", "alg": "ES256", "x": b64(point[1:33]), "y": b64(point[33:])}}})
	})
	mux.HandleFunc("/token", func(w http.ResponseWriter, r *http.Request) {
		_ = r.ParseForm()
		p.asked = r.PostForm
		if p.token != nil && p.token(w, r) {
			return
		}
		answer(w, map[string]any{"access_token": "x", "token_type": "Bearer", "id_token": p.idToken()})
	})
	p.Server = httptest.NewTLSServer(mux)
	t.Cleanup(p.Close)
	return p
}

func answer(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v)
}

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

func (p *idp) idToken() string {
	now := time.Now()
	claims := map[string]any{
		"iss": p.URL, "aud": clientID, "sub": "248289761001", "nonce": p.nonce, "iat": now.Unix(), "exp": now.Add(time.Minute).Unix(),
		"email": "jo@example.org", "email_verified": true, "given_name": "Jo", "family_name": "Doe",
	}
	for k, v := range p.claims {
		claims[k] = v
	}
	header := map[string]any{"alg": "ES256", "kid": "one", "typ": "JWT"}
	for k, v := range p.header {
		header[k] = v
	}
	h, _ := json.Marshal(header)
	c, _ := json.Marshal(claims)
	input := b64(h) + "." + b64(c)
	if p.sign != nil {
		return input + "." + p.sign(input)
	}
	sum := sha256.Sum256([]byte(input))
	return input + "." + b64(sign(p.key, sum[:]))
}

// sign is ES256 of RFC 7518 section 3.4.
func sign(key *ecdsa.PrivateKey, sum []byte) []byte {
	r, s, err := ecdsa.Sign(rand.Reader, key, sum)
	if err != nil {
		panic(err)
	}
	out := make([]byte, 64)
	r.FillBytes(out[:32])
	s.FillBytes(out[32:])
	return out
}

func (p *idp) client() *Client {
	return New(Options{AllowLoopback: true, Roots: p.Server.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs})
}

func (p *idp) provider() Provider {
	return Provider{Tenant: 7, Issuer: p.URL, ClientID: clientID, ClientSecret: secret, Redirect: redirect}
}

// begin is a browser that was at the provider and comes back.
func (p *idp) begin(t *testing.T, c *Client) (state, browser string) {
	t.Helper()
	to, browser, err := c.Begin(t.Context(), p.provider())
	if err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(to)
	if err != nil {
		t.Fatal(err)
	}
	q := u.Query()
	if !strings.HasPrefix(to, p.URL+"/auth?") || q.Get("code_challenge_method") != "S256" || len(q.Get("code_challenge")) != 43 || q.Get("redirect_uri") != redirect || q.Get("response_type") != "code" || !strings.Contains(q.Get("scope"), "openid") || strings.Contains(to, browser) {
		t.Fatalf("to the provider: %s", to)
	}
	p.nonce = q.Get("nonce")
	return q.Get("state"), browser
}

func TestSignInByProvider(t *testing.T) {
	t.Parallel()
	p := newIDP(t)
	c := p.client()
	defer c.Close()
	state, browser := p.begin(t, c)
	// Another browser does not end it, and does not spoil it.
	if _, err := c.Finish(t.Context(), state, "another browser's", "code", ""); !errors.Is(err, ErrRefused) {
		t.Errorf("in another browser: %v", err)
	}
	id, err := c.Finish(t.Context(), state, browser, "the code", p.URL)
	want := Identity{Tenant: 7, Issuer: p.URL, Subject: "248289761001", Email: "jo@example.org", GivenName: "Jo", FamilyName: "Doe"}
	if err != nil || id != want {
		t.Fatalf("%+v, %v", id, err)
	}
	if p.asked.Get("code") != "the code" || len(p.asked.Get("code_verifier")) < 43 || p.asked.Get("redirect_uri") != redirect {
		t.Errorf("at the token endpoint: %v", p.asked)
	}
	if _, err := c.Finish(t.Context(), state, browser, "the code", ""); !errors.Is(err, ErrRefused) {
		t.Errorf("a second time: %v", err)
	}
}

// TestHostileProvider: answers that must open nothing.
func TestHostileProvider(t *testing.T) {
	t.Parallel()
	other, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	elsewhere := newIDP(t)
	mac := func(key []byte) func(string) string {
		return func(input string) string {
			m := hmac.New(sha256.New, key)
			m.Write([]byte(input))
			return b64(m.Sum(nil))
		}
	}
	for name, spoil := range map[string]func(*idp){
		"wrong nonce":     func(p *idp) { p.claims = map[string]any{"nonce": "another"} },
		"no nonce":        func(p *idp) { p.claims = map[string]any{"nonce": nil} },
		"other audience":  func(p *idp) { p.claims = map[string]any{"aud": "somebody else"} },
		"two audiences":   func(p *idp) { p.claims = map[string]any{"aud": []string{clientID, "x"}, "azp": "x"} },
		"other issuer":    func(p *idp) { p.claims = map[string]any{"iss": "https://other.example"} },
		"expired":         func(p *idp) { p.claims = map[string]any{"exp": time.Now().Add(-time.Minute).Unix()} },
		"not valid yet":   func(p *idp) { p.claims = map[string]any{"nbf": time.Now().Add(time.Hour).Unix()} },
		"no subject":      func(p *idp) { p.claims = map[string]any{"sub": ""} },
		"endless subject": func(p *idp) { p.claims = map[string]any{"sub": strings.Repeat("x", 300)} },
		"alg none":        func(p *idp) { p.header, p.sign = map[string]any{"alg": "none"}, func(string) string { return "" } },
		"alg HS256":       func(p *idp) { p.header, p.sign = map[string]any{"alg": "HS256"}, mac([]byte(secret)) },
		"other key": func(p *idp) {
			p.sign = func(in string) string { s := sha256.Sum256([]byte(in)); return b64(sign(other, s[:])) }
		},
		"no signature":       func(p *idp) { p.sign = func(string) string { return "" } },
		"metadata of others": func(p *idp) { p.meta = map[string]any{"issuer": "https://other.example"} },
		"endpoint in clear":  func(p *idp) { p.meta = map[string]any{"token_endpoint": "http://127.0.0.1/token"} },
		"keys in clear":      func(p *idp) { p.meta = map[string]any{"jwks_uri": "http://127.0.0.1/keys"} },
		"no ID token": func(p *idp) {
			p.token = func(w http.ResponseWriter, r *http.Request) bool {
				answer(w, map[string]any{"access_token": "x", "token_type": "Bearer"})
				return true
			}
		},
		"redirect to another host": func(p *idp) {
			p.token = func(w http.ResponseWriter, r *http.Request) bool {
				http.Redirect(w, r, elsewhere.URL+"/token", http.StatusTemporaryRedirect)
				return true
			}
		},
		"endless answer": func(p *idp) {
			p.token = func(w http.ResponseWriter, r *http.Request) bool {
				fmt.Fprintf(w, `{"token_type": "Bearer", "access_token": "%s"`, strings.Repeat("x", maxAnswer+10))
				return true
			}
		},
		"an error": func(p *idp) {
			p.token = func(w http.ResponseWriter, r *http.Request) bool {
				http.Error(w, "no", http.StatusBadRequest)
				return true
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newIDP(t)
			c := p.client()
			defer c.Close()
			state, browser := p.begin(t, c)
			spoil(p)
			if id, err := c.Finish(t.Context(), state, browser, "code", ""); !errors.Is(err, ErrRefused) {
				t.Errorf("%+v, %v", id, err)
			}
		})
	}
	if elsewhere.asked != nil {
		t.Error("code and secret went to another host")
	}
	t.Run("iss parameter of another", func(t *testing.T) {
		p := newIDP(t)
		c := p.client()
		defer c.Close()
		state, browser := p.begin(t, c)
		if _, err := c.Finish(t.Context(), state, browser, "code", "https://other.example"); !errors.Is(err, ErrRefused) {
			t.Error(err)
		}
	})
}

// TestUnverifiedAddressCountsForNothing: who claims an address has not shown it.
func TestUnverifiedAddressCountsForNothing(t *testing.T) {
	t.Parallel()
	p := newIDP(t)
	c := p.client()
	defer c.Close()
	state, browser := p.begin(t, c)
	p.claims = map[string]any{"email_verified": false}
	if id, err := c.Finish(t.Context(), state, browser, "code", ""); err != nil || id.Email != "" || id.Subject == "" {
		t.Errorf("%+v, %v", id, err)
	}
}

func TestProvidersOnLoopbackAreNotAsked(t *testing.T) {
	t.Parallel()
	p := newIDP(t)
	c := New(Options{Roots: p.Server.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs})
	defer c.Close()
	if _, _, err := c.Begin(t.Context(), p.provider()); !errors.Is(err, dialout.ErrForbidden) {
		t.Error(err)
	}
}

func TestSignInsUnderWayAreBounded(t *testing.T) {
	t.Parallel()
	c := New(Options{})
	for i := range maxWaiting + 10 {
		c.keep(fmt.Sprint(i), waiting{until: time.Now().Add(time.Duration(i) * time.Second)})
	}
	if len(c.waiting) != maxWaiting {
		t.Errorf("%d are kept", len(c.waiting))
	}
	if _, ok := c.waiting["0"]; ok {
		t.Error("the oldest is not the one that is forgotten")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for range maxAtOnce {
		c.busy <- struct{}{}
	}
	if _, _, err := c.Begin(ctx, Provider{}); !errors.Is(err, ErrBusy) {
		t.Error(err)
	}
}
