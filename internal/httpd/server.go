package httpd

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"ringfence/internal/ports"
)

// Limits of one listener.
const (
	headerTimeout  = 5 * time.Second  // request header, and the TLS handshake
	readTimeout    = 20 * time.Second // whole request; API operations are stricter
	writeTimeout   = 30 * time.Second // whole answer; event streams move it on
	idleTimeout    = 2 * time.Minute
	closeTimeout   = 3 * time.Second
	maxHeader      = 16 << 10
	maxBody        = 1 << 20
	maxAPIBody     = 17 << 20 // each operation has its own below: 64 KiB, an imported list 16 MiB
	perSource      = 64
	perListener    = 2048
	maxH2Streams   = 100
	h2PingAfter    = 30 * time.Second
	h2PingTimeout  = 15 * time.Second
	h2ReceiveFrame = 32 << 10
)

// Config is what the listeners serve.
type Config struct {
	Logger *slog.Logger
	// GetCertificate answers TLS handshakes.
	GetCertificate func(*tls.ClientHelloInfo) (*tls.Certificate, error)
	// API answers /api/, Provision answers /provision/.
	API, Provision http.Handler
	// WSI answers /wsi, and everything on the port of its own.
	WSI http.Handler
	// Dist is the built user interface; Built is false when there is none.
	Dist  fs.FS
	Built bool
	// HostAllowed refuses names that are not this machine's (DNS rebinding);
	// nil allows all. Addresses are always allowed.
	HostAllowed func(name string) bool
	// Ready says whether the whole PBX serves; nil is always.
	Ready func() error
	// Listen is the address to listen on; empty is all of them.
	Listen string
}

// Server holds the web listeners. Its methods may be called from any
// goroutine.
type Server struct {
	cfg  Config
	site http.Handler // everything of the portal
	prov http.Handler // provisioning files and nothing else
	wsi  http.Handler // the WebSocket interface and nothing else

	mu      sync.Mutex
	open    map[ports.ID]*listener
	failed  map[ports.ID]error
	closed  bool
	closing sync.WaitGroup // listeners that let their last requests finish
}

type listener struct {
	service  ports.Service
	net      net.Listener
	http     *http.Server
	stopping atomic.Bool
	retired  context.CancelFunc // see Retired
	done     chan struct{}
}

// New prepares the site; nothing listens yet.
func New(cfg Config) (*Server, error) {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	s := &Server{cfg: cfg, open: make(map[ports.ID]*listener), failed: make(map[ports.ID]error)}
	files, err := newStatic(cfg.Dist, cfg.Built)
	if err != nil {
		return nil, err
	}
	s.site = s.guard(s.portal(files))
	s.prov = s.guard(s.provisioning())
	s.wsi = s.guard(s.webSocket())
	return s, nil
}

// Reconcile opens and closes listeners until exactly the web services among
// the given ones are served. It is idempotent. A listener that cannot be
// opened is reported and does not keep the others from opening.
func (s *Server) Reconcile(ctx context.Context, services []ports.Service) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return net.ErrClosed
	}
	want := make(map[ports.ID]ports.Service)
	for _, svc := range services {
		if s.handler(svc) != nil {
			want[svc.ID] = svc
		}
	}
	for id, l := range s.open {
		if svc, ok := want[id]; !ok || svc.First != l.service.First {
			delete(s.open, id)
			s.retire(l)
		}
	}
	clear(s.failed)
	var errs []error
	for id, svc := range want {
		if s.open[id] != nil {
			continue
		}
		l, err := s.listen(ctx, svc)
		if err != nil {
			s.failed[id] = err
			errs = append(errs, err)
			continue
		}
		s.open[id] = l
	}
	return errors.Join(errs...)
}

// retire frees the port at once and lets requests in flight finish. The
// caller holds mu.
func (s *Server) retire(l *listener) {
	l.stopping.Store(true)
	l.retired()
	_ = l.net.Close()
	s.closing.Go(func() { l.drain(s.cfg.Logger) })
}

