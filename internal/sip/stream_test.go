package sip

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"ringfence/internal/ports"
)

var loopback = netip.MustParseAddr("127.0.0.1")

// row is a row of the table on a port of the kernel's choice.
func row(id ports.ID) ports.Service {
	s, _ := ports.Lookup(ports.Table(), id)
	s.First, s.Last = 0, 0
	return s
}

// listenOn opens one row on an address.
func listenOn(t testing.TB, c Config, id ports.ID, addr netip.Addr) (*Endpoint, netip.AddrPort) {
	t.Helper()
	c.Logger = quiet()
	e := New(c)
	t.Cleanup(func() { e.Close() })
	if err := e.Reconcile([]Bind{{row(id), addr}}); err != nil {
		t.Fatal(err)
	}
	return e, e.Listening()[0].Addr
}

// stream is a peer's end of a connection.
type stream struct {
	t testing.TB
	net.Conn
	r *bufio.Reader
}

func connect(t testing.TB, to netip.AddrPort) *stream {
	t.Helper()
	c, err := net.DialTimeout("tcp", to.String(), 5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return &stream{t, c, bufio.NewReader(c)}
}

// next reads one message, or returns "" at the end of the connection.
func (s *stream) next() string {
	s.t.Helper()
	s.SetReadDeadline(time.Now().Add(10 * time.Second))
	f := framer{r: s.r, began: func() {}, ping: func() {}}
	raw, err := f.next(nil)
	if err != nil && !ended(err) {
		s.t.Fatalf("reading: %v after %q", err, raw)
	}
	return string(raw)
}

func ended(err error) bool {
	return err == io.EOF || strings.Contains(err.Error(), "reset by peer") || strings.Contains(err.Error(), "closed")
}

func (s *stream) say(text string) {
	s.t.Helper()
	if _, err := io.WriteString(s, text); err != nil {
		s.t.Fatal(err)
	}
}

// probe is an OPTIONS with a length and a Call-ID of its own.
func probe(id string, extra ...string) string {
	return "OPTIONS sip:a.test SIP/2.0\r\nVia: SIP/2.0/TCP 192.0.2.1;rport;branch=z9hG4bK" + id + "\r\nFrom: <sip:x@a.test>;tag=1\r\nTo: <sip:a.test>\r\nCall-ID: " + id +
		"\r\nCSeq: 1 OPTIONS\r\n" + strings.Join(append(extra, ""), "\r\n") + "Content-Length: 0\r\n\r\n"
}

func TestStreamAnswersOnItsConnection(t *testing.T) {
	t.Parallel()
	for _, addr := range []string{"127.0.0.1", "::1"} {
		_, to := listenOn(t, Config{}, ports.SIPTCP, netip.MustParseAddr(addr))
		c := connect(t, to)
		c.say(probe("a"))
		got := c.next()
		me := c.LocalAddr().(*net.TCPAddr).AddrPort()
		if status(got) != "200 OK" || !strings.Contains(header(got, "Via"), fmt.Sprintf("received=%s;rport=%d", me.Addr(), me.Port())) {
			t.Errorf("%s: %s", addr, got)
		}
	}
}

// Messages that come in pieces, many in one piece, behind keep-alives.
func TestStreamIsCutIntoMessages(t *testing.T) {
	t.Parallel()
	_, to := listenOn(t, Config{}, ports.SIPTCP, loopback)
	c := connect(t, to)
	text := probe("a") + "\r\n" + probe("b", "l: 0") + strings.Replace(probe("c"), "Content-Length: 0\r\n\r\n", "Content-Type: text/plain\r\nContent-Length:\r\n  11\r\n\r\nOPTIONS sip", 1) + "\r\n\r\n" + probe("d")
	// "b" says twice the same length: cut alike, refused by the grammar.
	for _, size := range []int{1, 7, 1000, len(text)} {
		go func() {
			for rest := text; rest != ""; {
				n := min(size, len(rest))
				io.WriteString(c, rest[:n])
				rest = rest[n:]
			}
		}()
		got := map[string]string{}
		for range 4 {
			m := c.next()
			got[header(m, "Call-ID")] = status(m)
		}
		if got["a"] != "200 OK" || got["b"] != "400 Repeated Content-Length" || got["c"] != "200 OK" || got["d"] != "200 OK" {
			t.Errorf("pieces of %d: %v", size, got)
		}
	}
}

func TestKeepAliveIsAnswered(t *testing.T) {
	t.Parallel()
	_, to := listenOn(t, Config{}, ports.SIPTCP, loopback)
	c := connect(t, to)
	c.say("\r\n\r\n")
	pong := make([]byte, 2)
	c.SetReadDeadline(time.Now().Add(5 * time.Second))
	if _, err := io.ReadFull(c, pong); err != nil || string(pong) != "\r\n" {
		t.Errorf("pong %q, %v", pong, err)
	}
}

// Who cannot say where a message ends is told so, and the connection is closed.
func TestStreamWithoutEndIsRefused(t *testing.T) {
	t.Parallel()
	e, to := listenOn(t, Config{}, ports.SIPTCP, loopback)
	for name, c := range map[string]struct{ text, want string }{
		"no length":       {strings.Replace(probe("a"), "Content-Length: 0\r\n", "", 1), "400 Missing or Malformed Content-Length"},
		"negative":        {strings.Replace(probe("a"), "Length: 0", "Length: -1", 1), "400 Missing or Malformed Content-Length"},
		"words":           {strings.Replace(probe("a"), "Length: 0", "Length: zero", 1), "400 Missing or Malformed Content-Length"},
		"contradiction":   {probe("a", "l: 5"), "400 Missing or Malformed Content-Length"},
		"too large":       {strings.Replace(probe("a"), "Length: 0", "Length: 70000", 1), "513 Message Too Large"},
		"endless header":  {strings.Replace(probe("a"), "\r\n\r\n", "\r\nX: "+strings.Repeat("x", 70000)+"\r\n\r\n", 1), "513 Message Too Large"},
		"endless headers": {strings.Replace(probe("a"), "\r\n\r\n", "\r\n"+strings.Repeat("X: x\r\n", 2000), 1), "513 Message Too Large"},
		"no SIP":          {"GET / HTTP/1.1\r\nHost: x\r\n\r\n", ""},
		"a response":      {"SIP/2.0 200 OK\r\nVia: SIP/2.0/TCP h;branch=z9hG4bKx\r\n\r\n", ""},
	} {
		s := connect(t, to)
		go io.WriteString(s, c.text)
		if got := s.next(); status(got) != c.want {
			t.Errorf("%s: %q, want %q", name, status(got), c.want)
		}
		if got := s.next(); got != "" {
			t.Errorf("%s: the connection stays open and says %q", name, got)
		}
	}
	if n := e.Stats().Panics; n != 0 {
		t.Errorf("%d panics", n)
	}
}

// A flow is its connection: found while it lives, gone with it, and its owner
// is told once.
func TestFlowDiesWithItsConnection(t *testing.T) {
	t.Parallel()
	flows, gone := make(chan Flow, 1), make(chan Flow, 2)
	var e *Endpoint
	e, to := listenOn(t, Config{OnFlowGone: func(f Flow) { gone <- f }}, ports.SIPTCP, loopback)
	e.Handle(MESSAGE, HandlerFunc(func(tx *ServerTx) {
		tx.Flow().Authenticated()
		tx.Reply(Reply{Code: 200})
		flows <- tx.Flow()
	}))
	c := connect(t, to)
	c.say(strings.ReplaceAll(probe("m"), OPTIONS, MESSAGE))
	c.next()
	f := <-flows
	if again, err := e.Flow(e.Stored(f)); err != nil || again != f || f.Token == "" || f.Protocol() != "TCP" {
		t.Fatalf("flow %+v became %+v, %v", f, again, err)
	}
	// A request of ours takes the same connection, and says so in its Via.
	answered := make(chan int, 1)
	if _, err := e.Request(f, Outgoing{Method: OPTIONS, URI: "sip:x", From: "<sip:a>;tag=1", To: "<sip:x>", CallID: "out", CSeq: 1}, func(r *Response) { answered <- r.Code }); err != nil {
		t.Fatal(err)
	}
	if got := c.next(); !strings.HasPrefix(got, "OPTIONS sip:x SIP/2.0\r\nVia: SIP/2.0/TCP ") {
		t.Error(got)
	}
	c.Close()
	select {
	case g := <-gone:
		if g != f {
			t.Errorf("gone is %+v", g)
		}
	case <-time.After(5 * time.Second):
		t.Fatal("nobody was told")
	}
	if code := <-answered; code != 503 {
		t.Errorf("the waiting request ended with %d", code)
	}
	if _, err := e.Flow(e.Stored(f)); err != ErrFlowGone {
		t.Errorf("the flow is still found: %v", err)
	}
	if _, err := e.Request(f, Outgoing{Method: OPTIONS, URI: "sip:x", From: "<sip:a>;tag=1", To: "<sip:x>", CallID: "out", CSeq: 2}, func(r *Response) { answered <- r.Code }); err != nil {
		t.Fatal(err)
	}
	if code := <-answered; code != 503 {
		t.Errorf("a request on a dead flow ended with %d", code)
	}
	if len(gone) != 0 {
		t.Error("told twice")
	}
}

// What is written to a peer that does not read waits in a bounded queue; then
// its connection is closed. The sender never waits.
func TestSlowReaderLosesItsConnection(t *testing.T) {
	t.Parallel()
	flows := make(chan Flow, 1)
	e, to := listenOn(t, Config{}, ports.SIPTCP, loopback)
	e.Handle(MESSAGE, HandlerFunc(func(tx *ServerTx) { flows <- tx.Flow() }))
	c := connect(t, to)
	c.Conn.(*net.TCPConn).SetReadBuffer(4096)
	c.say(strings.ReplaceAll(probe("m"), OPTIONS, MESSAGE))
	f := <-flows
	message := bytes.Repeat([]byte("x"), 60000)
	start := time.Now()
	var err error
	for range 1000 {
		if err = e.send(f, message); err != nil {
			break
		}
	}
	if err == nil || time.Since(start) > 2*time.Second {
		t.Errorf("after %v: %v", time.Since(start), err)
	}
	if _, err := e.Flow(e.Stored(f)); err == nil {
		for deadline := time.Now().Add(5 * time.Second); e.Stats().Conns > 0; time.Sleep(10 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatal("the connection stays")
			}
		}
	}
}

