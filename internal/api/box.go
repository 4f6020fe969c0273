package api

import "net/http"

func (s *Server) registerBox() {
	handle(s, operation{id: "list-ports", method: http.MethodGet, path: "/ports", tag: "box", summary: "The port table as it stands now", access: admin}, s.listPorts)
	handle(s, operation{id: "get-status", method: http.MethodGet, path: "/status", tag: "box", summary: "How the box is doing", access: admin}, s.getStatus)
}
