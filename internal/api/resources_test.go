package api

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"

	"ringfence/internal/ports"
	"ringfence/internal/telephony"
	"ringfence/provision"
)

func TestExtensions(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	boss := b.setUp()
	var made SIPCredentials
	boss.must(http.StatusCreated, "POST", "/extensions", ExtensionCreate{Number: "150", DisplayName: "Zoe"}, &made)
	if made.Number != "150" || made.SIPUser != "150" || len(made.SIPPassword) < 20 || made.Domain != "pbx.example" {
		t.Errorf("%+v", made)
	}
	a := boss.must(http.StatusConflict, "POST", "/extensions", ExtensionCreate{Number: "150"}, nil)
	if len(a.Problem.Errors) != 1 || a.Problem.Errors[0].Location != "body.number" {
		t.Errorf("%s", a.Body)
	}
	a = boss.must(http.StatusUnprocessableEntity, "POST", "/extensions", ExtensionCreate{Number: "950"}, nil)
	if a.Problem.Errors[0].Location != "body.number" || !strings.Contains(a.Problem.Errors[0].Message, "range") {
		t.Errorf("%s", a.Body)
	}
	b.live.bindings[1] = []telephony.Binding{{Tenant: 1, AOR: telephony.AOR{User: "150", Domain: "pbx.example"}}}
	var e Extension
	boss.must(http.StatusOK, "GET", "/extensions/150", nil, &e)
	if e.DisplayName != "Zoe" || e.NoAnswerSeconds != 30 || e.Registrations != 1 {
		t.Errorf("%+v", e)
	}
	var renewed SIPCredentials
	boss.must(http.StatusOK, "POST", "/extensions/150/sip-password", nil, &renewed)
	kept, err := b.store.ForTenant(1).SIPPassword(t.Context(), telephony.Actor{}, "150")
	if err != nil || renewed.SIPPassword == made.SIPPassword || kept != renewed.SIPPassword {
		t.Errorf("%v: %q, kept %q", err, renewed.SIPPassword, kept)
	}
	boss.must(http.StatusNoContent, "DELETE", "/extensions/150", nil, nil)
	for _, method := range []string{"GET", "DELETE"} {
		boss.must(http.StatusNotFound, method, "/extensions/150", nil, nil)
	}
	boss.must(http.StatusNotFound, "POST", "/extensions/150/sip-password", nil, nil)
	boss.must(http.StatusNotFound, "PUT", "/extensions/150", ExtensionUpdate{NoAnswerSeconds: 30}, nil)
	// A password once shown is never shown again.
	for _, path := range []string{"/extensions", "/extensions/101", "/audit"} {
		a := boss.must(http.StatusOK, "GET", path, nil, nil)
		for _, secret := range []string{made.SIPPassword, renewed.SIPPassword, "ha1", "HA1", "$argon2id"} {
			if strings.Contains(a.Body.String(), secret) {
				t.Errorf("%s shows %q", path, secret)
			}
		}
	}
}

func TestExtensionsInPages(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	boss := b.setUp()
	for i, name := range []string{"ben", "Ann", "Cleo"} {
		boss.must(http.StatusCreated, "POST", "/extensions", ExtensionCreate{Number: fmt.Sprint(110 + i), DisplayName: name}, nil)
	}
	var seen []string
	after := ""
	for range 10 {
		var page ExtensionList
		q := url.Values{"limit": {"2"}}
		if after != "" {
			q.Set("after", after)
		}
		boss.must(http.StatusOK, "GET", "/extensions?"+q.Encode(), nil, &page)
		for _, e := range page.Items {
			seen = append(seen, e.Number)
		}
		if after = page.Next; after == "" {
			break
		}
	}
	if strings.Join(seen, " ") != "101 102 103 110 111 112" {
		t.Errorf("%q", seen)
	}
	var byName ExtensionList
	boss.must(http.StatusOK, "GET", "/extensions?sort=display_name", nil, &byName)
	var names []string
	for _, e := range byName.Items {
		names = append(names, e.DisplayName)
	}
	if strings.Join(names, ",") != ",,,Ann,ben,Cleo" {
		t.Errorf("%q", names)
	}
}

