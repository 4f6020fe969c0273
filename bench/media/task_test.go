package media

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"ringfence/bench/host"
)

// busy is how many calls are converted or recorded while that is measured.
const busy = 50

// tasks are what a relay can do besides relaying.
func tasks(t *testing.T) []mode {
	t.Helper()
	make := func(name string, pt uint8) *voice {
		v, err := newVoice(name, pt)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	ulaw, alaw, opus := make("PCMU", 0), make("PCMA", 8), make("opus", 96)
	return []mode{
		{name: "relayed only", voices: [2]*voice{ulaw, ulaw}},
		{name: "recorded", voices: [2]*voice{ulaw, ulaw}, recorded: true},
		{name: "PCMU - PCMA", voices: [2]*voice{ulaw, alaw}},
		{name: "Opus - PCMA", voices: [2]*voice{opus, alaw}},
		{name: "Opus - PCMA, recorded", voices: [2]*voice{opus, alaw}, recorded: true},
	}
}

// TestTasks prints what each costs, for docs/performance.md. Of a recording
// rtpengine writes the packets as they come, which nobody can listen to; ours is
// decoded and written as samples, both voices side by side.
func TestTasks(t *testing.T) {
	host.Gate(t)
	t.Logf("| %-24s | %-10s | %10s | %10s | %6s |", fmt.Sprintf("%d calls, ms a second of one", busy), "", "ringfence", "rtpengine", "ratio")
	for _, m := range tasks(t) {
		var ours, theirs []figure
		for round := range rounds {
			t.Logf("%s, round %d, load %s", m.name, round+1, host.Load())
			t.Run(fmt.Sprintf("ringfence %s %d", m.name, round+1), func(t *testing.T) { ours = append(ours, newBench(t, true).task(m)) })
			t.Run(fmt.Sprintf("rtpengine %s %d", m.name, round+1), func(t *testing.T) { theirs = append(theirs, newBench(t, false).task(m)) })
		}
		if len(ours) == 0 || len(theirs) == 0 {
			t.Logf("%s: nothing to compare with", m.name)
			continue
		}
		for _, f := range []struct {
			what string
			of   func(figure) float64
		}{
			{"CPU", func(f figure) float64 { return f.cpu.Seconds() * 1e3 }},
			{"the core", func(f figure) float64 { return f.core.Seconds() * 1e3 }},
		} {
			a, b := host.Median(ours, f.of), host.Median(theirs, f.of)
			t.Logf("| %-24s | %-10s | %10.3f | %10.3f | %6.2f |", m.name, f.what, a, b, a/b)
		}
	}
}

// task measures what so many calls cost that are up.
func (b *bench) task(m mode) (f figure) {
	b.Helper()
	b.grow(m, busy)
	time.Sleep(2 * time.Second)
	b.cost(&f, 10*time.Second)
	b.Logf("%s; %s a second of a call, %s with the kernel, %.3f allocations a packet", f.steady, f.cpu, f.core, f.allocations)
	if f.steady.Lost > f.steady.Sent/20 {
		b.Errorf("this is not what was to be measured")
	}
	return f
}

// TestTasksAreDone checks, with a few calls, that what is measured is done.
func TestTasksAreDone(t *testing.T) {
	for _, ours := range []bool{true, false} {
		for _, m := range tasks(t) {
			t.Run(fmt.Sprintf("%s ringfence %t", m.name, ours), func(t *testing.T) {
				b := newBench(t, ours)
				b.grow(m, 3)
				time.Sleep(500 * time.Millisecond)
				if f := b.load.measure(time.Second, nil); f.Lost > f.Sent/5 || f.Sent < 250 || f.Wrong+f.Strange > 0 {
					t.Errorf("%s", f)
				}
				if n := b.written(); (n > 0) != m.recorded {
					t.Errorf("%d octets are recorded", n)
				}
			})
		}
	}
}

// written is how much of recordings is on the disk.
func (b *bench) written() (octets int64) {
	_ = filepath.WalkDir(b.spool, func(_ string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return nil
		}
		if info, err := d.Info(); err == nil && filepath.Ext(d.Name()) != ".txt" && filepath.Ext(d.Name()) != ".tmp" {
			octets += info.Size()
		}
		return nil
	})
	return octets
}