// Order: what comes on one connection for one Call-ID is handled in order.
func TestStreamKeepsOrder(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var got []uint32
	e, to := listenOn(t, Config{Limits: Limits{Queue: 4}}, ports.SIPTCP, loopback)
	done := make(chan struct{})
	const n = 3000
	e.Handle(MESSAGE, HandlerFunc(func(tx *ServerTx) {
		mu.Lock()
		defer mu.Unlock()
		if got = append(got, tx.Request().CSeq.Seq); len(got) == n {
			close(done)
		}
	}))
	c := connect(t, to)
	var text strings.Builder
	for i := range n {
		text.WriteString(strings.Replace(strings.ReplaceAll(probe("same"), OPTIONS, MESSAGE), "CSeq: 1", fmt.Sprintf("CSeq: %d", i+1), 1))
	}
	c.say(text.String())
	select {
	case <-done:
	case <-time.After(20 * time.Second):
		t.Fatalf("%d of %d came: a full queue lost some", len(got), n)
	}
	for i, seq := range got {
		if seq != uint32(i+1) {
			t.Fatalf("place %d has %d", i, seq)
		}
	}
}

// 200 connections of one source that say nothing, or half of something, cost
// others nothing, and end by themselves.
func TestSlowlorisCostsOnlyTheAttacker(t *testing.T) {
	t.Parallel()
	e, to := listenOn(t, Config{
		Limits:  Limits{ConnectionsPerSource: 100},
		Streams: StreamTimes{Idle: 2 * time.Second, Message: 2 * time.Second, Handshake: 2 * time.Second},
	}, ports.SIPTCP, loopback)
	e.Handle(MESSAGE, HandlerFunc(func(tx *ServerTx) { tx.Flow().Authenticated(); tx.Reply(Reply{Code: 200}) }))
	honest := connect(t, to)
	honest.say(strings.ReplaceAll(probe("m"), OPTIONS, MESSAGE))
	honest.next()
	attacker := net.Dialer{Timeout: 5 * time.Second, LocalAddr: &net.TCPAddr{IP: net.ParseIP("127.0.0.66")}}
	for i := range 200 {
		c, err := attacker.Dial("tcp", to.String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if i%2 == 0 {
			io.WriteString(c, "OPTIONS sip:a.test SIP/2.0\r\nVia: ")
		}
	}
	start := time.Now()
	other := connect(t, to)
	other.say(probe("o"))
	if got := other.next(); status(got) != "200 OK" || time.Since(start) > time.Second {
		t.Errorf("after %v: %q", time.Since(start), got)
	}
	st := e.Stats()
	if st.Conns > 102 || st.Evicted+st.Refused < 100 {
		t.Errorf("stats %+v", st)
	}
	time.Sleep(3 * time.Second)
	if n := e.Stats().Conns; n != 1 {
		t.Errorf("%d connections are left, want the honest one", n)
	}
	honest.say(probe("h"))
	if got := honest.next(); status(got) != "200 OK" {
		t.Errorf("the authenticated peer got %q", got)
	}
}

// At the cap the strangers that were quiet for longest give way; authenticated
// peers do not.
func TestStrangersGiveWay(t *testing.T) {
	t.Parallel()
	for name, limits := range map[string]Limits{"connections": {Connections: 3}, "strangers": {Strangers: 2}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			strangersGiveWay(t, limits)
		})
	}
}

