package interop

import (
	"bufio"
	"context"
	"encoding/json"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"time"

	"ringfence/internal/ports"
)

// attack is an entry of the journal, or a ban.
type attack struct {
	Source string    `json:"source"`
	Scope  string    `json:"scope"`
	Reason string    `json:"reason"`
	Level  int       `json:"level"`
	Port   string    `json:"port"`
	Until  time.Time `json:"until"`
}

func (f fenced) list(t *testing.T, path string) []attack {
	t.Helper()
	var out struct{ Items []attack }
	if err := f.api.Do(t.Context(), http.MethodGet, path, nil, &out); err != nil {
		t.Fatal(err)
	}
	return out.Items
}

// flood sends n datagrams from an address outside.
func (f fenced) flood(t *testing.T, source string, to netip.AddrPort, n int) {
	t.Helper()
	c, err := f.outside.ListenUDP(netip.AddrPortFrom(netip.MustParseAddr(source), 0))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for i := range n {
		if _, err := c.WriteToUDP([]byte("junk\r\n"), net.UDPAddrFromAddrPort(to)); err != nil {
			t.Fatal(err)
		}
		if i%100 == 99 {
			time.Sleep(time.Millisecond)
		}
	}
}

// stream hands on the attacks that the event stream tells.
func (f fenced) stream(t *testing.T, ctx context.Context) <-chan attack {
	t.Helper()
	out := make(chan attack, 100)
	body, err := f.api.Stream(ctx, "/events")
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		defer body.Close()
		lines := bufio.NewScanner(body)
		lines.Buffer(nil, 1<<20)
		event := ""
		for lines.Scan() {
			if name, ok := strings.CutPrefix(lines.Text(), "event: "); ok {
				event = name
			}
			if data, ok := strings.CutPrefix(lines.Text(), "data: "); ok && event == "attack" {
				var a attack
				if json.Unmarshal([]byte(data), &a) == nil {
					out <- a
				}
			}
		}
	}()
	return out
}

// Who floods is in the list of bans, in the journal and in the event stream
// within two seconds, with level, scope and port; the history shows what was
// dropped; and both processes may be killed without the ban or its end being
// lost.
func TestFloodIsShownAndStaysBanned(t *testing.T) {
	f := startFenced(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	live := f.stream(t, ctx)
	udp, _ := ports.Lookup(ports.Table(), ports.SIPUDP)
	at := netip.AddrPortFrom(f.addr, udp.First)
	// Twice the limit of level 2: banned for an hour.
	f.flood(t, "10.77.0.2", at, 6000)
	began := time.Now()
	banned := func() *attack {
		var found *attack
		for _, b := range f.list(t, "/security/bans") {
			if b.Source == "10.77.0.2" && (found == nil || b.Level > found.Level) {
				found = &b
			}
		}
		return found
	}
	for banned() == nil || banned().Level != 2 {
		if time.Since(began) > 2*time.Second {
			t.Fatalf("not shown after 2 s: %+v", banned())
		}
		time.Sleep(20 * time.Millisecond)
	}
	b := banned()
	if b.Scope != "sip" || b.Port != "udp 5060" || !strings.Contains(b.Reason, "level 2: more than 2000 packets per second") || time.Until(b.Until) < 59*time.Minute {
		t.Errorf("%+v", b)
	}
	t.Logf("shown after %v", time.Since(began))
	seen := map[int]bool{}
	for !seen[1] || !seen[2] {
		select {
		case a := <-live:
			if a.Source == "10.77.0.2" {
				seen[a.Level] = true
			}
		case <-time.After(2 * time.Second):
			t.Fatalf("levels %v arrived as events", seen)
		}
	}
	if j := f.list(t, "/security/attacks?address=10.77.0.2"); len(j) != 2 || j[0].Level != 2 || j[1].Level != 1 {
		t.Errorf("the journal says %+v", j)
	}
	if j := f.list(t, "/security/attacks?address=10.77.0.9"); len(j) != 0 {
		t.Errorf("the journal says of another: %+v", j)
	}
	f.historyShows(t)

	cancel()
	end := banned().Until
	f.pbx.Stop(syscall.SIGTERM)
	// The kernel forgets, as it does when the machine restarts.
	if out, err := f.host.Command(t.Context(), "nft", "flush", "set", "inet", "ringfence", "auto_sip_4").CombinedOutput(); err != nil {
		t.Fatalf("nft: %v: %s", err, out)
	}
	f.pbx.Restart(t)
	for began := time.Now(); banned() == nil; time.Sleep(50 * time.Millisecond) {
		if time.Since(began) > 5*time.Second {
			t.Fatal("the ban is gone after a restart")
		}
	}
	if off := banned().Until.Sub(end).Abs(); off > 31*time.Second {
		t.Errorf("the end moved by %v", off)
	}
	f.becomes(t, func() bool {
		out, _ := f.host.Command(t.Context(), "nft", "list", "set", "inet", "ringfence", "auto_sip_4").CombinedOutput()
		return strings.Contains(string(out), "10.77.0.2 ")
	})
}

// historyShows waits for thousands of dropped packets in the history.
func (f fenced) historyShows(t *testing.T) {
	t.Helper()
	var h struct {
		Known []bool
		Drops []struct {
			Name  string
			Total uint64
		}
	}
	for end := time.Now().Add(12 * time.Second); ; time.Sleep(200 * time.Millisecond) {
		if err := f.api.Do(t.Context(), http.MethodGet, "/security/history?range=1h", nil, &h); err != nil {
			t.Fatal(err)
		}
		total := uint64(0)
		for _, s := range h.Drops {
			if s.Name == "ban_sip" || strings.HasPrefix(s.Name, "level") {
				total += s.Total
			}
		}
		if total > 3000 && h.Known[len(h.Known)-1] && !h.Known[0] {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("the history says %+v", h.Drops)
		}
	}
}
