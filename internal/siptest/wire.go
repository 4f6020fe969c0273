package siptest

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"
)

// wire carries whole messages. Only UDP can send to somebody else than the
// server; a connection leads there whatever address is given.
type wire interface {
	send(to netip.AddrPort, message []byte) error
	receive() (message []byte, from netip.AddrPort, err error)
	addr() netip.AddrPort
	close()
}

// openWire makes the wire of a phone.
func openWire(c *Config) (wire, error) {
	switch c.Transport {
	case "UDP":
		conn, err := c.ListenUDP(c.Listen)
		if err != nil {
			return nil, err
		}
		d := &datagrams{buf: make([]byte, 65536)}
		d.conn.Store(conn)
		return d, nil
	case "TCP", "TLS":
		if c.Accepts {
			return accept(c)
		}
		conn, err := dial(c)
		if err != nil {
			return nil, err
		}
		return &stream{conn: conn, server: c.Server, r: bufio.NewReader(conn)}, nil
	case "WS", "WSS":
		return openWebSocket(c)
	}
	return nil, fmt.Errorf("transport %q is unknown", c.Transport)
}

type datagrams struct {
	conn atomic.Pointer[net.UDPConn] // see Phone.Remap
	buf  []byte
}

func (d *datagrams) send(to netip.AddrPort, b []byte) error {
	_, err := d.conn.Load().WriteToUDPAddrPort(b, to)
	return err
}

func (d *datagrams) receive() ([]byte, netip.AddrPort, error) {
	n, from, err := d.conn.Load().ReadFromUDPAddrPort(d.buf)
	return bytes.Clone(d.buf[:n]), plain(from), err
}

func (d *datagrams) addr() netip.AddrPort {
	return plain(d.conn.Load().LocalAddr().(*net.UDPAddr).AddrPort())
}
func (d *datagrams) close() { d.conn.Load().Close() }

func plain(a netip.AddrPort) netip.AddrPort { return netip.AddrPortFrom(a.Addr().Unmap(), a.Port()) }

// writeTime bounds the writing of one message.
const writeTime = 10 * time.Second

// stream is a TCP or TLS connection (RFC 3261 section 18.3).
type stream struct {
	conn   net.Conn
	server netip.AddrPort
	r      *bufio.Reader
}

func (s *stream) send(_ netip.AddrPort, b []byte) error {
	_ = s.conn.SetWriteDeadline(time.Now().Add(writeTime))
	_, err := s.conn.Write(b)
	return err
}

func (s *stream) receive() ([]byte, netip.AddrPort, error) {
	var head bytes.Buffer
	length := 0
	for {
		line, err := s.r.ReadString('\n')
		if err != nil {
			return nil, s.server, err
		}
		if head.Len() == 0 && line == "\r\n" {
			return []byte(line), s.server, nil // a keep-alive
		}
		head.WriteString(line)
		name, value, _ := strings.Cut(line, ":")
		if strings.EqualFold(name, "Content-Length") || strings.EqualFold(name, "l") {
			if length, err = strconv.Atoi(strings.TrimSpace(value)); err != nil || length < 0 || length > 65536 {
				return nil, s.server, fmt.Errorf("bad length %q", value)
			}
		}
		if line == "\r\n" {
			break
		}
	}
	body := make([]byte, length)
	_, err := io.ReadFull(s.r, body)
	return append(head.Bytes(), body...), s.server, err
}

func (s *stream) addr() netip.AddrPort {
	return plain(s.conn.LocalAddr().(*net.TCPAddr).AddrPort())
}
func (s *stream) close() { s.conn.Close() }

// dial connects to the server.
func dial(c *Config) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	connect := c.Dial
	if connect == nil {
		connect = (&net.Dialer{LocalAddr: net.TCPAddrFromAddrPort(c.Listen)}).DialContext
	}
	raw, err := connect(ctx, "tcp", c.Server.String())
	if err != nil || c.Transport != "TLS" && c.Transport != "WSS" {
		return raw, err
	}
	conn := tls.Client(raw, c.tls())
	if err := conn.HandshakeContext(ctx); err != nil {
		raw.Close()
		return nil, err
	}
	return conn, nil
}

// tls is how a phone checks the server: by default not at all.
func (c *Config) tls() *tls.Config {
	if c.TLS != nil {
		t := c.TLS.Clone()
		if t.ServerName == "" {
			t.ServerName = c.Server.Addr().String()
		}
		return t
	}
	return &tls.Config{InsecureSkipVerify: true}
}

// socket is a WebSocket (RFC 7118).
type socket struct {
	ws     *websocket.Conn
	server netip.AddrPort
	local  netip.AddrPort
	ctx    context.Context
	stop   context.CancelFunc
}

func openWebSocket(c *Config) (wire, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	conn, err := dial(c)
	if err != nil {
		return nil, err
	}
	once := func(context.Context, string, string) (net.Conn, error) { return conn, nil }
	client := &http.Client{Transport: &http.Transport{DialContext: once, DialTLSContext: once}}
	header := http.Header{}
	if c.Origin != "" {
		header.Set("Origin", c.Origin)
	}
	ws, _, err := websocket.Dial(ctx, strings.ToLower(c.Transport)+"://"+c.Server.String()+"/", &websocket.DialOptions{HTTPClient: client, HTTPHeader: header, Subprotocols: []string{"sip"}})
	if err != nil {
		conn.Close()
		return nil, err
	}
	ws.SetReadLimit(1 << 17)
	s := &socket{ws: ws, server: c.Server, local: plain(conn.LocalAddr().(*net.TCPAddr).AddrPort())}
	s.ctx, s.stop = context.WithCancel(context.Background())
	return s, nil
}

func (s *socket) send(_ netip.AddrPort, b []byte) error {
	ctx, cancel := context.WithTimeout(s.ctx, writeTime)
	defer cancel()
	return s.ws.Write(ctx, websocket.MessageText, b)
}

func (s *socket) receive() ([]byte, netip.AddrPort, error) {
	_, b, err := s.ws.Read(s.ctx)
	return b, s.server, err
}

func (s *socket) addr() netip.AddrPort { return s.local }

func (s *socket) close() {
	s.stop()
	_ = s.ws.CloseNow()
}