func strangersGiveWay(t *testing.T, limits Limits) {
	e, to := listenOn(t, Config{Limits: limits}, ports.SIPTCP, loopback)
	e.Handle(MESSAGE, HandlerFunc(func(tx *ServerTx) { tx.Flow().Authenticated(); tx.Reply(Reply{Code: 200}) }))
	known := connect(t, to)
	known.say(strings.ReplaceAll(probe("m"), OPTIONS, MESSAGE))
	known.next()
	a, b := connect(t, to), connect(t, to)
	b.say(probe("b"))
	b.next()
	a.say(probe("a"))
	a.next() // now b is the quiet one
	c := connect(t, to)
	c.say(probe("c"))
	if c.next() == "" || b.next() != "" {
		t.Error("the newcomer was not let in, or not in place of the quiet one")
	}
	for _, s := range []*stream{known, a} {
		s.say(probe("again"))
		if s.next() == "" {
			t.Error("the wrong one gave way")
		}
	}
}

// Closing one listener ends its connections and no others'.
func TestReconcileStreams(t *testing.T) {
	t.Parallel()
	e := New(Config{Logger: quiet()})
	defer e.Close()
	core, edge := Bind{row(ports.SIPTCP), loopback}, Bind{row(ports.EdgeTCP), loopback}
	if err := e.Reconcile([]Bind{core, edge}); err != nil {
		t.Fatal(err)
	}
	addr := map[ports.ID]netip.AddrPort{}
	for _, l := range e.Listening() {
		addr[l.ID] = l.Addr
	}
	a, b := connect(t, addr[ports.SIPTCP]), connect(t, addr[ports.EdgeTCP])
	for _, s := range []*stream{a, b} {
		s.say(probe("1"))
		s.next()
	}
	start := time.Now()
	if err := e.Reconcile([]Bind{edge}); err != nil || time.Since(start) > time.Second {
		t.Errorf("%v after %v", err, time.Since(start))
	}
	if a.next() != "" {
		t.Error("a connection of the closed listener lives")
	}
	if c, err := net.Dial("tcp", addr[ports.SIPTCP].String()); err == nil {
		c.Close()
		t.Error("the port is still open")
	}
	b.say(probe("2"))
	if status(b.next()) != "200 OK" {
		t.Error("the other listener's connection died")
	}
}
