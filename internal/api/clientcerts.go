package api

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"net/http"

	"ringfence/internal/telephony"
)

func (s *Server) registerClientCertificates() {
	fields := map[string]string{"client_certificates": "body.mode", "client_authorities": "body.authorities"}
	handle(s, operation{id: "get-client-certificates", method: http.MethodGet, path: "/client-certificates", tag: "box", summary: "Whether phones show a certificate on SIP over TLS", access: systemOnly}, s.getClientCertificates)
	handle(s, operation{id: "put-client-certificates", method: http.MethodPut, path: "/client-certificates", tag: "box", summary: "Change whether phones show a certificate; for connections from now on", access: systemOnly, fields: fields}, s.putClientCertificates)
}

func (s *Server) getClientCertificates(context.Context, *noInput) (*body[ClientCertificates], error) {
	settings := s.cfg.Store.Snapshot().Settings
	return &body[ClientCertificates]{ClientCertificates{
		Mode: settings.ClientCertificates, Authorities: settings.ClientAuthorities, Issuers: issuers(settings.ClientAuthorities),
	}}, nil
}

// issuers are the subjects of certificates that were checked when they were stored.
func issuers(text string) []Authority {
	all := []Authority{}
	rest := []byte(text)
	for {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			return all
		}
		if c, err := x509.ParseCertificate(block.Bytes); err == nil {
			all = append(all, Authority{Name: cut(c.Subject.String(), 200), ExpiresAt: c.NotAfter})
		}
	}
}

func (s *Server) putClientCertificates(ctx context.Context, in *body[ClientCertificatesUpdate]) (*body[ClientCertificates], error) {
	err := s.changeSettings(ctx, func(settings *telephony.Settings) error {
		settings.ClientCertificates, settings.ClientAuthorities = in.Body.Mode, in.Body.Authorities
		return nil
	})
	if err != nil {
		return nil, err
	}
	return s.getClientCertificates(ctx, nil)
}
