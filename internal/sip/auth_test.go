package sip

import (
	"crypto/md5"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func hexMD5(s string) string    { x := md5.Sum([]byte(s)); return hex.EncodeToString(x[:]) }
func hexSHA256(s string) string { x := sha256.Sum256([]byte(s)); return hex.EncodeToString(x[:]) }

// TestDigestVectors are those of RFC 7616 section 3.9.1.
func TestDigestVectors(t *testing.T) {
	t.Parallel()
	const who = "Mufasa:http-auth@example.org:Circle of Life"
	c := credentials{
		uri: "/dir/index.html", nonce: "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v",
		cnonce: "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ", ncText: "00000001", qop: "auth",
	}
	c.algorithm, c.response = MD5, "8ca523f5e9506fed4657c9700eebdbec"
	if !c.matches(hexMD5(who), "GET") {
		t.Error("MD5")
	}
	c.algorithm, c.response = SHA256, "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"
	if !c.matches(hexSHA256(who), "GET") {
		t.Error("SHA-256")
	}
	if c.matches(hexSHA256(who), "PUT") {
		t.Error("method is not part of it")
	}
}

const realm = "a.test"

// guarded is a bench whose INFO needs the password "pw" of user 101.
func guarded(t testing.TB, c AuthConfig) (*bench, *[]string) {
	b := newBench(t, Config{}, false)
	a := NewAuthenticator(c)
	var let []string
	b.Handle("", HandlerFunc(func(tx *ServerTx) {
		lookup := func(user string) (Secret, bool) {
			if user != "101" {
				return Secret{}, false
			}
			return Secret{hexMD5("101:a.test:pw"), hexSHA256("101:a.test:pw")}, true
		}
		if user, ok := a.Require(tx, ChallengeProxy, realm, lookup); ok {
			let = append(let, user)
			tx.Reply(Reply{Code: 200})
		}
	}))
	return b, &let
}

// authorization answers a challenge.
func authorization(challenge, user, password string, nc int, alg Algorithm) string {
	_, rest, _ := strings.Cut(challenge, `nonce="`)
	nonce, _, _ := strings.Cut(rest, `"`)
	sum := hexMD5
	if alg == SHA256 {
		sum = hexSHA256
	}
	ncText := fmt.Sprintf("%08x", nc)
	resp := sum(sum(user+":"+realm+":"+password) + ":" + nonce + ":" + ncText + ":xyz:auth:" + sum("INFO:sip:a.test"))
	return fmt.Sprintf(`Proxy-Authorization: Digest username="%s", realm="%s", nonce="%s", uri="sip:a.test", response="%s", algorithm=%s, cnonce="xyz", qop=auth, nc=%s`,
		user, realm, nonce, resp, alg, ncText)
}

func ask(b *bench, branch string, lines ...string) string {
	b.get(msg("INFO", branch, "1", lines...))
	synctest.Wait()
	got := b.take()
	if len(got) != 1 {
		return fmt.Sprint("not one answer: ", got)
	}
	return got[0]
}

func TestDigest(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var seen []AuthOutcome
		b, let := guarded(t, AuthConfig{Observe: func(e AuthEvent) { seen = append(seen, e.Outcome) }})
		defer b.Close()
		first := ask(b, "z9hG4bK1")
		ch := header(first, "Proxy-Authenticate")
		if status(first) != "407 Proxy Authentication Required" || !strings.HasPrefix(ch, `Digest realm="a.test", nonce="`) ||
			!strings.HasSuffix(ch, `, algorithm=MD5, qop="auth"`) {
			t.Fatal(first)
		}
		if again := ask(b, "z9hG4bK1"); header(again, "To") != header(first, "To") {
			t.Error("a copy got another To tag")
		}
		stale := func(answer string) bool {
			return status(answer) == "407 Proxy Authentication Required" && strings.Contains(header(answer, "Proxy-Authenticate"), "stale=true")
		}
		wrong := func(answer string) bool {
			return status(answer) == "407 Proxy Authentication Required" && !strings.Contains(answer, "stale")
		}
		right := func(nc int) string { return authorization(ch, "101", "pw", nc, MD5) }
		ok := func(answer string) bool { return status(answer) == "200 OK" }
		for _, c := range []struct {
			name, branch, line string
			want               func(string) bool
		}{
			{"right", "z9hG4bK2", right(1), ok},
			{"a copy of it", "z9hG4bK2", right(1), ok},
			{"replayed in a new request", "z9hG4bK3", right(1), stale},
			{"next count", "z9hG4bK4", right(2), ok},
			{"count ahead", "z9hG4bK5", right(10), ok},
			{"count that came late", "z9hG4bK6", right(9), ok},
			{"and again", "z9hG4bK7", right(9), stale},
			{"count far behind", "z9hG4bK7", right(200), ok},
			{"now too far behind", "z9hG4bK8", right(11), stale},
			{"count 0", "z9hG4bK8", right(0), stale},
			{"Authorization does as well", "z9hG4bK9", strings.TrimPrefix(right(201), "Proxy-"), ok},
			{"wrong password", "z9hG4bK9", authorization(ch, "101", "no", 11, MD5), wrong},
			{"unknown user", "z9hG4bK9", authorization(ch, "999", "pw", 11, MD5), wrong},
			{"algorithm not offered", "z9hG4bK9", authorization(ch, "101", "pw", 11, SHA256), wrong},
			{"other realm", "z9hG4bK9", strings.Replace(right(11), `realm="a.test"`, `realm="b.test"`, 1), wrong},
			{"no qop", "z9hG4bK9", strings.Replace(right(11), "qop=auth", "qop=none", 1), wrong},
			{"unknown scheme", "z9hG4bK9", "Proxy-Authorization: NoOneKnowsThisScheme opaque-data=here", wrong},
			{"made-up nonce, right password", "z9hG4bK9", authorization(`nonce="abc"`, "101", "pw", 1, MD5), stale},
			{"made-up nonce, wrong password", "z9hG4bK9", authorization(`nonce="abc"`, "101", "no", 1, MD5), wrong},
			{"changed nonce", "z9hG4bK9", authorization(strings.Replace(ch, `nonce="A`, `nonce="B`, 1), "101", "pw", 500, MD5), stale},
		} {
			if got := ask(b, c.branch, c.line); !c.want(got) {
				t.Errorf("%s: %s %s", c.name, status(got), header(got, "Proxy-Authenticate"))
			}
		}
		// Another address cannot use the nonce.
		b.flow.Remote = netip.MustParseAddrPort("192.0.2.77:5062")
		if got := ask(b, "z9hG4bKa", right(300)); !stale(got) {
			t.Errorf("nonce of another address: %s", status(got))
		}
		b.flow.Remote = netip.AddrPortFrom(there.Addr(), 40000) // a new port is fine
		if got := ask(b, "z9hG4bKb", right(301)); !ok(got) {
			t.Errorf("nonce after a change of port: %s", status(got))
		}
		time.Sleep(6 * time.Minute)
		if got := ask(b, "z9hG4bKc", right(302)); !stale(got) {
			t.Errorf("old nonce: %s", status(got))
		}
		if n := len(*let); n != 8 {
			t.Errorf("%d let in", n)
		}
		if !slices.Contains(seen, AuthMissing) || !slices.Contains(seen, AuthWrong) || !slices.Contains(seen, AuthStale) || !slices.Contains(seen, AuthOK) {
			t.Errorf("observed %v", seen)
		}
	})
}

