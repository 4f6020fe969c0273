package httpd

import (
	"context"
	"log/slog"
	"net"
	"net/netip"
	"sync"

	"ringfence/internal/tries"
)

// capped is a listener that holds at most so many connections at once, in all
// and per source. Connections beyond that are closed at once: accepting and
// closing keeps the backlog free for others.
type capped struct {
	net.Listener
	source, all int

	mu    sync.Mutex
	total int
	from  map[netip.Addr]int
}

func newCapped(l net.Listener, source, all int) *capped {
	return &capped{Listener: l, source: source, all: all, from: make(map[netip.Addr]int)}
}

// Accept returns the next connection that is within the caps.
func (c *capped) Accept() (net.Conn, error) {
	for {
		conn, err := c.Listener.Accept()
		if err != nil {
			return nil, err
		}
		src := connSource(conn)
		if !c.take(src) {
			_ = conn.Close()
			continue
		}
		return &cappedConn{Conn: conn, free: sync.OnceFunc(func() { c.give(src) })}, nil
	}
}

func connSource(conn net.Conn) netip.Addr {
	a, ok := conn.RemoteAddr().(*net.TCPAddr)
	if !ok {
		return netip.Addr{}
	}
	return tries.Source(a.AddrPort().Addr())
}

func (c *capped) take(src netip.Addr) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.total >= c.all || c.from[src] >= c.source {
		return false
	}
	c.total++
	c.from[src]++
	return true
}

func (c *capped) give(src netip.Addr) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.total--
	if c.from[src]--; c.from[src] <= 0 {
		delete(c.from, src)
	}
}

type cappedConn struct {
	net.Conn
	free func()
}

func (c *cappedConn) Close() error {
	c.free()
	return c.Conn.Close()
}

// quiet lowers what net/http says about its peers to Debug: any stranger can
// cause such lines at will. The text comes from peers, so it is an attribute.
type quiet struct{ next slog.Handler }

func (q quiet) Enabled(ctx context.Context, _ slog.Level) bool {
	return q.next.Enabled(ctx, slog.LevelDebug)
}

func (q quiet) Handle(ctx context.Context, r slog.Record) error {
	out := slog.NewRecord(r.Time, slog.LevelDebug, "web connection", 0)
	out.AddAttrs(slog.String("detail", r.Message))
	return q.next.Handle(ctx, out)
}

func (q quiet) WithAttrs(a []slog.Attr) slog.Handler { return quiet{q.next.WithAttrs(a)} }
func (q quiet) WithGroup(n string) slog.Handler      { return quiet{q.next.WithGroup(n)} }
