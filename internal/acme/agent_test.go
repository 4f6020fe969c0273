package acme

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/mholt/acmez/v3/acme"

	"ringfence/internal/telephony"
)

func itoa(n int) string { return strconv.Itoa(n) }

// run runs the agent until the test ends, or stop is called.
func (b *box) run() (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); b.Run(ctx) }()
	stop = func() { cancel(); <-done }
	b.t.Cleanup(stop)
	return stop
}

func (b *box) until(what string, f func(State) bool) State {
	b.t.Helper()
	for end := time.Now().Add(60 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if s := b.State(); f(s) && !s.Asking {
			return s
		}
	}
	b.t.Fatalf("it never happened that %s: %+v", what, b.State())
	return State{}
}

// The whole way: account, order, challenges in one window, certificate in force
// by name; a restart keeps account and state, and asks nobody.
func TestCertificateIsObtainedAndKept(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	stop := b.run()
	s := b.until("a certificate came", func(s State) bool { return b.certs.ACMELeaf() != nil && s.Directory != "" })
	if s.Error != "" || s.Failures != 0 || !s.Next.After(time.Now()) || b.opened.Load() != 1 || b.open.Load() != 0 {
		t.Errorf("%+v, %d windows, %d open", s, b.opened.Load(), b.open.Load())
	}
	leaf := b.certs.ACMELeaf()
	got := slices.Clone(leaf.DNSNames)
	slices.Sort(got)
	if !slices.Equal(got, []string{"pbx.example", "sip.pbx.example"}) {
		t.Errorf("names %q", got)
	}
	if life, next := leaf.NotAfter.Sub(leaf.NotBefore), s.Next; next.Before(leaf.NotBefore.Add(life*7/12)) || next.After(leaf.NotBefore.Add(life*2/3)) {
		t.Errorf("valid until %s, renewed %s", leaf.NotAfter, next)
	}
	if c := b.certs.For("sip.pbx.example"); c.ID != "acme" || c.Chain < 2 {
		t.Errorf("%+v is shown", c)
	}
	keys, err := filepath.Glob(filepath.Join(b.dir, "acme", "account-*.pem"))
	if err != nil || len(keys) != 1 {
		t.Fatal(keys, err)
	}
	if st, err := os.Stat(keys[0]); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", st.Mode(), err)
	}
	before, _ := os.ReadFile(keys[0])
	stop()
	b.start()
	b.run()
	if err := b.Ask(); !errors.Is(err, ErrTooSoon) {
		t.Errorf("a second request at once: %v", err)
	}
	// Another name is wanted: the authority is asked at once, by the same account.
	b.change(func(s *telephony.ACME) { s.Names = append(slices.Clone(s.Names), "more.pbx.example") })
	b.until("the third name came", func(State) bool { return b.certs.ACMELeaf().VerifyHostname("more.pbx.example") == nil })
	if after, _ := os.ReadFile(keys[0]); string(after) != string(before) {
		t.Error("the account's key is another one")
	}
	if b.opened.Load() != 2 || b.open.Load() != 0 {
		t.Errorf("%d windows, %d open", b.opened.Load(), b.open.Load())
	}
}

// What fails is told, and not tried again soon; a restart does not forget.
func TestFailuresAreToldAndBackedOff(t *testing.T) {
	t.Parallel()
	closed := errors.New("the fence says no")
	for name, c := range map[string]struct {
		spoil func(*box)
		says  string
		asked bool // the authority was
	}{
		"no such name":  {func(b *box) { b.wanted.Names = []string{"pbx.example", "nowhere.example"} }, "nowhere.example: the name has no address", false},
		"elsewhere":     {func(b *box) { b.leadsTo = []netip.Addr{netip.MustParseAddr("203.0.113.9"), b.leadsTo[0]} }, "leads to 203.0.113.9", false},
		"port 80":       {func(b *box) { b.refuse.Store(&closed) }, "opening port 80: the fence says no", true},
		"unknown root":  {func(b *box) { b.wanted.Roots = "" }, "enter its root certificate", false},
		"forbidden":     {func(b *box) { b.wanted.Directory = "https://169.254.169.254/directory" }, "link-local", false},
		"rejected name": {func(b *box) { b.wanted.Names = []string{"blocked-domain.example"}; b.blocked() }, "the authority says", true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBox(t)
			c.spoil(b)
			stop := b.run()
			s := b.until("it failed", func(s State) bool { return s.Failures == 1 })
			if !strings.Contains(s.Error, c.says) {
				t.Errorf("%q, want ... %s", s.Error, c.says)
			}
			if left := time.Until(s.Retry); left < 7*time.Minute || left > 13*time.Minute || !s.Next.Equal(s.Retry) {
				t.Errorf("again in %s, at %s", left, s.Next)
			}
			if keys, _ := filepath.Glob(filepath.Join(b.dir, "acme", "account-*.pem")); c.asked && len(keys) != 1 || b.certs.ACMELeaf() != nil || b.open.Load() != 0 {
				t.Errorf("keys %q, %d windows are open", keys, b.open.Load())
			}
			stop()
			b.start()
			if again := b.State(); again.Failures != 1 || !again.Retry.Equal(s.Retry) {
				t.Errorf("after a restart: %+v", again)
			}
		})
	}
}

