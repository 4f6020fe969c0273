package firewall

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime/debug"
	"slices"
	"sync"
	"time"
)

const (
	// maxConns bounds the clients; the usual ones are pbxd and the operator's
	// command.
	maxConns = 32
	// maxInFlight and maxMediaInFlight bound the requests of one client that
	// are being carried out.
	maxInFlight      = 8
	maxMediaInFlight = 256
	// frameTimeout bounds how long the rest of a begun message may take, and
	// how long a client may leave an answer unread.
	frameTimeout = 10 * time.Second
	// acceptPause keeps a failing accept from spinning.
	acceptPause = 100 * time.Millisecond
)

// Listen opens the fence's socket at path. A socket that a dead process left
// behind is replaced; that of a live one is not.
func Listen(path string) (net.Listener, error) {
	if c, err := net.DialTimeout("unix", path, time.Second); err == nil {
		_ = c.Close()
		return nil, fmt.Errorf("listening on %s: another process answers there", path)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("removing the old socket: %w", err)
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, fmt.Errorf("listening on %s: %w", path, err)
	}
	// The peer's uid decides; the mode only keeps others from filling the queue.
	const ownerAndGroup = 0o660
	if err := os.Chmod(path, ownerAndGroup); err != nil {
		return nil, errors.Join(fmt.Errorf("setting the mode of %s: %w", path, err), l.Close())
	}
	return l, nil
}

// connections is the set of open ones.
type connections struct {
	mu     sync.Mutex
	closed bool
	open   map[net.Conn]struct{}
	all    sync.WaitGroup
}

// add admits c unless there are too many.
func (cs *connections) add(c net.Conn) bool {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	if cs.closed || len(cs.open) >= maxConns {
		return false
	}
	if cs.open == nil {
		cs.open = map[net.Conn]struct{}{}
	}
	cs.open[c] = struct{}{}
	cs.all.Add(1)
	return true
}

func (cs *connections) remove(c net.Conn) {
	_ = c.Close()
	cs.mu.Lock()
	delete(cs.open, c)
	cs.mu.Unlock()
	cs.all.Done()
}

// closeAll closes the connections that are open now.
func (cs *connections) closeAll() {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	for c := range cs.open {
		_ = c.Close()
	}
}

// end closes all connections, admits no more, and waits until they are served.
func (cs *connections) end() {
	cs.mu.Lock()
	cs.closed = true
	cs.mu.Unlock()
	cs.closeAll()
	cs.all.Wait()
}

func (s *Server) accept(ctx context.Context, l net.Listener) error {
	for {
		c, err := l.Accept()
		switch {
		case ctx.Err() != nil:
			if c != nil {
				_ = c.Close()
			}
			return nil
		case errors.Is(err, net.ErrClosed):
			return fmt.Errorf("accepting clients: %w", err)
		case err != nil:
			s.log.Error("accepting a client", "err", err)
			time.Sleep(acceptPause)
			continue
		}
		if err := s.admit(c); err != nil {
			s.log.Warn("client turned away", "err", err)
			_ = c.Close()
			continue
		}
		go func() {
			defer s.conns.remove(c)
			s.serveConn(ctx, c)
		}()
	}
}

func (s *Server) admit(c net.Conn) error {
	uid, err := peerUID(c)
	if err != nil {
		return fmt.Errorf("asking who the client is: %w", err)
	}
	if !slices.Contains(s.o.UIDs, uid) {
		return fmt.Errorf("uid %d may not use the fence", uid)
	}
	if !s.conns.add(c) {
		return fmt.Errorf("more than %d clients", maxConns)
	}
	return nil
}

// client is one connection. Requests are read in order; media requests are
// queued in that order, others run beside each other.
type client struct {
	net.Conn
	server  *Server
	running sync.WaitGroup
	slots   chan struct{}
	media   chan struct{} // slots of media requests

	writing sync.Mutex
}

func (s *Server) serveConn(ctx context.Context, conn net.Conn) {
	c := &client{Conn: conn, server: s, slots: make(chan struct{}, maxInFlight), media: make(chan struct{}, maxMediaInFlight)}
	defer c.running.Wait()
	defer conn.Close()
	from, err := peerUID(conn)
	if err != nil {
		s.log.Warn("client dropped", "err", err)
		return
	}
	for {
		r := request{from: from}
		_ = conn.SetReadDeadline(time.Time{}) // a client may be silent for as long as it likes
		err := readFrame(conn, &r, func() { _ = conn.SetReadDeadline(time.Now().Add(frameTimeout)) })
		if err != nil {
			if !errors.Is(err, io.EOF) && !errors.Is(err, net.ErrClosed) {
				s.log.Warn("client dropped", "err", err)
			}
			return
		}
		switch r.Method {
		case methodMedia:
			c.queueMedia(ctx, r)
			continue
		case methodChallenge:
			if shut := c.openChallenge(ctx, r); shut != nil {
				defer shut() // with the connection; there is one window at most
			}
			continue
		}
		c.slots <- struct{}{}
		c.running.Go(func() {
			defer func() { <-c.slots }()
			body, err := s.handleSafely(r)
			c.reply(r.ID, body, err)
		})
	}
}

// handleSafely turns a panic into an error: the rules must stay guarded even
// if one request meets a fault of ours.
func (s *Server) handleSafely(r request) (body any, err error) {
	defer func() {
		if p := recover(); p != nil {
			s.log.Error("request failed badly", "method", r.Method, "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
			body, err = nil, errors.New("the fence failed inside")
		}
	}()
	if r.Method == methodHostPorts {
		return with(r.Body, func(in hostPortsRequest) (any, error) { return nil, s.setHostPorts(r.from, in.Ports) })
	}
	return s.handle(r.Method, r.Body)
}

func (c *client) queueMedia(ctx context.Context, r request) {
	var m mediaRequest
	err := decode(r.Body, &m)
	if err != nil {
		err = fmt.Errorf("%w: %w", ErrRefused, err)
	} else {
		err = c.server.checkMedia(m)
	}
	if err != nil {
		c.reply(r.ID, nil, err)
		return
	}
	c.media <- struct{}{}
	c.running.Add(1)
	c.server.media.put(ctx, mediaOp{m, func(err error) {
		// Not on the queue's goroutine: a client that does not read must not
		// hold up the others.
		go func() {
			defer func() { <-c.media; c.running.Done() }()
			c.reply(r.ID, nil, err)
		}()
	}})
}

func (c *client) reply(id uint64, body any, err error) {
	resp := response{ID: id}
	if err == nil && body != nil {
		resp.Body, err = json.Marshal(body)
	}
	if err != nil {
		resp.Error, resp.Refused, resp.Body = err.Error(), errors.Is(err, ErrRefused), nil
		c.server.log.Warn("request failed", "err", err)
	}
	c.writing.Lock()
	defer c.writing.Unlock()
	_ = c.SetWriteDeadline(time.Now().Add(frameTimeout))
	if err := writeFrame(c.Conn, resp); err != nil {
		_ = c.Close() // half a message may be out: nothing more fits behind it
	}
}
