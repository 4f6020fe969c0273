package media

import (
	"context"
	"flag"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/pion/sdp/v3"

	"ringfence/internal/ports"
	"ringfence/internal/siptest"
)

var update = flag.Bool("update", false, "rewrite golden files")

// conversation is one golden file: what two peers said, and what each was told.
type conversation struct {
	path, comment string
	parts         map[string]string
}

func readConversation(t *testing.T, path string) conversation {
	t.Helper()
	data, err := os.ReadFile(path)
	must(t, err)
	c := conversation{path: path, parts: map[string]string{}}
	chunks := regexp.MustCompile(`(?m)^-- (\w+) --\n`).Split(string(data), -1)
	names := regexp.MustCompile(`(?m)^-- (\w+) --\n`).FindAllStringSubmatch(string(data), -1)
	c.comment = chunks[0]
	for i, n := range names {
		c.parts[n[1]] = chunks[i+1]
	}
	return c
}

var (
	ourKey    = regexp.MustCompile(`inline:\S+`)
	ourPrint  = regexp.MustCompile(`a=fingerprint:sha-256 [0-9A-F:]{95}`)
	ourICE    = regexp.MustCompile(`(?m)^a=ice-(ufrag|pwd):[A-Za-z0-9+/]+$`)
	ourPlace  = regexp.MustCompile(`(?m)^(a=candidate:1 1 udp 2130706431 \S+) 2[0-9]{4} `)
	sessionID = regexp.MustCompile(`(?m)^o=- \d+ `)
	ourPort   = regexp.MustCompile(`(?m)^(m=(?:audio|video|image)) 2[0-9]{4} `)
)

// stable removes what differs from run to run.
func stableText(b []byte) string {
	s := strings.ReplaceAll(string(b), "\r\n", "\n")
	s = sessionID.ReplaceAllString(s, "o=- ID ")
	s = ourKey.ReplaceAllString(s, "inline:KEY")
	s = ourPrint.ReplaceAllString(s, "a=fingerprint:sha-256 OURS")
	s = ourICE.ReplaceAllString(s, "a=ice-$1:OURS")
	s = ourPlace.ReplaceAllString(s, "$1 PORT ")
	return ourPort.ReplaceAllString(s, "$1 PORT ")
}

func TestConversations(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/sdp/*.txt")
	must(t, err)
	if len(files) < 9 {
		t.Fatalf("%d golden files", len(files))
	}
	e := testEngine(t, 20200, 20399, nil)
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			t.Parallel()
			c := readConversation(t, file)
			crlf := func(s string) []byte { // the broken one keeps its line ends
				if strings.Contains(file, "broken") {
					return []byte(strings.TrimSuffix(s, "\n"))
				}
				return []byte(strings.ReplaceAll(s, "\n", "\r\n"))
			}
			call := e.NewCall("golden")
			defer call.Close()
			leg := func(advertised string) *Leg {
				l, err := call.NewLeg(context.Background(), LegParams{
					Side: ports.Core, Local: loopback, Advertised: netip.MustParseAddr(advertised),
				})
				must(t, err)
				return l
			}
			a := leg("203.0.113.1")
			if strings.Contains(file, "ipv6") {
				a = leg("2001:db8::1")
			}
			b := leg("10.255.0.1")
			must(t, a.SetRemote(crlf(c.parts["offer"])))
			offered, err := b.Offer(a)
			must(t, err)
			must(t, b.SetRemote(crlf(c.parts["answer"])))
			answered, err := a.Answer(b)
			must(t, err)
			checkWellFormed(t, offered, c.parts["offer"])
			checkWellFormed(t, answered, c.parts["answer"])
			if got, want := strings.Count(string(answered), "m="), strings.Count("\n"+c.parts["offer"], "\nm="); got != want {
				t.Errorf("answer has %d m= lines, the offer %d", got, want)
			}
			got := map[string]string{"offered": stableText(offered), "answered": stableText(answered)}
			if *update {
				text := c.comment
				for _, name := range []string{"offer", "answer"} {
					text += "-- " + name + " --\n" + c.parts[name]
				}
				for _, name := range []string{"offered", "answered"} {
					text += "-- " + name + " --\n" + got[name]
				}
				must(t, os.WriteFile(file, []byte(text), 0o644))
				return
			}
			for name, text := range got {
				if text != c.parts[name] {
					t.Errorf("%s is\n%swant\n%s", name, text, c.parts[name])
				}
			}
		})
	}
}

// checkWellFormed has two other parsers read what we wrote, and looks for the
// peer's addresses in it.
func checkWellFormed(t *testing.T, ours []byte, theirs string) {
	t.Helper()
	var s sdp.SessionDescription
	if err := s.Unmarshal(ours); err != nil {
		// It knows no fax.
		if !strings.Contains(string(ours), "m=image") {
			t.Errorf("another parser refuses it: %v\n%s", err, ours)
		}
	}
	if d, err := siptest.ParseSDP(string(ours)); err != nil || !d.Addr.IsValid() {
		t.Errorf("a phone refuses it: %v\n%s", err, ours)
	}
	for _, line := range strings.Split(strings.ReplaceAll(string(ours), "\r\n", "\n"), "\n") {
		if len(line) > maxLine || strings.ContainsAny(line, "\r\x00") {
			t.Errorf("line %q", line)
		}
	}
	for _, m := range regexp.MustCompile(`IN IP[46] ([0-9a-f.:]+)`).FindAllStringSubmatch(theirs, -1) {
		if strings.Contains(string(ours), m[1]) {
			t.Errorf("the peer's address %s is told to the other side:\n%s", m[1], ours)
		}
	}
}
