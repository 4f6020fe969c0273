package main

import (
	"fmt"
	"os"
	"strings"
	"time"
)

// meter shows how far the work is: a bar on a terminal, a line per step and
// tenth elsewhere.
type meter struct {
	out      *os.File
	terminal bool
	step     string
	tenth    int
	began    time.Time
	drawn    time.Time
}

func newMeter(out *os.File) *meter {
	info, err := out.Stat()
	return &meter{out: out, terminal: err == nil && info.Mode()&os.ModeCharDevice != 0}
}

func (m *meter) progress(step string, done, total int) {
	now := time.Now()
	total = max(1, total)
	fresh := step != m.step
	if fresh {
		m.end()
		m.step, m.tenth, m.began = step, 0, now
	}
	if !m.terminal {
		if tenth := 10 * done / total; fresh || (tenth > m.tenth && total > 10) {
			m.tenth = tenth
			fmt.Fprintf(m.out, "mkimage: %s%s\n", step, percent(done, total))
		}
		return
	}
	if !fresh && done < total && now.Sub(m.drawn) < 100*time.Millisecond {
		return
	}
	m.drawn = now
	const width = 30
	full := width * done / total
	fmt.Fprintf(m.out, "\r\x1b[K[%s%s] %s %s", strings.Repeat("#", full), strings.Repeat(".", width-full), step, now.Sub(m.began).Round(time.Second))
}

func percent(done, total int) string {
	if total <= 10 {
		return ""
	}
	return fmt.Sprintf(" %d %%", 100*done/total)
}

// end finishes the line of the bar.
func (m *meter) end() {
	if m.terminal && m.step != "" {
		fmt.Fprintln(m.out)
	}
	m.step = ""
}

func (m *meter) notice(text string) {
	m.end()
	fmt.Fprintf(m.out, "mkimage: NOTE: %s\n", text)
}
