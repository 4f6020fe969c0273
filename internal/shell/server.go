package shell

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/ssh"

	"ringfence/internal/opcmd"
	"ringfence/internal/opsock"
	"ringfence/internal/telephony"
	"ringfence/internal/tries"
)

// Config is what a Server stands on.
type Config struct {
	HostKey  ssh.Signer
	Commands []opcmd.Command
	// Call asks pbxd, on behalf of the operator that the context names.
	Call   func(ctx context.Context, method, path string, in, out any) error
	Logger *slog.Logger
	// Used is told which key logged in. It must not block.
	Used func(keyID string)

	limits limits
	times  times
}

// times bound how long things may take.
type times struct {
	login   time.Duration // from the first packet to the log-in
	idle    time.Duration // without a key pressed or a command
	command time.Duration
	write   time.Duration // of one packet
}

func standardTimes() times {
	return times{login: 20 * time.Second, idle: 10 * time.Minute, command: time.Minute, write: 30 * time.Second}
}

// A source that breaks off so many log-ins within the window is not spoken to
// for a while. There is no password to be guessed: it is to be rid of the noise.
// This is the shell's own list: whoever is on it reaches the portal, and whoever
// is banned there, or on SIP, reaches the shell.
const (
	maxFailures   = 20
	failureWindow = 10 * time.Minute
	failureBlock  = time.Hour
)

// maxTries are the keys that a client may offer in one connection: an agent
// with several offers them one by one.
const maxTries = 6

// Key may log in.
type Key struct {
	Label  string
	Public telephony.SSHPublicKey
}

// Server is the operator shell.
type Server struct {
	cfg       Config
	ssh       *ssh.ServerConfig
	admission *admission
	refusals  refusals
	failures  *tries.Counter
	keys      atomic.Pointer[map[string]Key] // by wire form

	ctx  context.Context
	stop context.CancelFunc
	wg   sync.WaitGroup
}

// New returns a server that lets nobody in until SetKeys.
func New(cfg Config) *Server {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.limits == (limits{}) {
		cfg.limits = standardLimits()
	}
	if cfg.times == (times{}) {
		cfg.times = standardTimes()
	}
	s := &Server{cfg: cfg, admission: newAdmission(cfg.limits), refusals: refusals{log: cfg.Logger, lines: cfg.limits.refusalLines}}
	s.failures = tries.New(maxFailures, failureWindow, failureBlock)
	s.keys.Store(&map[string]Key{})
	s.ctx, s.stop = context.WithCancel(context.Background())
	s.ssh = s.protocol()
	return s
}

// protocol is what is spoken: the modern half of what x/crypto/ssh knows, and
// public keys as the only way in.
func (s *Server) protocol() *ssh.ServerConfig {
	c := &ssh.ServerConfig{
		Config: ssh.Config{
			KeyExchanges: []string{ssh.KeyExchangeMLKEM768X25519, ssh.KeyExchangeCurve25519},
			Ciphers:      []string{ssh.CipherChaCha20Poly1305, ssh.CipherAES256GCM, ssh.CipherAES128GCM},
			// All three ciphers authenticate by themselves; clients want a list.
			MACs: []string{ssh.HMACSHA256ETM, ssh.HMACSHA512ETM},
		},
		PublicKeyAuthAlgorithms: []string{
			ssh.KeyAlgoED25519, ssh.KeyAlgoECDSA256, ssh.KeyAlgoECDSA384, ssh.KeyAlgoECDSA521, ssh.KeyAlgoRSASHA256, ssh.KeyAlgoRSASHA512,
		},
		MaxAuthTries:      maxTries,
		ServerVersion:     "SSH-2.0-Ringfence",
		PublicKeyCallback: s.authorize,
	}
	c.AddHostKey(s.cfg.HostKey)
	return c
}

var errNotAuthorized = errors.New("not authorized")

// keyWire is where the permissions of a log-in name its key.
const keyWire = "key"

func (s *Server) authorize(c ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
	wire := string(key.Marshal())
	if _, ok := (*s.keys.Load())[wire]; !ok || c.User() != telephony.SSHUser {
		return nil, errNotAuthorized
	}
	return &ssh.Permissions{Extensions: map[string]string{keyWire: wire}}, nil
}

// SetKeys replaces who may log in, and ends the sessions of others.
func (s *Server) SetKeys(keys []Key) {
	byWire, ids := make(map[string]Key, len(keys)), make(map[string]bool, len(keys))
	for _, k := range keys {
		byWire[string(k.Public.Wire)] = k
		ids[k.Public.ID()] = true
	}
	s.keys.Store(&byWire)
	s.admission.closeUnless(func(id string) bool { return ids[id] })
}

// authorized reports whether a key may still be used.
func (s *Server) authorized(id string) bool {
	for _, k := range *s.keys.Load() {
		if k.Public.ID() == id {
			return true
		}
	}
	return false
}

// Serve answers connections until the listener is closed.
func (s *Server) Serve(ln net.Listener) error {
	s.admission.reopen()
	for {
		conn, err := ln.Accept()
		if errors.Is(err, net.ErrClosed) {
			return nil
		}
		if err != nil {
			// Out of descriptors, or the peer was gone: it passes.
			s.cfg.Logger.Warn("accepting a connection failed", "err", err)
			select {
			case <-time.After(100 * time.Millisecond):
				continue
			case <-s.ctx.Done():
				return nil
			}
		}
		if s.ctx.Err() != nil {
			_ = conn.Close()
			return nil
		}
		s.wg.Go(func() { s.connection(conn) })
	}
}

