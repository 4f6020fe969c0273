package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"ringfence/internal/acme"
	"ringfence/internal/telephony"
)

// CertificateAgent asks an authority for certificates.
type CertificateAgent interface {
	State() acme.State
	Check(ctx context.Context, names []string) []acme.Report
	Ask() error
}

func (s *Server) registerACME() {
	op := certificateOperation
	put := op("put-acme", http.MethodPut, "/acme", "Change how a certificate is asked for and renewed")
	put.fields = map[string]string{}
	for _, f := range []string{"directory", "roots", "email", "names", "terms_agreed"} {
		put.fields["acme."+f] = "body." + f
	}
	ask := op("ask-acme", http.MethodPost, "/acme/ask", "Ask the authority for a certificate now")
	ask.errors, ask.status = []int{http.StatusConflict, http.StatusTooManyRequests}, http.StatusAccepted
	handle(s, op("get-acme", http.MethodGet, "/acme", "How a certificate is asked for and renewed by itself"), s.getACME)
	handle(s, put, s.putACME)
	handle(s, op("check-acme-names", http.MethodPost, "/acme/check", "Look names up as the authority will: do they lead here?"), s.checkACME)
	handle(s, ask, s.askACME)
}

func (s *Server) getACME(context.Context, *noInput) (*body[ACME], error) {
	set := s.cfg.Store.Snapshot().Settings.ACME
	out := ACME{
		ACMEUpdate:       ACMEUpdate{Enabled: set.Enabled, Directory: set.Directory, Roots: set.Roots, Email: set.Email, Names: append([]string{}, set.Names...), TermsAgreed: set.TermsAgreed},
		DefaultDirectory: telephony.LetsEncrypt, StagingDirectory: telephony.LetsEncryptStaging, State: "off", Reports: []NameReport{},
	}
	if s.cfg.ACME == nil {
		return &body[ACME]{out}, nil
	}
	st := s.cfg.ACME.State()
	out.Error, out.Failures, out.Reports = st.Error, st.Failures, nameReports(st.Names)
	if !st.Tried.IsZero() {
		out.TriedAt = &st.Tried
	}
	switch {
	case st.Asking:
		out.State = "asking"
	case set.Enabled && st.Failures > 0:
		out.State = "failed"
	case set.Enabled:
		out.State = "waiting"
	}
	if set.Enabled && !st.Asking {
		out.NextAt = &st.Next
	}
	return &body[ACME]{out}, nil
}

func (s *Server) putACME(ctx context.Context, in *body[ACMEUpdate]) (*body[ACME], error) {
	u := in.Body
	names := make([]string, len(u.Names))
	for i, n := range u.Names {
		names[i] = strings.ToLower(strings.TrimSuffix(strings.TrimSpace(n), "."))
	}
	err := s.changeSettings(ctx, func(settings *telephony.Settings) error {
		settings.ACME = telephony.ACME{Enabled: u.Enabled, Directory: strings.TrimSpace(u.Directory), Roots: u.Roots, Email: strings.TrimSpace(u.Email), Names: names, TermsAgreed: u.TermsAgreed}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return s.getACME(ctx, nil)
}

func (s *Server) checkACME(ctx context.Context, in *body[NameCheck]) (*body[NameReportList], error) {
	for i, n := range in.Body.Names {
		if err := telephony.CheckDomain(fmt.Sprintf("names[%d]", i), n); err != nil {
			return nil, err
		}
	}
	if s.cfg.ACME == nil {
		return nil, problem(http.StatusConflict, "no certificate can be asked for here")
	}
	return &body[NameReportList]{NameReportList{nameReports(s.cfg.ACME.Check(ctx, in.Body.Names))}}, nil
}

func (s *Server) askACME(ctx context.Context, _ *noInput) (*body[ACME], error) {
	err := acme.ErrOff
	if s.cfg.ACME != nil {
		err = s.cfg.ACME.Ask()
	}
	switch {
	case errors.Is(err, acme.ErrOff):
		return nil, problem(http.StatusConflict, err.Error())
	case errors.Is(err, acme.ErrTooSoon):
		return nil, problem(http.StatusTooManyRequests, err.Error())
	case err != nil:
		return nil, err
	}
	return s.getACME(ctx, nil)
}

func nameReports(list []acme.Report) []NameReport {
	out := []NameReport{}
	for _, r := range list {
		n := NameReport{Name: r.Name, Problem: r.Problem, Doubt: r.Doubt, Addresses: []string{}}
		for _, a := range r.Addresses {
			n.Addresses = append(n.Addresses, a.String())
		}
		out = append(out, n)
	}
	return out
}
