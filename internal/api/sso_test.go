package api

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"

	"ringfence/internal/sso"
	"ringfence/internal/telephony"
)

// deaf is a provider whose metadata are fine and who knows no code.
func deaf(t *testing.T, asked *atomic.Int32) *httptest.Server {
	t.Helper()
	mux := http.NewServeMux()
	p := httptest.NewTLSServer(mux)
	t.Cleanup(p.Close)
	mux.HandleFunc("/.well-known/openid-configuration", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(strings.ReplaceAll(`{"issuer": "X", "authorization_endpoint": "X/auth", "token_endpoint": "X/token", "jwks_uri": "X/keys"}`, "X", p.URL)))
	})
	mux.HandleFunc("/token", func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		http.Error(w, "no", http.StatusBadRequest)
	})
	return p
}

func TestSSOOverTheAPI(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	boss := b.setUp()
	var asked atomic.Int32
	p := deaf(t, &asked)
	ann := b.user(1, "ann", telephony.RoleAdmin, "101")
	in := SSOInput{Enabled: true, Label: "Acme account", Issuer: p.URL, ClientID: "ringfence", Domains: []string{"example.org"}}
	a := ann.must(http.StatusUnprocessableEntity, "PUT", "/sign-in/sso", in, nil)
	if a.Problem.Errors[0].Location != "body.client_secret" {
		t.Errorf("%s", a.Body)
	}
	in.ClientSecret = "the client's secret"
	var v SSO
	a = ann.must(http.StatusOK, "PUT", "/sign-in/sso", in, &v)
	if v.RedirectURI != "https://192.0.2.1:8887/sso" || strings.Contains(a.Body.String(), in.ClientSecret) {
		t.Errorf("%s", a.Body)
	}
	if a := boss.must(http.StatusOK, "GET", "/audit", nil, nil); strings.Contains(a.Body.String(), in.ClientSecret) {
		t.Error("the secret stands in the audit log")
	}
	c := b.client()
	var list SSOButtons
	c.must(http.StatusOK, "GET", "/sso", nil, &list)
	if len(list.Items) != 1 || list.Items[0] != (SSOButton{"pbx.example", "Acme account"}) {
		t.Errorf("%+v", list)
	}
	// A provider on loopback is not asked.
	c.must(http.StatusBadRequest, "POST", "/sso/start", SSOStart{"pbx.example"}, nil)
	b.sso = sso.New(sso.Options{AllowLoopback: true, Roots: p.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs})
	t.Cleanup(b.sso.Close)
	var to SSOGo
	a = c.must(http.StatusOK, "POST", "/sso/start", SSOStart{"pbx.example"}, &to)
	cookie := a.Header().Get("Set-Cookie")
	for _, attribute := range []string{ssoCookie + "=", "Secure", "HttpOnly", "SameSite=Strict", "Path=/"} {
		if !strings.Contains(cookie, attribute) {
			t.Errorf("cookie %q has no %s", cookie, attribute)
		}
	}
	if !strings.HasPrefix(to.URL, p.URL+"/auth?") || strings.Contains(to.URL, "secret") {
		t.Errorf("to %s", to.URL)
	}
	a = c.must(http.StatusBadRequest, "POST", "/sso/finish", SSOAnswer{State: "made-up", Code: "x"}, nil)
	if strings.Contains(a.Body.String(), "made-up") {
		t.Errorf("%s", a.Body)
	}
	u, err := url.Parse(to.URL)
	if err != nil {
		t.Fatal(err)
	}
	// Only the browser that began it asks the provider what the code is worth.
	back := SSOAnswer{State: u.Query().Get("state"), Code: "x"}
	c.must(http.StatusBadRequest, "POST", "/sso/finish", back, nil)
	if asked.Load() != 0 {
		t.Error("another browser's code went to the provider")
	}
	kept, _, _ := strings.Cut(cookie, ";")
	c.header = map[string]string{"Cookie": kept}
	c.must(http.StatusBadRequest, "POST", "/sso/finish", back, nil)
	if asked.Load() != 1 {
		t.Error("the provider was not asked")
	}
	c.header = nil
	c.must(http.StatusNotFound, "POST", "/sso/start", SSOStart{"other.example"}, nil)
	in.Enabled = false
	ann.must(http.StatusOK, "PUT", "/sign-in/sso", in, nil)
	c.must(http.StatusNotFound, "POST", "/sso/start", SSOStart{"pbx.example"}, nil)
	c.must(http.StatusOK, "GET", "/sso", nil, &list)
	if len(list.Items) != 0 {
		t.Errorf("%+v", list)
	}
	ann.must(http.StatusNoContent, "DELETE", "/sign-in/sso", nil, nil)
	ann.must(http.StatusNotFound, "DELETE", "/sign-in/sso", nil, nil)
}