// Disconnect ends everybody's connection, and those that are being made, until
// the next Serve.
func (s *Server) Disconnect() { s.admission.shut() }

// Close ends everything; listeners are their owners' business.
func (s *Server) Close() {
	s.stop()
	s.Disconnect()
	s.wg.Wait()
}

// Refused counts refused log-ins, Sessions those who are logged in.
func (s *Server) Refused() uint64 { return s.refusals.count.Load() }

// Sessions counts those who are logged in.
func (s *Server) Sessions() int { return s.admission.sessions() }

// connection is the life of one.
func (s *Server) connection(raw net.Conn) {
	defer raw.Close()
	from, err := netip.ParseAddrPort(raw.RemoteAddr().String())
	if err != nil {
		return
	}
	source := from.Addr().Unmap()
	if s.failures.Blocked(source, time.Now()) {
		s.refusals.count.Add(1) // and not a line of the log for each
		return
	}
	stranger := s.admission.enter(raw, source)
	if stranger == nil {
		s.refusals.add(source, "", errors.New("too many connections from there"))
		return
	}
	grace := time.AfterFunc(s.cfg.times.login, func() { _ = raw.Close() })
	protocol, user := *s.ssh, ""
	protocol.AuthLogCallback = func(c ssh.ConnMetadata, _ string, _ error) { user = c.User() }
	conn, channels, requests, err := ssh.NewServerConn(&patientConn{raw, s.cfg.times.write}, &protocol)
	s.admission.leave(stranger)
	if !grace.Stop() && err == nil {
		err = errors.New("too slow")
	}
	if err != nil {
		s.refusals.add(source, user, err)
		if user != "" { // a probe of the port is no log-in
			s.failed(source)
		}
		return
	}
	s.failures.Forgive(source)
	key, known := (*s.keys.Load())[conn.Permissions.Extensions[keyWire]]
	var p *person
	if known {
		p = s.admission.welcome(raw, key.Public.ID(), s.authorized)
	}
	if p == nil {
		s.refusals.add(source, user, errors.New("too many sessions, or the key was taken away"))
		return
	}
	defer s.admission.bye(p)
	if s.cfg.Used != nil {
		s.cfg.Used(p.keyID)
	}
	s.loggedIn(conn, channels, requests, key, source)
}

// failed counts a log-in that came to nothing.
func (s *Server) failed(source netip.Addr) {
	if until, tripped := s.failures.Wrong(source, time.Now()); tripped {
		s.cfg.Logger.Warn("source is not spoken to", "source", source.String(), "failures", maxFailures, "until", until)
	}
}

func (s *Server) loggedIn(conn *ssh.ServerConn, channels <-chan ssh.NewChannel, requests <-chan *ssh.Request, key Key, source netip.Addr) {
	who := opsock.Operator{Name: fmt.Sprintf("%s (%s)", key.Label, key.Public.Fingerprint()), From: source}
	ctx, cancel := context.WithCancel(opsock.WithOperator(s.ctx, who))
	defer cancel()
	log := s.cfg.Logger.With("key", key.Public.Fingerprint(), "label", key.Label, "source", source.String())
	log.Info("logged in")
	l := &login{s: s, ctx: ctx, log: log, idle: time.AfterFunc(s.cfg.times.idle, func() { _ = conn.Close() })}
	defer l.idle.Stop()
	if err := l.note(opsock.ShellLogin, ""); err != nil {
		log.Warn("log-in is not in the audit log", "err", err)
	}
	l.wg.Go(func() { ssh.DiscardRequests(requests) }) // forwarding, and all else: refused
	for c := range channels {
		l.channel(c)
	}
	cancel()
	l.wg.Wait()
	log.Info("logged out")
	l.ctx = opsock.WithOperator(context.WithoutCancel(s.ctx), who)
	if err := l.note(opsock.ShellLogout, ""); err != nil {
		log.Warn("log-out is not in the audit log", "err", err)
	}
}

// patientConn bounds the time a packet may take to leave: a peer that reads
// nothing must not hold a session for ever.
type patientConn struct {
	net.Conn
	limit time.Duration
}

func (c *patientConn) Write(b []byte) (int, error) {
	_ = c.SetWriteDeadline(time.Now().Add(c.limit))
	return c.Conn.Write(b)
}

// refusals counts refused log-ins and writes them down, a few a minute.
type refusals struct {
	log   *slog.Logger
	lines int // a minute
	count atomic.Uint64

	mu      sync.Mutex
	minute  time.Time
	written int
	left    int // not written since
}

func (r *refusals) add(source netip.Addr, user string, err error) {
	r.count.Add(1)
	r.mu.Lock()
	defer r.mu.Unlock()
	if now := time.Now(); now.Sub(r.minute) >= time.Minute {
		if r.left > 0 {
			r.log.Warn("more log-ins were refused", "count", r.left)
		}
		r.minute, r.written, r.left = now, 0, 0
	}
	if r.written >= r.lines {
		r.left++
		return
	}
	r.written++
	r.log.Warn("log-in refused", "source", source.String(), "user", user[:min(len(user), 64)], "why", err.Error())
}
