package boot

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"ringfence/appliance/boot/console"
)

// Bounds of the journal.
const (
	journalRing     = 512     // lines kept in memory until there is a file
	journalLine     = 4096    // bytes
	journalFile     = 4 << 20 // bytes; two files are kept
	journalQueue    = 1024    // lines waiting for the disk
	journalFlush    = time.Second
	consoleBurst    = 60 // lines of services on the console at once
	consoleInterval = 500 * time.Millisecond
)

// LogFile and the one before it, in /perm/log.
const LogFile = "ringfence.log"

// Journal collects what init and the services say: the last lines in memory,
// all of it in a file that cannot grow without bound, and what matters on the
// console. It never holds a service up.
type Journal struct {
	show  func(line string)
	now   func() time.Time
	limit int64

	mu      sync.Mutex
	ring    []string
	quiet   bool
	tokens  int
	refill  time.Time
	queue   chan string // nil until OpenFile
	dropped int
	done    chan struct{}
}

// NewJournal returns a journal without a file. show puts a line on the
// console and must not block.
func NewJournal(show func(line string)) *Journal {
	return &Journal{show: show, now: time.Now, limit: journalFile, tokens: consoleBurst}
}

// Write takes the lines of init's own log.
func (j *Journal) Write(p []byte) (int, error) {
	for line := range strings.Lines(string(p)) {
		j.Line("init", strings.TrimRight(line, "\n"))
	}
	return len(p), nil
}

// Line takes one line of a service.
func (j *Journal) Line(service, text string) {
	text = console.Printable(text, journalLine)
	if text == "" {
		return
	}
	j.mu.Lock()
	now := j.now()
	line := now.UTC().Format("2006-01-02T15:04:05.000Z") + " " + service + ": " + text
	j.keep(line)
	loud := (!j.quiet || important(text)) && j.allow(now)
	j.mu.Unlock()
	if loud {
		j.show(service + ": " + shorten(text))
	}
}

// Quieten keeps all but the important lines off the console from now on. While
// a machine starts, everything is worth to be seen.
func (j *Journal) Quieten() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.quiet = true
}

// keep stores a line in memory, and for the file when there is one.
func (j *Journal) keep(line string) {
	if len(j.ring) == journalRing {
		j.ring = append(j.ring[:0], j.ring[1:]...)
	}
	j.ring = append(j.ring, line)
	if j.queue == nil {
		return
	}
	select {
	case j.queue <- line:
	default:
		j.dropped++
	}
}

// allow is a token bucket: a service that complains a thousand times a second
// must not bury everything else.
func (j *Journal) allow(now time.Time) bool {
	if n := int(now.Sub(j.refill) / consoleInterval); n > 0 {
		j.tokens, j.refill = min(consoleBurst, j.tokens+n), now
	}
	if j.tokens == 0 {
		return false
	}
	j.tokens--
	return true
}

// important picks what belongs on the console: warnings and errors of slog, and
// how Go programs die.
func important(text string) bool {
	for _, sign := range []string{"level=WARN", "level=ERROR", `"level":"WARN"`, `"level":"ERROR"`, "panic: ", "fatal error: ", "runtime error: "} {
		if strings.Contains(text, sign) {
			return true
		}
	}
	return false
}

// shorten leaves out slog's time, which the console's reader can do without.
func shorten(text string) string {
	if rest, ok := strings.CutPrefix(text, "time="); ok {
		if _, after, found := strings.Cut(rest, " "); found {
			return after
		}
	}
	return text
}

// Recent returns the last lines.
func (j *Journal) Recent() []string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return append([]string(nil), j.ring...)
}

// OpenFile begins to write to a file in dir, with what was said before.
func (j *Journal) OpenFile(dir string) error {
	f, err := openCapped(filepath.Join(dir, LogFile), j.limit)
	if err != nil {
		return err
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.queue, j.done = make(chan string, journalQueue), make(chan struct{})
	for _, line := range j.ring {
		j.queue <- line // the ring is shorter than the queue
	}
	go j.write(f, j.queue, j.done)
	return nil
}

// Close writes what is left, within limit.
func (j *Journal) Close(limit time.Duration) {
	j.mu.Lock()
	queue, done := j.queue, j.done
	j.queue = nil
	j.mu.Unlock()
	if queue == nil {
		return
	}
	close(queue)
	select {
	case <-done:
	case <-time.After(limit):
	}
}

func (j *Journal) write(f *cappedFile, queue <-chan string, done chan<- struct{}) {
	defer close(done)
	tick := time.NewTicker(journalFlush)
	defer tick.Stop()
	for {
		select {
		case line, ok := <-queue:
			if !ok {
				f.close()
				return
			}
			f.line(line)
		case <-tick.C:
			j.mu.Lock()
			dropped := j.dropped
			j.dropped = 0
			j.mu.Unlock()
			if dropped > 0 {
				f.line(fmt.Sprintf("init: %d lines left out: the disk is too slow", dropped))
			}
			f.flush()
		}
	}
}

// cappedFile is a log of two files: when one is full it becomes the old one.
// A disk that is full or broken loses log, nothing else.
type cappedFile struct {
	path  string
	limit int64
	size  int64
	f     *os.File
	w     *bufio.Writer
}

func openCapped(path string, limit int64) (*cappedFile, error) {
	c := &cappedFile{path: path, limit: limit}
	return c, c.open()
}

func (c *cappedFile) open() error {
	f, err := os.OpenFile(c.path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return fmt.Errorf("opening log: %w", err)
	}
	if c.size, err = f.Seek(0, io.SeekEnd); err != nil {
		_ = f.Close()
		return fmt.Errorf("opening log: %w", err)
	}
	c.f, c.w = f, bufio.NewWriterSize(f, 32<<10)
	return nil
}

func (c *cappedFile) line(s string) {
	if c.size+int64(len(s))+1 > c.limit {
		c.close()
		_ = os.Rename(c.path, c.path+".1")
		if c.open() != nil {
			return
		}
	}
	if c.w == nil {
		return
	}
	_, _ = c.w.WriteString(s + "\n")
	c.size += int64(len(s)) + 1
}

func (c *cappedFile) flush() {
	if c.w == nil {
		return
	}
	if err := c.w.Flush(); err != nil {
		c.w.Reset(c.f) // an error would stick; the next lines may fit again
	}
}

func (c *cappedFile) close() {
	if c.f == nil {
		return
	}
	c.flush()
	_ = c.f.Close()
	c.f, c.w = nil, nil
}