// V01, V02, V04: the address works, is 128 bits of chance, and a rotation ends
// the old one.
func TestProvisioningAddressAndRotation(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	boss := b.setUp()
	files := provision.NewHandler(provision.Config{
		Snapshot: b.store.Snapshot,
		Services: func() []ports.Service { s, _ := ports.Effective(nil, ports.InService); return s },
		Password: func(ctx context.Context, tenant telephony.TenantID, a telephony.Actor, n string) (string, error) {
			return b.store.ForTenant(tenant).SIPPassword(ctx, a, n)
		},
	})
	fetch := func(address string) (int, string) {
		w := httptest.NewRecorder()
		files.ServeHTTP(w, httptest.NewRequest("GET", address, nil))
		return w.Code, w.Body.String()
	}
	var p, q Provisioning
	boss.must(http.StatusOK, "GET", "/extensions/101/provisioning", nil, &p)
	if !strings.HasPrefix(p.URL, "https://192.0.2.1:8887/provision/") || !strings.HasPrefix(p.QR, "data:image/png;base64,") {
		t.Fatalf("%+v", p)
	}
	if dir := strings.Split(p.URL, "/")[4]; len(dir) != 26 || strings.Trim(dir, "abcdefghijklmnopqrstuvwxyz234567") != "" {
		t.Errorf("directory %q", dir)
	}
	password, err := b.store.ForTenant(1).SIPPassword(t.Context(), telephony.Actor{}, "101")
	if err != nil {
		t.Fatal(err)
	}
	if code, doc := fetch(p.URL); code != http.StatusOK || !strings.Contains(doc, password) {
		t.Errorf("%d %s", code, doc)
	}
	boss.must(http.StatusOK, "POST", "/extensions/101/provisioning", nil, &q)
	if code, _ := fetch(p.URL); code != http.StatusNotFound || q.URL == p.URL {
		t.Errorf("old address: %d", code)
	}
	if code, _ := fetch(q.URL); code != http.StatusOK {
		t.Errorf("new address: %d", code)
	}
	a := boss.must(http.StatusOK, "GET", "/audit", nil, nil)
	if !strings.Contains(a.Body.String(), "sip_password_read") || strings.Contains(a.Body.String(), strings.Split(q.URL, "/")[4]) {
		t.Errorf("audit: %s", a.Body)
	}
}

func TestLiveLists(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	boss := b.setUp()
	began := time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)
	b.live.bindings[1] = []telephony.Binding{
		{AOR: telephony.AOR{User: "102"}, Contact: "sip:102@192.0.2.2", UserAgent: "<script>", Registered: began, Expires: began.Add(time.Hour), Flow: telephony.Flow{Listener: ports.SIPUDP, Remote: netip.MustParseAddrPort("192.0.2.2:5060")}},
		{AOR: telephony.AOR{User: "101"}, Contact: "sip:101@192.0.2.3"},
	}
	b.live.calls[1] = []telephony.LiveCall{{ID: "c2", Started: began.Add(time.Second)}, {ID: "c1", State: telephony.CallConnected, Started: began, Answered: began.Add(time.Second)}}
	var r RegistrationList
	boss.must(http.StatusOK, "GET", "/registrations", nil, &r)
	if len(r.Items) != 2 || r.Items[0].Number != "101" || r.Items[1].Source != "192.0.2.2:5060" || r.Items[1].Listener != "sip-udp" {
		t.Errorf("%+v", r)
	}
	var c CallList
	boss.must(http.StatusOK, "GET", "/calls", nil, &c)
	if len(c.Items) != 2 || c.Items[0].ID != "c1" || c.Items[0].AnsweredAt == nil || c.Items[1].AnsweredAt != nil {
		t.Errorf("%+v", c)
	}
	boss.must(http.StatusNoContent, "DELETE", "/calls/c1", nil, nil)
	boss.must(http.StatusNotFound, "DELETE", "/calls/c9", nil, nil)
	boss.must(http.StatusUnprocessableEntity, "DELETE", "/calls/c%20%00", nil, nil)
	if len(b.live.hungUp) != 1 || b.live.hungUp[0] != "c1" {
		t.Errorf("%v", b.live.hungUp)
	}
	a := boss.must(http.StatusOK, "GET", "/audit", nil, nil)
	if !strings.Contains(a.Body.String(), "call.hang_up") {
		t.Errorf("%s", a.Body)
	}
	// Bounded, and it says so.
	many := make([]telephony.Binding, maxLive+1)
	b.live.bindings[1] = many
	boss.must(http.StatusOK, "GET", "/registrations", nil, &r)
	if len(r.Items) != maxLive || !r.More {
		t.Errorf("%d items, more %v", len(r.Items), r.More)
	}
}

