package clients

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Browser is a Chromium whose pages are web phones (web/e2e/webphone).
type Browser struct {
	cmd   *exec.Cmd
	in    io.WriteCloser
	log   string
	done  chan struct{}
	once  sync.Once
	mu    sync.Mutex
	last  int
	waits map[int]chan told
	pages map[string]*WebPhone
}

// WebPhone is one page with a JsSIP phone.
type WebPhone struct {
	b      *Browser
	name   string
	events chan WebEvent
	seen   []string
}

// WebEvent is what happened to a phone, for example "registered", "incoming",
// "confirmed", "ended". Call counts a page's calls from 1 on.
type WebEvent struct {
	Name   string
	Call   int
	Detail string
}

type told struct {
	ID     int             `json:"id"`
	Result json.RawMessage `json:"result"`
	Error  string          `json:"error"`
	Page   string          `json:"page"`
	Event  string          `json:"event"`
	Call   int             `json:"call"`
	Detail string          `json:"detail"`
}

// StartBrowser starts one; web is the folder of the web's package.json, dir an
// empty one. It is ready when StartBrowser returns.
func StartBrowser(ctx context.Context, command func(ctx context.Context, name string, args ...string) *exec.Cmd, web, dir string) (*Browser, error) {
	cmd := command(ctx, "node", "e2e/webphone/main.mjs")
	cmd.Dir = web
	cmd.Env = append(os.Environ(), "HOME="+dir)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 5 * time.Second
	b := &Browser{cmd: cmd, log: filepath.Join(dir, "log"), done: make(chan struct{}), waits: map[int]chan told{}, pages: map[string]*WebPhone{}}
	log, err := os.Create(b.log)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	cmd.Stderr = log
	if b.in, err = cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting the browser: %w", err)
	}
	ready := make(chan struct{})
	go b.read(out, ready)
	select {
	case <-ready:
		return b, nil
	case <-b.done:
	case <-ctx.Done():
	}
	b.Close()
	text, _ := os.ReadFile(b.log)
	return nil, fmt.Errorf("the browser did not start:\n%s", text)
}

func (b *Browser) read(out io.Reader, ready chan struct{}) {
	defer close(b.done)
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, 4<<20) // a tape
	for lines.Scan() {
		var m told
		if json.Unmarshal(lines.Bytes(), &m) != nil {
			continue
		}
		b.mu.Lock()
		wait, page := b.waits[m.ID], b.pages[m.Page]
		delete(b.waits, m.ID)
		b.mu.Unlock()
		switch {
		case m.Event == "ready":
			close(ready)
		case page != nil && m.Event != "":
			select {
			case page.events <- WebEvent{m.Event, m.Call, m.Detail}:
			default: // nobody reads; the bound matters more than the event
			}
		case wait != nil:
			wait <- m
		}
	}
}

// Open opens a page with a phone, as a page of an origin like
// "https://pbx.example:5001".
func (b *Browser) Open(name, origin string) (*WebPhone, error) {
	p := &WebPhone{b: b, name: name, events: make(chan WebEvent, 256)}
	b.mu.Lock()
	b.pages[name] = p
	b.mu.Unlock()
	_, err := p.Do("open", map[string]any{"origin": origin})
	return p, err
}

// Do runs one function of the page's phone and returns what it returned, in
// JSON.
func (p *WebPhone) Do(name string, with map[string]any) (string, error) {
	b := p.b
	answer := make(chan told, 1)
	b.mu.Lock()
	b.last++
	id := b.last
	b.waits[id] = answer
	text, err := json.Marshal(map[string]any{"id": id, "page": p.name, "do": name, "with": with})
	if err == nil {
		_, err = fmt.Fprintf(b.in, "%s\n", text)
	}
	b.mu.Unlock()
	if err != nil {
		return "", fmt.Errorf("web phone %s: %w", name, err)
	}
	select {
	case m := <-answer:
		if m.Error != "" {
			return "", fmt.Errorf("web phone %s: %s", name, m.Error)
		}
		return string(m.Result), nil
	case <-b.done:
		return "", errors.New("the browser ended")
	case <-time.After(60 * time.Second):
		return "", fmt.Errorf("web phone %s: no answer in 60 s", name)
	}
}

// Wait returns the next event of one of the names whose detail holds a text.
func (p *WebPhone) Wait(ctx context.Context, detail string, names ...string) (WebEvent, error) {
	for {
		select {
		case e := <-p.events:
			p.seen = append(p.seen, fmt.Sprintf("%+v", e))
			for _, want := range names {
				if e.Name == want && strings.Contains(e.Detail, detail) {
					return e, nil
				}
			}
		case <-ctx.Done():
			return WebEvent{}, fmt.Errorf("waiting for the web phone's %v %q: %w; it told\n%s", names, detail, ctx.Err(), strings.Join(p.seen, "\n"))
		case <-p.b.done:
			return WebEvent{}, errors.New("the browser ended")
		}
	}
}

// Close ends the browser and waits for it.
func (b *Browser) Close() {
	b.once.Do(func() {
		_ = b.in.Close()
		stop := time.AfterFunc(10*time.Second, func() { _ = b.cmd.Process.Kill() })
		<-b.done
		_ = b.cmd.Wait()
		stop.Stop()
	})
}
