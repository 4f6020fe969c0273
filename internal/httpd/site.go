package httpd

import (
	"net/http"
	"net/netip"
	"strconv"
	"strings"
)

// portal is what the portal's port serves.
func (s *Server) portal(files *static) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path == "/api" || strings.HasPrefix(r.URL.Path, "/api/"):
			s.cfg.API.ServeHTTP(w, r)
		case strings.HasPrefix(r.URL.Path, "/provision/"):
			s.cfg.Provision.ServeHTTP(w, r)
		case r.URL.Path == wsiPath:
			s.webSocket().ServeHTTP(w, r)
		case r.URL.Path == "/healthz" || r.URL.Path == "/readyz":
			s.health(w, r)
		default:
			files.ServeHTTP(w, r)
		}
	})
}

// provisioning is what the provisioning ports serve: never the portal, never
// the API (P02, P07).
func (s *Server) provisioning() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/provision/") {
			s.cfg.Provision.ServeHTTP(w, r)
			return
		}
		plainError(w, http.StatusNotFound, "not found")
	})
}

// wsiPath is where the portal's port serves the WebSocket interface (P08).
const wsiPath = "/wsi"

// webSocket is what the port of the WebSocket interface serves.
func (s *Server) webSocket() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if s.cfg.WSI == nil || r.URL.Path != "/" && r.URL.Path != wsiPath {
			plainError(w, http.StatusNotFound, "not found")
			return
		}
		s.cfg.WSI.ServeHTTP(w, r)
	})
}

// health answers this machine's own monitors only.
func (s *Server) health(w http.ResponseWriter, r *http.Request) {
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil || !peer.Addr().Unmap().IsLoopback() {
		plainError(w, http.StatusNotFound, "not found")
		return
	}
	if r.URL.Path == "/readyz" && s.cfg.Ready != nil {
		if err := s.cfg.Ready(); err != nil {
			plainError(w, http.StatusServiceUnavailable, "not ready: "+err.Error())
			return
		}
	}
	plainError(w, http.StatusOK, "ok")
}

func write(w http.ResponseWriter, r *http.Request, status int, data []byte) {
	w.Header().Set("Content-Length", strconv.Itoa(len(data)))
	w.WriteHeader(status)
	if r.Method != http.MethodHead {
		_, _ = w.Write(data)
	}
}
