package pbx

import (
	"crypto/x509"
	"sync/atomic"

	"ringfence/internal/telephony"
)

// clientAuthorities answers each TLS handshake with the authorities of the
// present settings; they are parsed when they change.
func clientAuthorities(snapshot func() *telephony.Snapshot) func() (*x509.CertPool, bool) {
	type parsed struct {
		text string
		pool *x509.CertPool
	}
	var last atomic.Pointer[parsed]
	return func() (*x509.CertPool, bool) {
		s := snapshot().Settings
		if s.ClientCertificates == telephony.ClientCertificatesOff {
			return nil, false
		}
		p := last.Load()
		if p == nil || p.text != s.ClientAuthorities {
			p = &parsed{s.ClientAuthorities, x509.NewCertPool()}
			p.pool.AppendCertsFromPEM([]byte(p.text))
			last.Store(p)
		}
		return p.pool, s.ClientCertificates == telephony.ClientCertificatesRequire
	}
}
