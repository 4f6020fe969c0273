package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"time"

	"ringfence/internal/certs"
	"ringfence/internal/store"
	"ringfence/internal/telephony"
)

const (
	// standardID stands for the certificate without an identifier.
	standardID = "standard"
	// uploadBody bounds an upload: two texts, or a file as base64.
	uploadBody = 256 << 10
	// soonExpired is how long before its end a certificate is warned of.
	soonExpired = 21 * 24 * time.Hour
)

func certificateOperation(id, method, path, summary string) operation {
	return operation{id: id, method: method, path: path, tag: "certificates", summary: summary, access: systemOnly}
}

func (s *Server) registerCertificates() {
	op := certificateOperation
	list := op("list-certificates", http.MethodGet, "/certificates", "The certificates of HTTPS, WSS and SIP over TLS")
	upload := op("upload-certificate", http.MethodPost, "/certificates", "Upload a certificate with its chain and key; who asks for one of its names is shown it at once")
	upload.status, upload.bodyLimit = http.StatusCreated, uploadBody
	choose := op("choose-certificate", http.MethodPut, "/certificates/in-force", "Choose the certificate that is shown to everybody else; connections and calls stay")
	choose.errors = []int{http.StatusNotFound, http.StatusConflict}
	remove := op("delete-certificate", http.MethodDelete, "/certificates/{id}", "Delete a certificate and its key")
	remove.errors = []int{http.StatusNotFound, http.StatusConflict}
	handle(s, list, s.listCertificates)
	handle(s, upload, s.uploadCertificate)
	handle(s, choose, s.chooseCertificate)
	handle(s, remove, s.deleteCertificate)
}

// namesInUse are those that clients may know this machine by.
func (s *Server) namesInUse() []string {
	snap := s.cfg.Store.Snapshot()
	var out []string
	for _, t := range snap.Tenants() {
		out = append(out, t.Domain)
	}
	out = append(out, snap.Settings.WebNames...)
	out = slices.DeleteFunc(out, func(n string) bool {
		_, err := netip.ParseAddr(n)
		return err == nil || n == ""
	})
	slices.Sort(out)
	return slices.Compact(out)
}

func (s *Server) listCertificates(context.Context, *noInput) (*body[CertificateList], error) {
	out := CertificateList{Items: []Certificate{}, Uncovered: []string{}, Faults: append([]string{}, s.cfg.Certificates.Faults()...)}
	for _, c := range s.cfg.Certificates.List() {
		out.Items = append(out.Items, s.certificate(c))
	}
	for _, n := range s.namesInUse() {
		if !s.cfg.Certificates.For(n).Covers(n) {
			out.Uncovered = append(out.Uncovered, n)
		}
	}
	return &body[CertificateList]{out}, nil
}

// certificate is one as the API shows it.
func (s *Server) certificate(c *certs.Certificate) Certificate {
	now := time.Now()
	out := Certificate{
		ID: c.ID, Source: string(c.Source), Title: certs.Title(c.Leaf), Names: append([]string{}, c.Names()...), Issuer: cut(c.Leaf.Issuer.String(), 200),
		NotBefore: c.Leaf.NotBefore, NotAfter: c.Leaf.NotAfter, DaysLeft: certs.DaysLeft(c.Leaf, now),
		Fingerprint: c.Fingerprint(), Key: c.Key(), Chain: c.Chain, Trusted: c.Trusted(now),
		InForce: c.ID == s.cfg.Certificates.InForce().ID, UsedFor: []string{}, Warnings: []string{},
	}
	if c.ID == certs.Standard {
		out.ID = standardID
	}
	for _, n := range s.namesInUse() {
		if s.cfg.Certificates.For(n).ID == c.ID && c.Covers(n) {
			out.UsedFor = append(out.UsedFor, n)
		}
	}
	left := c.Leaf.NotAfter.Sub(now)
	switch {
	case left <= 0:
		out.Warnings = append(out.Warnings, "it has expired")
	case now.Before(c.Leaf.NotBefore):
		out.Warnings = append(out.Warnings, "it is not valid yet; is the clock right?")
	case left < soonExpired && c.Source != certs.MadeHere:
		out.Warnings = append(out.Warnings, fmt.Sprintf("it expires in %d days", out.DaysLeft))
	}
	return out
}

