package acme

import (
	"context"
	"encoding/pem"
	"log/slog"
	"net"
	"net/http/httptest"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"testing"

	"ringfence/internal/certs"
	"ringfence/internal/telephony"
	"ringfence/tests/acmelab"
)

// The authority of these tests is Pebble, Let's Encrypt's own for tests, strict
// about RFC 8555; it rejects every twentieth nonce.
func TestMain(m *testing.M) {
	if err := acmelab.Begin(); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}

// authority is Pebble, which asks for challenges at httpPort.
func authority(t *testing.T, httpPort int) (directory, roots string) {
	t.Helper()
	names, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = names.Close() })
	s := httptest.NewTLSServer(acmelab.Handler(acmelab.Options{HTTPPort: httpPort, Names: netip.MustParseAddr("127.0.0.1")}, names))
	t.Cleanup(s.Close)
	return s.URL + acmelab.DirectoryPath, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}))
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
