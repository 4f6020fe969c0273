package qemu

import (
	"context"
	"testing"
	"time"
)

func TestConsoleWaits(t *testing.T) {
	t.Parallel()
	c := newConsole(nil)
	go func() {
		for _, p := range []string{"boot\n", "ringfence: rea", "dy url=https://a\n"} {
			_, _ = c.Write([]byte(p))
		}
	}()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	m, err := c.Wait(ctx, `ready url=(\S+)\n`)
	if err != nil || m[1] != "https://a" {
		t.Fatalf("got %v, %v", m, err)
	}
	mark := c.Mark()
	c.end()
	if _, err := c.WaitAfter(ctx, mark, `ready`); err == nil {
		t.Error("a match before the mark counted")
	}
}

func TestConsoleIsBounded(t *testing.T) {
	t.Parallel()
	c := newConsole(nil)
	for range 100 {
		_, _ = c.Write(make([]byte, maxConsole/50))
	}
	if c.Mark() > maxConsole {
		t.Errorf("console keeps %d bytes", c.Mark())
	}
}
