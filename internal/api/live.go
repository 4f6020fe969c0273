package api

import "net/http"

// callPath is the call of a path.
type callPath struct {
	ID string `path:"id" pattern:"^[A-Za-z0-9_.-]{1,64}$" maxLength:"64" doc:"Identifier of the call."`
}

func (s *Server) registerLive() {
	handle(s, operation{id: "list-registrations", method: http.MethodGet, path: "/registrations", tag: "live", summary: "Phones that are registered now", access: admin}, s.listRegistrations)
	handle(s, operation{id: "list-calls", method: http.MethodGet, path: "/calls", tag: "live", summary: "Calls in progress", access: admin}, s.listCalls)
	handle(s, operation{id: "hang-up", method: http.MethodDelete, path: "/calls/{id}", tag: "live", summary: "End a call", access: admin, status: http.StatusNoContent, errors: []int{http.StatusNotFound}}, s.hangUp)
}
