// Package clients starts real SIP programs (baresip, sipp) for tests and
// drives them.
package clients

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Baresip is a running baresip that plays a tone into its calls and records
// what it hears.
type Baresip struct {
	Dir     string
	cmd     *exec.Cmd
	ctrl    net.Conn
	events  chan Event
	replies chan Event
	done    chan struct{}
	once    sync.Once

	mu      sync.Mutex
	ciphers string
	digits  string
}

// BaresipConfig says how to run one.
type BaresipConfig struct {
	Dir       string // empty folder for its files
	Command   func(ctx context.Context, name string, args ...string) *exec.Cmd
	Dial      func(ctx context.Context, network, addr string) (net.Conn, error)
	Interface string // network interface of its own namespace
	Addr      string // its address
	Port      int    // SIP port; TLS takes the next
	RTPFirst  int    // 98 RTP ports from here
	Ctrl      int    // control port on 127.0.0.1
	ToneHz    int
	// Account is the account line without the angle address, for example
	// ";auth_pass=x;regint=60"; URI is the address of record.
	URI, Account string
	Codecs       string // "PCMU"
	Trace        bool   // write every SIP message to the log
}

// Event is one message of the control interface.
type Event struct {
	Event     bool   `json:"event"`
	Type      string `json:"type"`
	Class     string `json:"class"`
	PeerURI   string `json:"peeruri"`
	Param     string `json:"param"`
	Direction string `json:"direction"`
	Response  bool   `json:"response"`
	OK        bool   `json:"ok"`
	Data      string `json:"data"`
	Token     string `json:"token"`
}

// StartBaresip writes its configuration and starts it.
func StartBaresip(ctx context.Context, c BaresipConfig) (*Baresip, error) {
	if err := c.write(); err != nil {
		return nil, fmt.Errorf("configuring baresip: %w", err)
	}
	log, err := os.Create(filepath.Join(c.Dir, "log"))
	if err != nil {
		return nil, err
	}
	defer log.Close()
	b := &Baresip{Dir: c.Dir, events: make(chan Event, 256), replies: make(chan Event, 16), done: make(chan struct{})}
	args := []string{"-4", "-f", c.Dir, "-n", c.Interface}
	if c.Trace {
		args = append(args, "-s")
	}
	b.cmd = c.Command(ctx, "baresip", args...)
	b.cmd.Stdout, b.cmd.Stderr = log, log
	b.cmd.Cancel = func() error { return b.cmd.Process.Signal(syscall.SIGTERM) }
	b.cmd.WaitDelay = 3 * time.Second
	if err := b.cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting baresip: %w", err)
	}
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		b.ctrl, err = c.Dial(ctx, "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(c.Ctrl)))
		if err == nil {
			break
		}
		if time.Now().After(deadline) {
			_ = b.cmd.Process.Kill()
			_ = b.cmd.Wait()
			return nil, fmt.Errorf("baresip's control port: %w; see its log:\n%s", err, b.Log())
		}
	}
	go b.read()
	return b, nil
}

func (c BaresipConfig) write() error {
	codecs := c.Codecs
	if codecs == "" {
		codecs = "PCMU"
	}
	config := []string{
		"poll_method epoll", "module_path /usr/lib/baresip/modules",
		fmt.Sprintf("sip_listen %s:%d", c.Addr, c.Port),
		"call_local_timeout 120", "call_max_calls 8",
		fmt.Sprintf("audio_source ausine,%d", c.ToneHz),
		"ausrc_srate 48000", "ausrc_channels 2",
		"audio_player aubridge,sink" + strconv.Itoa(c.Port),
		"audio_alert aubridge,alert" + strconv.Itoa(c.Port),
		"audio_level no", "audio_buffer 20-160",
		"net_interface " + c.Interface,
		fmt.Sprintf("rtp_ports %d-%d", c.RTPFirst, c.RTPFirst+98),
		"snd_path " + c.Dir,
		fmt.Sprintf("ctrl_tcp_listen 127.0.0.1:%d", c.Ctrl),
	}
	for _, m := range []string{"ctrl_tcp", "g711", "g722", "ausine", "aubridge", "aufile", "sndfile", "srtp", "dtls_srtp", "ice", "uuid"} {
		config = append(config, "module "+m+".so")
	}
	if strings.Contains(c.Account, "medianat=ice") {
		config = append(config, "rtcp_mux yes") // one candidate is enough
	}
	config = append(config, "module_tmp account.so", "module_app menu.so", "module_app debug_cmd.so", "")
	if err := os.WriteFile(filepath.Join(c.Dir, "config"), []byte(strings.Join(config, "\n")), 0o600); err != nil {
		return err
	}
	account := fmt.Sprintf("<%s>%s;audio_codecs=%s\n", c.URI, c.Account, codecs)
	if err := os.WriteFile(filepath.Join(c.Dir, "accounts"), []byte(account), 0o600); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(c.Dir, "contacts"), nil, 0o600)
}

