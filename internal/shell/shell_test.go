package shell

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"ringfence/internal/opcmd"
	"ringfence/internal/opsock"
	"ringfence/internal/telephony"
)

// pbxd notes what it is asked.
type pbxd struct {
	mu     sync.Mutex
	events []string
	refuse bool
}

func (p *pbxd) call(ctx context.Context, method, path string, in, out any) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.refuse {
		return errors.New("talking to pbxd: nobody there")
	}
	switch path {
	case opsock.PathShellEvent:
		e := in.(opsock.ShellEvent)
		p.events = append(p.events, strings.TrimSpace(e.Kind+" "+e.Command))
	case opsock.PathStatus:
		*out.(*opsock.Status) = opsock.Status{Version: "1.2.3", Hostname: "evil\x1b[2Jname"}
	case opsock.PathResetAdmin:
		return errors.New("no administrator has that name")
	}
	return nil
}

func (p *pbxd) seen() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return strings.Join(p.events, "\n")
}

func signer(t testing.TB, key any) (ssh.Signer, telephony.SSHPublicKey) {
	t.Helper()
	s, err := ssh.NewSignerFromKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return s, telephony.SSHPublicKey{Type: s.PublicKey().Type(), Wire: s.PublicKey().Marshal()}
}

func ed25519Key(t testing.TB) (ssh.Signer, telephony.SSHPublicKey) {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return signer(t, key)
}

// box is a shell on a free port.
type box struct {
	*Server
	addr   string
	pbxd   *pbxd
	log    *safeBuffer
	signer ssh.Signer
	public telephony.SSHPublicKey
	host   ssh.PublicKey
}

type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *safeBuffer) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(b)
}

