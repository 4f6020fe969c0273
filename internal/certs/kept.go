package certs

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"ringfence/internal/telephony"
)

// Identifiers that are no fingerprint: the certificate of FileName, and the one
// that an authority gave (package acme).
const (
	Standard = ""
	ACME     = "acme"
)

// keptFolder holds the other certificates, each a file as FileName is.
const keptFolder = "certificates"

// MaxKept bounds them.
const MaxKept = 64

// ErrUnknown says that there is no certificate of that identifier.
var ErrUnknown = errors.New("there is no such certificate")

// Source says where a certificate comes from.
type Source string

// The sources.
const (
	MadeHere Source = "made_here" // self-signed at first boot
	FromFile Source = "file"      // put into the data folder by hand
	Uploaded Source = "uploaded"
	FromACME Source = "acme"
)

// Certificate is one that is kept. It is never changed.
type Certificate struct {
	ID     string // Standard, ACME, or the beginning of its fingerprint
	Source Source
	Leaf   *x509.Certificate
	Chain  int // certificates that are sent, itself included

	pair *tls.Certificate
}

// Fingerprint is the SHA-256 of the certificate (DER), in hexadecimal.
func (c *Certificate) Fingerprint() string {
	sum := sha256.Sum256(c.Leaf.Raw)
	return hex.EncodeToString(sum[:])
}

// Names are the hosts that it is for.
func (c *Certificate) Names() []string {
	out := slices.Clone(c.Leaf.DNSNames)
	for _, a := range c.Leaf.IPAddresses {
		out = append(out, a.String())
	}
	return out
}

// Key says of what kind its key is.
func (c *Certificate) Key() string {
	switch k := c.Leaf.PublicKey.(type) {
	case *rsa.PublicKey:
		return fmt.Sprintf("RSA %d", k.N.BitLen())
	case *ecdsa.PublicKey:
		return "ECDSA " + k.Curve.Params().Name
	case ed25519.PublicKey:
		return "Ed25519"
	}
	return "unknown"
}

// Trusted says whether it leads to an authority that this system trusts.
func (c *Certificate) Trusted(now time.Time) bool {
	between := x509.NewCertPool()
	for _, der := range c.pair.Certificate[1:] {
		if parsed, err := x509.ParseCertificate(der); err == nil {
			between.AddCert(parsed)
		}
	}
	_, err := c.Leaf.Verify(x509.VerifyOptions{Intermediates: between, CurrentTime: now})
	return err == nil
}

// Covers says whether the certificate is for a host name.
func (c *Certificate) Covers(name string) bool { return c.Leaf.VerifyHostname(name) == nil }

func (c *Certificate) validAt(t time.Time) bool {
	return !t.After(c.Leaf.NotAfter) && !t.Before(c.Leaf.NotBefore)
}

func (s *Store) folder() string { return filepath.Join(s.cfg.Dir, keptFolder) }

func (s *Store) file(id string) string { return filepath.Join(s.folder(), id+".pem") }

// keptName is the name of such a file.
func keptName() *regexp.Regexp { return regexp.MustCompile(`^(acme|[0-9a-f]{16})\.pem$`) }

// loadKept reads the folder. A file that cannot be used is left out and named:
// the others serve on.
func (s *Store) loadKept() (kept []*Certificate, faults []string) {
	entries, err := os.ReadDir(s.folder())
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, []string{fmt.Sprintf("certificates are not read: %v", err)}
	}
	name := keptName()
	for _, e := range entries {
		if !name.MatchString(e.Name()) || len(kept) == MaxKept {
			continue
		}
		id := strings.TrimSuffix(e.Name(), ".pem")
		pair, err := readPair(s.file(id))
		if err != nil {
			faults = append(faults, err.Error())
			continue
		}
		c := &Certificate{ID: id, Source: Uploaded, Leaf: pair.Leaf, Chain: len(pair.Certificate), pair: pair}
		if id == ACME {
			c.Source = FromACME
		}
		kept = append(kept, c)
	}
	return kept, faults
}

func readPair(path string) (*tls.Certificate, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading certificate %s: %w", path, err)
	}
	pair, err := tls.X509KeyPair(text, text)
	if err != nil {
		return nil, fmt.Errorf("loading certificate %s: %w", path, err)
	}
	if pair.Leaf == nil {
		if pair.Leaf, err = x509.ParseCertificate(pair.Certificate[0]); err != nil {
			return nil, fmt.Errorf("parsing certificate %s: %w", path, err)
		}
	}
	return &pair, nil
}

