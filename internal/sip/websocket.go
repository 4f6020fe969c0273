package sip

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/coder/websocket"
)

// subprotocol is what SIP is called in the upgrade (RFC 7118 section 4).
const subprotocol = "sip"

// maxUpgrade bounds the header of the upgrade request.
const maxUpgrade = 8 << 10

// serveWebSocket is accept for SIP over WebSocket: net/http does handshake and
// upgrade, each connection in a goroutine of its own.
func (l *streamListener) serveWebSocket() {
	times := l.e.cfg.Streams
	// HTTP/2 is not offered: the upgrade is one of HTTP/1.1.
	l.tls.NextProtos = []string{"http/1.1"}
	srv := &http.Server{
		Handler:           http.HandlerFunc(l.upgrade),
		ReadHeaderTimeout: times.Handshake,
		ReadTimeout:       times.Handshake,
		WriteTimeout:      times.Write,
		IdleTimeout:       times.Handshake,
		MaxHeaderBytes:    maxUpgrade,
		TLSConfig:         l.tls,
		TLSNextProto:      map[string]func(*http.Server, *tls.Conn, http.Handler){},
		// What net/http says about its peers, any stranger can make it say.
		ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug),
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			if t, ok := c.(*tls.Conn); ok {
				c = t.NetConn()
			}
			return context.WithValue(ctx, connKey{}, c)
		},
	}
	_ = srv.ServeTLS(&admitting{Listener: l.ln, l: l}, "", "")
	_ = srv.Close() // those that are not upgraded; close ends the others
}

type connKey struct{}

// admitting lets net/http see only the connections within the caps.
type admitting struct {
	net.Listener
	l *streamListener
}

func (a *admitting) Accept() (net.Conn, error) {
	for {
		raw, err := a.Listener.Accept()
		if err != nil {
			if !errors.Is(err, net.ErrClosed) {
				a.l.e.stats.readErrors.Add(1)
				time.Sleep(5 * time.Millisecond)
				continue
			}
			return nil, err
		}
		if c := a.l.admit(raw); c != nil {
			// The books are closed when net/http, or who took it over, is done.
			a.l.wg.Add(1)
			return &admitted{Conn: raw, c: c, gone: sync.OnceFunc(func() {
				a.l.e.gone(c)
				a.l.wg.Done()
			})}, nil
		}
	}
}

type admitted struct {
	net.Conn
	c    *conn
	gone func()
}

func (a *admitted) Close() error {
	a.gone()
	return nil
}

// upgrade makes a WebSocket of a request and reads it until it ends.
func (l *streamListener) upgrade(w http.ResponseWriter, r *http.Request) {
	a, ok := r.Context().Value(connKey{}).(*admitted)
	switch {
	case !ok || r.Method != http.MethodGet || !strings.EqualFold(r.Header.Get("Upgrade"), "websocket"):
		w.Header().Set("Connection", "close")
		http.Error(w, "SIP over WebSocket only", http.StatusUpgradeRequired)
		return
	case !offersSIP(r.Header.Values("Sec-WebSocket-Protocol")):
		http.Error(w, "subprotocol sip only", http.StatusBadRequest)
		return
	case !l.originAllowed(r):
		origin := r.Header.Get("Origin")
		l.e.foreign.log(l.e.log, "WebSocket of a foreign page refused", slog.String("last_origin", origin[:min(len(origin), 100)]), slog.String("last_from", r.RemoteAddr))
		http.Error(w, "origin not allowed", http.StatusForbidden)
		return
	}
	// The Origin is checked above, by the names of this PBX.
	ws, err := websocket.Accept(w, r, &websocket.AcceptOptions{Subprotocols: []string{subprotocol}, InsecureSkipVerify: true})
	if err != nil {
		return
	}
	// Whatever happens, the socket and with it the books are closed here.
	defer a.Close()
	defer ws.CloseNow()
	l.speak(a.c, ws)
}

func offersSIP(headers []string) bool {
	return slices.ContainsFunc(headers, func(h string) bool {
		return slices.ContainsFunc(strings.Split(h, ","), func(p string) bool { return strings.EqualFold(strings.TrimSpace(p), subprotocol) })
	})
}

// originAllowed reports whether the page that opens the WebSocket is one of
// this PBX. A browser always says whose page it is; other clients do not.
// An address as the origin must be the one that was connected to.
func (l *streamListener) originAllowed(r *http.Request) bool {
	origin := r.Header.Get("Origin")
	if origin == "" || l.e.cfg.OriginAllowed == nil {
		return true
	}
	u, err := url.Parse(origin)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" {
		return false
	}
	if addr, ok := ParseHost(u.Hostname()); ok {
		asked := &url.URL{Host: r.Host}
		host, ok := ParseHost(asked.Hostname())
		return ok && host == addr
	}
	return l.e.cfg.OriginAllowed(strings.ToLower(u.Hostname()))
}

// speak reads messages, one in each frame (RFC 7118 section 5).
func (l *streamListener) speak(c *conn, ws *websocket.Conn) {
	e, times := l.e, l.e.cfg.Streams
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	ws.SetReadLimit(maxMessage)
	c.ready(func(b []byte) error {
		ctx, cancel := context.WithTimeout(ctx, times.Write)
		defer cancel()
		kind := websocket.MessageText
		if !utf8.Valid(b) {
			kind = websocket.MessageBinary // text frames are UTF-8 (RFC 6455 section 5.6)
		}
		return ws.Write(ctx, kind, b)
	}, nil)
	var heard atomic.Int64
	heard.Store(time.Now().UnixNano())
	l.wg.Go(func() { l.ping(ctx, c, ws, &heard) })
	for {
		_, raw, err := ws.Read(ctx)
		heard.Store(time.Now().UnixNano())
		switch {
		case err != nil:
			return
		case string(raw) == "\r\n\r\n":
			_ = c.Send(c.flow, []byte("\r\n")) // RFC 5626 section 3.5.1
		case keepAlive(raw):
		default:
			e.conns.spoke(c)
			e.receive(c.flow, raw, c.done)
		}
	}
}

// ping finds out when the peer is gone without a word, and keeps NATs open. It
// ends the connection of one who has been silent for too long.
func (l *streamListener) ping(ctx context.Context, c *conn, ws *websocket.Conn, heard *atomic.Int64) {
	times := l.e.cfg.Streams
	t := time.NewTicker(min(times.Ping, times.Idle))
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-c.done:
			return
		case <-t.C:
		}
		if time.Since(time.Unix(0, heard.Load())) > times.idle(c) {
			c.kill()
			return
		}
		wait, cancel := context.WithTimeout(ctx, times.Handshake)
		err := ws.Ping(wait)
		cancel()
		if err != nil {
			c.kill()
			return
		}
	}
}
