package clients

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Linphone is a running linphonec that plays a file into its calls and records
// what it hears.
type Linphone struct {
	Dir  string
	cmd  *exec.Cmd
	in   io.WriteCloser
	read int // how much of the log was waited through
	done chan struct{}
	once sync.Once
}

// LinphoneConfig says how to run one.
type LinphoneConfig struct {
	Dir      string // empty folder for its files
	Command  func(ctx context.Context, name string, args ...string) *exec.Cmd
	Port     int    // SIP port; TLS takes the next
	RTPFirst int    // 98 RTP ports from here
	Proxy    string // "sip:10.77.0.1:5061;transport=tls"
	Identity string // "sip:101@pbx.example"
	Password string
	// Authority is a file of certificates to trust, whatever name they bear;
	// without it the server's is not verified.
	Authority string
	Play      string // WAV file
	Secure    bool   // SRTP or no call
	// SIP are further lines of the section sip; they come last, and so win.
	SIP []string
}

// StartLinphone writes its configuration and starts it.
func StartLinphone(ctx context.Context, c LinphoneConfig) (*Linphone, error) {
	if err := c.write(); err != nil {
		return nil, fmt.Errorf("configuring linphonec: %w", err)
	}
	args := []string{"-c", filepath.Join(c.Dir, "rc"), "-l", filepath.Join(c.Dir, "log"), "-d", "5"}
	cmd := c.Command(ctx, "linphonec", args...)
	cmd.Env = append(os.Environ(), "HOME="+c.Dir)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 3 * time.Second
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	said, err := os.Create(filepath.Join(c.Dir, "said"))
	if err != nil {
		return nil, err
	}
	defer said.Close()
	cmd.Stdout = said
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting linphonec: %w", err)
	}
	l := &Linphone{Dir: c.Dir, cmd: cmd, in: in, done: make(chan struct{})}
	go func() {
		_ = cmd.Wait()
		close(l.done)
	}()
	for _, line := range []string{"soundcard use files", "play " + c.Play, "record " + l.Recording()} {
		if err := l.Do(line); err != nil {
			l.Close()
			return nil, err
		}
	}
	return l, nil
}

func (c LinphoneConfig) write() error {
	if err := os.MkdirAll(filepath.Join(c.Dir, ".local/share/linphone"), 0o700); err != nil {
		return err
	}
	verify, authority := 0, ""
	if c.Authority != "" {
		verify, authority = 1, "root_ca="+c.Authority+"\n"
	}
	encryption := "none"
	if c.Secure {
		encryption = "srtp\nmedia_encryption_mandatory=1"
	}
	user, domain, _ := strings.Cut(strings.TrimPrefix(c.Identity, "sip:"), "@")
	rc := fmt.Sprintf("[sip]\nsip_port=%d\nsip_tcp_port=%d\nsip_tls_port=%d\nverify_server_certs=%d\nverify_server_cn=0\n%sdefault_proxy=0\nmedia_encryption=%s\nuse_ipv6=0\nguess_hostname=1\n",
		c.Port, c.Port, c.Port+1, verify, authority, encryption)
	for _, line := range c.SIP {
		rc += line + "\n"
	}
	rc += fmt.Sprintf("[rtp]\naudio_rtp_port=%d-%d\n", c.RTPFirst, c.RTPFirst+98)
	rc += "[sound]\nechocancellation=0\nagc=0\n[video]\nenabled=0\n[net]\nmtu=1300\n"
	rc += fmt.Sprintf("[proxy_0]\nreg_proxy=<%s>\nreg_route=<%s>\nreg_identity=<%s>\nreg_expires=600\nreg_sendregister=1\npublish=0\nquality_reporting_enabled=0\n", c.Proxy, c.Proxy, c.Identity)
	rc += fmt.Sprintf("[auth_info_0]\nusername=%s\npasswd=%s\nrealm=%s\ndomain=%s\n", user, c.Password, domain, domain)
	return os.WriteFile(filepath.Join(c.Dir, "rc"), []byte(rc), 0o600)
}

// Do types one line at its prompt.
func (l *Linphone) Do(line string) error {
	if _, err := fmt.Fprintln(l.in, line); err != nil {
		return fmt.Errorf("linphonec %s: %w", line, err)
	}
	return nil
}

// Wait returns the next line of the log that matches, and its groups.
func (l *Linphone) Wait(ctx context.Context, pattern string) ([]string, error) {
	want := regexp.MustCompile("(?m)" + pattern)
	for {
		text := l.Log()
		if m := want.FindStringSubmatchIndex(text[l.read:]); m != nil {
			var groups []string
			for i := 0; i < len(m); i += 2 {
				groups = append(groups, text[l.read+m[i]:l.read+m[i+1]])
			}
			l.read += m[1]
			return groups, nil
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
			return nil, fmt.Errorf("waiting for linphonec's %q: %w; its log goes on with:\n%s", pattern, ctx.Err(), text[max(l.read, len(text)-8000):])
		case <-l.done:
			return nil, fmt.Errorf("linphonec ended while waiting for %q", pattern)
		}
	}
}

// Recording is the file of what it heard; whole after Close.
func (l *Linphone) Recording() string { return filepath.Join(l.Dir, "heard.wav") }

// Log is its log, with every SIP message.
func (l *Linphone) Log() string {
	text, _ := os.ReadFile(filepath.Join(l.Dir, "log"))
	return string(text)
}

// Said is what it wrote to its console.
func (l *Linphone) Said() string {
	text, _ := os.ReadFile(filepath.Join(l.Dir, "said"))
	return string(text)
}

// Close ends it and waits for it.
func (l *Linphone) Close() {
	l.once.Do(func() {
		_ = l.Do("quit")
		_ = l.in.Close()
		select {
		case <-l.done:
		case <-time.After(5 * time.Second):
			_ = l.cmd.Process.Kill()
			<-l.done
		}
	})
}
