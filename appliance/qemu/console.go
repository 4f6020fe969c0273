package qemu

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"regexp"
	"strings"
	"sync"
)

// maxConsole bounds what is kept of a guest's console, in bytes.
const maxConsole = 4 << 20

// Console keeps what a guest printed on its serial line.
type Console struct {
	mu     sync.Mutex
	text   bytes.Buffer
	closed bool
	grew   chan struct{} // closed and replaced at every growth
	tee    io.Writer
}

func newConsole(tee io.Writer) *Console {
	return &Console{grew: make(chan struct{}), tee: tee}
}

// Write appends what the guest printed; past the bound it is dropped.
func (c *Console) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.text.Len()+len(p) <= maxConsole {
		c.text.Write(p)
	}
	if c.tee != nil {
		_, _ = c.tee.Write(p)
	}
	close(c.grew)
	c.grew = make(chan struct{})
	return len(p), nil
}

func (c *Console) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.closed {
		c.closed = true
		close(c.grew)
		c.grew = make(chan struct{})
	}
}

// String is everything printed so far.
func (c *Console) String() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.text.String()
}

// Tail is the last n lines.
func (c *Console) Tail(n int) string {
	lines := strings.Split(strings.TrimRight(c.String(), "\r\n"), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}

// Mark is the present end, for WaitAfter.
func (c *Console) Mark() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.text.Len()
}

// Wait returns the submatches of the first match of pattern, now or later.
func (c *Console) Wait(ctx context.Context, pattern string) ([]string, error) {
	return c.WaitAfter(ctx, 0, pattern)
}

// WaitAfter is Wait for what was printed after a Mark.
func (c *Console) WaitAfter(ctx context.Context, mark int, pattern string) ([]string, error) {
	re, err := regexp.Compile(pattern)
	if err != nil {
		return nil, err
	}
	for {
		c.mu.Lock()
		m := re.FindStringSubmatch(string(c.text.Bytes()[min(mark, c.text.Len()):]))
		grew, closed := c.grew, c.closed
		c.mu.Unlock()
		if m != nil {
			return m, nil
		}
		if closed {
			return nil, fmt.Errorf("the machine ended before its console showed %q; it ended with:\n%s", pattern, c.Tail(30))
		}
		select {
		case <-grew:
		case <-ctx.Done():
			return nil, fmt.Errorf("waiting for %q on the console: %w; it shows:\n%s", pattern, ctx.Err(), c.Tail(30))
		}
	}
}
