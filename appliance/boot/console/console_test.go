package console

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"
)

var update = flag.Bool("update", false, "rewrite the golden files")

const testFingerprint = "5feceb66ffc86f38d952786c6d696c79c2dbc239dd4e91b46729d73a27fb57e9"

func setupScreen() Screen {
	return Screen{
		Product: "Ringfence 0.1.0", Slot: "a", Hostname: "ringfence-3fa2",
		Status: Status{
			State:       Setup,
			URLs:        []string{"https://192.168.178.123:8887/setup", "https://[2001:db8:1234:5678:9abc:def0:1234:5678]:8887/setup"},
			Fingerprint: testFingerprint,
			Token:       "abcdefghijklmnopqrstuvwxyz",
		},
	}
}

func screens() map[string]Screen {
	starting := Screen{Product: "Ringfence 0.1.0", Slot: "b", Hostname: "pbx", Doing: "Starting ...", Services: []string{"fenced: ready", "sysd: ready", "pbxd: starting, opening the database"}}
	running := setupScreen()
	running.Status = Status{State: Running, URLs: []string{"https://192.168.1.5:8887/"}, Fingerprint: testFingerprint, Extensions: 12, Registered: 9, Calls: 3, Warnings: []string{"no packet filter is active"}}
	running.Notices = []string{"cloud-init: user-data line 4: ringfence.domian: is not a key of this section"}
	preset := setupScreen()
	preset.Status.Token = ""
	offline := setupScreen()
	offline.Status.URLs = nil
	failing := Screen{Product: "Ringfence 0.1.0", Doing: "The PBX is not working. It is started again and again.", Services: []string{"pbxd: waiting, 7 restarts, last: exit status 1"}, Notices: []string{"the last update failed and was undone"}}
	return map[string]Screen{"setup": setupScreen(), "starting": starting, "running": running, "preset": preset, "offline": offline, "failing": failing}
}

func TestGolden(t *testing.T) {
	t.Parallel()
	for name, s := range screens() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := strings.Join(Render(s, 79), "\n") + "\n"
			file := filepath.Join("testdata", name+".txt")
			if *update {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if got != string(want) {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
			lines := strings.Split(got, "\n")
			for _, l := range lines {
				if utf8.RuneCountInString(l) > 79 {
					t.Errorf("%d columns: %s", utf8.RuneCountInString(l), l)
				}
			}
			if len(lines) > 25 { // the last one is empty
				t.Errorf("%d lines do not fit 24", len(lines)-1)
			}
		})
	}
}

// TestQRCodeHoldsTheLink reads the drawn half blocks back into modules and
// compares them with the code of the expected link.
func TestQRCodeIsDrawnInFull(t *testing.T) {
	t.Parallel()
	s := setupScreen()
	if want := "https://192.168.178.123:8887/setup#token=abcdefghijklmnopqrstuvwxyz"; s.Status.setupLink() != want {
		t.Errorf("link %q", s.Status.setupLink())
	}
	var grid [][]bool // true is light
	for _, l := range s.qr() {
		var upper, lower []bool
		for _, r := range l {
			upper = append(upper, r == '█' || r == '▀')
			lower = append(lower, r == '█' || r == '▄')
		}
		grid = append(grid, upper, lower)
	}
	size := len(grid[0])
	if size < 4+21 || (size-4-21)%4 != 0 {
		t.Fatalf("%d columns are no QR code with a quiet zone of two", size)
	}
	// The three finder patterns: 7x7, dark ring, light ring, dark centre.
	for _, at := range [][2]int{{2, 2}, {size - 9, 2}, {2, size - 9}} {
		for y := range 7 {
			for x := range 7 {
				ring := max(abs(x-3), abs(y-3))
				if dark := ring != 2; grid[at[1]+y][at[0]+x] == dark {
					t.Fatalf("finder pattern at %v is wrong in %d,%d", at, x, y)
				}
			}
		}
	}
	for i := range size {
		if !grid[0][i] || !grid[1][i] || !grid[i][0] || !grid[i][1] || !grid[i][size-1] || !grid[size-1][i] {
			t.Fatalf("quiet zone is broken at %d", i)
		}
	}
}

func abs(n int) int { return max(n, -n) }

func TestNarrowTerminalLeavesTheCodeOut(t *testing.T) {
	t.Parallel()
	for _, l := range Render(setupScreen(), 50) {
		if strings.ContainsRune(l, '█') || utf8.RuneCountInString(l) > 50 {
			t.Errorf("%q", l)
		}
	}
}

func TestMachineLine(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		s    Status
		want string
	}{
		{Status{}, ""},
		{Status{State: Setup}, ""},
		{setupScreen().Status, "ringfence: ready url=https://192.168.178.123:8887/setup token=abcdefghijklmnopqrstuvwxyz fingerprint=" + testFingerprint},
		{Status{State: Setup, URLs: []string{"https://a b/"}, Fingerprint: "f"}, "ringfence: ready url=https://ab/ fingerprint=f"},
		{Status{State: Running, URLs: []string{"https://a/"}, Fingerprint: "f", Extensions: 3}, "ringfence: running url=https://a/ fingerprint=f extensions=3"},
	} {
		if got := c.s.Machine(); got != c.want {
			t.Errorf("got %q, want %q", got, c.want)
		}
	}
}

