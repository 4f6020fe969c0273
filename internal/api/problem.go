package api

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"ringfence/internal/setup"
	"ringfence/internal/store"
	"ringfence/internal/telephony"
)

// writeProblem answers a request that reached no operation (RFC 9457).
func (s *Server) writeProblem(w http.ResponseWriter, _ *http.Request, status int, detail string) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	b, err := json.Marshal(problem(status, detail))
	if err != nil {
		return
	}
	_, _ = w.Write(append(b, '\n'))
}

func problem(status int, detail string) *huma.ErrorModel {
	return &huma.ErrorModel{Status: status, Title: http.StatusText(status), Detail: detail}
}

// problemOf turns an error of a handler into the answer. What is nobody's
// fault outside goes to the log, not to the caller.
func (s *Server) problemOf(ctx context.Context, o operation, err error) error {
	var ready huma.StatusError
	switch {
	case errors.As(err, &ready):
		return err
	case errors.Is(err, store.ErrExists):
		return withField(problem(http.StatusConflict, "something with that name exists"), o, err)
	case errors.Is(err, store.ErrNotFound), errors.Is(err, setup.ErrFinished):
		return problem(http.StatusNotFound, notThere)
	case errors.Is(err, setup.ErrOrder):
		return problem(http.StatusConflict, err.Error())
	}
	if p := tried(err); p != nil {
		return p
	}
	if _, ok := telephony.AsFieldError(err); ok {
		return withField(problem(http.StatusUnprocessableEntity, "validation failed"), o, err)
	}
	if errors.Is(err, store.ErrClosed) || ctx.Err() != nil {
		return problem(http.StatusServiceUnavailable, "shutting down, or the request was given up")
	}
	s.cfg.Logger.Error("request failed", "operation", o.id, "err", err)
	return problem(http.StatusInternalServerError, "something went wrong inside; the log of the PBX says more")
}

// withField points at the field of the form.
func withField(p *huma.ErrorModel, o operation, err error) *huma.ErrorModel {
	fe, ok := telephony.AsFieldError(err)
	if !ok {
		return p
	}
	where, renamed := o.fields[fe.Field]
	if !renamed {
		where = "body." + fe.Field
	}
	p.Errors = append(p.Errors, &huma.ErrorDetail{Location: where, Message: fe.Reason})
	return p
}

// stripValues takes out of every problem what the caller sent: a refused
// request must not come back with the password it carried, neither in the
// answer nor in a log of answers.
func stripValues(_ huma.Context, _ string, v any) (any, error) {
	p, ok := v.(*huma.ErrorModel)
	if !ok {
		return v, nil
	}
	clean := *p
	clean.Errors = nil
	for _, e := range p.Errors {
		if e == nil {
			continue
		}
		if len(clean.Errors) == maxProblems {
			break
		}
		clean.Errors = append(clean.Errors, &huma.ErrorDetail{Message: e.Message, Location: cut(e.Location, 200)})
	}
	return &clean, nil
}

func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return s[:n]
}