// blocked takes the challenge's port, so that the authority is answered wrongly.
func (b *box) blocked() {
	l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", itoa(b.port)))
	if err != nil {
		b.t.Fatal(err)
	}
	s := &http.Server{Handler: http.NotFoundHandler()}
	go func() { _ = s.Serve(l) }()
	b.t.Cleanup(func() { _ = s.Close() })
	b.cfg.Listen = func(context.Context) (net.Listener, error) { return net.Listen("tcp", "127.0.0.1:0") }
}

func TestPausesDouble(t *testing.T) {
	t.Parallel()
	for n, want := range map[int]time.Duration{1: firstPause, 2: 2 * firstPause, 4: 8 * firstPause, 8: 1280 * time.Minute, 9: lastPause, 1000: lastPause} {
		for range 20 {
			if got := pause(n); got < want*4/5 || got > want*6/5 {
				t.Errorf("after %d failures %s, want %s give or take a fifth", n, got, want)
			}
		}
	}
}

func TestRenewalIsSpread(t *testing.T) {
	t.Parallel()
	begin := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	seen := map[time.Time]bool{}
	for i := range 50 {
		c := &x509.Certificate{NotBefore: begin, NotAfter: begin.Add(90 * 24 * time.Hour), Raw: []byte{byte(i)}}
		at := renewal(c)
		if at.Before(begin.Add(52*24*time.Hour)) || at.After(begin.Add(60*24*time.Hour)) {
			t.Errorf("renewed %s", at)
		}
		seen[at] = true
	}
	if len(seen) < 45 {
		t.Errorf("50 certificates are renewed at %d times", len(seen))
	}
}

func TestCheckNames(t *testing.T) {
	t.Parallel()
	public, inside := netip.MustParseAddr("198.51.100.7"), netip.MustParseAddr("192.168.1.10")
	v6 := netip.MustParseAddr("2001:db8::7")
	lookup := func(_ context.Context, name string) ([]netip.Addr, error) {
		switch name {
		case "here":
			return []netip.Addr{public}, nil
		case "both":
			return []netip.Addr{public, v6}, nil
		case "lan":
			return []netip.Addr{inside}, nil
		case "slow":
			return nil, &net.DNSError{Err: "timeout", IsTimeout: true}
		case "empty":
			return nil, nil
		}
		return nil, &net.DNSError{Err: "no such host", IsNotFound: true}
	}
	for _, c := range []struct {
		name           string
		own            []netip.Addr
		problem, doubt string
	}{
		{"here", []netip.Addr{inside, public}, "", ""},
		{"here", []netip.Addr{inside}, "", "forwarded"},
		{"here", []netip.Addr{netip.MustParseAddr("203.0.113.1")}, "leads to 198.51.100.7", ""},
		{"both", []netip.Addr{inside, public}, "leads to 2001:db8::7", ""},
		{"both", []netip.Addr{public, v6}, "", ""},
		{"lan", []netip.Addr{inside}, "", ""},
		{"slow", []netip.Addr{public}, "", "could not be looked up"},
		{"empty", []netip.Addr{public}, "has no address", ""},
		{"none", []netip.Addr{public}, "has no address", ""},
	} {
		r := CheckNames(t.Context(), []string{c.name}, lookup, c.own)[0]
		if (c.problem == "") != (r.Problem == "") || (c.doubt == "") != (r.Doubt == "") || !strings.Contains(r.Problem, c.problem) || !strings.Contains(r.Doubt, c.doubt) {
			t.Errorf("%s with %v: %+v", c.name, c.own, r)
		}
	}
}

// The listener of challenges serves their answers, and nothing that is asked
// besides.
func TestChallengeListenerServesNothingElse(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := newResponder(func(context.Context) (net.Listener, error) { return l, nil }, newBox(t).log)
	c := acme.Challenge{Type: acme.ChallengeTypeHTTP01, Token: "abc", KeyAuthorization: "abc.thumb"}
	if err := r.Present(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	base := "http://" + l.Addr().String()
	ask := func(method, path string) string {
		req, err := http.NewRequestWithContext(t.Context(), method, base+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		res, err := http.DefaultTransport.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		b, _ := io.ReadAll(res.Body)
		return fmt.Sprintf("%d %s", res.StatusCode, strings.TrimSpace(string(b)))
	}
	const path = "/.well-known/acme-challenge/abc"
	if got := ask("GET", path); got != "200 abc.thumb" {
		t.Error(got)
	}
	for _, q := range [][2]string{{"POST", path}, {"GET", path + "/"}, {"GET", "/"}, {"GET", "/login"}, {"GET", "/api/v1/session"}, {"GET", "/provision/x"}, {"GET", "/.well-known/acme-challenge/"}} {
		if got := ask(q[0], q[1]); got != "404 not found" {
			t.Errorf("%s %s: %s", q[0], q[1], got)
		}
	}
	if err := r.CleanUp(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	if c, err := net.Dial("tcp", l.Addr().String()); err == nil {
		_ = c.Close()
		t.Error("the listener is open after the challenge")
	}
}
