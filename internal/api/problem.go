package api

import (
	"encoding/json"
	"net/http"

	"github.com/danielgtaylor/huma/v2"
)

// writeProblem answers a request that reached no operation (RFC 9457).
func (s *Server) writeProblem(w http.ResponseWriter, _ *http.Request, status int, detail string) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	b, err := json.Marshal(huma.ErrorModel{Status: status, Title: http.StatusText(status), Detail: detail})
	if err != nil {
		return
	}
	_, _ = w.Write(append(b, '\n'))
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
