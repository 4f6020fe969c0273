package interop

import (
	"context"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"

	"ringfence/internal/ports"
	"ringfence/internal/siptest"
	"ringfence/tests/apiclient"
)

// dropped is what the packet filter says of a cause.
func (f fenced) dropped(t *testing.T, cause string) string {
	t.Helper()
	out, err := f.host.Command(t.Context(), "nft", "list", "counters").CombinedOutput()
	if err != nil {
		t.Fatalf("nft: %v: %s", err, out)
	}
	_, rest, found := strings.Cut(string(out), "counter drop_"+cause+" {")
	if !found {
		t.Fatalf("nothing counts %s:\n%s", cause, out)
	}
	line, _, _ := strings.Cut(strings.TrimSpace(rest), "\n")
	return line
}

// The list of addresses and the bans of guard reach the packet filter within a
// second, both ways.
func TestPacketFilterFollowsListsAndBans(t *testing.T) {
	f := startFenced(t)
	do := func(method, path string, in any) {
		t.Helper()
		if err := f.api.Do(t.Context(), method, path, in, nil); err != nil {
			t.Fatal(err)
		}
	}
	udp, _ := ports.Lookup(ports.Table(), ports.SIPUDP)
	at := netip.AddrPortFrom(f.addr, udp.First)
	answers := func() bool { return answersOptions(t, f.outside, "10.77.0.2:0", at, silence) }
	f.becomes(t, answers)
	took := map[string]time.Duration{}
	before := f.dropped(t, "block")
	do(http.MethodPost, "/security/addresses", map[string]any{"network": "10.77.0.2", "action": "block"})
	took["blocked"] = f.becomes(t, func() bool { return !answers() }) - silence
	if f.dropped(t, "block") == before {
		t.Errorf("the packet filter dropped nothing: %s", before)
	}
	do(http.MethodDelete, "/security/addresses?network=10.77.0.2", nil)
	took["let in again"] = f.becomes(t, answers)
	if err := f.api.Do(t.Context(), http.MethodPost, "/security/addresses", map[string]any{"network": "10.77.0.3", "action": "block"}, nil); err == nil {
		t.Error("an administrator shuts out the own address without being asked")
	}

	phone := siptest.NewPhone(t, siptest.Config{
		Server: at, User: "101", Password: "wrong", Domain: apiclient.DefaultSetup().Domain, T1: 50 * time.Millisecond,
		Listen: netip.MustParseAddrPort("10.77.0.2:0"), ListenUDP: f.outside.ListenUDP,
	})
	for range 50 {
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		if phone.Register(ctx) == nil {
			t.Fatal("a wrong password is taken")
		}
		cancel()
	}
	convicted := time.Now()
	took["banned"] = f.becomes(t, func() bool { return !answers() }) - silence
	_, left, _ := strings.Cut(f.kernelBans(t, "auto_sip_4"), "expires ")
	left, _, _ = strings.Cut(left, " ")
	if d, err := time.ParseDuration(left); err != nil || (time.Until(convicted.Add(time.Hour))-d).Abs() > 2*time.Second {
		t.Errorf("the packet filter opens again in %q, %v", left, err)
	}
	if all := f.bans(t); len(all) != 1 || all[0].Until.Sub(convicted.Add(time.Hour)).Abs() > 2*time.Second {
		t.Errorf("convicted at %v: %+v", convicted, all)
	}
	before = f.dropped(t, "ban_sip")
	answers()
	if f.dropped(t, "ban_sip") == before {
		t.Errorf("it is not the packet filter that is silent: %s", before)
	}
	do(http.MethodDelete, "/security/bans?scope=sip&source="+url.QueryEscape("10.77.0.2"), nil)
	took["ban taken back"] = f.becomes(t, answers)
	t.Log(took)
	t.Run("scanners of phone files meet silence", f.checkPhoneFiles)
	t.Run("bans keep their time", f.checkTimes)
	for what, took := range took {
		if took > time.Second {
			t.Errorf("%s after %v, more than a second", what, took)
		}
	}
}
