package shell

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"ringfence/internal/opcmd"
	"ringfence/internal/opsock"
	"ringfence/internal/telephony"
)

// master is pbxd as a Follower sees it.
type master struct {
	mu     sync.Mutex
	config opsock.ShellConfig
	change chan struct{}
	report opsock.ShellReport
	away   bool
}

func (m *master) call(ctx context.Context, _, path string, in, out any) error {
	if path != opsock.PathShell {
		return nil
	}
	m.mu.Lock()
	m.report = in.(opsock.ShellReport)
	away, change, have := m.away, m.change, m.report.Have
	now := m.config.Version
	m.mu.Unlock()
	if away {
		return errors.New("nobody there")
	}
	if have == now {
		select {
		case <-change:
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(200 * time.Millisecond):
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	*out.(*opsock.ShellConfig) = m.config
	return nil
}

func (m *master) set(c opsock.ShellConfig) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.config = c
	close(m.change)
	m.change = make(chan struct{})
}

// until waits for a report.
func (m *master) until(t *testing.T, what string, f func(opsock.ShellReport) bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(2 * time.Millisecond) {
		m.mu.Lock()
		r := m.report
		m.mu.Unlock()
		if f(r) {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%s: %+v", what, r)
		}
	}
}

func follow(t *testing.T, m *master, cloud ...telephony.SSHPublicKey) (dir string, f *Follower) {
	t.Helper()
	dir = t.TempDir()
	host, err := HostKey(dir, "m")
	if err != nil {
		t.Fatal(err)
	}
	f = &Follower{Call: m.call, Dir: dir, Listen: netip.MustParseAddr("127.0.0.1"), Cloud: cloud, HostKey: host.PublicKey(), Logger: slog.New(slog.DiscardHandler), Alive: func() {}}
	f.Server = New(Config{HostKey: host, Commands: opcmd.Table(), Call: m.call, Used: f.Used})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); f.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done; f.Server.Close() })
	return dir, f
}

// freePort is one that nobody has now.
func freePort(t *testing.T) uint16 {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return netip.MustParseAddrPort(ln.Addr().String()).Port()
}

func TestListensOnlyWhileItIsOn(t *testing.T) {
	t.Parallel()
	m := &master{change: make(chan struct{}), config: opsock.ShellConfig{Version: "off"}}
	dir, _ := follow(t, m)
	s, public := ed25519Key(t)
	addr := netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), freePort(t))
	on := opsock.ShellConfig{Version: "on", Enabled: true, Port: addr.Port(), Keys: []opsock.ShellKey{{Label: "boss", Key: public.String()}}}
	closed := func(when string) {
		t.Helper()
		if c, err := net.Dial("tcp", addr.String()); err == nil {
			c.Close()
			t.Errorf("something listens %s", when)
		}
	}
	m.until(t, "off", func(r opsock.ShellReport) bool { return r.Have == "off" && !r.Listening && r.HostKey != "" })
	closed("while it is off")
	none := on
	none.Version, none.Keys = "no keys", nil
	m.set(none)
	m.until(t, "without keys", func(r opsock.ShellReport) bool { return r.Have == "no keys" })
	closed("without a key")

	begin := time.Now()
	m.set(on)
	m.until(t, "on", func(r opsock.ShellReport) bool { return r.Have == "on" && r.Listening })
	if took := time.Since(begin); took > time.Second {
		t.Errorf("took %v", took)
	}
	dial := func() (*ssh.Client, error) {
		return ssh.Dial("tcp", addr.String(), &ssh.ClientConfig{User: "operator", Auth: []ssh.AuthMethod{ssh.PublicKeys(s)}, HostKeyCallback: ssh.InsecureIgnoreHostKey()})
	}
	c, err := dial()
	if err != nil {
		t.Fatal(err)
	}
	m.until(t, "last used", func(r opsock.ShellReport) bool { return len(r.Used) == 1 && r.Used[0].ID == public.ID() })
	if st, err := os.Stat(filepath.Join(dir, usedName)); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", st, err)
	}

	m.mu.Lock() // pbxd restarts: whoever works goes on
	m.away = true
	m.mu.Unlock()
	time.Sleep(300 * time.Millisecond)
	if _, _, status := exec(t, c, "version"); status != 0 {
		t.Error("a session ended with pbxd")
	}
	m.mu.Lock()
	m.away = false
	m.mu.Unlock()
	m.set(opsock.ShellConfig{Version: "off", Keys: on.Keys})
	ended(t, c)
	m.until(t, "off again", func(r opsock.ShellReport) bool { return r.Have == "off" && !r.Listening })
	closed("after it was switched off")
	m.set(on)
	m.until(t, "on again", func(r opsock.ShellReport) bool { return r.Listening })
	if c, err = dial(); err != nil {
		t.Fatal(err)
	}
	c.Close()
}

func TestBusyPortIsToldAndTriedAgain(t *testing.T) {
	t.Parallel()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	m := &master{change: make(chan struct{})}
	_, cloud := ed25519Key(t)
	follow(t, m, cloud)
	m.set(opsock.ShellConfig{Version: "on", Enabled: true, Port: netip.MustParseAddrPort(ln.Addr().String()).Port()})
	m.until(t, "busy", func(r opsock.ShellReport) bool { return !r.Listening && r.Error != "" && len(r.Cloud) == 1 })
	ln.Close()
	m.until(t, "free", func(r opsock.ShellReport) bool { return r.Listening && r.Error == "" })
}

func TestHostKeyStaysWithItsMachine(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	key := func(machine string) string {
		t.Helper()
		s, err := HostKey(dir, machine)
		if err != nil {
			t.Fatal(err)
		}
		return ssh.FingerprintSHA256(s.PublicKey())
	}
	a := key("aa")
	if key("aa") != a {
		t.Error("another key after a restart")
	}
	if st, err := os.Stat(filepath.Join(dir, hostKeyName+"aa")); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", st, err)
	}
	if key("bb") == a {
		t.Error("a copy of the disk has the key of the first machine")
	}
	files, _ := filepath.Glob(filepath.Join(dir, "*"))
	if want := []string{filepath.Join(dir, hostKeyName+"bb")}; !slices.Equal(files, want) {
		t.Errorf("%v", files)
	}
	if err := os.WriteFile(filepath.Join(dir, hostKeyName+"bb"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := HostKey(dir, "bb"); err == nil {
		t.Error("a damaged key was taken")
	}
}
