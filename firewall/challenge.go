package firewall

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"ringfence/internal/ports"
)

// A challenge window is the one time at which the port of ACME's HTTP-01
// challenge (RFC 8555 section 8.3) is open: the fence, which alone may bind a
// port below 1024, binds it, opens it and hands the socket over. The window is
// the connection's that asked for it and ends with it; it ends when its time is
// up, in the kernel also without the fence; and no policy opens it.

const (
	setChallenge = "challenge" // the port, while the window is open
	// MaxChallenge bounds how long a window stays open.
	MaxChallenge = 5 * time.Minute
)

type challengeRequest struct {
	TTL time.Duration `json:"ttl"`
}

// challenge is the window of a fence; there is one at most.
type challenge struct {
	mu    sync.Mutex
	until time.Time // zero if it is closed
	close func()
}

// challengePort is the port of the table's row.
func challengePort() uint16 {
	row, _ := ports.Lookup(ports.Table(), ports.ACME)
	return row.First
}

// challengeRules let the port in while it is in the set. It may be asked for
// from every interface: an authority can be anywhere.
func challengeRules() []Rule {
	return []Rule{{PortIn{Proto: string(ports.TCP), Set: setChallenge}, Count{portCounter + string(ports.ACME)}, Accept{}}}
}

// openChallenge answers a client's request; what it returns closes the window.
func (c *client) openChallenge(ctx context.Context, r request) (shut func()) {
	var in challengeRequest
	err := decode(r.Body, &in)
	switch {
	case err != nil:
		err = fmt.Errorf("%w: %w", ErrRefused, err)
	case in.TTL < time.Second || in.TTL > MaxChallenge:
		err = fmt.Errorf("%w: a window of %s is not within 1 s and %s", ErrRefused, in.TTL, MaxChallenge)
	}
	var socket *os.File
	if err == nil {
		socket, shut, err = c.server.openWindow(ctx, in.TTL)
	}
	if err != nil {
		c.reply(r.ID, nil, err)
		return nil
	}
	if err := c.hand(response{ID: r.ID}, socket); err != nil {
		c.server.log.Warn("challenge window not handed over", "err", err)
		_ = c.Close()
	}
	return shut
}

// hand sends an answer and a socket with it.
func (c *client) hand(resp response, socket *os.File) error {
	conn, ok := c.Conn.(*net.UnixConn)
	if !ok {
		return fmt.Errorf("%T is no unix socket", c.Conn)
	}
	frame, err := frameOf(resp)
	if err != nil {
		return err
	}
	raw, err := socket.SyscallConn()
	if err != nil {
		return err
	}
	c.writing.Lock()
	defer c.writing.Unlock()
	_ = c.SetWriteDeadline(time.Now().Add(frameTimeout))
	var sent error
	err = raw.Control(func(fd uintptr) {
		n := 0
		if n, _, sent = conn.WriteMsgUnix(frame, unix.UnixRights(int(fd)), nil); sent == nil && n < len(frame) {
			sent = io.ErrShortWrite
		}
	})
	return errors.Join(err, sent)
}

// openWindow binds the port, and opens it.
func (s *Server) openWindow(ctx context.Context, ttl time.Duration) (*os.File, func(), error) {
	s.challenge.mu.Lock()
	defer s.challenge.mu.Unlock()
	if !s.challenge.until.IsZero() {
		return nil, nil, fmt.Errorf("%w: a challenge window is open already", ErrRefused)
	}
	port := s.o.challengePort
	socket, err := bindWindow(ctx, port)
	if err != nil {
		return nil, nil, fmt.Errorf("binding port %d for a challenge: %w", port, err)
	}
	e := portElement(challengePort(), ttl, false)
	e.set = setChallenge
	if err := s.o.Kernel.change([]element{e}); err != nil {
		_ = socket.Close()
		return nil, nil, fmt.Errorf("opening port %d for a challenge: %w", port, err)
	}
	s.challenge.until = time.Now().Add(ttl)
	shut := sync.OnceFunc(func() { s.shutWindow(socket) })
	timer := time.AfterFunc(ttl, shut)
	s.log.Info("challenge window open", "port", port, "for", ttl)
	return socket, func() { timer.Stop(); shut() }, nil
}

