package api

import "net/http"

// cookieAnswer carries a session cookie besides its body.
type cookieAnswer[T any] struct {
	SetCookie string `header:"Set-Cookie"`
	Body      T
}

// cookieOnly carries a session cookie and no body.
type cookieOnly struct {
	SetCookie string `header:"Set-Cookie"`
}

func (s *Server) registerSession() {
	handle(s, operation{id: "login", method: http.MethodPost, path: "/login", tag: "session", summary: "Log in", access: anyone, errors: []int{http.StatusUnauthorized, http.StatusTooManyRequests}}, s.login)
	handle(s, operation{id: "get-session", method: http.MethodGet, path: "/session", tag: "session", summary: "Who is logged in", access: anyUser}, s.getSession)
	handle(s, operation{id: "delete-session", method: http.MethodDelete, path: "/session", tag: "session", summary: "Log out", access: anyUser, status: http.StatusNoContent}, s.deleteSession)
	handle(s, operation{id: "put-session-password", method: http.MethodPut, path: "/session/password", tag: "session", summary: "Change the own password; other sessions end", access: anyUser, errors: []int{http.StatusTooManyRequests}}, s.putSessionPassword)
}