// handler is what a service serves, or nil when it is no web service of ours.
func (s *Server) handler(svc ports.Service) http.Handler {
	switch svc.ID {
	case ports.Portal:
		return s.site
	case ports.Provisioning, ports.EdgeProvisioning:
		return s.prov
	case ports.WSI:
		return s.wsi
	}
	return nil
}

func (s *Server) listen(ctx context.Context, svc ports.Service) (*listener, error) {
	// Landlock's port rules do not see MPTCP sockets, which Go would open.
	var lc net.ListenConfig
	lc.SetMultipathTCP(false)
	addr := net.JoinHostPort(s.cfg.Listen, strconv.Itoa(int(svc.First)))
	ln, err := lc.Listen(ctx, "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("opening listener %s on %s: %w", svc.ID, addr, err)
	}
	l := &listener{service: svc, net: ln, done: make(chan struct{})}
	retired, retire := context.WithCancel(context.Background())
	l.retired = retire
	l.http = &http.Server{
		BaseContext: func(net.Listener) context.Context {
			return context.WithValue(context.Background(), retiredKey{}, retired)
		},
		Handler:           s.handler(svc),
		ReadHeaderTimeout: headerTimeout,
		ReadTimeout:       readTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeader,
		ConnContext:       opened,
		ErrorLog:          slog.NewLogLogger(quiet{s.cfg.Logger.Handler()}, slog.LevelDebug),
		HTTP2: &http.HTTP2Config{
			MaxConcurrentStreams: maxH2Streams,
			MaxReadFrameSize:     h2ReceiveFrame,
			SendPingTimeout:      h2PingAfter,
			PingTimeout:          h2PingTimeout,
		},
		TLSConfig: &tls.Config{
			MinVersion:     tls.VersionTLS12,
			GetCertificate: s.cfg.GetCertificate,
			NextProtos:     protocols(svc),
		},
	}
	go l.serve(newCapped(ln, perSource, perListener), s.cfg.Logger)
	s.cfg.Logger.Info("web listener open", "service", string(svc.ID), "addr", ln.Addr().String())
	return l, nil
}

// protocols are those of HTTP that a service speaks. The upgrade to WebSocket
// is one of HTTP/1.1.
func protocols(svc ports.Service) []string {
	if svc.Wrap == ports.WSS {
		return []string{"http/1.1"}
	}
	return []string{"h2", "http/1.1"}
}

func (l *listener) serve(ln net.Listener, log *slog.Logger) {
	defer close(l.done)
	var err error
	if l.service.Wrap == ports.HTTPS || l.service.Wrap == ports.WSS {
		err = l.http.ServeTLS(ln, "", "")
	} else {
		err = l.http.Serve(ln)
	}
	if !l.stopping.Load() {
		log.Error("web listener ended", "service", string(l.service.ID), "err", err)
	}
}

func (l *listener) drain(log *slog.Logger) {
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	if err := l.http.Shutdown(ctx); err != nil {
		// Event streams never become idle by themselves.
		_ = l.http.Close()
	}
	<-l.done
	log.Info("web listener closed", "service", string(l.service.ID))
}

// Addr is the address a service listens on, or nil.
func (s *Server) Addr(id ports.ID) net.Addr {
	s.mu.Lock()
	defer s.mu.Unlock()
	if l := s.open[id]; l != nil {
		return l.net.Addr()
	}
	return nil
}

// Failed is why a service that should listen does not, or nil.
func (s *Server) Failed(id ports.ID) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.failed[id]
}

// Close stops accepting, lets requests in flight finish for three seconds,
// then cuts them. It returns when every goroutine has ended.
func (s *Server) Close() error {
	s.mu.Lock()
	s.closed = true
	for id, l := range s.open {
		delete(s.open, id)
		s.retire(l)
	}
	s.mu.Unlock()
	s.closing.Wait()
	return nil
}
