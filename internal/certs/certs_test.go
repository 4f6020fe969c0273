package certs

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"net"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"
)

type clock struct{ ns atomic.Int64 }

func newClock(t time.Time) *clock        { c := &clock{}; c.ns.Store(t.UnixNano()); return c }
func (c *clock) now() time.Time          { return time.Unix(0, c.ns.Load()) }
func (c *clock) advance(d time.Duration) { c.ns.Add(int64(d)) }
func open(t *testing.T, dir string, c *clock) *Store {
	t.Helper()
	s, err := Open(Config{Dir: dir, Names: []string{"pbx", "192.0.2.7", "2001:db8::7"}, Now: c.now})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestFirstBootMakesACertificateAndKeepsIt(t *testing.T) {
	t.Parallel()
	dir, c := t.TempDir(), newClock(time.Now())
	s := open(t, dir, c)
	st, err := os.Stat(filepath.Join(dir, FileName))
	if err != nil {
		t.Fatal(err)
	}
	if st.Mode().Perm() != 0o600 {
		t.Errorf("mode %o, want 600", st.Mode().Perm())
	}
	cert, _ := s.GetCertificate(nil)
	for _, name := range []string{"pbx", "192.0.2.7", "2001:db8::7"} {
		if err := cert.Leaf.VerifyHostname(name); err != nil {
			t.Error(err)
		}
	}
	if cert.Leaf.IsCA {
		t.Error("the certificate could sign others")
	}
	if cert.Leaf.PublicKeyAlgorithm != x509.ECDSA {
		t.Errorf("key is %v", cert.Leaf.PublicKeyAlgorithm)
	}
	sum := sha256.Sum256(cert.Certificate[0])
	if s.Fingerprint() != hex.EncodeToString(sum[:]) {
		t.Error("fingerprint is not the certificate's")
	}
	if again := open(t, dir, c); again.Fingerprint() != s.Fingerprint() {
		t.Error("second boot shows another certificate")
	}
}

func TestCertificateIsRenewedBeforeItExpires(t *testing.T) {
	t.Parallel()
	c := newClock(time.Now())
	s := open(t, t.TempDir(), c)
	first := s.Fingerprint()
	c.advance(validity - renewBefore - time.Hour)
	if _, err := s.GetCertificate(nil); err != nil || s.Fingerprint() != first {
		t.Fatalf("renewed too early (%v)", err)
	}
	c.advance(2 * time.Hour)
	cert, err := s.GetCertificate(nil)
	if err != nil || s.Fingerprint() == first {
		t.Fatalf("not renewed (%v)", err)
	}
	if left := cert.Leaf.NotAfter.Sub(c.now()); left < renewBefore {
		t.Errorf("new certificate lasts %v only", left)
	}
}

// A clock set after first boot makes the certificate one of the past or of the
// future: it is replaced. An unset clock replaces nothing.
func TestClockJump(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name     string
		from, to int // years
		renewed  bool
	}{
		{"set after first boot", 1970, 2027, true},
		{"was ahead", 2090, 2027, true},
		{"not set at a later boot", 2027, 1970, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			clk := newClock(time.Date(c.from, 6, 1, 0, 0, 0, 0, time.UTC))
			s := open(t, t.TempDir(), clk)
			first := s.Fingerprint()
			clk.ns.Store(time.Date(c.to, 6, 1, 0, 0, 0, 0, time.UTC).UnixNano())
			cert, err := s.GetCertificate(nil)
			if err != nil {
				t.Fatal(err)
			}
			if renewed := s.Fingerprint() != first; renewed != c.renewed {
				t.Errorf("renewed = %v, certificate %v..%v", renewed, cert.Leaf.NotBefore, cert.Leaf.NotAfter)
			}
		})
	}
}

func TestReplacedFileIsInForceWithoutRestart(t *testing.T) {
	t.Parallel()
	dir, c := t.TempDir(), newClock(time.Now())
	s := open(t, dir, c)
	first := shown(t, s)
	other, err := selfSigned([]string{"other"}, c.now())
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, FileName)
	if err := WriteFile(path, other); err != nil {
		t.Fatal(err)
	}
	c.advance(lookAgain + time.Second)
	if second := shown(t, s); second == first || second != s.Fingerprint() {
		t.Errorf("handshake still shows %s", second)
	}
	// Rubbish does not take the listener down.
	if err := os.WriteFile(path, []byte("rubbish"), 0o600); err != nil {
		t.Fatal(err)
	}
	before := s.Fingerprint()
	c.advance(lookAgain + time.Second)
	if got := shown(t, s); got != before {
		t.Errorf("after rubbish the handshake shows %s", got)
	}
}

func TestUnreadableCertificateIsAnError(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, FileName), []byte("rubbish"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(Config{Dir: dir}); err == nil {
		t.Fatal("rubbish was accepted or silently replaced")
	}
}

func TestLocalNamesAreUsable(t *testing.T) {
	t.Parallel()
	names := LocalNames("box")
	if names[0] != "box" || len(names) > 32 {
		t.Errorf("names %q", names)
	}
	if _, err := selfSigned(names, time.Now()); err != nil {
		t.Error(err)
	}
}

// shown is the fingerprint a real handshake sees.
func shown(t *testing.T, s *Store) string {
	t.Helper()
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	go func() { _ = tls.Server(a, &tls.Config{GetCertificate: s.GetCertificate}).Handshake() }()
	client := tls.Client(b, &tls.Config{InsecureSkipVerify: true})
	if err := client.Handshake(); err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(client.ConnectionState().PeerCertificates[0].Raw)
	return hex.EncodeToString(sum[:])
}
