package console

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Kind is how an Output is written to.
type Kind int

// The kinds of output.
const (
	// Display is redrawn in place, with the few ANSI sequences (ECMA-48) that
	// every terminal knows.
	Display Kind = iota
	// Log gets text appended, without any control sequence: a serial line
	// somebody may record.
	Log
)

// Output is one terminal.
type Output struct {
	W    io.Writer
	Kind Kind
	// Size returns columns and rows; nil is 80 by 24.
	Size func() (columns, rows int)
}

const (
	maxPending = 64                     // lines waiting for a slow terminal
	recent     = 4                      // lines kept at the foot of a display
	pause      = 300 * time.Millisecond // not more often than eyes can follow
	logPause   = 30 * time.Millisecond  // programs read faster
	logWidth   = 79
	stale      = time.Minute // after which a log may be told the same again
)

// Console draws on terminals, each from a goroutine of its own: one that does
// not take its text holds nobody up.
type Console struct {
	wg      sync.WaitGroup
	done    chan struct{}
	writers []*writer
	held    atomic.Bool
}

// Open starts the console.
func Open(outputs ...Output) *Console {
	c := &Console{done: make(chan struct{})}
	for _, o := range outputs {
		w := &writer{Output: o, held: &c.held, wake: make(chan struct{}, 1)}
		c.writers = append(c.writers, w)
		c.wg.Go(func() { w.run(c.done) })
	}
	return c
}

// Show draws s where it differs from what is there.
func (c *Console) Show(s Screen) {
	for _, w := range c.writers {
		w.mu.Lock()
		w.next = s
		w.mu.Unlock()
		w.poke()
	}
}

// Line appends a line of log to logs and shows it at the foot of displays.
// It does not block; of a flood the first lines are kept and the rest counted.
func (c *Console) Line(text string) {
	text = Printable(text, 400)
	for _, w := range c.writers {
		w.mu.Lock()
		if len(w.pending) < maxPending {
			w.pending = append(w.pending, text)
		} else {
			w.lost++
		}
		w.mu.Unlock()
		w.poke()
	}
}

// Hold leaves the terminals to somebody else until Release: when it returns,
// nothing is drawn any more.
func (c *Console) Hold() {
	c.held.Store(true)
	for _, w := range c.writers {
		w.drawing.Lock()
		w.drawn = false // what is there then is the other's
		w.drawing.Unlock()
	}
}

// Release ends Hold and draws anew.
func (c *Console) Release() {
	c.held.Store(false)
	for _, w := range c.writers {
		w.poke()
	}
}

// Close shows what is still to be shown, waiting no longer than limit for slow
// terminals.
func (c *Console) Close(limit time.Duration) {
	close(c.done)
	gone := make(chan struct{})
	go func() {
		c.wg.Wait()
		close(gone)
	}()
	select {
	case <-gone:
	case <-time.After(limit):
	}
}

type writer struct {
	Output
	held *atomic.Bool
	wake chan struct{}

	drawing sync.Mutex // held while drawing

	mu      sync.Mutex
	next    Screen
	pending []string
	lost    int

	// Under drawing.
	shown   Screen
	drawn   bool
	foot    []string
	machine string
	printed map[string]time.Time // what a log was told, and when
}

func (w *writer) poke() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

func (w *writer) run(done <-chan struct{}) {
	rest := pause
	if w.Kind == Log {
		rest = logPause
	}
	for {
		select {
		case <-w.wake:
			w.draw()
		case <-done:
			w.draw()
			return
		}
		select {
		case <-time.After(rest):
		case <-done:
		}
	}
}

func (w *writer) draw() {
	w.drawing.Lock()
	defer w.drawing.Unlock()
	if w.held.Load() {
		return
	}
	w.mu.Lock()
	next, lines, lost := w.next, w.pending, w.lost
	w.pending, w.lost = nil, 0
	w.mu.Unlock()
	if lost > 0 {
		lines = append(lines, fmt.Sprintf("(%d more lines left out)", lost))
	}
	if w.Kind == Log {
		w.drawLog(next, lines)
	} else {
		w.drawDisplay(next, lines)
	}
	w.shown, w.drawn = next, true
}

// drawLog appends what is new. The terminal makes CR LF of each LF.
func (w *writer) drawLog(next Screen, lines []string) {
	var b strings.Builder
	for _, l := range lines {
		b.WriteString(l + "\n")
	}
	if !w.drawn || !next.equal(w.shown, Status.sameButCounts) {
		s := next.forLog()
		text := strings.Join(Render(s, logWidth), "\n")
		s.Status.Registered, s.Status.Calls = 0, 0
		if next.Product != "" && w.fresh(strings.Join(Render(s, logWidth), "\n")) {
			b.WriteString("\n" + text + "\n\n")
		}
	}
	if m := next.Status.Machine(); m != "" && m != w.machine {
		b.WriteString(m + "\n")
		w.machine = m
	}
	w.write(b.String())
}

// fresh reports whether a text was not printed lately: a service that fails
// again and again makes the screen go to and fro.
func (w *writer) fresh(text string) bool {
	now := time.Now()
	for t, at := range w.printed {
		if now.Sub(at) > stale {
			delete(w.printed, t)
		}
	}
	if _, ok := w.printed[text]; ok {
		return false
	}
	if w.printed == nil || len(w.printed) > 16 {
		w.printed = make(map[string]time.Time)
	}
	w.printed[text] = now
	return true
}

// drawDisplay draws all of the screen from its corner, without clearing first,
// so that it does not flicker.
func (w *writer) drawDisplay(next Screen, lines []string) {
	w.foot = append(w.foot, lines...)
	w.foot = w.foot[max(0, len(w.foot)-recent):]
	if w.drawn && len(lines) == 0 && next.equal(w.shown, Status.Equal) {
		return
	}
	columns, rows := 80, 24
	if w.Size != nil {
		columns, rows = w.Size()
	}
	text := Render(next, columns-1)
	if room := rows - len(text) - 1; room > 0 && len(w.foot) > 0 {
		foot := w.foot[max(0, len(w.foot)-room):]
		for len(text) < rows-len(foot) {
			text = append(text, "")
		}
		for _, l := range foot {
			text = append(text, cutTo(l, columns-1))
		}
	}
	var b strings.Builder
	if !w.drawn {
		b.WriteString("\x1b%G\x1b[0;97;40m\x1b[?25l\x1b[9;0]") // UTF-8, white on black, no cursor, never blank
		b.WriteString("\x1b[2J")
	}
	b.WriteString("\x1b[H")
	for i, l := range text[:min(len(text), rows)] {
		if i > 0 {
			b.WriteString("\r\n")
		}
		b.WriteString(l + "\x1b[K")
	}
	b.WriteString("\x1b[J")
	w.write(b.String())
}

// write ignores errors: a serial port that the machine does not have reports
// one each time, and there is nobody to tell.
func (w *writer) write(s string) {
	if s != "" {
		_, _ = io.WriteString(w.W, s)
	}
}