func TestDigestModes(t *testing.T) {
	t.Parallel()
	for _, modes := range [][]Algorithm{{SHA256, MD5}, {SHA256}} {
		t.Run(fmt.Sprint(modes), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				b, _ := guarded(t, AuthConfig{Algorithms: func(Flow, string) []Algorithm { return modes }})
				defer b.Close()
				first := ask(b, "z9hG4bK1")
				if n := strings.Count(first, "Proxy-Authenticate:"); n != len(modes) || !strings.Contains(header(first, "Proxy-Authenticate"), "algorithm=SHA-256") {
					t.Error(first)
				}
				for _, alg := range []Algorithm{SHA256, MD5} {
					got := ask(b, "z9hG4bK2"+string(alg), authorization(header(first, "Proxy-Authenticate"), "101", "pw", len(alg), alg))
					if ok := status(got) == "200 OK"; ok != slices.Contains(modes, alg) {
						t.Errorf("%s: %s", alg, status(got))
					}
				}
			})
		})
	}
}

func TestNonceLogIsBounded(t *testing.T) {
	t.Parallel()
	l := newNonceLog(10)
	now := time.Now()
	for i := range uint64(100) {
		if !l.use(i, now.Add(time.Duration(i)*time.Second), 1, i, now.Add(-time.Hour)) {
			t.Fatalf("nonce %d refused", i)
		}
	}
	if len(l.byID) > 10 || len(l.order) > 10 {
		t.Errorf("%d kept", len(l.byID))
	}
	if l.use(5, now.Add(5*time.Second), 1, 7, now.Add(-time.Hour)) {
		t.Error("a forgotten nonce can be replayed")
	}
	if !l.use(99, now.Add(99*time.Second), 2, 8, now.Add(-time.Hour)) {
		t.Error("a remembered nonce is refused")
	}
	l.use(1000, now.Add(time.Hour), 1, 9, now.Add(50*time.Minute))
	if len(l.byID) != 1 {
		t.Errorf("%d expired ones kept", len(l.byID)-1)
	}
}
