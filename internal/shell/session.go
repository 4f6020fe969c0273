package shell

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"time"
	"unicode"

	"golang.org/x/crypto/ssh"
	"golang.org/x/term"

	"ringfence/internal/opcmd"
	"ringfence/internal/opsock"
	"ringfence/internal/version"
)

// login is one connection after its log-in.
type login struct {
	s    *Server
	ctx  context.Context // ends with the connection; names the operator
	log  *slog.Logger
	idle *time.Timer

	wg   sync.WaitGroup
	mu   sync.Mutex
	open int // channels
}

// busy puts the end for idleness off.
func (l *login) busy() { l.idle.Reset(l.s.cfg.times.idle) }

// note enters something into the audit log of the PBX.
func (l *login) note(kind, command string) error {
	ctx, cancel := context.WithTimeout(l.ctx, 10*time.Second)
	defer cancel()
	return l.s.cfg.Call(ctx, http.MethodPost, opsock.PathShellEvent, opsock.ShellEvent{Kind: kind, Command: command}, nil)
}

// channel opens a session (RFC 4254 section 6.1); there is nothing else.
func (l *login) channel(c ssh.NewChannel) {
	if c.ChannelType() != "session" {
		l.log.Warn("refused", "channel", cut(c.ChannelType()))
		_ = c.Reject(ssh.Prohibited, "only sessions are served here")
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.open >= l.s.cfg.limits.channels {
		_ = c.Reject(ssh.ResourceShortage, "too many sessions")
		return
	}
	ch, requests, err := c.Accept()
	if err != nil {
		return
	}
	l.open++
	l.busy()
	l.wg.Go(func() {
		(&session{login: l, ch: ch}).serve(requests)
		_ = ch.Close()
		l.mu.Lock()
		defer l.mu.Unlock()
		l.open--
	})
}

// session is one channel: a shell, or one command.
type session struct {
	*login
	ch      ssh.Channel
	pty     bool
	term    *term.Terminal
	begun   bool
	program func() // to be started
	running sync.WaitGroup
}

// serve answers the channel's requests until it is closed. Environment,
// subsystems, X11, agents and whatever else are refused.
func (s *session) serve(requests <-chan *ssh.Request) {
	s.term = term.NewTerminal(struct {
		io.Reader
		io.Writer
	}{&keys{s}, s.ch}, "ringfence> ")
	s.term.AutoCompleteCallback = s.complete
	defer s.running.Wait()
	for r := range requests {
		ok := false
		switch r.Type {
		case "pty-req":
			ok = !s.begun && s.size(r.Payload, true)
			s.pty = s.pty || ok
		case "window-change":
			ok = s.size(r.Payload, false)
		case "shell":
			ok = s.begin(len(r.Payload) == 0, s.interactive)
		case "exec":
			var exec struct{ Command string }
			err := ssh.Unmarshal(r.Payload, &exec)
			ok = s.begin(err == nil, func() uint32 { return s.once(exec.Command) })
		case "env": // ordinary clients send their language; it is refused without a word
		default:
			s.log.Warn("refused", "request", cut(r.Type))
		}
		if r.WantReply {
			_ = r.Reply(ok, nil)
		}
		// After the reply: a quick program would close the channel before it.
		if s.program != nil {
			s.running.Go(s.program)
			s.program = nil
		}
	}
}

// size takes the terminal's dimensions (RFC 4254 sections 6.2 and 6.7).
func (s *session) size(payload []byte, first bool) bool {
	var size struct {
		Columns, Rows, Width, Height uint32
		Rest                         []byte `ssh:"rest"`
	}
	if first {
		var pty struct {
			Term string
			Rest []byte `ssh:"rest"`
		}
		if ssh.Unmarshal(payload, &pty) != nil {
			return false
		}
		payload = pty.Rest
	}
	if ssh.Unmarshal(payload, &size) != nil {
		return false
	}
	const most = 1000
	_ = s.term.SetSize(int(min(max(size.Columns, 1), most)), int(min(max(size.Rows, 1), most)))
	return true
}

// begin prepares the one program of the channel (RFC 4254 section 6.5) and tells
// its exit status.
func (s *session) begin(valid bool, program func() uint32) bool {
	if s.begun || !valid {
		return false
	}
	s.begun = true
	s.program = func() {
		status := struct{ Status uint32 }{program()}
		_, _ = s.ch.SendRequest("exit-status", false, ssh.Marshal(&status))
		_ = s.ch.Close()
	}
	return true
}

// once runs one command; its input goes nowhere.
func (s *session) once(line string) uint32 {
	s.running.Go(func() { _, _ = io.Copy(io.Discard, s.ch) })
	if err := s.run(line, plain{s.ch}); err != nil {
		fmt.Fprintf(plain{s.ch.Stderr()}, "ringfence: %v\n", err)
		return 1
	}
	return 0
}

// interactive reads and runs commands until the operator leaves.
func (s *session) interactive() uint32 {
	if !s.pty {
		fmt.Fprintln(s.ch.Stderr(), "ringfence: the shell needs a terminal (ssh -t); or name a command")
		return 1
	}
	out := plain{s.term}
	fmt.Fprintf(out, "Ringfence %s. help lists the commands, exit ends.\n", version.String())
	for {
		line, err := s.term.ReadLine()
		if err != nil && !errors.Is(err, term.ErrPasteIndicator) {
			return 0
		}
		switch strings.TrimSpace(line) {
		case "":
			continue
		case "exit", "quit", "logout":
			return 0
		}
		if err := s.run(line, out); err != nil {
			fmt.Fprintf(out, "%v\n", err)
		}
	}
}

// run runs a command that has been entered into the audit log.
func (s *session) run(line string, out io.Writer) error {
	s.busy()
	defer s.busy()
	words, err := Words(line)
	if err != nil {
		return err
	}
	if len(words) == 0 {
		return errors.New("no command; try: help")
	}
	command := strings.TrimSpace(line)
	s.log.Info("command", "command", command)
	if err := s.note(opsock.ShellCommand, command); err != nil {
		return fmt.Errorf("not run, because the audit log does not take it: %w", err)
	}
	ctx, cancel := context.WithTimeout(s.ctx, s.s.cfg.times.command)
	defer cancel()
	return opcmd.Run(opcmd.Env{Context: ctx, Call: s.s.cfg.Call, Out: out}, s.s.cfg.Commands, words)
}

// complete completes the word before the cursor, at the end of a line.
func (s *session) complete(line string, pos int, key rune) (string, int, bool) {
	if key != '\t' || pos != len(line) {
		return "", 0, false
	}
	line = opcmd.Complete(s.s.cfg.Commands, line)
	return line, len(line), true
}

// keys reads what the operator types. Ctrl-C deletes the line, as in other
// shells, where package term would end the session.
type keys struct{ s *session }

func (k *keys) Read(b []byte) (int, error) {
	n, err := k.s.ch.Read(b)
	k.s.busy()
	const ctrlC, ctrlU = 3, 21
	for i := range b[:n] {
		if b[i] == ctrlC {
			b[i] = ctrlU
		}
	}
	return n, err
}

// plain writes text that may come from strangers: nothing in it steers the
// operator's terminal.
type plain struct{ w io.Writer }

func (p plain) Write(b []byte) (int, error) {
	text := strings.Map(func(r rune) rune {
		if r == '\n' || r == '\t' || unicode.IsPrint(r) {
			return r
		}
		return ' '
	}, string(b))
	if _, err := io.WriteString(p.w, text); err != nil {
		return 0, err
	}
	return len(b), nil
}

// cut bounds a peer's word for the log.
func cut(s string) string { return s[:min(len(s), 64)] }