// standard is the certificate of FileName.
func (l *loaded) standard() *Certificate {
	c := &Certificate{ID: Standard, Source: FromFile, Leaf: l.cert.Leaf, Chain: len(l.cert.Certificate), pair: l.cert}
	if l.own {
		c.Source = MadeHere
	}
	return c
}

// List is every certificate there is, that of FileName first.
func (s *Store) List() []*Certificate {
	l := s.current.Load()
	return append([]*Certificate{l.standard()}, l.kept...)
}

// Faults are the files that cannot be used.
func (s *Store) Faults() []string { return s.current.Load().faults }

// Find is one of List.
func (s *Store) Find(id string) (*Certificate, error) {
	for _, c := range s.List() {
		if c.ID == id {
			return c, nil
		}
	}
	return nil, ErrUnknown
}

// InForce is the certificate that is shown to who asks for no name, or for one
// that no certificate has: the chosen one. If that is not there any more, it is
// the one of FileName.
func (s *Store) InForce() *Certificate { return s.current.Load().inForce(s.chosen()) }

func (l *loaded) inForce(id string) *Certificate {
	for _, c := range l.kept {
		if c.ID == id {
			return c
		}
	}
	return l.standard()
}

func (s *Store) chosen() string {
	if s.cfg.Chosen == nil {
		return Standard
	}
	return s.cfg.Chosen()
}

// For is the certificate that is shown to who asks for a host name (RFC 6066
// section 3): the one in force if it is for that name, else one that is, else
// the one in force.
func (s *Store) For(name string) *Certificate {
	l := s.current.Load()
	best := l.inForce(s.chosen())
	if name == "" || best.Covers(name) {
		return best
	}
	now := s.cfg.Now()
	found := false
	for _, c := range l.kept {
		if c.Covers(name) && c.validAt(now) && (!found || c.Leaf.NotAfter.After(best.Leaf.NotAfter)) {
			best, found = c, true
		}
	}
	return best
}

// Add keeps what was uploaded. It is shown at once to who asks for a name that
// it is for; everybody else gets the one in force.
func (s *Store) Add(u Upload) (c *Certificate, warnings []string, err error) {
	text, leaf, warnings, err := u.read(s.cfg.Now())
	if err != nil {
		return nil, nil, err
	}
	sum := sha256.Sum256(leaf.Raw)
	id := hex.EncodeToString(sum[:8])
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.keep(id, text); err != nil {
		return nil, nil, err
	}
	s.cfg.Logger.Info("certificate added", "id", id, "names", leaf.DNSNames, "until", leaf.NotAfter)
	c, err = s.Find(id)
	return c, warnings, err
}

// PutACME keeps what an authority gave, in place of the one before.
func (s *Store) PutACME(chain, key string) (*Certificate, error) {
	text, leaf, _, err := Upload{Certificate: chain, Key: key}.read(s.cfg.Now())
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.keep(ACME, text); err != nil {
		return nil, err
	}
	s.cfg.Logger.Info("certificate obtained", "names", leaf.DNSNames, "until", leaf.NotAfter)
	return s.Find(ACME)
}

// keep writes a file; the caller holds mu.
func (s *Store) keep(id string, text []byte) error {
	if _, err := s.Find(id); err != nil && len(s.current.Load().kept) >= MaxKept {
		return &telephony.FieldError{Field: "certificate", Reason: fmt.Sprintf("there are %d certificates already; delete one that nobody needs", MaxKept)}
	}
	if err := os.MkdirAll(s.folder(), 0o700); err != nil {
		return fmt.Errorf("making the folder of certificates: %w", err)
	}
	if err := WriteFile(s.file(id), text); err != nil {
		return fmt.Errorf("saving certificate %s: %w", id, err)
	}
	return s.load()
}

// Remove forgets a certificate with its key.
func (s *Store) Remove(id string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if id == Standard {
		return ErrUnknown
	}
	if _, err := s.Find(id); err != nil {
		return err
	}
	if err := os.Remove(s.file(id)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("removing certificate %s: %w", id, err)
	}
	s.cfg.Logger.Info("certificate removed", "id", id)
	return s.load()
}

// ACMELeaf is the certificate that an authority gave, or nil.
func (s *Store) ACMELeaf() *x509.Certificate {
	c, err := s.Find(ACME)
	if err != nil {
		return nil
	}
	return c.Leaf
}

// DaysLeft is how many whole days a certificate is still valid; negative once it
// has expired.
func DaysLeft(c *x509.Certificate, now time.Time) int {
	left := c.NotAfter.Sub(now)
	if left < 0 {
		left -= 24 * time.Hour
	}
	return int(left / (24 * time.Hour))
}