func (s *safeBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

func start(t *testing.T, change func(*Config)) *box {
	t.Helper()
	host, err := HostKey(t.TempDir(), "m")
	if err != nil {
		t.Fatal(err)
	}
	b := &box{pbxd: &pbxd{}, log: &safeBuffer{}, host: host.PublicKey()}
	cfg := Config{HostKey: host, Commands: opcmd.Table(), Call: b.pbxd.call, Logger: slog.New(slog.NewTextHandler(b.log, nil)), limits: standardLimits(), times: standardTimes()}
	if change != nil {
		change(&cfg)
	}
	b.Server = New(cfg)
	b.signer, b.public = ed25519Key(t)
	b.SetKeys([]Key{{"boss", b.public}})
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b.addr = ln.Addr().String()
	done := make(chan error, 1)
	go func() { done <- b.Serve(ln) }()
	t.Cleanup(func() {
		_ = ln.Close()
		b.Close()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return b
}

func (b *box) dial(user string, auth ...ssh.AuthMethod) (*ssh.Client, error) {
	return ssh.Dial("tcp", b.addr, &ssh.ClientConfig{User: user, Auth: auth, HostKeyCallback: ssh.FixedHostKey(b.host), Timeout: 20 * time.Second})
}

func (b *box) client(t *testing.T) *ssh.Client {
	t.Helper()
	c, err := b.dial(telephony.SSHUser, ssh.PublicKeys(b.signer))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// exec runs one command and returns its outputs and exit status.
func exec(t *testing.T, c *ssh.Client, command string) (out, errOut string, status int) {
	t.Helper()
	s, err := c.NewSession()
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	var o, e bytes.Buffer
	s.Stdout, s.Stderr = &o, &e
	err = s.Run(command)
	var exit *ssh.ExitError
	switch {
	case errors.As(err, &exit):
		status = exit.ExitStatus()
	case err != nil:
		t.Fatalf("%s: %v", command, err)
	}
	return o.String(), e.String(), status
}

func TestCommandsRunOnceWithTheirStatus(t *testing.T) {
	t.Parallel()
	b := start(t, nil)
	c := b.client(t)
	if out, _, status := exec(t, c, "status"); status != 0 || !strings.Contains(out, "1.2.3") || strings.Contains(out, "\x1b") {
		t.Errorf("%d %q", status, out)
	}
	if _, e, status := exec(t, c, "reset-admin nobody"); status != 1 || e != "ringfence: no administrator has that name\n" {
		t.Errorf("%d %q", status, e)
	}
	if out, _, status := exec(t, c, "help"); status != 0 || !strings.Contains(out, "setup-token") {
		t.Errorf("%d %q", status, out)
	}
	if got := b.pbxd.seen(); got != "login\ncommand status\ncommand reset-admin nobody\ncommand help" {
		t.Errorf("audit log:\n%s", got)
	}
	b.pbxd.mu.Lock()
	b.pbxd.refuse = true
	b.pbxd.mu.Unlock()
	if _, e, status := exec(t, c, "version"); status != 1 || !strings.Contains(e, "audit log") {
		t.Errorf("a command ran that is not in the audit log: %d %q", status, e)
	}
}

func TestNothingEscapesTheShell(t *testing.T) {
	t.Parallel()
	c := start(t, nil).client(t)
	for command, want := range map[string]string{
		"/bin/sh": "unknown command", "sh -c id": "unknown command", "scp -t /": "unknown command",
		"internal-sftp": "unknown command", "status; reboot": "unknown command", "status && id": "unexpected argument",
		"status | cat": "unexpected argument", "$(id)": "unknown command", "`id`": "unknown command",
		"status > /perm/x": "unexpected argument", "status\nversion": "control character", "status\x00": "control character",
		"": "no command", "   ": "no command", "'status": "not closed", "-socket /x status": "unknown command",
		"status " + strings.Repeat("x", maxLine): "too long",
	} {
		if _, e, status := exec(t, c, command); status != 1 || !strings.Contains(e, want) {
			t.Errorf("%.40q: %d %q, want %q", command, status, e, want)
		}
	}
}

func TestOnlySessionsAreServed(t *testing.T) {
	t.Parallel()
	c := start(t, nil).client(t)
	target, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer target.Close()
	if _, err := c.Dial("tcp", target.Addr().String()); err == nil || !strings.Contains(err.Error(), "prohibited") {
		t.Errorf("local forwarding: %v", err)
	}
	if _, err := c.Dial("unix", "/run/ringfence/pbxd.sock"); err == nil {
		t.Error("forwarding to a socket")
	}
	if l, err := c.Listen("tcp", "127.0.0.1:0"); err == nil {
		l.Close()
		t.Error("remote forwarding")
	}
	for _, kind := range []string{"x11", "auth-agent@openssh.com", "forwarded-tcpip", "tun@openssh.com", "direct-streamlocal@openssh.com"} {
		if _, _, err := c.OpenChannel(kind, nil); err == nil {
			t.Errorf("channel %s was opened", kind)
		}
	}
	s, err := c.NewSession()
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.Setenv("LD_PRELOAD", "x"); err == nil {
		t.Error("an environment variable was taken")
	}
	if err := s.RequestSubsystem("sftp"); err == nil {
		t.Error("a subsystem was started")
	}
	for _, kind := range []string{"x11-req", "auth-agent-req@openssh.com", "unknown"} {
		if ok, err := s.SendRequest(kind, true, nil); err != nil || ok {
			t.Errorf("%s: %v, %v", kind, ok, err)
		}
	}
	if ok, err := s.SendRequest("exec", true, []byte{0, 0, 0, 99, 'x'}); err != nil || ok {
		t.Errorf("a damaged request: %v, %v", ok, err)
	}
	if err := s.Start("version"); err != nil { // the session is still good for what it is for
		t.Error(err)
	}
	if ok, _ := s.SendRequest("exec", true, ssh.Marshal(struct{ C string }{"version"})); ok {
		t.Error("a second command in one session")
	}
}

func TestOnlyAuthorizedKeysLogIn(t *testing.T) {
	t.Parallel()
	b := start(t, nil)
	other, _ := ed25519Key(t)
	password := ssh.Password("secret")
	interactive := ssh.KeyboardInteractive(func(_, _ string, q []string, _ []bool) ([]string, error) { return make([]string, len(q)), nil })
	for name, try := range map[string]func() (*ssh.Client, error){
		"no key":      func() (*ssh.Client, error) { return b.dial("operator") },
		"other key":   func() (*ssh.Client, error) { return b.dial("operator", ssh.PublicKeys(other)) },
		"other user":  func() (*ssh.Client, error) { return b.dial("root", ssh.PublicKeys(b.signer)) },
		"password":    func() (*ssh.Client, error) { return b.dial("operator", password) },
		"interactive": func() (*ssh.Client, error) { return b.dial("operator", interactive) },
		"old kex": func() (*ssh.Client, error) {
			return ssh.Dial("tcp", b.addr, &ssh.ClientConfig{Config: ssh.Config{KeyExchanges: []string{ssh.KeyExchangeDH14SHA256, ssh.KeyExchangeECDHP256}}, User: "operator", Auth: []ssh.AuthMethod{ssh.PublicKeys(b.signer)}, HostKeyCallback: ssh.InsecureIgnoreHostKey()})
		},
		"old cipher": func() (*ssh.Client, error) {
			return ssh.Dial("tcp", b.addr, &ssh.ClientConfig{Config: ssh.Config{Ciphers: []string{ssh.CipherAES128CTR}}, User: "operator", Auth: []ssh.AuthMethod{ssh.PublicKeys(b.signer)}, HostKeyCallback: ssh.InsecureIgnoreHostKey()})
		},
	} {
		before := b.Refused()
		if c, err := try(); err == nil {
			c.Close()
			t.Errorf("%s: logged in", name)
		}
		for end := time.Now().Add(10 * time.Second); b.Refused() != before+1 && time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		}
		if n := b.Refused() - before; n != 1 {
			t.Errorf("%s: counted %d refused log-ins", name, n)
		}
	}
	if log := b.log.String(); strings.Count(log, "log-in refused") != 7 || !strings.Contains(log, "user=root") || !strings.Contains(log, "source=127.0.0.1") {
		t.Errorf("log:\n%s", log)
	}
	b.client(t)
}

func TestEveryStrongKindOfKeyLogsIn(t *testing.T) {
	t.Parallel()
	b := start(t, nil)
	p256, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	p521, _ := ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	rsa3072, err := rsa.GenerateKey(rand.Reader, 3072)
	if err != nil {
		t.Fatal(err)
	}
	for name, key := range map[string]any{"P-256": p256, "P-521": p521, "RSA": rsa3072} {
		s, public := signer(t, key)
		if parsed, err := telephony.ParseSSHKey(string(ssh.MarshalAuthorizedKey(s.PublicKey()))); err != nil || !bytes.Equal(parsed.Wire, public.Wire) || parsed.Fingerprint() != ssh.FingerprintSHA256(s.PublicKey()) {
			t.Errorf("%s: %v", name, err)
		}
		b.SetKeys([]Key{{name, public}})
		c, err := b.dial("operator", ssh.PublicKeys(s))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		c.Close()
	}
	// SHA-1 signatures are refused, although the key is good (RFC 8332 section 2).
	s, public := signer(t, rsa3072)
	b.SetKeys([]Key{{"RSA", public}})
	old, err := ssh.NewSignerWithAlgorithms(s.(ssh.AlgorithmSigner), []string{ssh.KeyAlgoRSA})
	if err != nil {
		t.Fatal(err)
	}
	if c, err := b.dial("operator", ssh.PublicKeys(old)); err == nil {
		c.Close()
		t.Error("logged in with SHA-1")
	}
}

func TestRemovedKeyEndsItsSessions(t *testing.T) {
	t.Parallel()
	b := start(t, nil)
	c := b.client(t)
	if _, _, status := exec(t, c, "version"); status != 0 {
		t.Fatal(status)
	}
	b.SetKeys(nil)
	ended(t, c)
	if c, err := b.dial("operator", ssh.PublicKeys(b.signer)); err == nil {
		c.Close()
		t.Error("logged in with a key that was taken away")
	}
}

func ended(t *testing.T, c *ssh.Client) {
	t.Helper()
	done := make(chan error, 1)
	go func() { done <- c.Wait() }()
	select {
	case <-done:
	case <-time.After(20 * time.Second):
		t.Fatal("the connection goes on")
	}
}

func TestSlowHandshakeIsCutOff(t *testing.T) {
	t.Parallel()
	b := start(t, func(c *Config) { c.times.login = 300 * time.Millisecond })
	conn, err := net.Dial("tcp", b.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	begin := time.Now()
	go func() { // a byte now and then keeps nothing open
		for range 100 {
			if _, err := conn.Write([]byte("S")); err != nil {
				return
			}
			time.Sleep(50 * time.Millisecond)
		}
	}()
	if _, err := io.Copy(io.Discard, conn); err != nil && !strings.Contains(err.Error(), "reset") {
		t.Error(err)
	}
	if took := time.Since(begin); took > 4*time.Second {
		t.Errorf("cut off after %v", took)
	}
}

func TestIdleSessionEnds(t *testing.T) {
	t.Parallel()
	b := start(t, func(c *Config) { c.times.idle = 400 * time.Millisecond })
	c := b.client(t)
	stop := make(chan struct{})
	defer close(stop)
	go func() { // keep-alives of the client are nobody at the keyboard
		for {
			select {
			case <-time.After(50 * time.Millisecond):
				_, _, _ = c.SendRequest("keepalive@openssh.com", true, nil)
			case <-stop:
				return
			}
		}
	}()
	ended(t, c)
}

func TestStrangersCannotKeepTheOperatorOut(t *testing.T) {
	t.Parallel()
	b := start(t, func(c *Config) { c.limits.handshakes, c.limits.perSource = 4, 100 })
	for range 20 { // each waits in its handshake
		conn, err := net.Dial("tcp", b.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
	}
	b.client(t)
}

func TestConnectionsAreBounded(t *testing.T) {
	t.Parallel()
	b := start(t, func(c *Config) { c.limits.perSource, c.limits.perKey, c.limits.channels = 3, 2, 2 })
	var waiting []net.Conn
	for range 3 {
		conn, err := net.Dial("tcp", b.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if _, err := conn.Read(make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
		waiting = append(waiting, conn)
	}
	if c, err := b.dial("operator", ssh.PublicKeys(b.signer)); err == nil {
		c.Close()
		t.Error("a fourth handshake of one source")
	}
	for _, conn := range waiting {
		conn.Close()
	}
	for end := time.Now().Add(10 * time.Second); b.Refused() < 4 && time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
	}
	one, two := b.client(t), b.client(t)
	if c, err := b.dial("operator", ssh.PublicKeys(b.signer)); err == nil {
		defer c.Close()
		ended(t, c)
	}
	for i := range 3 {
		s, err := one.NewSession()
		if (err == nil) != (i < 2) {
			t.Errorf("session %d of one connection: %v", i+1, err)
		}
		if err == nil {
			defer s.Close()
		}
	}
	if _, _, status := exec(t, two, "version"); status != 0 {
		t.Error(status)
	}
	if n := b.Sessions(); n != 2 {
		t.Errorf("%d are logged in", n)
	}
}

func TestRefusalsDoNotFillTheLog(t *testing.T) {
	t.Parallel()
	b := start(t, func(c *Config) { c.limits.refusalLines = 5 })
	for range 30 {
		if conn, err := net.Dial("tcp", b.addr); err == nil {
			conn.Close()
		}
	}
	for end := time.Now().Add(10 * time.Second); b.Refused() < 30 && time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
	}
	if n := b.Refused(); n != 30 {
		t.Errorf("counted %d", n)
	}
	if n := strings.Count(b.log.String(), "log-in refused"); n != 5 {
		t.Errorf("%d lines", n)
	}
}

// L02 for the shell: who fails again and again is not spoken to, wherever the
// right key is; others are, and probes of the port do not count.
func TestSourceThatFailsIsNotSpokenTo(t *testing.T) {
	t.Parallel()
	b := start(t, func(c *Config) { c.limits.perSource = 100 })
	other, _ := ed25519Key(t)
	for range 2 * maxFailures {
		conn, err := net.Dial("tcp", b.addr)
		if err != nil {
			t.Fatal(err)
		}
		conn.Close()
	}
	for i := range maxFailures {
		if i == maxFailures-1 {
			b.client(t).Close() // takes the failures back
			for range maxFailures - 1 {
				_, _ = b.dial("operator", ssh.PublicKeys(other))
			}
		}
		if _, err := b.dial("operator", ssh.PublicKeys(other)); err == nil || !strings.Contains(err.Error(), "unable to authenticate") {
			t.Fatalf("failure %d: %v", i+1, err)
		}
	}
	for end := time.Now().Add(10 * time.Second); !strings.Contains(b.log.String(), "source is not spoken to"); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("nothing came of it")
		}
	}
	conn, err := net.Dial("tcp", b.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if n, err := conn.Read(make([]byte, 64)); n > 0 || err == nil {
		t.Errorf("it is told %d bytes", n)
	}
	if c, err := b.dial("operator", ssh.PublicKeys(b.signer)); err == nil {
		c.Close()
		t.Error("it logs in")
	}
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)}}
	elsewhere, err := d.DialContext(t.Context(), "tcp", b.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer elsewhere.Close()
	c, _, _, err := ssh.NewClientConn(elsewhere, b.addr, &ssh.ClientConfig{User: telephony.SSHUser, Auth: []ssh.AuthMethod{ssh.PublicKeys(b.signer)}, HostKeyCallback: ssh.FixedHostKey(b.host)})
	if err != nil {
		t.Fatalf("another source: %v", err)
	}
	c.Close()
}

func TestInteractiveShell(t *testing.T) {
	t.Parallel()
	b := start(t, nil)
	s, err := b.client(t).NewSession()
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.RequestPty("xterm", 24, 80, nil); err != nil {
		t.Fatal(err)
	}
	in, _ := s.StdinPipe()
	out := &safeBuffer{}
	s.Stdout = out
	if err := s.Shell(); err != nil {
		t.Fatal(err)
	}
	if err := s.WindowChange(1<<31, 1<<31); err != nil {
		t.Fatal(err)
	}
	type step struct{ keys, want string }
	for i, st := range []step{
		{"", "help lists the commands"},
		{"stat\t\r", "1.2.3"},
		{"frobnicate\x03version\r", "dev"}, // Ctrl-C forgets the line
		{"nonsense\r", `unknown command "nonsense"`},
		{"help\r", "reset-admin [NAME]"},
	} {
		if _, err := io.WriteString(in, st.keys); err != nil {
			t.Fatal(err)
		}
		for end := time.Now().Add(20 * time.Second); !strings.Contains(out.String(), st.want); time.Sleep(5 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("step %d: %q is not in %q", i, st.want, out.String())
			}
		}
	}
	fmt.Fprint(in, "exit\r")
	if err := s.Wait(); err != nil {
		t.Error(err)
	}
	if got := b.pbxd.seen(); !strings.HasPrefix(got, "login\ncommand status\ncommand version\ncommand nonsense\ncommand help") {
		t.Errorf("audit log:\n%s", got)
	}
}

func TestShellNeedsATerminal(t *testing.T) {
	t.Parallel()
	s, err := start(t, nil).client(t).NewSession()
	if err != nil {
		t.Fatal(err)
	}
	var e bytes.Buffer
	s.Stderr = &e
	if err := s.Shell(); err != nil {
		t.Fatal(err)
	}
	var exit *ssh.ExitError
	if err := s.Wait(); !errors.As(err, &exit) || exit.ExitStatus() != 1 || !strings.Contains(e.String(), "needs a terminal") {
		t.Errorf("%v %q", err, e.String())
	}
}
