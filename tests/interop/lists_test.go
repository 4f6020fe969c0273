package interop

import (
	"fmt"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"ringfence/internal/ports"
	"ringfence/internal/telephony"
)

// mixedList is a block list as CSV: of ten entries one is a network and, now
// and then, one an IPv6 address.
func mixedList(n int) string {
	var b strings.Builder
	for i := range n {
		switch {
		case i%10 == 9:
			fmt.Fprintf(&b, "12.%d.%d.0/24,block,\n", i/10>>7&255, i/10<<1&255)
		case i%20 == 8:
			fmt.Fprintf(&b, "2001:db8:%x:%x::7,block,\n", i>>16, i&0xffff)
		default:
			fmt.Fprintf(&b, "11.%d.%d.%d,block,\n", i>>15&255, i>>7&255, i<<1&255)
		}
	}
	return b.String()
}

// A list as long as it may be is imported through the interface, and one more
// entry is in force as soon as with an empty list.
func TestLongListsAreInForceAtOnce(t *testing.T) {
	t.Parallel()
	full := os.Getenv("RINGFENCE_DRILL") != ""
	entries := 10_000
	if full {
		entries = (telephony.MaxAddressRules - 1) / 20 * 20 // whole rounds of mixedList
	}
	f := startFenced(t)
	do := func(method, path string, in any) {
		t.Helper()
		if err := f.api.Do(t.Context(), method, path, in, nil); err != nil {
			t.Fatal(err)
		}
	}
	udp, _ := ports.Lookup(ports.Table(), ports.SIPUDP)
	at := netip.AddrPortFrom(f.addr, udp.First)
	answers := func() bool {
		time.Sleep(10 * time.Millisecond) // below level 1
		return answersOptions(t, f.outside, "10.77.0.2:0", at, silence)
	}
	f.becomes(t, answers)
	before, began := rss(t, f.pbx.PID()), time.Now()
	do(http.MethodPost, "/security/addresses/csv", map[string]any{"csv": mixedList(entries)})
	imported := time.Since(began)
	held := func(set string) int {
		out, err := f.host.Command(t.Context(), "nft", "list", "set", "inet", "ringfence", set).CombinedOutput()
		if err != nil {
			t.Fatalf("nft: %v: %s", err, out)
		}
		return strings.Count(string(out), ",") + 1
	}
	f.becomes(t, func() bool { return held("block_host_4") == entries*17/20 })
	if v6, networks := held("block_host_6"), held("block_4"); v6 != entries/20 || networks != entries/10 {
		t.Errorf("the packet filter holds %d IPv6 addresses and %d networks of %d entries", v6, networks, entries)
	}
	var slowest time.Duration
	for range 3 {
		began = time.Now()
		do(http.MethodPost, "/security/addresses", map[string]any{"network": "10.77.0.2", "action": "block"})
		f.becomes(t, func() bool { return !answers() })
		blocked := time.Since(began) - silence
		began = time.Now()
		do(http.MethodDelete, "/security/addresses?network=10.77.0.2", nil)
		f.becomes(t, answers)
		t.Logf("blocked after %v, let in after %v", blocked, time.Since(began))
		slowest = max(slowest, blocked, time.Since(began))
	}
	t.Logf("%d entries: imported in %v; a change in force after %v at most; resident memory of pbxd %d, then %d KiB", entries, imported, slowest, before, rss(t, f.pbx.PID()))
	if full && slowest > time.Second {
		t.Errorf("a change is in force after %v, more than a second", slowest)
	}
}
