package sip

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// answers sends out to the bench and returns the response.
func answers(t testing.TB, b *bench, out *Outgoing) *Response {
	t.Helper()
	out.CSeq++
	b.get(string(out.append(nil, b.flow, there, newBranch())))
	synctest.Wait()
	got := b.take()
	if len(got) != 1 {
		t.Fatalf("%d answers: %q", len(got), got)
	}
	m, err := parse([]byte(got[0]), b.flow)
	if err != nil || m.res == nil {
		t.Fatal(err, got[0])
	}
	return m.res
}

func question() *Outgoing {
	return &Outgoing{Method: INFO, URI: "sip:a.test", From: "<sip:101@a.test>;tag=a", To: "<sip:a.test>", CallID: NewCallID(),
		Headers: []Header{{"Subject", "none"}}}
}

// until sends out until it is let in or there is no sense in it, and says how
// often it was sent.
func until(t testing.TB, b *bench, a *ClientAuth, out *Outgoing) (sent int, err error) {
	for sent = 1; ; sent++ {
		a.Authorize(out)
		r := answers(t, b, out)
		if r.Code == 200 {
			return sent, nil
		}
		if err := a.Challenged(out, r); err != nil {
			return sent, err
		}
	}
}

func TestClientAuthVectors(t *testing.T) {
	t.Parallel()
	a := NewClientAuth("Mufasa", "Circle of Life")
	for alg, want := range map[string]string{
		// RFC 7616 section 3.9.1
		"MD5":     "8ca523f5e9506fed4657c9700eebdbec",
		"SHA-256": "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1",
	} {
		c, ok := parseChallenge(`Digest realm="http-auth@example.org", qop="auth, auth-int", algorithm=` + alg +
			`, nonce="7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v", opaque="FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS"`)
		if !ok {
			t.Fatal("not taken")
		}
		c.uses = 1
		got := a.answer(c, &Outgoing{Method: "GET", URI: "/dir/index.html"}, "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ")
		for _, part := range []string{`response="` + want + `"`, `username="Mufasa"`, "qop=auth, nc=00000001, cnonce=", `opaque="FQhe`, "algorithm=" + alg} {
			if !strings.Contains(got, part) {
				t.Errorf("%s: no %s in %s", alg, part, got)
			}
		}
	}
	// RFC 2617 section 3.5's account, without qop as RFC 2069 had it: the
	// response is H(HA1:nonce:HA2).
	c, ok := parseChallenge(`Digest realm="testrealm@host.com", nonce="dcd98b7102dd2f0e8b11d0f600bfb0c093"`)
	if !ok {
		t.Fatal("no qop is not taken")
	}
	want := hexMD5(hexMD5("Mufasa:testrealm@host.com:Circle of Life") + ":dcd98b7102dd2f0e8b11d0f600bfb0c093:" + hexMD5("GET:/dir/index.html"))
	got := a.answer(c, &Outgoing{Method: "GET", URI: "/dir/index.html"}, "x")
	if !strings.Contains(got, want) || strings.Contains(got, "cnonce") || strings.Contains(got, "algorithm") {
		t.Error(got)
	}
}

func TestClientAuthAnswersOurOwnChallenges(t *testing.T) {
	t.Parallel()
	for _, modes := range [][]Algorithm{{MD5}, {SHA256}, {SHA256, MD5}, {MD5, SHA256}} {
		t.Run(fmt.Sprint(modes), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				b, _ := guarded(t, AuthConfig{Algorithms: func(Flow, string) []Algorithm { return modes }})
				defer b.Close()
				a := NewClientAuth("101", "pw")
				if n, err := until(t, b, a, question()); n != 2 || err != nil {
					t.Fatalf("let in after %d requests: %v", n, err)
				}
				out := question()
				if n, err := until(t, b, a, out); n != 1 || err != nil {
					t.Errorf("a nonce that is known was not used: %d requests, %v", n, err)
				}
				value := Header{}
				for _, h := range out.Headers {
					if h.Name == "Proxy-Authorization" {
						value = h
					}
				}
				if strings.Contains(value.Value, "SHA-256") != (len(modes) == 2 || modes[0] == SHA256) {
					t.Errorf("not the strongest: %s", value.Value)
				}
				if !strings.Contains(value.Value, "nc=00000003") && !strings.Contains(value.Value, "nc=00000002") {
					t.Errorf("nonce count: %s", value.Value)
				}
				time.Sleep(6 * time.Minute)
				if n, err := until(t, b, a, question()); n != 2 || err != nil {
					t.Errorf("an old nonce: %d requests, %v", n, err)
				}
			})
		})
	}
}

func TestClientAuthGivesUpOnRefusedCredentials(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b, _ := guarded(t, AuthConfig{})
		defer b.Close()
		if n, err := until(t, b, NewClientAuth("101", "wrong"), question()); n != 2 || !errors.Is(err, ErrRefused) {
			t.Errorf("%d requests, %v", n, err)
		}
		if n, err := until(t, b, nil, question()); n != 1 || !errors.Is(err, ErrChallenge) {
			t.Errorf("without an account: %d requests, %v", n, err)
		}
	})
}

