package httpd

import (
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"regexp"
	"runtime/debug"
	"strings"
)

// bareCSP is for everything that is no page of the application.
const bareCSP = "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"

// plainHost is a Host that may stand in a header of ours.
var plainHost = regexp.MustCompile(`^[A-Za-z0-9.-]{1,253}(:[0-9]{1,5})?$|^\[[0-9A-Fa-f:.]{2,45}\](:[0-9]{1,5})?$`)

// pageCSP is the policy of index.html. Scripts come from our files only,
// styles from our files or with this answer's nonce, connections go to this
// very listener; strings become script or markup only by way of the page's
// own Trusted Types policy.
func pageCSP(nonce, host string) string {
	connect := "'self'"
	if plainHost.MatchString(host) {
		connect += " wss://" + host
	}
	return "default-src 'none'; script-src 'self'; style-src 'self' 'nonce-" + nonce + "'; " +
		"img-src 'self' data: blob:; media-src 'self' blob:; font-src 'self'; connect-src " + connect + "; " +
		"worker-src 'self'; manifest-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'; " +
		"require-trusted-types-for 'script'; trusted-types default"
}

// securityHeaders stand in every answer; the policy of a page replaces the
// bare one.
func securityHeaders(h http.Header) {
	h.Set("Content-Security-Policy", bareCSP)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Permissions-Policy", "camera=(), display-capture=(), geolocation=(), microphone=(self), payment=(), usb=()")
	h.Set("X-Frame-Options", "DENY") // for browsers older than frame-ancestors
}

// guard is around every handler of every port: headers, host check, body
// limit, and an end to panics.
func (s *Server) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		securityHeaders(w.Header())
		defer s.catch(w, r)
		if !s.hostAllowed(r.Host) {
			plainError(w, http.StatusMisdirectedRequest, "This machine does not go by that name. Open it by its address, its host name or its SIP domain.")
			return
		}
		r.Body = http.MaxBytesReader(w, r.Body, bodyLimit(r))
		next.ServeHTTP(w, r)
	})
}

// bodyLimit is what a request may bring.
func bodyLimit(r *http.Request) int64 {
	if strings.HasPrefix(r.URL.Path, "/api/") {
		return maxAPIBody
	}
	return maxBody
}

// catch turns a panic into a 500 and one line of log. The request itself may
// hold a secret and is not logged.
func (s *Server) catch(w http.ResponseWriter, r *http.Request) {
	v := recover()
	if v == nil {
		return
	}
	if v == http.ErrAbortHandler {
		panic(v)
	}
	s.cfg.Logger.Error("panic in a web request", "method", r.Method, "panic", slog.AnyValue(v), "stack", string(debug.Stack()))
	plainError(w, http.StatusInternalServerError, "internal error")
}

// hostAllowed keeps foreign names out: a page of theirs that resolves to this
// machine (DNS rebinding) would otherwise be of our origin.
func (s *Server) hostAllowed(host string) bool {
	if !plainHost.MatchString(host) {
		return false
	}
	name := host
	if h, _, err := net.SplitHostPort(host); err == nil {
		name = h
	}
	name = strings.Trim(name, "[]")
	if _, err := netip.ParseAddr(name); err == nil {
		return true
	}
	return s.cfg.HostAllowed == nil || s.cfg.HostAllowed(strings.ToLower(strings.TrimSuffix(name, ".")))
}

// plainError answers in text, for what is neither API nor page.
func plainError(w http.ResponseWriter, status int, text string) {
	h := w.Header()
	h.Set("Content-Type", "text/plain; charset=utf-8")
	h.Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = w.Write([]byte(text + "\n"))
}
