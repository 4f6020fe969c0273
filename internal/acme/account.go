package acme

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/mholt/acmez/v3"
	"github.com/mholt/acmez/v3/acme"
	_ "golang.org/x/crypto/x509roots/fallback" // where the system has no roots: on the image

	"ringfence/internal/certs"
	"ringfence/internal/dialout"
	"ringfence/internal/telephony"
)

// folder holds the keys of accounts, one for each directory, and the state.
const folder = "acme"

// accountKey is the key of our account at a directory, made at first use and
// kept: authorities count by account.
func (a *Agent) accountKey(directory string) (*ecdsa.PrivateKey, error) {
	sum := sha256.Sum256([]byte(directory))
	path := filepath.Join(a.cfg.Dir, folder, "account-"+hex.EncodeToString(sum[:8])+".pem")
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return newAccountKey(path)
	}
	if err != nil {
		return nil, fmt.Errorf("reading the account key: %w", err)
	}
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, fmt.Errorf("account key %s is no PEM", path)
	}
	key, err := x509.ParseECPrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("reading the account key %s: %w", path, err)
	}
	return key, nil
}

func newAccountKey(path string) (*ecdsa.PrivateKey, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("making an account key: %w", err)
	}
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("encoding an account key: %w", err)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fmt.Errorf("making the folder of account keys: %w", err)
	}
	if err := certs.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der})); err != nil {
		return nil, fmt.Errorf("saving an account key: %w", err)
	}
	return key, nil
}

// httpClient speaks to a directory. What it dials is an administrator's choice,
// and what its answers say.
func (a *Agent) httpClient(s telephony.ACME) *http.Client {
	roots, err := x509.SystemCertPool()
	if err != nil {
		roots = nil // those of the system, whatever they are
	}
	if s.Roots != "" {
		if roots == nil {
			roots = x509.NewCertPool()
		}
		roots.AppendCertsFromPEM([]byte(s.Roots))
	}
	d := dialout.Dialer{AllowLoopback: a.cfg.AllowLoopback, Lookup: a.cfg.Lookup}
	return &http.Client{
		Timeout: 30 * time.Second,
		Transport: &http.Transport{
			DialContext:         d.DialContext,
			TLSClientConfig:     &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
			TLSHandshakeTimeout: 10 * time.Second, ResponseHeaderTimeout: 30 * time.Second,
			MaxResponseHeaderBytes: 64 << 10, DisableKeepAlives: true, ForceAttemptHTTP2: true,
		},
		CheckRedirect: func(req *http.Request, via []*http.Request) error {
			if len(via) > 3 || req.URL.Scheme != "https" {
				return errors.New("the directory redirects too often, or to plain HTTP")
			}
			return nil
		},
	}
}

// obtain asks an authority for a certificate, and returns it with its chain and
// its key as PEM.
func (a *Agent) obtain(ctx context.Context, s telephony.ACME) (chain, key string, err error) {
	account := acme.Account{TermsOfServiceAgreed: s.TermsAgreed}
	if s.Email != "" {
		account.Contact = []string{"mailto:" + s.Email}
	}
	private, err := a.accountKey(s.URL())
	if err != nil {
		return "", "", err
	}
	account.PrivateKey = private
	web := newResponder(a.cfg.Listen, a.log)
	defer web.close()
	client := acmez.Client{
		Client:           &acme.Client{Directory: s.URL(), HTTPClient: a.httpClient(s), UserAgent: "ringfence", PollTimeout: pollTimeout},
		ChallengeSolvers: map[string]acmez.Solver{acme.ChallengeTypeHTTP01: web},
	}
	// An account that is there already is returned (RFC 8555 section 7.3.1).
	if account, err = client.NewAccount(ctx, account); err != nil {
		return "", "", fmt.Errorf("opening an account at %s: %w", host(s.URL()), err)
	}
	own, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return "", "", fmt.Errorf("making a certificate key: %w", err)
	}
	chains, err := client.ObtainCertificateForSANs(ctx, account, own, s.Names)
	if err != nil {
		return "", "", err
	}
	if len(chains) == 0 {
		return "", "", errors.New("the authority sent no certificate")
	}
	der, err := x509.MarshalPKCS8PrivateKey(own)
	if err != nil {
		return "", "", fmt.Errorf("encoding a certificate key: %w", err)
	}
	return string(chains[0].ChainPEM), string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})), nil
}

// explain says in people's words why no certificate came. What the authority
// says is cut: it may be anything.
func explain(err error) string {
	var window *windowError
	var problem acme.Problem
	var dns *net.DNSError
	var unknown x509.UnknownAuthorityError
	switch {
	case errors.As(err, &window):
		return window.Error()
	case errors.As(err, &problem):
		return "the authority says: " + cut(sentences(problem))
	case errors.As(err, &unknown):
		return "the authority's own certificate is signed by nobody this machine knows; enter its root certificate"
	case errors.As(err, &dns):
		return "the authority's name cannot be resolved: " + cut(dns.Error())
	case errors.Is(err, context.DeadlineExceeded):
		return "the authority did not finish in time"
	}
	return cut(err.Error())
}

func sentences(p acme.Problem) string {
	text := p.Detail
	for _, sub := range p.Subproblems {
		text += "; " + sub.Identifier.Value + ": " + sub.Detail
	}
	if text == "" {
		text = p.Type
	}
	return text
}
