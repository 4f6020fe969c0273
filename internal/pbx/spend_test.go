package pbx

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"ringfence/internal/siptest"
	"ringfence/internal/store"
	"ringfence/internal/telephony"
)

// TestCallsThatCostTooMuchDoNotGoOut: the cap of each extension holds on the wire,
// the organisation's history and alarms tell of it, and emergency calls go out.
func TestCallsThatCostTooMuchDoNotGoOut(t *testing.T) {
	t.Parallel()
	far := providerOn(t, "127.0.1.9", "UDP", func(c *siptest.ProviderConfig) { c.Open = true })
	p := newOutside(t, Options{})
	p.route(trunkTo(far, "main", telephony.TrunkPeer, telephony.TrunkUDP))
	p.up("main")
	p.change(func(tx *store.Tx) error {
		r, err := tx.RoutingSettings()
		if err != nil {
			return err
		}
		r.ExtensionCaps = telephony.Caps{CallsPerMinute: 3}
		r.Plan.Allowed = []string{"43"}
		return tx.PutRoutingSettings(r)
	})
	for range 10 {
		far.Script("INVITE", siptest.ScriptedAnswer{Code: 486})
	}
	phone := p.phone("101", 440)
	dial := func(number string) int {
		t.Helper()
		c, err := phone.Call(t.Context(), number)
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Wait(t.Context(), siptest.Ended); err != nil {
			t.Fatal(err)
		}
		return c.Status()
	}
	for i, want := range []int{486, 486, 486, 403, 403} {
		if got := dial("+4312345678"); got != want {
			t.Errorf("call %d ended with %d, want %d", i+1, got, want)
		}
	}
	if n := len(far.Requests("INVITE")); n != 3 {
		t.Errorf("%d INVITEs reached the provider, want 3", n)
	}
	if got := dial("112"); got == http.StatusForbidden {
		t.Error("an emergency call was refused for its price")
	}
	kinds := ""
	for _, a := range p.spender.alarms(p.tenant) {
		kinds += string(a.Kind) + " "
		if a.Account != "101" {
			t.Errorf("%+v", a)
		}
	}
	if !strings.Contains(kinds, "too_many_calls") || !strings.Contains(kinds, "new_country") || len(p.spender.alarms(p.tenant+1)) != 0 {
		t.Errorf("alarms: %s", kinds)
	}
	for limit := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		entries, err := p.store.ForTenant(p.tenant).Audit(t.Context(), store.AuditFilter{})
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		for _, e := range entries {
			if e.Kind == "fraud.alarm" && e.Object == "101" {
				n++
			}
		}
		if n >= 2 {
			break
		}
		if time.Now().After(limit) {
			t.Fatalf("%d alarms in the history", n)
		}
	}
}