func (b *Baresip) read() {
	defer close(b.done)
	in := bufio.NewReader(b.ctrl)
	for {
		text, err := netstring(in)
		if err != nil {
			return
		}
		var e Event
		if json.Unmarshal(text, &e) != nil {
			continue
		}
		if e.Type == "CALL_MENC" {
			b.mu.Lock()
			b.ciphers = e.Param
			b.mu.Unlock()
		}
		if e.Type == "CALL_DTMF_START" {
			b.mu.Lock()
			b.digits += e.Param
			b.mu.Unlock()
		}
		to := b.events
		if e.Response {
			to = b.replies
		}
		select {
		case to <- e:
		default: // nobody reads; the bound matters more than the event
		}
	}
}

func netstring(in *bufio.Reader) ([]byte, error) {
	size, err := in.ReadString(':')
	if err != nil {
		return nil, err
	}
	n, err := strconv.Atoi(strings.TrimSuffix(size, ":"))
	if err != nil || n < 0 || n > 1<<20 {
		return nil, fmt.Errorf("netstring of length %q", size)
	}
	text := make([]byte, n+1)
	if _, err := io.ReadFull(in, text); err != nil {
		return nil, err
	}
	return text[:n], nil
}

// Do runs one command of baresip's menu and returns what it printed.
func (b *Baresip) Do(command, params string) (string, error) {
	text, err := json.Marshal(map[string]string{"command": command, "params": params, "token": command})
	if err != nil {
		return "", err
	}
	if _, err := fmt.Fprintf(b.ctrl, "%d:%s,", len(text), text); err != nil {
		return "", fmt.Errorf("baresip %s: %w", command, err)
	}
	select {
	case r := <-b.replies:
		if !r.OK {
			return r.Data, fmt.Errorf("baresip %s %s: %s", command, params, r.Data)
		}
		return r.Data, nil
	case <-time.After(5 * time.Second):
		return "", fmt.Errorf("baresip %s: no answer in 5 s", command)
	case <-b.done:
		return "", errors.New("baresip ended")
	}
}

// Wait returns the next event of one of the types, for example
// "REGISTER_OK", "CALL_INCOMING", "CALL_ESTABLISHED", "CALL_CLOSED".
func (b *Baresip) Wait(ctx context.Context, types ...string) (Event, error) {
	for {
		select {
		case e := <-b.events:
			for _, want := range types {
				if e.Type == want {
					return e, nil
				}
			}
		case <-ctx.Done():
			return Event{}, fmt.Errorf("waiting for baresip's %v: %w; its log:\n%s", types, ctx.Err(), b.Log())
		case <-b.done:
			return Event{}, fmt.Errorf("baresip ended while waiting for %v; its log:\n%s", types, b.Log())
		}
	}
}

// Registered waits until the account is registered. The event may have passed
// before the control port could be reached, so the program is asked.
func (b *Baresip) Registered(ctx context.Context) error {
	for {
		// On a busy machine an answer may take its time, or be lost.
		text, err := b.Do("reginfo", "")
		select {
		case <-b.done:
			return err
		default:
		}
		if strings.Contains(text, "OK") {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting for baresip's registration: %w; it says %s; its log:\n%s", ctx.Err(), text, b.Log())
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// Ciphers is what baresip told of the protection of the media since it was
// asked last.
func (b *Baresip) Ciphers() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	told := b.ciphers
	b.ciphers = ""
	return told
}

// Digits are those that came since it was asked last.
func (b *Baresip) Digits() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	told := b.digits
	b.digits = ""
	return told
}

// Heard lists the recordings of what came in, oldest first. They are whole
// after the call or after Close.
func (b *Baresip) Heard() ([]string, error) {
	return filepath.Glob(filepath.Join(b.Dir, "*-dec.wav"))
}

// Log is what baresip printed.
func (b *Baresip) Log() string {
	text, _ := os.ReadFile(filepath.Join(b.Dir, "log"))
	return string(text)
}

// Close ends baresip and waits for it.
func (b *Baresip) Close() {
	b.once.Do(func() {
		_, _ = b.Do("quit", "")
		_ = b.ctrl.Close()
		stop := time.AfterFunc(3*time.Second, func() { _ = b.cmd.Process.Kill() })
		_ = b.cmd.Wait()
		stop.Stop()
	})
}
