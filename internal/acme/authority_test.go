package acme

import (
	"context"
	"encoding/binary"
	"encoding/pem"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http/httptest"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/letsencrypt/pebble/v2/ca"
	"github.com/letsencrypt/pebble/v2/db"
	"github.com/letsencrypt/pebble/v2/va"
	"github.com/letsencrypt/pebble/v2/wfe"
	"golang.org/x/net/dns/dnsmessage"

	"ringfence/internal/certs"
	"ringfence/internal/telephony"
)

// The authority of these tests is Pebble, Let's Encrypt's own for tests, strict
// about RFC 8555; it rejects every twentieth nonce.
func TestMain(m *testing.M) {
	_ = os.Setenv("PEBBLE_VA_NOSLEEP", "1")
	os.Exit(m.Run())
}

// nameServer answers every name with 127.0.0.1, over TCP (RFC 7766 section 8).
func nameServer(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go answerNames(c)
		}
	}()
	return l.Addr().String()
}

func answerNames(c net.Conn) {
	defer c.Close()
	for {
		var size uint16
		if binary.Read(c, binary.BigEndian, &size) != nil {
			return
		}
		buf := make([]byte, size)
		if _, err := io.ReadFull(c, buf); err != nil {
			return
		}
		var m dnsmessage.Message
		if m.Unpack(buf) != nil || len(m.Questions) != 1 {
			return
		}
		m.Response, m.Additionals = true, nil
		if q := m.Questions[0]; q.Type == dnsmessage.TypeA {
			m.Answers = []dnsmessage.Resource{{Header: dnsmessage.ResourceHeader{Name: q.Name, Class: q.Class, TTL: 1}, Body: &dnsmessage.AResource{A: [4]byte{127, 0, 0, 1}}}}
		}
		out, err := m.Pack()
		if err != nil {
			return
		}
		if _, err := c.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(out))), out...)); err != nil {
			return
		}
	}
}

// authority is Pebble, which asks for challenges at httpPort.
func authority(t *testing.T, httpPort int) (directory, roots string) {
	t.Helper()
	quiet := log.New(io.Discard, "", 0)
	store := db.NewMemoryStore()
	issuer := ca.New(quiet, store, "", "ecdsa", 0, 1, map[string]ca.Profile{"default": {Description: "default"}})
	validator := va.New(quiet, httpPort, httpPort, true, nameServer(t), store)
	front := wfe.New(quiet, store, validator, issuer, nil, true, false, 0, 0)
	s := httptest.NewTLSServer(front.Handler())
	t.Cleanup(s.Close)
	return s.URL + wfe.DirectoryPath, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}))
}

// box is an agent with what is around it.
type box struct {
	*Agent
	t       *testing.T
	dir     string
	port    int
	certs   *certs.Store
	opened  atomic.Int32 // windows
	open    atomic.Int32 // now
	refuse  atomic.Pointer[error]
	mu      sync.Mutex
	wanted  telephony.ACME
	leadsTo []netip.Addr
}

func (b *box) settings() telephony.ACME {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.wanted
}

func (b *box) change(f func(*telephony.ACME)) {
	b.mu.Lock()
	f(&b.wanted)
	b.mu.Unlock()
	b.Changed()
}

type window struct {
	net.Listener
	once sync.Once
	open *atomic.Int32
}

func (w *window) Close() error {
	w.once.Do(func() { w.open.Add(-1) })
	return w.Listener.Close()
}

func newBox(t *testing.T) *box {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b := &box{t: t, dir: t.TempDir(), port: l.Addr().(*net.TCPAddr).Port, leadsTo: []netip.Addr{netip.MustParseAddr("127.0.0.1")}}
	_ = l.Close()
	directory, roots := authority(t, b.port)
	b.wanted = telephony.ACME{Enabled: true, Directory: directory, Roots: roots, Email: "admin@pbx.example", Names: []string{"pbx.example", "sip.pbx.example"}, TermsAgreed: true}
	if b.certs, err = certs.Open(certs.Config{Dir: b.dir, Names: []string{"pbx.local"}}); err != nil {
		t.Fatal(err)
	}
	b.start()
	return b
}

// start makes the agent, as a restart does.
func (b *box) start() {
	b.Agent = New(Config{
		Dir: b.dir, Settings: b.settings, AllowLoopback: true, Current: b.certs.ACMELeaf,
		Own: func() []netip.Addr { return []netip.Addr{netip.MustParseAddr("127.0.0.1")} },
		Lookup: func(_ context.Context, name string) ([]netip.Addr, error) {
			if name == "nowhere.example" {
				return nil, &net.DNSError{Err: "no such host", Name: name, IsNotFound: true}
			}
			return b.leadsTo, nil
		},
		Listen: func(ctx context.Context) (net.Listener, error) {
			if e := b.refuse.Load(); e != nil {
				return nil, *e
			}
			l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", itoa(b.port)))
			if err != nil {
				return nil, err
			}
			b.opened.Add(1)
			b.open.Add(1)
			return &window{Listener: l, open: &b.open}, nil
		},
		Keep:   func(_ context.Context, chain, key string) error { _, err := b.certs.PutACME(chain, key); return err },
		Logger: slog.New(slog.NewTextHandler(b.t.Output(), nil)),
	})
}