func TestParseStatus(t *testing.T) {
	t.Parallel()
	s, err := ParseStatus(`{"state":"running","urls":["https://a/\u001b[2J","","b","c","d","e","f","g","h","i"],"fingerprint":"ab cd\r\n","token":"t\u001b","version":"1\u202e2","extensions":-4,"warnings":["x\u0007y"],"later":{"a":1}}`)
	if err != nil {
		t.Fatal(err)
	}
	want := Status{State: Running, URLs: []string{"https://a/ [2J", "b", "c", "d", "e", "f", "g"}, Fingerprint: "abcd", Token: "t", Version: "1 2", Warnings: []string{"x y"}}
	if !s.Equal(want) {
		t.Errorf("got %+v", s)
	}
	for _, bad := range []string{"", "[]", `{"state":"x"}`, `{"state":1}`, `{"state":"setup","x":"` + strings.Repeat("a", maxStatus) + `"}`} {
		if _, err := ParseStatus(bad); err == nil {
			t.Errorf("%.40q was accepted", bad)
		}
	}
}

func FuzzParseStatus(f *testing.F) {
	f.Add(`{"state":"setup","urls":["https://a/"],"token":"x","fingerprint":"00","warnings":["w"]}`)
	f.Fuzz(func(t *testing.T, text string) {
		s, err := ParseStatus(text)
		if err != nil {
			return
		}
		for _, l := range append(Render(Screen{Product: "p", Status: s}, 79), s.Machine()) {
			for _, r := range l {
				if !strconv.IsPrint(r) {
					t.Fatalf("%q reaches the terminal in %q", r, l)
				}
			}
		}
	})
}

func TestPrintable(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"":                       "",
		" plain ":                "plain",
		"a\x1b]0;title\x07b\r\n": "a ]0;title b",
		"bad\xff\xfeutf":         "bad  utf",
		"\u202eright-to-left":    "right-to-left",
		"ääääääääääääääää":       "ääääääääää",
	} {
		if got := Printable(in, 20); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
}

// terminal collects what is written.
type terminal struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (t *terminal) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.b.Write(p)
}

func (t *terminal) take() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.b.String()
	t.b.Reset()
	return s
}

func settle() {
	time.Sleep(2 * pause)
	synctest.Wait()
}

// TestDrawsOnlyChanges: a log is told every fact once, counters not at all; a
// display is redrawn for counters too, but not for nothing.
func TestDrawsOnlyChanges(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var log, display terminal
		c := Open(Output{W: &log, Kind: Log}, Output{W: &display, Kind: Display})
		s := setupScreen()
		c.Show(s)
		settle()
		first := log.take()
		if !strings.Contains(first, "token=abcdefghijklmnopqrstuvwxyz") || strings.Contains(first, "\x1b") {
			t.Errorf("log got %q", first)
		}
		if d := display.take(); !strings.HasPrefix(d, "\x1b%G") || !strings.Contains(d, "not set up yet") {
			t.Errorf("display got %q", d)
		}
		c.Show(s)
		settle()
		if got := log.take() + display.take(); got != "" {
			t.Errorf("nothing changed, yet %q was drawn", got)
		}
		s.Status = Status{State: Running, URLs: []string{"https://a/"}, Fingerprint: "f", Extensions: 2}
		c.Show(s)
		settle()
		if got := log.take(); strings.Count(got, "ringfence: running url=https://a/ fingerprint=f extensions=2\n") != 1 {
			t.Errorf("log got %q", got)
		}
		display.take()
		s.Status.Calls = 1
		c.Show(s)
		settle()
		if got := log.take(); got != "" {
			t.Errorf("log got %q for a call", got)
		}
		if got := display.take(); !strings.Contains(got, "calls 1") {
			t.Errorf("display got %q", got)
		}
		busy := s
		busy.Services = []string{"pbxd: waiting"}
		c.Show(busy)
		settle()
		busy.Services = nil
		c.Show(busy)
		settle()
		if got := log.take(); got != "" {
			t.Errorf("log got %q for a restart", got)
		}
		display.take()
		c.Line("pbxd: boo\x1b[2J")
		settle()
		if got := log.take(); got != "pbxd: boo [2J\n" {
			t.Errorf("log got %q", got)
		}
		if got := display.take(); !strings.Contains(got, "pbxd: boo [2J") {
			t.Errorf("display got %q", got)
		}
		c.Close(time.Second)
	})
}

// stuck is a terminal that takes nothing until it is released.
type stuck struct{ release chan struct{} }

func (s stuck) Write(p []byte) (int, error) {
	<-s.release
	return len(p), nil
}

func TestStuckTerminalHoldsNobodyUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		bad := stuck{make(chan struct{})}
		var good terminal
		c := Open(Output{W: bad, Kind: Log}, Output{W: &good, Kind: Log})
		begin := time.Now()
		for i := range 1000 {
			c.Line(fmt.Sprint("line ", i))
			c.Show(setupScreen())
		}
		if took := time.Since(begin); took != 0 {
			t.Errorf("the caller waited %s", took)
		}
		settle()
		if got := good.take(); !strings.Contains(got, "line 0\n") || !strings.Contains(got, "more lines left out") || len(got) > 10000 {
			t.Errorf("%d bytes: %.200q", len(got), got)
		}
		c.Close(time.Second)
		if took := time.Since(begin); took > 2*time.Second {
			t.Errorf("closing took %s", took)
		}
		close(bad.release)
	})
}