// shutWindow closes the port, and the socket also for whom it was handed to.
func (s *Server) shutWindow(socket *os.File) {
	s.challenge.mu.Lock()
	defer s.challenge.mu.Unlock()
	e := portElement(challengePort(), 0, true)
	e.set = setChallenge
	if err := s.o.Kernel.change([]element{e}); err != nil {
		s.log.Error("closing the challenge window; the kernel does when its time is up", "err", err)
	}
	if raw, err := socket.SyscallConn(); err == nil {
		_ = raw.Control(func(fd uintptr) { _ = unix.Shutdown(int(fd), unix.SHUT_RDWR) })
	}
	_ = socket.Close()
	s.challenge.until = time.Time{}
	s.log.Info("challenge window closed")
}

func bindWindow(ctx context.Context, port uint16) (*os.File, error) {
	var lc net.ListenConfig
	lc.SetMultipathTCP(false)
	l, err := lc.Listen(ctx, "tcp", net.JoinHostPort("", strconv.Itoa(int(port))))
	if err != nil {
		return nil, err
	}
	defer l.Close() // what is handed over is a copy
	t, ok := l.(*net.TCPListener)
	if !ok {
		return nil, fmt.Errorf("%T is no TCP listener", l)
	}
	return t.File()
}

func (s *Server) challengeUntil() time.Time {
	s.challenge.mu.Lock()
	defer s.challenge.mu.Unlock()
	return s.challenge.until
}

// Challenge is an open challenge window. Close ends it; else its time does.
type Challenge struct {
	net.Listener
	conn net.Conn
	stop func() bool
}

// Close closes port and socket.
func (c *Challenge) Close() error {
	c.stop()
	return errors.Join(c.Listener.Close(), c.conn.Close())
}

// OpenChallenge opens the port of ACME's HTTP-01 challenge for ttl (1 s to
// MaxChallenge) or until ctx ends. Nobody else can open it meanwhile.
func (c *Client) OpenChallenge(ctx context.Context, ttl time.Duration) (*Challenge, error) {
	// A connection of its own: the window is to end with whoever asked for it.
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", c.socket)
	if err != nil {
		return nil, fmt.Errorf("%s: %w: %w", methodChallenge, ErrUnavailable, err)
	}
	out, err := askChallenge(conn, ttl)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", methodChallenge, err), conn.Close())
	}
	l, err := net.FileListener(out) // a copy
	_ = out.Close()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("taking the socket of a challenge: %w", err), conn.Close())
	}
	return &Challenge{l, conn, context.AfterFunc(ctx, func() { _ = l.Close(); _ = conn.Close() })}, nil
}

// askChallenge sends the request and takes the socket out of the answer.
func askChallenge(conn net.Conn, ttl time.Duration) (*os.File, error) {
	const wait = 10 * time.Second
	if err := conn.SetDeadline(time.Now().Add(wait)); err != nil {
		return nil, err
	}
	body, err := json.Marshal(challengeRequest{ttl})
	if err != nil {
		return nil, err
	}
	if err := writeFrame(conn, request{ID: 1, Method: methodChallenge, Body: body}); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	in := &withSockets{conn: conn}
	defer in.drop()
	var r response
	if err := readFrame(in, &r, func() {}); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	if err := r.err(); err != nil {
		return nil, err
	}
	if len(in.sockets) != 1 {
		return nil, fmt.Errorf("%w: %d sockets came with the answer", errFrame, len(in.sockets))
	}
	f := in.sockets[0]
	in.sockets = nil
	return f, nil
}

// withSockets reads a unix socket and keeps what is handed over on it.
type withSockets struct {
	conn    net.Conn
	sockets []*os.File
}

func (w *withSockets) Read(p []byte) (int, error) {
	u, ok := w.conn.(*net.UnixConn)
	if !ok {
		return 0, fmt.Errorf("%T is no unix socket", w.conn)
	}
	oob := make([]byte, unix.CmsgSpace(4*4))
	n, oobn, _, _, err := u.ReadMsgUnix(p, oob)
	if err != nil || n == 0 {
		return 0, errors.Join(err, io.EOF)
	}
	messages, err := unix.ParseSocketControlMessage(oob[:oobn])
	if err != nil {
		return 0, err
	}
	for _, m := range messages {
		fds, err := unix.ParseUnixRights(&m)
		if err != nil {
			return 0, err
		}
		for _, fd := range fds {
			w.sockets = append(w.sockets, os.NewFile(uintptr(fd), "challenge"))
		}
	}
	return n, nil
}

func (w *withSockets) drop() {
	for _, f := range slices.Clone(w.sockets) {
		_ = f.Close()
	}
}