func (s *Server) uploadCertificate(ctx context.Context, in *body[CertificateUpload]) (*body[Certificate], error) {
	u := in.Body
	c, warnings, err := s.cfg.Certificates.Add(certs.Upload{Certificate: u.Certificate, Key: u.Key, PKCS12: u.PKCS12, Password: u.Password})
	if err != nil {
		return nil, err
	}
	_, err = s.cfg.Store.System().Update(ctx, callerOf(ctx).actor(), func(tx *store.Tx) error {
		if err := tx.NoteCertificate("upload", c.ID, c.Names()); err != nil || !u.Use {
			return err
		}
		return choosing(c.ID)(tx)
	})
	if err != nil {
		return nil, errors.Join(err, s.cfg.Certificates.Remove(c.ID))
	}
	out := s.certificate(c)
	out.Warnings = append(out.Warnings, warnings...)
	if out.InForce {
		for _, n := range s.namesInUse() {
			if !s.cfg.Certificates.For(n).Covers(n) {
				out.Warnings = append(out.Warnings, n+" is in use here, and no certificate is for it")
			}
		}
	}
	return &body[Certificate]{out}, nil
}

// choosing puts a certificate in force.
func choosing(id string) func(*store.Tx) error {
	return changing(func(settings *telephony.Settings) error {
		settings.Certificate = id
		return nil
	})
}

func (s *Server) chooseCertificate(ctx context.Context, in *body[CertificateChoice]) (*body[Certificate], error) {
	c, err := s.findCertificate(in.Body.ID)
	if err != nil {
		return nil, err
	}
	if time.Now().After(c.Leaf.NotAfter) {
		return nil, conflict("id", "it has expired")
	}
	if _, err := s.cfg.Store.System().Update(ctx, callerOf(ctx).actor(), choosing(c.ID)); err != nil {
		return nil, err
	}
	return &body[Certificate]{s.certificate(c)}, nil
}

func (s *Server) findCertificate(id string) (*certs.Certificate, error) {
	if id == standardID {
		id = certs.Standard
	} else if id == certs.Standard {
		return nil, store.ErrNotFound
	}
	c, err := s.cfg.Certificates.Find(id)
	if errors.Is(err, certs.ErrUnknown) {
		return nil, store.ErrNotFound
	}
	return c, err
}

type certificatePath struct {
	ID string `path:"id" pattern:"^[a-z0-9]{1,32}$" maxLength:"32"`
}

func (s *Server) deleteCertificate(ctx context.Context, in *certificatePath) (*struct{}, error) {
	c, err := s.findCertificate(in.ID)
	if err != nil {
		return nil, err
	}
	settings := s.cfg.Store.Snapshot().Settings
	switch {
	case c.ID == certs.Standard:
		return nil, problem(http.StatusConflict, "the certificate of the data folder stays: it is there when no other is")
	case c.ID == settings.Certificate:
		return nil, problem(http.StatusConflict, "it is in force; choose another one first")
	case c.ID == certs.ACME && settings.ACME.Enabled:
		return nil, problem(http.StatusConflict, "the authority would be asked for another one at once; switch that off first")
	}
	_, err = s.cfg.Store.System().Update(ctx, callerOf(ctx).actor(), func(tx *store.Tx) error {
		if now, err := tx.Settings(); err != nil || now.Certificate == c.ID {
			return errors.Join(err, conflict("id", "it is in force; choose another one first"))
		}
		return tx.NoteCertificate("delete", c.ID, c.Names())
	})
	if err != nil {
		return nil, err
	}
	return nil, s.cfg.Certificates.Remove(c.ID)
}

// certificateForOperator says in a line how long the certificate in force lasts,
// and which one expires first, if that is sooner.
func (s *Server) certificateForOperator() string {
	now := time.Now()
	text := func(c *certs.Certificate) string {
		left := certs.DaysLeft(c.Leaf, now)
		if left < 0 {
			return fmt.Sprintf("%s: EXPIRED on %s", certs.Title(c.Leaf), c.Leaf.NotAfter.UTC().Format(time.DateOnly))
		}
		return fmt.Sprintf("%s: until %s, %d days left", certs.Title(c.Leaf), c.Leaf.NotAfter.UTC().Format(time.DateOnly), left)
	}
	inForce := s.cfg.Certificates.InForce()
	first := inForce
	for _, c := range s.cfg.Certificates.List() {
		if c.ID != certs.Standard && c.Leaf.NotAfter.Before(first.Leaf.NotAfter) {
			first = c
		}
	}
	out := text(inForce)
	if inForce.Source == certs.MadeHere {
		out += ", self-signed, renewed by itself"
	}
	if first != inForce && first.ID != inForce.ID {
		out += "; another one, of " + text(first)
	}
	return out
}