func TestCallRecordsInPages(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	boss := b.setUp()
	began := time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)
	var records []telephony.CallRecord
	for i := range 7 {
		start := began.Add(time.Duration(i) * time.Minute)
		r := telephony.CallRecord{ID: telephony.CallID(fmt.Sprintf("c%d", i)), Tenant: 1, Direction: "internal", Caller: telephony.Party{Number: fmt.Sprint(101 + i%2)}, Callee: telephony.Party{Number: "103"}, Started: start, Ended: start.Add(9 * time.Second), Reason: telephony.EndCallerHungUp, StatusCode: 200}
		if i == 6 {
			r.Answered = start.Add(4 * time.Second)
		}
		records = append(records, r)
	}
	if err := b.store.AppendCallRecords(t.Context(), records); err != nil {
		t.Fatal(err)
	}
	var seen []string
	before := ""
	for range 10 {
		var page CallRecordList
		boss.must(http.StatusOK, "GET", "/cdrs?limit=3&before="+url.QueryEscape(before), nil, &page)
		for _, r := range page.Items {
			seen = append(seen, r.ID)
		}
		if before == "" && (page.Items[0].DurationSeconds != 5 || page.Items[0].AnsweredAt == nil || page.Items[1].AnsweredAt != nil || page.Items[0].EndReason != "caller_hung_up") {
			t.Errorf("%+v", page.Items)
		}
		if before = page.Next; before == "" {
			break
		}
	}
	if strings.Join(seen, " ") != "c6 c5 c4 c3 c2 c1 c0" {
		t.Errorf("%q", seen)
	}
	// U01: a user sees the own calls only, whatever is asked for.
	ann := b.user(1, "ann", telephony.RoleStandard, "101")
	nobody := b.user(1, "bob", telephony.RoleStandard, "")
	for path, want := range map[string]int{"/cdrs": 4, "/cdrs?extension=101": 4, "/cdrs?extension=102": 0} {
		var page CallRecordList
		ann.must(http.StatusOK, "GET", path, nil, &page)
		if len(page.Items) != want {
			t.Errorf("%s: %d records", path, len(page.Items))
		}
		nobody.must(http.StatusOK, "GET", path, nil, &page)
		if len(page.Items) != 0 {
			t.Errorf("%s without an extension: %d records", path, len(page.Items))
		}
	}
}

func TestAuditNamesWhoAndWhence(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	boss := b.setUp()
	boss.must(http.StatusCreated, "POST", "/extensions", ExtensionCreate{Number: "150"}, nil)
	var page AuditList
	boss.must(http.StatusOK, "GET", "/audit?limit=1", nil, &page)
	e := page.Items[0]
	if e.Actor != "boss" || e.Kind != "user" || e.Address != "192.0.2.10" || e.Action != "extension.create" || e.Object != "150" || page.Next == "" {
		t.Errorf("%+v next %q", e, page.Next)
	}
	n := 1
	for page.Next != "" && n < 100 {
		last := page.Items[0].ID
		next := page.Next
		page = AuditList{}
		boss.must(http.StatusOK, "GET", "/audit?limit=1&before="+next, nil, &page)
		if page.Items[0].ID != last-1 {
			t.Errorf("%d follows %d", page.Items[0].ID, last)
		}
		n++
	}
	if n < 5 || page.Items[0].Kind != "setup" {
		t.Errorf("%d entries, the first by %+v", n, page.Items[0])
	}
	if err := b.store.VerifyChain(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestPortsAndStatus(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	boss := b.setUp()
	b.live.ports[0].Err = "in use"
	b.live.ports[1].Packets = 7
	var p PortList
	boss.must(http.StatusOK, "GET", "/ports", nil, &p)
	state := map[string]Port{}
	for _, row := range p.Items {
		state[row.ID] = row
	}
	if len(p.Items) != len(ports.Table()) || state["portal"].State != "failed" || state["portal"].Error != "in use" || state["rtp-core"].State != "open" || state["rtp-core"].Packets != 7 || state["wallboard"].State != "unavailable" {
		t.Errorf("%+v", state)
	}
	var s Status
	boss.must(http.StatusOK, "GET", "/status", nil, &s)
	if s.Version != "1.2.3" || s.Hostname != "box" || s.Counts.Extensions != 3 || s.Fence.Active || len(s.Applied) != 1 || s.Rev == 0 {
		t.Errorf("%+v", s)
	}
}
