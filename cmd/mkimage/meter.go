package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"
)

// meter shows how far the work is: a bar on a terminal, a line per step and
// tenth elsewhere.
type meter struct {
	out      io.Writer
	terminal bool

	mu          sync.Mutex
	step        string // empty between steps
	done, total int
	tenth       int
	began       time.Time
	drawn       time.Time
	still       chan struct{} // ends the clock of the present step
}

func newMeter(out *os.File) *meter {
	info, err := out.Stat()
	return &meter{out: out, terminal: err == nil && info.Mode()&os.ModeCharDevice != 0}
}

func (m *meter) progress(step string, done, total int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	total = max(1, total)
	fresh := step != m.step
	if fresh {
		m.finish()
		m.step, m.tenth, m.began = step, 0, time.Now()
		if m.terminal {
			m.still = make(chan struct{})
			go m.clock(m.still)
		}
	}
	m.done, m.total = done, total
	if !m.terminal {
		if tenth := 10 * done / total; fresh || (tenth > m.tenth && total > 10) {
			m.tenth = tenth
			fmt.Fprintf(m.out, "mkimage: %s%s\n", step, percent(done, total))
		}
		return
	}
	if fresh || done >= total || time.Since(m.drawn) >= 100*time.Millisecond {
		m.draw()
	}
}

// clock redraws every second, so that a step without news is seen to live.
func (m *meter) clock(still chan struct{}) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-still:
			return
		case <-tick.C:
		}
		m.mu.Lock()
		if m.still == still {
			m.draw()
		}
		m.mu.Unlock()
	}
}

func (m *meter) draw() {
	const width = 30
	m.drawn = time.Now()
	full := width * min(m.done, m.total) / m.total
	fmt.Fprintf(m.out, "\r\x1b[K[%s%s] %s %s", strings.Repeat("#", full), strings.Repeat(".", width-full), m.step, m.drawn.Sub(m.began).Round(time.Second))
}

func percent(done, total int) string {
	if total <= 10 {
		return ""
	}
	return fmt.Sprintf(" %d %%", 100*done/total)
}

// end finishes the line of the bar.
func (m *meter) end() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.finish()
}

// finish is end under the lock.
func (m *meter) finish() {
	if m.still != nil {
		close(m.still)
		m.still = nil
		fmt.Fprintln(m.out)
	}
	m.step = ""
}

func (m *meter) notice(text string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.finish()
	fmt.Fprintf(m.out, "mkimage: NOTE: %s\n", text)
}
