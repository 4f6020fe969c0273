package api

import (
	"net/http"
	"net/netip"
	"reflect"
	"strings"
	"testing"

	"ringfence/internal/ports"
)

// update is a row of the table as an update that changes nothing.
func (b *box) portUpdate(boss *client, id string) PortUpdate {
	b.t.Helper()
	var list PortList
	boss.must(http.StatusOK, "GET", "/ports", nil, &list)
	for _, p := range list.Items {
		if p.ID == id {
			return PortUpdate{Enabled: p.Enabled, Port: p.First, Zones: p.Zones, Sources: p.Sources}
		}
	}
	b.t.Fatalf("no row %s", id)
	return PortUpdate{}
}

func TestPutPort(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	boss := b.setUp()
	for _, row := range ports.Table() { // what changes nothing changes nothing
		if row.Window {
			continue
		}
		boss.must(http.StatusOK, "PUT", "/ports/"+string(row.ID), b.portUpdate(boss, string(row.ID)), nil)
	}
	for _, o := range b.store.Snapshot().Settings.Ports {
		if !reflect.DeepEqual(o, ports.Override{ID: o.ID}) {
			t.Errorf("an update without a change keeps %+v", o)
		}
	}
	for _, c := range []struct {
		name, id string
		change   func(*PortUpdate)
		status   int
		where    string
	}{
		{"no such row", "telnet", func(*PortUpdate) {}, 404, ""},
		{"portal off", "portal", func(u *PortUpdate) { u.Enabled = false }, 422, "body.enabled"},
		{"media off", "rtp-core", func(u *PortUpdate) { u.Enabled = false }, 422, "body.enabled"},
		{"transport on", "sip-tls", func(u *PortUpdate) { u.Enabled = true }, 422, "body.enabled"},
		{"transport off", "sip-udp", func(u *PortUpdate) { u.Enabled = false }, 422, "body.enabled"},
		{"challenge", "acme", func(u *PortUpdate) { u.Enabled = true }, 422, "body.enabled"},
		{"no listener", "wallboard", func(u *PortUpdate) { u.Enabled = true }, 422, "body.enabled"},
		{"shell without a key", "ssh", func(u *PortUpdate) { u.Enabled = true }, 422, "body.enabled"},
		{"no zone", "portal", func(u *PortUpdate) { u.Zones = []string{} }, 422, "body.zones"},
		{"no zone of people", "portal", func(u *PortUpdate) { u.Zones = []string{"trunk"} }, 422, "body.zones"},
		{"strange zone", "sip-udp", func(u *PortUpdate) { u.Zones = []string{"moon"} }, 422, "body.zones"},
		{"zone twice", "sip-udp", func(u *PortUpdate) { u.Zones = []string{"wan", "wan"} }, 422, "body.zones"},
		{"no network", "sip-udp", func(u *PortUpdate) { u.Sources = []string{"192.0.2.1", "provider.example"} }, 422, "body.sources[1]"},
		{"another row", "portal", func(u *PortUpdate) { u.Port = 8888 }, 409, "body.port"},
		{"another program", "portal", func(u *PortUpdate) { u.Port = busyPort }, 409, "body.port"},
		{"privileged", "ssh", func(u *PortUpdate) { u.Port = 22 }, 409, "body.port"},
		{"range", "rtp-core", func(u *PortUpdate) { u.Port = 46000 }, 422, "body.port"},
		{"many sources", "sip-udp", func(u *PortUpdate) { u.Sources = strings.Split(strings.Repeat("192.0.2.1,", 257), ",") }, 422, "body.sources"},
	} {
		u := PortUpdate{Port: 1024, Zones: []string{"wan"}, Sources: []string{}}
		if c.id != "telnet" {
			u = b.portUpdate(boss, c.id)
		}
		c.change(&u)
		if a := boss.do("PUT", "/ports/"+c.id, u, nil); a.Code != c.status || !strings.Contains(a.Body.String(), c.where) {
			t.Errorf("%s: %d %s", c.name, a.Code, a.Body)
		}
	}
	u := b.portUpdate(boss, "sip-udp")
	u.Port, u.Zones, u.Sources = 5080, []string{"trunk", "voice"}, []string{"203.0.113.9/255.255.255.0", "2001:db8::/32", "203.0.113.0/24"}
	var now Port
	boss.must(http.StatusOK, "PUT", "/ports/sip-udp", u, &now)
	if now.First != 5080 || len(now.Sources) != 2 || now.Sources[0] != "203.0.113.0/24" || len(now.Zones) != 2 {
		t.Errorf("now it is %+v", now)
	}
	// Who is let in outlives that the transport is deleted and made anew.
	boss.must(http.StatusNoContent, "DELETE", "/transports/sip-udp", nil, nil)
	boss.must(http.StatusCreated, "POST", "/transports", TransportCreate{Side: "core", Protocol: "udp"}, nil)
	if row, _ := ports.Row(b.store.Snapshot().Settings.Ports, ports.SIPUDP); row.First != 5060 || len(row.Sources) != 2 || len(row.Zones) != 2 || !row.DefaultOn {
		t.Errorf("made anew it is %+v", row)
	}
}

// Who asks is told before the change that it would shut him out.
func TestPutPortAsksBack(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	boss := b.setUp()
	b.live.zones = []ports.Zone{ports.Voice, ports.Management}
	u := b.portUpdate(boss, "portal")
	for name, change := range map[string]func(*PortUpdate){
		"sources": func(u *PortUpdate) { u.Sources = []string{"198.51.100.0/24"} },
		"zone":    func(u *PortUpdate) { u.Zones = []string{"wan"} },
	} {
		bad := u
		change(&bad)
		if a := boss.do("PUT", "/ports/portal", bad, nil); a.Code != http.StatusConflict || !strings.Contains(a.Body.String(), "body.anyway") {
			t.Errorf("%s: %d %s", name, a.Code, a.Body)
		}
		// A row that is not the portal's shuts nobody out of it.
		other := b.portUpdate(boss, "sip-udp")
		change(&other)
		boss.must(http.StatusOK, "PUT", "/ports/sip-udp", other, nil)
	}
	own := netip.PrefixFrom(netip.MustParseAddr("192.0.2.10"), 24).Masked()
	u.Sources, u.Zones = []string{own.String()}, []string{"management"}
	var now Port
	boss.must(http.StatusOK, "PUT", "/ports/portal", u, &now)
	if now.Trial == nil || now.Trial.Where != "https://192.0.2.1:8887" || len(now.Trial.Changes) != 1 || now.Trial.Changes[0] != "portal" {
		t.Errorf("the portal's row changed without a trial: %+v", now.Trial)
	}
	boss.must(http.StatusNoContent, "POST", "/settings/trial/revert", nil, nil)
	u.Sources, u.Anyway = []string{"198.51.100.0/24"}, true
	boss.must(http.StatusOK, "PUT", "/ports/portal", u, nil)
}
