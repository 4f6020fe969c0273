package acme

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/mholt/acmez/v3/acme"
	"golang.org/x/net/netutil"
)

// Limits of the challenge's listener.
const (
	challengeConns   = 64
	challengeTimeout = 5 * time.Second
	challengeHeader  = 8 << 10
)

// responder answers HTTP-01 challenges (RFC 8555 section 8.3) and nothing else,
// on a listener that is open while there is one to answer.
type responder struct {
	listen func(context.Context) (net.Listener, error)
	log    *slog.Logger

	mu      sync.Mutex
	answers map[string]string // key authorizations, by path
	server  *http.Server
	serving sync.WaitGroup
}

func newResponder(listen func(context.Context) (net.Listener, error), log *slog.Logger) *responder {
	return &responder{listen: listen, log: log, answers: map[string]string{}}
}

// Present makes the answer to a challenge available.
func (r *responder) Present(ctx context.Context, c acme.Challenge) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.server == nil {
		// Not ctx's: the listener's end is CleanUp, or its own time.
		l, err := r.listen(context.WithoutCancel(ctx))
		if err != nil {
			return &windowError{err}
		}
		r.server = &http.Server{
			Handler: http.HandlerFunc(r.answer), ReadTimeout: challengeTimeout, WriteTimeout: challengeTimeout,
			MaxHeaderBytes: challengeHeader, ErrorLog: slog.NewLogLogger(r.log.Handler(), slog.LevelDebug),
		}
		r.server.SetKeepAlivesEnabled(false)
		server := r.server
		r.serving.Go(func() {
			err := server.Serve(netutil.LimitListener(l, challengeConns))
			if !errors.Is(err, http.ErrServerClosed) {
				r.log.Warn("challenge listener ended", "err", err)
			}
		})
	}
	r.answers[c.HTTP01ResourcePath()] = c.KeyAuthorization
	return nil
}

// CleanUp forgets an answer; after the last one the listener closes.
func (r *responder) CleanUp(_ context.Context, c acme.Challenge) error {
	r.mu.Lock()
	delete(r.answers, c.HTTP01ResourcePath())
	left := len(r.answers)
	r.mu.Unlock()
	if left == 0 {
		r.close()
	}
	return nil
}

func (r *responder) close() {
	r.mu.Lock()
	server := r.server
	r.server = nil
	clear(r.answers)
	r.mu.Unlock()
	if server != nil {
		_ = server.Close()
	}
	r.serving.Wait()
}

func (r *responder) answer(w http.ResponseWriter, req *http.Request) {
	r.mu.Lock()
	text, ok := r.answers[req.URL.Path]
	r.mu.Unlock()
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	if !ok || req.Method != http.MethodGet {
		http.Error(w, "not found", http.StatusNotFound)
		return
	}
	r.log.Info("challenge answered", "source", req.RemoteAddr)
	w.Header().Set("Content-Type", "application/octet-stream")
	_, _ = w.Write([]byte(text))
}

// windowError says that port 80 could not be opened: nothing the authority or
// the name servers could help.
type windowError struct{ err error }

func (e *windowError) Error() string { return fmt.Sprintf("opening port 80: %v", e.err) }
func (e *windowError) Unwrap() error { return e.err }
