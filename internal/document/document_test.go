package document

import (
	"errors"
	"fmt"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"ringfence/internal/store"
	"ringfence/internal/telephony"
)

const hash = "$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHRzb21lc2FsdA$0Zk1mWl0bWJ0c2hvcnRob3J0aGFzaG9mMzJieXRlcyE"

func openStore(t testing.TB) *store.Store {
	t.Helper()
	s, err := store.Open(t.Context(), t.TempDir(), store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func actor() telephony.Actor { return telephony.Actor{Kind: telephony.ActorUser, Name: "boss"} }

// rich is a document that uses everything there is.
const rich = `
version: 1
box:
  settings:
    session_idle: 20m
    inside_networks: [10.0.0.0/8]
    web_names: [pbx.example]
    trace_calls: false
    ports:
      - id: sip-tls
        enabled: true
      - id: portal
        first: 9443
        last: 9443
        sources: [192.0.2.0/24]
    listener_digests: {sip-tls: sha256}
    protection: {names: 70, ban: 2h}
  administrators:
    - {name: boss, role: system_admin, first_name: Ada}
  addresses:
    - {prefix: 192.0.2.0/24, allow: true, note: the office}
    - {prefix: "2001:db8::/32", expires: 2099-01-31T12:00:00Z}
tenants:
  - domain: a.test
    name: Acme
    extension_first: "100"
    extension_last: "199"
    time_zone: Europe/Berlin
    country: DE
    calls: {session: refuse, tones: DE}
    sign_in: {passwords: {mode: nist, min: 15, max: 64}}
    keeping: {call_days: 90}
    roles:
      - {name: reception, description: at the door, permissions: [calls.manage], classes: [internal, local]}
    schedules:
      - name: office
        week: [[], [08:00-12:00, 13:00-17:30], [08:00-17:00], [], [], [], []]
        holidays:
          - {name: Christmas, month: December, day: 25}
    extensions:
      - {number: "101", display_name: Ann, own_role: reception, handling: {forward_busy: "102", ring_also: ["102"]}}
      - {number: "102", display_name: Bert, no_answer: 45s, media: require-256, emergency_location: "Floor 2"}
    groups:
      - {name: sales, members: ["101", "102"]}
    users:
      - {name: ann, role: admin, extension: "101", email: ann@a.test}
    trunks:
      - name: provider
        kind: register
        host: sip.provider.example
        user: "4930123"
        password: trunk-Pass-1
        max_calls: 10
        dids: [+493012340..+493012349]
        headers:
          - {name: X-Account, value: "17"}
        caps: {money_day: 12.5, calls_per_minute: 20}
        rates:
          - {prefix: "49", name: Germany, connect: 0.01, minute: 0.015, next: 1m}
      - {name: gateway, kind: peer, host: 198.51.100.7, peers: [198.51.100.0/28]}
    routing:
      currency: EUR
      max_calls: 20
      plan:
        outside: "0"
        area_code: "30"
        allowed: ["49", "43"]
        emergency: [{number: "112", name: Emergency}]
        emergency_routes: [{trunk: gateway}]
    outbound:
      - name: all
        priority: 10
        groups: [sales]
        roles: [reception]
        hours: office
        routes:
          - {trunk: provider, strip: 1}
          - {trunk: gateway, prepend: "9"}
    inbound:
      - name: main
        priority: 1
        trunks: [provider]
        dids: [+493012340]
        hours: office
        open: {kind: extension, number: "101"}
        closed: {kind: hangup}
    blocked:
      - {caller: "+49900*", note: premium}
    contacts:
      - {name: Eve, numbers: ["+493055"], company: Evil}
      - {name: Eve, numbers: ["+493056"]}
  - domain: b.test
    name: Other
    extension_first: "100"
    extension_last: "199"
    extensions:
      - {number: "101"}
`

// apply makes a store as a text says.
func apply(t testing.TB, s *store.Store, text string, o Options) ([]Change, error) {
	t.Helper()
	d, err := Unmarshal([]byte(text), s)
	if err != nil {
		return nil, err
	}
	was, err := Read(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	d.Fill(was)
	changes := Compare(was, d)
	o.NoPassword = hash
	_, err = s.System().Update(t.Context(), actor(), func(tx *store.Tx) error { return Apply(tx, was, d, o) })
	return changes, err
}

func export(t testing.TB, s *store.Store, secrets Secrets) string {
	t.Helper()
	c, err := Read(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	text, err := Marshal(c, secrets)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func plan(t testing.TB, s *store.Store, text string) []Change {
	t.Helper()
	d, err := Unmarshal([]byte(text), s)
	if err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	was, err := Read(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	d.Fill(was)
	return Compare(was, d)
}

// TestRoundTrip: what was exported changes nothing, makes the same box of an
// empty one, and looks the same when that is exported.
func TestRoundTrip(t *testing.T) {
	t.Parallel()
	s := openStore(t)
	if _, err := apply(t, s, rich, Options{}); err != nil {
		t.Fatal(err)
	}
	if left := plan(t, s, rich); len(left) != 0 {
		t.Errorf("applied, and yet to be changed: %+v", left)
	}
	for name, secrets := range map[string]Secrets{"without secrets": nil, "with secrets": s} {
		text := export(t, s, secrets)
		if changes := plan(t, s, text); len(changes) != 0 {
			t.Errorf("%s: %+v", name, changes)
		}
		if strings.Contains(text, "trunk-Pass-1") || strings.Contains(text, "argon2id") {
			t.Errorf("%s: a secret is told as it is", name)
		}
		before := s.Snapshot().Rev
		if _, err := apply(t, s, text, Options{}); err != nil || s.Snapshot().Rev != before {
			t.Errorf("%s: applied once more: %v, revision %d became %d", name, err, before, s.Snapshot().Rev)
		}
	}
	text := export(t, s, nil)
	other := openStore(t)
	if _, err := apply(t, other, text, Options{}); err == nil || !strings.Contains(err.Error(), "trunks[provider].password: must not be empty") {
		t.Fatalf("a trunk without a password: %v", err)
	}
	if _, err := apply(t, other, strings.Replace(text, `user: "4930123"`, `user: "4930123", password: secret-1`, 1), Options{}); err == nil {
		t.Fatal("a comma in a block")
	}
	if _, err := apply(t, other, strings.Replace(text, `user: "4930123"`, "user: \"4930123\"\n        password: secret-1", 1), Options{}); err != nil {
		t.Fatal(err)
	}
	if again := export(t, other, nil); again != text {
		t.Errorf("exported again it differs:\n%s\n---\n%s", text, again)
	}
	a, _ := s.Snapshot().TenantByDomain("a.test")
	if trunks := s.Snapshot().Trunks(a.ID); len(trunks) != 2 || trunks[0].Password.Reveal() != "trunk-Pass-1" || len(trunks[0].Rates) != 1 || trunks[0].Rates[0].Minute != 15_000 {
		t.Errorf("trunks %+v", trunks)
	}
}

// TestEverythingReturns: a document of before takes back whatever was added,
// changed or removed after it, passwords included.
func TestEverythingReturns(t *testing.T) {
	t.Parallel()
	s := openStore(t)
	if _, err := apply(t, s, rich, Options{}); err != nil {
		t.Fatal(err)
	}
	a, _ := s.Snapshot().TenantByDomain("a.test")
	if _, err := s.ForTenant(a.ID).Update(t.Context(), actor(), func(tx *store.Tx) error { return tx.SetSIPPassword("102", "Sea-shell-77") }); err != nil {
		t.Fatal(err)
	}
	kept := export(t, s, s)
	other := strings.NewReplacer("Bert", "Berta", `"103"`, `"104"`, "day: 25", "day: 24", "strip: 1", "strip: 2", "[sales]", "[]", "currency: EUR", "currency: CHF", "20m", "25m").Replace(rich)
	other = strings.Replace(other, `      - {number: "102", display_name: Berta, no_answer: 45s, media: require-256, emergency_location: "Floor 2"}`, `      - {number: "103"}`, 1)
	other = strings.NewReplacer(`forward_busy: "102", ring_also: ["102"]`, "", `["101", "102"]`, `["101"]`, "b.test", "c.test", "provider", "carrier").Replace(other)
	if _, err := apply(t, s, other, Options{}); err == nil || !strings.Contains(err.Error(), "b.test") {
		t.Fatalf("a tenant goes without being asked for: %v", err)
	}
	changes, err := apply(t, s, other, Options{RemoveTenants: true})
	if err != nil {
		t.Fatal(err)
	}
	said := fmt.Sprintf("%+v", changes)
	for _, want := range []string{"{Verb:remove Object:tenants[b.test]", "{Verb:add Object:tenants[c.test]", "{Verb:remove Object:tenants[a.test].extensions[102]", "{Field:session_idle Was:20m Is:25m}", "{Field:currency Was:EUR Is:CHF}", "{Verb:add Object:tenants[a.test].trunks[carrier]"} {
		if !strings.Contains(said, want) {
			t.Errorf("the plan lacks %s: %s", want, said)
		}
	}
	if _, ok := s.Snapshot().TenantByDomain("b.test"); ok {
		t.Error("b.test is still there")
	}
	if _, err := apply(t, s, kept, Options{RemoveTenants: true}); err != nil {
		t.Fatal(err)
	}
	if changes := plan(t, s, kept); len(changes) != 0 {
		t.Errorf("not as before: %+v", changes)
	}
	if got, err := s.ForTenant(a.ID).SIPPassword(t.Context(), actor(), "102"); err != nil || got != "Sea-shell-77" {
		t.Errorf("password %q, %v", got, err)
	}
}

// TestWhatIsLeftOutStays: blocks and lists, not fields.
func TestWhatIsLeftOutStays(t *testing.T) {
	t.Parallel()
	s := openStore(t)
	if _, err := apply(t, s, rich, Options{}); err != nil {
		t.Fatal(err)
	}
	if changes := plan(t, s, "version: 1"); len(changes) != 0 {
		t.Errorf("an empty document changes %+v", changes)
	}
	some := "version: 1\nbox: {addresses: []}\n"
	if changes := plan(t, s, some); len(changes) != 2 || changes[0].Verb != Remove || changes[1].Verb != Remove {
		t.Errorf("an empty list changes %+v", changes)
	}
	some = "version: 1\nbox: {settings: {session_idle: 20m}}\n"
	changes := plan(t, s, some)
	if len(changes) != 1 || changes[0].Object != "box.settings" || changes[0].Line != 2 {
		t.Fatalf("fields that are left out: %+v", changes)
	}
}

// TestBadDocumentIsRefusedWhole with line and field, and nothing of it is done.
func TestBadDocumentIsRefusedWhole(t *testing.T) {
	t.Parallel()
	s := openStore(t)
	if _, err := apply(t, s, rich, Options{}); err != nil {
		t.Fatal(err)
	}
	before := export(t, s, nil)
	for text, want := range map[string]string{
		"a: [":                        "line 1: is no YAML",
		"version: 2":                  "line 1: version: must be 1",
		"version: 1\nbogus: 3":        `line 2: has no field "bogus"`,
		"version: 1\n---\nversion: 1": "more than one document",
		"version: 1\nbox: &a {}":      "line 2: box: anchors and aliases are not used here",
		"version: 1\nbox: []":         "line 2: box: must be a block of fields",
		"version: 1\ntenants: {}":     "line 2: tenants: must be a list",
		"version: 1\nversion: 1":      "line 2: version: is there twice",
		"version: 1\nbox:\n  settings:\n    session_idle: soon":                  "line 4: box.settings.session_idle: is no duration",
		"version: 1\nbox:\n  settings:\n    session_idle: 1s":                    "line 4: box.settings.session_idle:",
		"version: 1\nbox:\n  settings:\n    trace_calls: perhaps":                "line 4: box.settings.trace_calls: must be true or false",
		"version: 1\nbox:\n  settings:\n    login_failures: many":                "line 4: box.settings.login_failures: must be a whole number",
		"version: 1\nbox:\n  settings:\n    ports: [{id: portal, first: 70000}]": "line 4: box.settings.ports[portal].first: must be a whole number from 0 to 65535",
		"version: 1\nbox:\n  addresses:\n    - {prefix: 10.0.0.0/40}":            "line 4: box.addresses[10.0.0.0/40].prefix: is no prefix",
		"version: 1\nbox:\n  addresses:\n    - {note: x}":                        "box.addresses: has an entry without prefix",
		"version: 1\nbox:\n  administrators: []":                                 "box.administrators[boss]",
		"version: 1\ntenants:\n  - {domain: a.test, name: Acme, extension_first: \"100\", extension_last: \"99\"}\n  - {domain: b.test, name: Other, extension_first: \"100\", extension_last: \"199\"}": "line 3: tenants[a.test].",
		"version: 1\ntenants:\n  - {domain: a.test}\n  - {domain: a.test}":                   "line 4: tenants[a.test]: is there twice",
		strings.Replace(rich, "{trunk: provider, strip: 1}", "{trunk: nobody, strip: 1}", 1): "tenants[a.test].outbound[all].routes: names a trunk that does not exist",
		strings.Replace(rich, "no_answer: 45s", "no_answer: 1s", 1):                          "tenants[a.test].extensions[102].no_answer",
		strings.Replace(rich, "08:00-17:00", "08:00", 1):                                     "is no part of a day",
		strings.Replace(rich, "money_day: 12.5", "money_day: lots", 1):                       "caps.money_day: is no amount",
		strings.Replace(rich, "trunk-Pass-1", "sealed:AAAA", 1):                              "was sealed by another box",
		strings.Replace(rich, "members: [\"101\", \"102\"]", "members: [\"999\"]", 1):        "tenants[a.test].groups[sales].",
		strings.Repeat("[", 100) + strings.Repeat("]", 100):                                  "must be a block of fields",
	} {
		_, err := apply(t, s, text, Options{})
		var refused *Error
		if !errors.As(err, &refused) || !strings.Contains(err.Error(), want) {
			t.Errorf("%.300s\nwant %s\ngot  %v", text, want, err)
		}
	}
	if after := export(t, s, nil); after != before {
		t.Error("a document that was refused changed something")
	}
	if _, err := Unmarshal(make([]byte, MaxSize+1), nil); err == nil || !strings.Contains(err.Error(), "larger than 32 MiB") {
		t.Errorf("too long: %v", err)
	}
	// All that is wrong is told at once.
	_, err := Unmarshal([]byte("version: 1\nx: 1\nbox:\n  y: 2\n  settings:\n    z: 3\n"), nil)
	if n := strings.Count(fmt.Sprint(err), "has no field"); n != 3 {
		t.Errorf("%d of 3 faults told: %v", n, err)
	}
}

// TestNothingIsForgotten: every field of what is set has a place in the document,
// or stands on the list of those that have none.
func TestNothingIsForgotten(t *testing.T) {
	t.Parallel()
	without := map[string]bool{}
	for _, v := range []any{
		telephony.Settings{}, telephony.Tenant{}, telephony.Extension{}, telephony.User{}, telephony.AddressRule{}, telephony.RoleDefinition{}, telephony.Trunk{},
		telephony.OutboundRule{}, telephony.InboundRule{}, telephony.Schedule{}, telephony.Group{}, telephony.CallerBlock{}, telephony.Contact{}, telephony.NumberingPlan{}, telephony.SignIn{},
	} {
		typ := reflect.TypeOf(v)
		for i := range typ.NumField() {
			if f := typ.Field(i); !f.Anonymous && left(typ, f.Name) {
				without[typ.Name()+"."+f.Name] = true
			}
		}
	}
	if len(without) != 30 {
		t.Errorf("%d fields have no place in the document: %v", len(without), without)
	}
	// What a tenant has of routing stands in the document under other types.
	routing := reflect.TypeFor[telephony.Routing]()
	if routing.NumField() != 12 {
		t.Errorf("telephony.Routing has %d fields; does Routing of the document know them?", routing.NumField())
	}
}

func TestWords(t *testing.T) {
	t.Parallel()
	for _, v := range []any{
		30 * time.Second, 90 * time.Minute, 24 * time.Hour, 1500 * time.Millisecond, time.Duration(0),
		telephony.Money(0), telephony.Money(15_000), telephony.Money(-1), telephony.Money(12_500_000), telephony.Money(1 << 60),
		telephony.DaySpan{From: 0, To: 1440}, telephony.DaySpan{From: 485, To: 1050}, time.May, time.Unix(4_000_000_000, 0).UTC(), time.Time{},
		netip.MustParsePrefix("2001:db8::/32"), netip.Addr{}, telephony.NumberRange{First: "+49", Last: "+50"},
	} {
		text, ok := textOf(reflect.ValueOf(v))
		back := reflect.New(reflect.TypeOf(v)).Elem()
		if err := setText(back, text); !ok || err != nil || !reflect.DeepEqual(back.Interface(), v) {
			t.Errorf("%v became %q and %v (%v)", v, text, back, err)
		}
	}
	for name, want := range map[string]string{"DIDs": "dids", "TLSOnly": "tls_only", "SessionMax": "session_max", "MinSE": "min_se", "CallerID": "caller_id", "L1": "l1", "SIPPassword": "sip_password"} {
		if got := snake(name); got != want {
			t.Errorf("%s is %s, want %s", name, got, want)
		}
	}
}

func FuzzUnmarshal(f *testing.F) {
	f.Add(rich)
	f.Add("version: 1\nbox: {settings: {session_idle: 20m}}")
	f.Add("a: &a [*a]")
	f.Fuzz(func(t *testing.T, text string) {
		d, err := Unmarshal([]byte(text), nil)
		if err != nil {
			var refused *Error
			if !errors.As(err, &refused) || len(refused.Faults) == 0 || len(refused.Faults) > maxFaults {
				t.Fatalf("%v", err)
			}
			return
		}
		// What was read can be written, and reads as the same.
		out, err := Marshal(d.Configuration, nil)
		if err != nil {
			t.Fatal(err)
		}
		again, err := Unmarshal(out, nil)
		if err != nil {
			t.Fatalf("%v in\n%s", err, out)
		}
		twice, err := Marshal(again.Configuration, nil)
		if err != nil || string(twice) != string(out) {
			t.Fatalf("%v\n%s\n%s", err, out, twice)
		}
	})
}
