// Package certs keeps the certificates the TLS listeners show: one made at first
// boot and renewed before it expires, those that were uploaded or obtained, all
// as files in the data folder and in force at the next handshake.
package certs

import (
	"crypto/tls"
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
	Anew bool
	// Chosen is the identifier of the certificate in force; nil is Standard.
	Chosen func() string
	Logger *slog.Logger
	// Now is the clock; nil is time.Now.
	Now func() time.Time
}

// Store holds the certificates. It needs no goroutine: handshakes look after
// them.
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
	kept    []*Certificate // all others, by identifier
	folder  time.Time      // of their folder: when it changed
	faults  []string
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
func (s *Store) GetCertificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	now := s.cfg.Now().UnixNano()
	last := s.looked.Load()
	if since := time.Duration(now - last); (since > lookAgain || since < 0) && s.looked.CompareAndSwap(last, now) {
		if err := s.Refresh(); err != nil {
			s.cfg.Logger.Error("certificate not refreshed, the one in force stays", "err", err)
		}
	}
	name := ""
	if hello != nil {
		name = hello.ServerName
	}
	return s.For(name).pair, nil
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
	if !st.ModTime().Equal(c.changed) || st.Size() != c.size || !s.folderChanged().Equal(c.folder) {
		if err := s.load(); err != nil {
			return err
		}
		s.cfg.Logger.Info("certificates reloaded", "fingerprint", s.Fingerprint())
	}
	if s.due(s.current.Load()) {
		return s.renew()
	}
	return nil
}

func (s *Store) folderChanged() time.Time {
	st, err := os.Stat(s.folder())
	if err != nil {
		return time.Time{}
	}
	return st.ModTime()
}

// Fingerprint is that of the certificate in force.
func (s *Store) Fingerprint() string { return s.InForce().Fingerprint() }

// Names are the DNS names of every certificate.
func (s *Store) Names() []string {
	var out []string
	for _, c := range s.List() {
		out = append(out, c.Leaf.DNSNames...)
	}
	return out
}

// SelfSigned says whether the certificate in force was made here.
func (s *Store) SelfSigned() bool { return s.InForce().Source == MadeHere }

func (s *Store) due(c *loaded) bool {
	now := s.cfg.Now()
	leaf := c.cert.Leaf
	// A clock that nobody has set yet says nothing: without this, a machine
	// without a battery clock would show a new fingerprint at every boot.
	return c.own && clockIsSet(now) && (now.After(leaf.NotAfter.Add(-renewBefore)) || now.Before(leaf.NotBefore))
}

func clockIsSet(now time.Time) bool { return now.Year() >= 2026 }

func (s *Store) load() error {
	pair, err := readPair(s.path)
	if err != nil {
		return err
	}
	st, err := os.Stat(s.path)
	if err != nil {
		return fmt.Errorf("looking at certificate %s: %w", s.path, err)
	}
	folder := s.folderChanged() // before it is read: what comes later is seen later
	kept, faults := s.loadKept()
	for _, f := range faults {
		s.cfg.Logger.Error("certificate left out", "err", f)
	}
	s.current.Store(&loaded{cert: pair, own: isOwn(pair.Leaf), changed: st.ModTime(), size: st.Size(), kept: kept, folder: folder, faults: faults})
	return nil
}

// renew makes a new self-signed certificate, saves it and puts it in force.
func (s *Store) renew() error {
	pem, err := selfSigned(s.cfg.Names, s.cfg.Now())
	if err != nil {
		return err
	}
	if err := WriteFile(s.path, pem); err != nil {
		return fmt.Errorf("saving certificate %s: %w", s.path, err)
	}
	if err := s.load(); err != nil {
		return err
	}
	s.cfg.Logger.Info("self-signed certificate made", "fingerprint", s.Fingerprint(), "until", s.current.Load().cert.Leaf.NotAfter)
	return nil
}

// WriteFile replaces path so that a power cut leaves the old file or the new
// one, whole and readable by its owner only.
func WriteFile(path string, data []byte) (err error) {
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
