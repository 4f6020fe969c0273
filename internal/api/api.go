package api

import (
	"net/http"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
)

// Config is what the API stands on.
type Config struct {
}

// Server is the REST interface: an http.Handler for everything under Base.
type Server struct {
	cfg    Config
	routes *router
	huma   huma.API
}

// New returns the API.
func New(cfg Config) *Server {
	s := &Server{cfg: cfg}
	s.routes = newRouter(s.gate, s.writeProblem)
	s.huma = humago.New(s.routes, humaConfig())
	s.register()
	fixDocument(s.huma.OpenAPI())
	return s
}

func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.routes.ServeHTTP(w, r) }

// register adds every operation. The order is the order of the document's
// readers: set-up, log-in, settings, live data, the box.
func (s *Server) register() {
	s.registerSetup()
	s.registerSession()
	s.registerExtensions()
	s.registerProvisioning()
	s.registerLive()
	s.registerRecords()
	s.registerBox()
	s.registerEvents()
}
