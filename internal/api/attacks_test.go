package api

import (
	"fmt"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"ringfence/internal/events"
	"ringfence/internal/ports"
	"ringfence/internal/tally"
	"ringfence/internal/telephony"
)

// S12: the journal pages and filters, and a stranger's text stays text.
func TestJournalOfAttacks(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	boss := b.setUp()
	const hostile = `<img src=x onerror=alert(1)>`
	b.live.attacks = []telephony.Attack{
		{ID: 9, Ban: telephony.Ban{Source: netip.MustParseAddr("203.0.113.66"), Scope: telephony.BanSIP, Reason: "level 1: more than 500 packets per second", Level: 1, Port: "udp 5060"}},
		{ID: 8, Ban: telephony.Ban{Source: netip.MustParseAddr("2001:db8:7:8::"), Scope: telephony.BanWeb, Reason: "failed log-ins", Evidence: telephony.Evidence{UserAgent: hostile}}},
	}
	var list AttackList
	boss.must(http.StatusOK, "GET", "/security/attacks?address=2001:db8:7:8::99&reason=%20Log-In&limit=2&before=77", nil, &list)
	f := b.live.filter
	if f.Source != netip.MustParseAddr("2001:db8:7:8::") || f.Reason != "Log-In" || f.Limit != 2 || f.Before != 77 {
		t.Errorf("asked for %+v", f)
	}
	if len(list.Items) != 2 || list.Next != 8 || list.Items[0].Level != 1 || list.Items[0].Port != "udp 5060" || list.Items[1].UserAgent != hostile {
		t.Errorf("%+v", list)
	}
	boss.must(http.StatusOK, "GET", "/security/attacks", nil, &list)
	if list.Next != 0 {
		t.Errorf("a page that is not full has a next one: %+v", list)
	}
	for _, wrong := range []string{"address=tom", "limit=0", "limit=1001", "before=-1"} {
		if a := boss.do("GET", "/security/attacks?"+wrong, nil, nil); a.Code != http.StatusUnprocessableEntity {
			t.Errorf("%s: %d", wrong, a.Code)
		}
	}
	var c caller
	c.session.User.Role = telephony.RoleAdmin
	if e := b.eventFor(c, events.AddressBanned{Addr: netip.MustParseAddr("203.0.113.66")}); e != nil {
		t.Errorf("an administrator of a tenant sees %+v", e)
	}
}

// History shows rates, the largest cause first, and says where nobody counted.
func TestPacketHistory(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	boss := b.setUp()
	at := time.Unix(1_800_000_000, 0).UTC()
	slot := func(step time.Duration, i int, covered time.Duration, counts map[string]uint64) telephony.PacketSlot {
		return telephony.PacketSlot{At: at.Add(time.Duration(i) * step), Step: step, Covered: covered, Counts: counts}
	}
	b.live.packets = map[time.Duration][]telephony.PacketSlot{
		tally.Fine: {
			slot(tally.Fine, 0, 0, nil),
			slot(tally.Fine, 1, 10*time.Second, map[string]uint64{"drop/rest": 20, "drop/ban_sip": 500, "port/portal": 30}),
			slot(tally.Fine, 2, 5*time.Second, map[string]uint64{"drop/rest": 20}),
		},
		tally.Minute: {
			slot(tally.Minute, 0, time.Minute, map[string]uint64{"drop/rest": 60}), slot(tally.Minute, 1, 0, nil), slot(tally.Minute, 2, 0, nil),
			slot(tally.Minute, 3, 0, nil), slot(tally.Minute, 4, time.Minute, map[string]uint64{"drop/rest": 180}), slot(tally.Minute, 5, 0, nil),
		},
	}
	var h PacketHistory
	boss.must(http.StatusOK, "GET", "/security/history", nil, &h)
	if h.StepSeconds != 10 || len(h.Times) != 3 || h.Known[0] || !h.Known[1] || len(h.Drops) != 2 || len(h.Ports) != 1 {
		t.Fatalf("%+v", h)
	}
	if d := h.Drops[0]; d.Name != "ban_sip" || d.Total != 500 || d.Values[1] != 50 {
		t.Errorf("%+v", d)
	}
	if d := h.Drops[1]; d.Name != "rest" || d.Values[1] != 2 || d.Values[2] != 4 {
		t.Errorf("a step that is half over: %+v", d)
	}
	boss.must(http.StatusOK, "GET", "/security/history?range=24h", nil, &h)
	if h.StepSeconds != 300 || len(h.Times) != 2 || !h.Known[0] || h.Known[1] || h.Drops[0].Values[0] != 2 {
		t.Errorf("%+v", h)
	}
	if a := boss.do("GET", "/security/history?range=1y", nil, nil); a.Code != http.StatusUnprocessableEntity {
		t.Errorf("a year: %d", a.Code)
	}
	var sum AttackSummary
	boss.must(http.StatusOK, "GET", "/security/summary", nil, &sum)
	if sum.Dropped != 540 || sum.Rate != 4 || !sum.Counted {
		t.Errorf("%+v", sum)
	}
}

