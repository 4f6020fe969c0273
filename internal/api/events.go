package api

import (
	"net/http"

	"github.com/danielgtaylor/huma/v2/sse"
)

func (s *Server) registerEvents() {
	o := operation{id: "stream-events", method: http.MethodGet, path: "/events", tag: "live", summary: "What happens, as server-sent events; the first is the status", access: admin, errors: []int{http.StatusTooManyRequests}}
	s.declare(o)
	sse.Register(s.huma, o.document(), map[string]any{
		"registration": RegistrationEvent{},
		"call":         CallEvent{},
		"cdr":          CallRecord{},
		"status":       Status{},
	}, s.streamEvents)
}
