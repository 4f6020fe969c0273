package main

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// A long step without news is seen to live on a terminal, and ends with its line.
func TestMeterTicks(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var out strings.Builder
		m := &meter{out: &out, terminal: true}
		m.progress("compiling", 0, 3)
		time.Sleep(65*time.Second + time.Millisecond)
		m.progress("compiling", 1, 3)
		time.Sleep(time.Second)
		m.end()
		drawn := strings.Split(strings.TrimSuffix(out.String(), "\n"), "\r\x1b[K")
		if len(drawn) < 60 {
			t.Errorf("drawn %d times in a minute", len(drawn))
		}
		if last := drawn[len(drawn)-1]; last != "[##########....................] compiling 1m6s" {
			t.Errorf("last bar %q", last)
		}
	})
}

func TestMeterLinesElsewhere(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	m := &meter{out: &out}
	for i := range 101 {
		m.progress("kernel", i, 100)
	}
	m.progress("disk", 0, 1)
	m.end()
	if lines := strings.Split(out.String(), "\n"); len(lines) != 13 || lines[0] != "mkimage: kernel 0 %" || lines[10] != "mkimage: kernel 100 %" || lines[11] != "mkimage: disk" {
		t.Errorf("lines %q", lines)
	}
}
