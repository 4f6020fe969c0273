// Package certs keeps the certificate the TLS listeners show: made at first
// boot, kept in the data folder, renewed before it expires, reloaded when its
// file changes.
package certs

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"
)

// FileName is the file inside the data folder: certificate chain and private
// key in one PEM file, so that one rename replaces both together.
const FileName = "certificate.pem"

// How often a handshake may look at the file, and how long before its end a
// self-signed certificate is replaced.
const (
	lookAgain   = 5 * time.Second
	renewBefore = 30 * 24 * time.Hour
)

// Config says where the certificate lives and whom it names.
type Config struct {
	Dir   string   // data folder; must exist
	Names []string // host names and addresses for a self-signed certificate
	// Anew replaces a certificate that was made here; one that somebody put
	// there stays.
	Anew   bool
	Logger *slog.Logger
	// Now is the clock; nil is time.Now.
	Now func() time.Time
}

// Store holds the current certificate. It needs no goroutine: handshakes look
// after it.
type Store struct {
	cfg  Config
	path string

	current atomic.Pointer[loaded]
	looked  atomic.Int64 // UnixNano of the last look at the file

	mu sync.Mutex // around loading and renewing
}

type loaded struct {
	cert    *tls.Certificate
	own     bool // self-signed by us
	changed time.Time
	size    int64
}

// Open loads the certificate, or makes one if there is none. A file that is
// there but cannot be used is an error: silently replacing it would change the
// fingerprint people compare.
func Open(cfg Config) (*Store, error) {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	s := &Store{cfg: cfg, path: filepath.Join(cfg.Dir, FileName)}
	s.mu.Lock()
	defer s.mu.Unlock()
	err := s.load()
	if errors.Is(err, fs.ErrNotExist) {
		err = s.renew()
	}
	if err != nil {
		return nil, err
	}
	if c := s.current.Load(); s.due(c) || cfg.Anew && c.own {
		if err := s.renew(); err != nil {
			return nil, err
		}
	}
	s.looked.Store(cfg.Now().UnixNano())
	return s, nil
}

// GetCertificate is for tls.Config. It looks at the file at most every five
// seconds, so a replaced file is in force for the next handshakes.
func (s *Store) GetCertificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	now := s.cfg.Now().UnixNano()
	last := s.looked.Load()
	if since := time.Duration(now - last); (since > lookAgain || since < 0) && s.looked.CompareAndSwap(last, now) {
		if err := s.Refresh(); err != nil {
			s.cfg.Logger.Error("certificate not refreshed, the one in force stays", "err", err)
		}
	}
	return s.current.Load().cert, nil
}

// Refresh loads the file if it changed and renews our own certificate if it is
// about to expire. On error the certificate in force stays.
func (s *Store) Refresh() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	st, err := os.Stat(s.path)
	if err != nil {
		return fmt.Errorf("looking at certificate %s: %w", s.path, err)
	}
	c := s.current.Load()
	if !st.ModTime().Equal(c.changed) || st.Size() != c.size {
		if err := s.load(); err != nil {
			return err
		}
		s.cfg.Logger.Info("certificate reloaded", "fingerprint", s.Fingerprint())
	}
	if s.due(s.current.Load()) {
		return s.renew()
	}
	return nil
}

// Fingerprint is the SHA-256 of the certificate (DER), in hexadecimal.
func (s *Store) Fingerprint() string {
	sum := sha256.Sum256(s.current.Load().cert.Certificate[0])
	return hex.EncodeToString(sum[:])
}

// Names are the DNS names of the certificate in force.
func (s *Store) Names() []string { return s.current.Load().cert.Leaf.DNSNames }

// SelfSigned says whether the certificate in force was made here.
func (s *Store) SelfSigned() bool { return s.current.Load().own }

func (s *Store) due(c *loaded) bool {
	now := s.cfg.Now()
	leaf := c.cert.Leaf
	// A clock that nobody has set yet says nothing: without this, a machine
	// without a battery clock would show a new fingerprint at every boot.
	return c.own && clockIsSet(now) && (now.After(leaf.NotAfter.Add(-renewBefore)) || now.Before(leaf.NotBefore))
}

func clockIsSet(now time.Time) bool { return now.Year() >= 2026 }

func (s *Store) load() error {
	pem, err := os.ReadFile(s.path)
	if err != nil {
		return fmt.Errorf("reading certificate %s: %w", s.path, err)
	}
	st, err := os.Stat(s.path)
	if err != nil {
		return fmt.Errorf("looking at certificate %s: %w", s.path, err)
	}
	cert, err := tls.X509KeyPair(pem, pem)
	if err != nil {
		return fmt.Errorf("loading certificate %s: %w", s.path, err)
	}
	if cert.Leaf == nil {
		if cert.Leaf, err = x509.ParseCertificate(cert.Certificate[0]); err != nil {
			return fmt.Errorf("parsing certificate %s: %w", s.path, err)
		}
	}
	s.current.Store(&loaded{cert: &cert, own: isOwn(cert.Leaf), changed: st.ModTime(), size: st.Size()})
	return nil
}

// renew makes a new self-signed certificate, saves it and puts it in force.
func (s *Store) renew() error {
	pem, err := selfSigned(s.cfg.Names, s.cfg.Now())
	if err != nil {
		return err
	}
	if err := writeFile(s.path, pem); err != nil {
		return fmt.Errorf("saving certificate %s: %w", s.path, err)
	}
	if err := s.load(); err != nil {
		return err
	}
	s.cfg.Logger.Info("self-signed certificate made", "fingerprint", s.Fingerprint(), "until", s.current.Load().cert.Leaf.NotAfter)
	return nil
}

// writeFile replaces path so that a power cut leaves the old file or the new
// one, whole and readable by its owner only.
func writeFile(path string, data []byte) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), ".certificate-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = f.Close()
			_ = os.Remove(f.Name())
		}
	}()
	if err = f.Chmod(0o600); err != nil {
		return err
	}
	if _, err = f.Write(data); err != nil {
		return err
	}
	if err = f.Sync(); err != nil {
		return err
	}
	if err = f.Close(); err != nil {
		return err
	}
	if err = os.Rename(f.Name(), path); err != nil {
		return err
	}
	d, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}
