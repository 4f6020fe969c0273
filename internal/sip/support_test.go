package sip

import (
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"ringfence/internal/ports"
)

var (
	here  = netip.MustParseAddrPort("192.0.2.1:5060")
	there = netip.MustParseAddrPort("192.0.2.9:5062")
)

func quiet() *slog.Logger { return slog.New(slog.NewTextHandler(io.Discard, nil)) }

// memory is a transport without a network: tests read what was sent.
type memory struct {
	reliable bool
	mu       sync.Mutex
	sent     []string
	times    []time.Time
	fail     error
}

func (m *memory) Send(_ Flow, b []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.fail != nil {
		return m.fail
	}
	m.sent = append(m.sent, string(b))
	m.times = append(m.times, time.Now())
	return nil
}

func (m *memory) Protocol() string {
	if m.reliable {
		return "TCP"
	}
	return "UDP"
}
func (m *memory) Reliable() bool { return m.reliable }

// take returns what was sent since the last take.
func (m *memory) take() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.sent
	m.sent, m.times = nil, nil
	return s
}

func (m *memory) sentAt(start time.Time) (at []time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, t := range m.times {
		at = append(at, t.Sub(start))
	}
	return at
}

// bench is an endpoint on a memory transport.
type bench struct {
	*Endpoint
	*memory
	flow Flow
}

func newBench(t testing.TB, c Config, reliable bool) *bench {
	t.Helper()
	c.Logger = quiet()
	if c.Workers == 0 {
		c.Workers = 2
	}
	e := New(c)
	m := &memory{reliable: reliable}
	f, err := e.Attach(ports.SIPUDP, ports.Core, here, m)
	if err != nil {
		t.Fatal(err)
	}
	f.Remote = there
	t.Cleanup(func() { e.Close() })
	return &bench{e, m, f}
}

// kept counts the server transactions.
func (b *bench) kept() (n int) {
	synctest.Wait()
	for i := range b.txs.shards {
		s := &b.txs.shards[i]
		s.mu.Lock()
		n += len(s.server)
		s.mu.Unlock()
	}
	return n
}

func (b *bench) get(raw string) { b.Receive(b.flow, []byte(raw)) }

// msg writes a request of the peer; extra lines go after the mandatory ones.
func msg(method, branch, seq string, extra ...string) string {
	var body string
	if i := len(extra) - 1; i >= 0 && strings.HasPrefix(extra[i], "v=0") {
		body, extra = extra[i], extra[:i]
		extra = append(extra, "Content-Type: application/sdp")
	}
	lines := append([]string{
		method + " sip:102@a.test SIP/2.0",
		"Via: SIP/2.0/UDP 192.0.2.9:5062;rport;branch=" + branch,
		"From: <sip:101@a.test>;tag=peer",
		"To: <sip:102@a.test>",
		"Call-ID: call-1",
		"CSeq: " + seq + " " + method,
		"Max-Forwards: 70",
	}, extra...)
	return strings.Join(lines, "\r\n") + fmt.Sprintf("\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
}

func status(raw string) string {
	line, _, _ := strings.Cut(raw, "\r\n")
	_, s, _ := strings.Cut(line, " ")
	return s
}

// header returns the value of the first header of that name in raw text.
func header(raw, name string) string {
	for line := range strings.SplitSeq(raw, "\r\n") {
		if line == "" {
			break
		}
		if k, v, ok := strings.Cut(line, ":"); ok && strings.EqualFold(k, name) {
			return strings.TrimSpace(v)
		}
	}
	return ""
}

func starts(list []string) (out []string) {
	for _, s := range list {
		line, _, _ := strings.Cut(s, "\r\n")
		out = append(out, line)
	}
	return out
}