// Why a packet is dropped is said in words, with the entry that decided.
func TestWhyAPacketIsDropped(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	boss := b.setUp()
	bad := netip.MustParseAddr("203.0.113.66")
	rtp, _ := ports.Lookup(ports.Table(), ports.RTPCore)
	portal, _ := ports.Lookup(ports.Table(), ports.Portal)
	b.live.ports = []PortState{{Service: rtp}, {Service: portal}}
	b.live.bans = []telephony.Ban{{Source: bad, Scope: telephony.BanSIP, Reason: "wrong passwords", Until: time.Now().Add(time.Hour)}}
	boss.must(http.StatusCreated, "POST", "/security/addresses", AddressRulePut{Network: "198.51.100.0/24", Action: "block", Note: "only attacks"}, nil)
	listed := netip.MustParseAddr("198.51.100.9")
	for _, c := range []struct {
		q    PacketQuestion
		f    PacketFate
		says string
	}{
		{PacketQuestion{bad, "", ports.UDP, 5060}, PacketFate{Cause: "drop/ban_sip", Left: 90 * time.Second}, "Dropped: it is banned from the SIP ports for another 1m30s: wrong passwords."},
		{PacketQuestion{bad, "", ports.UDP, rtp.First}, PacketFate{Cause: "drop/rest"}, "for media, and no call holds it now"},
		{PacketQuestion{bad, "eth1", ports.TCP, portal.First}, PacketFate{Cause: "drop/rest"}, "is open, but not to the zone that the packet comes from"},
		{PacketQuestion{bad, "", ports.TCP, 23}, PacketFate{Cause: "drop/rest"}, "Dropped: no service is open on tcp 23."},
		{PacketQuestion{listed, "", ports.UDP, 5060}, PacketFate{Cause: "drop/block"}, "Dropped: the list of addresses blocks 198.51.100.0/24: only attacks."},
		{PacketQuestion{bad, "", ports.TCP, 80}, PacketFate{Accepted: true}, "does not filter tcp 80 by port"},
		{PacketQuestion{bad, "", ports.TCP, 81}, PacketFate{Accepted: true, Cause: "port/portal"}, "Let in: tcp 81 is open to it (" + portal.Name + ")"},
	} {
		b.live.fates = map[PacketQuestion]PacketFate{c.q: c.f}
		var got AddressCheck
		path := fmt.Sprintf("/security/check?address=%s&port=%d&protocol=%s&interface=%s", c.q.Source, c.q.Port, c.q.Proto, c.q.Interface)
		boss.must(http.StatusOK, "GET", path, nil, &got)
		if got.Packet == nil || got.Packet.Accepted != c.f.Accepted || !strings.Contains(got.Packet.Explanation, c.says) {
			t.Errorf("%+v: %+v", c.q, got.Packet)
		}
	}
	b.live.fates = nil
	if a := boss.do("GET", "/security/check?address=203.0.113.66&port=5060", nil, nil); a.Code != http.StatusConflict {
		t.Errorf("without a packet filter: %d", a.Code)
	}
}
