package sip

import (
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
)

// Callee is the phone of all callees: it rings and answers at once, and
// remembers nothing.
type Callee struct {
	conn      *net.UDPConn
	wg        sync.WaitGroup
	responses atomic.Pointer[func([]byte, netip.AddrPort)] // to the load that sends through it
}

// NewCallee starts the callee. Close it.
func NewCallee() (*Callee, error) {
	conn, err := listen()
	if err != nil {
		return nil, err
	}
	c := &Callee{conn: conn}
	c.wg.Go(func() { read(conn, c.receive) })
	return c, nil
}

// Close frees the socket.
func (c *Callee) Close() {
	c.conn.Close()
	c.wg.Wait()
}

// Contact is the host and port where it is reached.
func (c *Callee) Contact() string { return c.conn.LocalAddr().String() }

func (c *Callee) receive(m []byte, from netip.AddrPort) {
	if f := c.responses.Load(); f != nil && status(m) != 0 {
		(*f)(m, from)
		return
	}
	switch method(m) {
	case "INVITE":
		c.reply(m, from, "180 Ringing", "")
		c.reply(m, from, "200 OK", description(0))
	case "BYE", "CANCEL", "OPTIONS", "UPDATE", "NOTIFY":
		c.reply(m, from, "200 OK", "")
	}
}

func (c *Callee) reply(m []byte, to netip.AddrPort, line, body string) {
	var b strings.Builder
	b.WriteString("SIP/2.0 " + line + "\r\n")
	for _, name := range []string{"Via", "Record-Route", "From"} {
		for v := range headers(m, name) {
			b.WriteString(name + ": " + v + "\r\n")
		}
	}
	toHeader := header(m, "To")
	if !strings.Contains(toHeader, ";tag=") {
		toHeader += ";tag=callee"
	}
	b.WriteString("To: " + toHeader + "\r\nCall-ID: " + header(m, "Call-ID") + "\r\nCSeq: " + header(m, "CSeq") +
		"\r\nContact: <sip:callee@" + c.Contact() + ">\r\n")
	if body != "" {
		b.WriteString("Content-Type: application/sdp\r\n")
	}
	b.WriteString("Content-Length: " + strconv.Itoa(len(body)) + "\r\n\r\n" + body)
	_, _ = c.conn.WriteToUDPAddrPort([]byte(b.String()), to)
}