func challengedWith(code int, values ...string) *Response {
	name, _ := challengeHeaders(code == 407)
	r := &Response{Code: code}
	for _, v := range values {
		r.Headers = append(r.Headers, Header{name, v})
	}
	return r
}

func TestClientAuthTriesAreBounded(t *testing.T) {
	t.Parallel()
	a := NewClientAuth("101", "pw")
	always := func(want int, next func(n int) *Response) {
		t.Helper()
		out := question()
		for n := 1; ; n++ {
			a.Authorize(out)
			if err := a.Challenged(out, next(n)); err != nil {
				if n != want || !errors.Is(err, ErrRefused) {
					t.Errorf("gave up after %d requests: %v", n, err)
				}
				return
			}
			if n > 20 {
				t.Fatal("no end")
			}
		}
	}
	always(maxAnswers+1, func(n int) *Response {
		return challengedWith(401, fmt.Sprintf(`Digest realm="a", nonce="%d", stale=true`, n))
	})
	always(maxAnswers+1, func(n int) *Response {
		return challengedWith(401, fmt.Sprintf(`Digest realm="a%d", nonce="%d"`, n, n))
	})
	always(2, func(n int) *Response { return challengedWith(407, fmt.Sprintf(`Digest realm="a", nonce="%d"`, n)) })
	if len(a.known) > maxChallenges {
		t.Errorf("%d realms are kept", len(a.known))
	}
}

func TestClientAuthAnswersProxyAndServer(t *testing.T) {
	t.Parallel()
	a, out := NewClientAuth("101", "pw"), question()
	for _, r := range []*Response{challengedWith(407, `Digest realm="proxy", nonce="p", qop="auth"`), challengedWith(401, `Digest realm="server", nonce="s", qop="auth"`)} {
		if err := a.Challenged(out, r); err != nil {
			t.Fatal(err)
		}
		a.Authorize(out)
	}
	var got []string
	for _, h := range out.Headers {
		got = append(got, h.Name)
	}
	if strings.Join(got, " ") != "Subject Proxy-Authorization Authorization" {
		t.Error(got)
	}
}

func TestClientAuthLeavesWhatItCannotAnswer(t *testing.T) {
	t.Parallel()
	for _, v := range []string{
		`Basic realm="a"`, `Digest realm="a"`, `Digest realm="a", nonce="n", algorithm=SHA-512-256`, `Digest realm="a", nonce="n", algorithm=MD5-sess`,
		`Digest realm="a", nonce="n", qop="auth-int"`, `Digest realm="a", nonce="` + strings.Repeat("n", maxNonce+1) + `"`, "", "Digest",
		`Digest realm="` + strings.Repeat("r", maxRealm+1) + `", nonce="n"`,
	} {
		if err := NewClientAuth("101", "pw").Challenged(question(), challengedWith(401, v)); !errors.Is(err, ErrChallenge) {
			t.Errorf("%.60s: %v", v, err)
		}
	}
	if err := NewClientAuth("101", "pw").Challenged(question(), challengedWith(403, `Digest realm="a", nonce="n"`)); !errors.Is(err, ErrChallenge) {
		t.Error("403 is no challenge")
	}
}

// TestClientAuthCountsEachUseOnce: a nonce count that comes twice is a replay
// to the server, and the call would be refused.
func TestClientAuthCountsEachUseOnce(t *testing.T) {
	t.Parallel()
	a := NewClientAuth("101", "pw")
	if err := a.Challenged(question(), challengedWith(401, `Digest realm="a", nonce="n", qop="auth"`)); err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	seen := map[string]bool{}
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			out := question()
			a.Authorize(out)
			_, rest, _ := strings.Cut(out.Headers[1].Value, "nc=")
			mu.Lock()
			defer mu.Unlock()
			if seen[rest[:8]] {
				t.Errorf("count %s twice", rest[:8])
			}
			seen[rest[:8]] = true
		})
	}
	wg.Wait()
}

// FuzzClientAuth: whatever a server asks, the answer is one header line whose
// texts are quoted, and the tries end.
func FuzzClientAuth(f *testing.F) {
	f.Add(`Digest realm="a", nonce="n", qop="auth"`, 401)
	f.Add(`Digest realm="a\"\\b, c", nonce="n,", opaque="x", qop="auth,auth-int", stale=TRUE, algorithm=SHA-256`, 407)
	f.Fuzz(func(t *testing.T, v string, code int) {
		v, _, _ = strings.Cut(v, "\n")
		a, out := NewClientAuth("101", "pw"), question()
		for n := 0; a.Challenged(out, challengedWith(code, v)) == nil; n++ {
			if n > maxAnswers {
				t.Fatal("no end")
			}
			a.Authorize(out)
			for _, h := range out.Headers {
				c, ok := parseCredentials(h.Value)
				if h.Name != "Subject" && (!ok || c.username != "101" || strings.Contains(h.Value, "\n") || c.response == "") {
					t.Fatalf("%q", h.Value)
				}
			}
		}
	})
}
