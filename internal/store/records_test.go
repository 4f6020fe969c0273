package store

import (
	"errors"
	"fmt"
	"math"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"ringfence/internal/ports"
	"ringfence/internal/telephony"
)

func TestBindingsRoundTrip(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := openAt(t, dir)
	id := addTenant(t, s, "pbx.example", "101", "102")
	first, second := exampleBinding(id, "101"), exampleBinding(id, "102")
	second.Instance, second.RegID = "<urn:uuid:0>", 2
	second.Flow.Local, second.Flow.Token = netip.MustParseAddrPort("[2001:db8::1]:5061"), "t7"
	second.Outbound, second.NAT, second.Path = true, true, "<sip:edge.example;lr>, <sip:10.0.0.1;lr>"
	second.Push = telephony.Push{Provider: "apns", PRID: "00fc13adff78512", Param: "DEF.app"}
	expired := exampleBinding(id, "102")
	expired.Contact, expired.Expires = "sip:old@192.0.2.9", time.Now().Add(-time.Second)
	if err := s.SaveBindings(t.Context(), []telephony.Binding{first, second, expired}, nil); err != nil {
		t.Fatal(err)
	}
	first.CSeq, first.Q = 8, 0.75 // a refresh
	if err := s.SaveBindings(t.Context(), []telephony.Binding{first}, nil); err != nil {
		t.Fatal(err)
	}
	s.Close()
	s = openAt(t, dir)
	got, err := s.LoadBindings(t.Context())
	if err != nil || !reflect.DeepEqual(got, []telephony.Binding{first, second}) {
		t.Fatalf("got %+v, %v\nwant %+v", got, err, []telephony.Binding{first, second})
	}
	if err := s.pruneBindings(t.Context(), time.Now()); err != nil {
		t.Fatal(err)
	}
	var n int
	if err := s.readers.QueryRow(`SELECT count(*) FROM binding`).Scan(&n); err != nil || n != 2 {
		t.Errorf("%d rows after pruning, %v", n, err)
	}
	if err := s.SaveBindings(t.Context(), nil, []telephony.Binding{second}); err != nil {
		t.Fatal(err)
	}
	if got, err = s.LoadBindings(t.Context()); err != nil || len(got) != 1 {
		t.Errorf("after removal: %+v, %v", got, err)
	}
}

func TestCallRecords(t *testing.T) {
	t.Parallel()
	s := open(t)
	id := addTenant(t, s, "pbx.example")
	start := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	var want []telephony.CallRecord
	for i := range 25 {
		r := exampleCall(id, fmt.Sprintf("call-%02d", i), fmt.Sprint(101+i%3), "150", start.Add(time.Duration(i/5)*time.Minute))
		want = append(want, r)
	}
	want[3].Answered, want[3].Rang, want[3].Reason = time.Time{}, time.Time{}, telephony.EndBusy
	want[4].CallerLeg.Packets = math.MaxUint64 // clamped
	self := exampleCall(id, "call-self", "150", "150", start.Add(time.Hour))
	want = append(want, self)
	for range 2 { // a batch may come twice
		if err := s.AppendCallRecords(t.Context(), want); err != nil {
			t.Fatal(err)
		}
	}
	want[4].CallerLeg.Packets = math.MaxInt64
	slices.Reverse(want)
	got, pages := walk(t, s.ForTenant(id), CallRecordFilter{Limit: 7})
	if !reflect.DeepEqual(got, want) || pages != 4 {
		t.Errorf("%d records on %d pages, want %d on 4", len(got), pages, len(want))
	}
	if got[0].Duration() != 58*time.Second {
		t.Errorf("duration %v", got[0].Duration())
	}
	if got, _ := walk(t, s.ForTenant(id), CallRecordFilter{Limit: 4, Extension: "150"}); len(got) != 26 {
		t.Errorf("%d calls of 150, want 26", len(got))
	}
	got, _ = walk(t, s.ForTenant(id), CallRecordFilter{Limit: 2, Extension: "102", Before: start.Add(2 * time.Minute)})
	if len(got) != 3 || got[0].ID != "call-07" {
		t.Errorf("calls of 102 before 12:02: %+v", got)
	}
	if n, err := s.ForTenant(id).CountCallRecords(t.Context(), start.Add(4*time.Minute)); err != nil || n != 6 {
		t.Errorf("counted %d, %v", n, err)
	}
	for _, cursor := range []string{"x", "12", ".", "9999999999999999999999.a"} {
		if _, _, err := s.ForTenant(id).CallRecords(t.Context(), CallRecordFilter{Cursor: cursor}); err == nil {
			t.Errorf("cursor %q was taken", cursor)
		}
	}
}

func walk(t *testing.T, sc Scope, f CallRecordFilter) (all []telephony.CallRecord, pages int) {
	t.Helper()
	for {
		page, next, err := sc.CallRecords(t.Context(), f)
		if err != nil {
			t.Fatal(err)
		}
		all, pages = append(all, page...), pages+1
		if next == "" {
			return all, pages
		}
		f.Cursor = next
	}
}

func TestCallRecordsUseTheirIndexes(t *testing.T) {
	t.Parallel()
	s := open(t)
	for query, want := range map[string]string{
		`SELECT * FROM call_record WHERE tenant_id = 1 AND (started_at, id) < (5, 'x') ORDER BY started_at DESC, id DESC LIMIT 9`:                         "call_record_started",
		`SELECT * FROM call_record WHERE tenant_id = 1 AND caller_number = '1' AND (started_at, id) < (5, 'x') ORDER BY started_at DESC, id DESC LIMIT 9`: "call_record_caller",
		`SELECT * FROM change WHERE tenant_id = 1 AND seq < 9 ORDER BY seq DESC LIMIT 9`:                                                                  "change_tenant",
	} {
		plan, err := collect(t.Context(), s.readers, func(scan func(...any) error) (string, error) {
			var a, b, c int
			var detail string
			return detail, scan(&a, &b, &c, &detail)
		}, `EXPLAIN QUERY PLAN `+query)
		if err != nil || !strings.Contains(plan[0], want) || len(plan) != 1 {
			t.Errorf("%s: %q, %v", query, plan, err)
		}
	}
}

func TestOldCallRecordsGo(t *testing.T) {
	t.Parallel()
	s, err := Open(t.Context(), t.TempDir(), Options{MaxCallRecords: 10, Snapshots: -1})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	id := addTenant(t, s, "pbx.example")
	var records []telephony.CallRecord
	for i := range 25 {
		records = append(records, exampleCall(id, fmt.Sprintf("call-%02d", i), "101", "102", time.Unix(int64(1000+i), 0)))
	}
	if err := s.AppendCallRecords(t.Context(), records); err != nil {
		t.Fatal(err)
	}
	// The store's own round may prune at the same moment.
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			if err := s.pruneCallRecords(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	got, _ := walk(t, s.ForTenant(id), CallRecordFilter{})
	if len(got) != 10 || got[9].ID != "call-15" {
		t.Errorf("left are %+v", got)
	}
}

func TestSessions(t *testing.T) {
	t.Parallel()
	s := open(t)
	var user telephony.User
	mustUpdate(t, s.System(), func(tx *Tx) (err error) {
		user, err = tx.CreateUser(telephony.User{Name: "admin", Role: telephony.RoleSystemAdmin}, "h")
		return err
	})
	now := time.Now().UTC().Truncate(time.Microsecond)
	make1 := func(n byte, seen time.Time) Session {
		v := Session{Hash: [32]byte{n}, User: user.ID, CSRF: "c", Addr: netip.MustParseAddr("2001:db8::1"), Created: now, Seen: seen, Expires: now.Add(time.Hour)}
		if err := s.CreateSession(t.Context(), v); err != nil {
			t.Fatal(err)
		}
		return v
	}
	for n := range byte(MaxSessionsPerUser + 5) {
		make1(n+1, now.Add(time.Duration(n)*time.Second))
	}
	all, err := s.System().Sessions(t.Context(), user.ID)
	if err != nil || len(all) != MaxSessionsPerUser || all[len(all)-1].Hash != [32]byte{6} {
		t.Fatalf("%d sessions, %v", len(all), err)
	}
	want := all[0]
	got, u, err := s.SessionByHash(t.Context(), want.Hash)
	if err != nil || got != want || u != user {
		t.Fatalf("%+v %+v, %v", got, u, err)
	}
	if err := s.TouchSession(t.Context(), want.Hash, now.Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	if got, _, _ = s.SessionByHash(t.Context(), want.Hash); !got.Seen.Equal(now.Add(time.Minute)) {
		t.Errorf("seen %v", got.Seen)
	}
	if err := s.PruneSessions(t.Context(), now, now.Add(15*time.Second)); err != nil {
		t.Fatal(err)
	}
	if all, _ = s.System().Sessions(t.Context(), user.ID); len(all) != 10 {
		t.Errorf("%d sessions after pruning", len(all))
	}
	mustUpdate(t, s.System(), func(tx *Tx) error { return tx.DeleteSessions(user.ID, &want.Hash) })
	if all, _ = s.System().Sessions(t.Context(), user.ID); len(all) != 1 || all[0].Hash != want.Hash {
		t.Errorf("after ending the others: %+v", all)
	}
	// A role change ends them all.
	id := addTenant(t, s, "a.example")
	mustUpdate(t, s.ForTenant(id), func(tx *Tx) (err error) {
		user, err = tx.CreateUser(telephony.User{Name: "jo", Role: telephony.RoleAdmin}, "h")
		return err
	})
	if err := s.CreateSession(t.Context(), Session{Hash: [32]byte{99}, Tenant: id, User: user.ID, Created: now, Seen: now, Expires: now.Add(time.Hour)}); err != nil {
		t.Fatal(err)
	}
	user.Role = telephony.RoleStandard
	mustUpdate(t, s.ForTenant(id), func(tx *Tx) error { return tx.PutUser(user) })
	if _, _, err := s.SessionByHash(t.Context(), [32]byte{99}); !errors.Is(err, ErrNotFound) {
		t.Errorf("a session outlives its role: %v", err)
	}
}

func TestLockoutsRoundTrip(t *testing.T) {
	t.Parallel()
	s := open(t)
	now := time.Now().UTC().Truncate(time.Microsecond)
	a := Lockout{Kind: LockoutAddress, Subject: "192.0.2.1", Failures: 3, Failed: now}
	b := Lockout{Kind: LockoutAccount, Subject: "admin", Failures: 9, Failed: now, Until: now.Add(time.Minute)}
	if err := s.SaveLockouts(t.Context(), []Lockout{a, b}, nil); err != nil {
		t.Fatal(err)
	}
	a.Failures, a.Until = 0, now.Add(time.Hour)
	if err := s.SaveLockouts(t.Context(), []Lockout{a}, []Lockout{b}); err != nil {
		t.Fatal(err)
	}
	got, err := s.LoadLockouts(t.Context())
	if err != nil || !reflect.DeepEqual(got, []Lockout{a}) {
		t.Fatalf("%+v, %v", got, err)
	}
}

func TestUsers(t *testing.T) {
	t.Parallel()
	s := open(t)
	id := addTenant(t, s, "a.example", "101")
	var boss telephony.User
	mustUpdate(t, s.System(), func(tx *Tx) (err error) {
		boss, err = tx.CreateUser(telephony.User{Name: "admin", Role: telephony.RoleSystemAdmin, MustChangePassword: true}, "hash-1")
		return err
	})
	got, hash, err := s.UserByName(t.Context(), "ADMIN")
	if err != nil || got != boss || hash != "hash-1" {
		t.Fatalf("%+v %s, %v", got, hash, err)
	}
	if _, _, err := s.UserByName(t.Context(), "nobody"); !errors.Is(err, ErrNotFound) {
		t.Errorf("unknown name: %v", err)
	}
	for name, fn := range map[string]func(tx *Tx) error{
		"name": func(tx *Tx) error {
			_, err := tx.CreateUser(telephony.User{Name: "admin", Role: telephony.RoleAdmin}, "h")
			return err
		},
		"role": func(tx *Tx) error {
			_, err := tx.CreateUser(telephony.User{Name: "x", Role: telephony.RoleSystemAdmin}, "h")
			return err
		},
		"extension": func(tx *Tx) error {
			_, err := tx.CreateUser(telephony.User{Name: "x", Role: telephony.RoleAdmin, Extension: "102"}, "h")
			return err
		},
	} {
		_, err := s.ForTenant(id).Update(t.Context(), admin(), fn)
		if fe, ok := telephony.AsFieldError(err); !ok || fe.Field != name {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := s.System().Update(t.Context(), admin(), func(tx *Tx) error { return tx.DeleteUser(boss.ID) }); err == nil {
		t.Error("the last administrator could be deleted")
	}
	mustUpdate(t, s.System(), func(tx *Tx) error {
		if err := tx.SetUserPassword(boss.ID, "hash-2", false); err != nil {
			return err
		}
		_, err := tx.CreateUser(telephony.User{Name: "second", Role: telephony.RoleSystemAdmin}, "h")
		return err
	})
	if got, hash, _ = s.UserByName(t.Context(), "admin"); hash != "hash-2" || got.MustChangePassword {
		t.Errorf("%+v %s", got, hash)
	}
	mustUpdate(t, s.System(), func(tx *Tx) error { return tx.DeleteUser(boss.ID) })
	if users, err := s.System().Users(t.Context()); err != nil || len(users) != 1 || users[0].Name != "second" {
		t.Errorf("%+v, %v", users, err)
	}
}

func TestEverySettingIsKept(t *testing.T) {
	t.Parallel()
	var v telephony.Settings
	known := make(map[uintptr]bool)
	for _, f := range settingFields() {
		known[reflect.ValueOf(f.of(&v)).Pointer()] = true
	}
	fields := reflect.ValueOf(&v).Elem()
	for i := range fields.NumField() {
		name := fields.Type().Field(i).Name
		if name != "Ports" && !known[fields.Field(i).Addr().Pointer()] {
			t.Errorf("settingFields lacks telephony.Settings.%s: it would be lost at a restart", name)
		}
	}
}

func TestSettingsRefused(t *testing.T) {
	t.Parallel()
	s := open(t)
	on := true
	for field, change := range map[string]func(*telephony.Settings){
		"login_failures":      func(v *telephony.Settings) { v.LoginFailures = 0 },
		"client_certificates": func(v *telephony.Settings) { v.ClientCertificates = "perhaps" },
		"client_authorities":  func(v *telephony.Settings) { v.ClientCertificates = telephony.ClientCertificatesRequire },
		"session_idle":        func(v *telephony.Settings) { v.SessionIdle = time.Second },
		"ports": func(v *telephony.Settings) {
			v.Ports = []ports.Override{{ID: ports.Portal, First: 9000}, {ID: ports.Portal, Enabled: &on}}
		},
	} {
		_, err := s.System().Update(t.Context(), admin(), func(tx *Tx) error {
			v := telephony.DefaultSettings()
			change(&v)
			return tx.PutSettings(v)
		})
		if fe, ok := telephony.AsFieldError(err); !ok || fe.Field != field {
			t.Errorf("%s: %v", field, err)
		}
	}
	if s.Snapshot().Rev != 0 {
		t.Error("a refused setting made a revision")
	}
}

func TestTenantRules(t *testing.T) {
	t.Parallel()
	s := open(t)
	id := addTenant(t, s, "a.example", "101", "150")
	addTenant(t, s, "b.example")
	for field, change := range map[string]func(*telephony.Tenant){
		"domain":          func(v *telephony.Tenant) { v.Domain = "b.example" },
		"extension_first": func(v *telephony.Tenant) { v.ExtensionFirst = "102" },
		"extension_last":  func(v *telephony.Tenant) { v.ExtensionLast = "1999" },
		"name":            func(v *telephony.Tenant) { v.Name = "a\nb" },
	} {
		_, err := s.ForTenant(id).Update(t.Context(), admin(), func(tx *Tx) error {
			v, err := tx.Tenant()
			if err != nil {
				return err
			}
			change(&v)
			return tx.PutTenant(v)
		})
		if fe, ok := telephony.AsFieldError(err); !ok || fe.Field != field {
			t.Errorf("%s: %v", field, err)
		}
		if (field == "domain") != errors.Is(err, ErrExists) {
			t.Errorf("%s: %v", field, err)
		}
	}
	for _, e := range []struct{ number, password, field string }{
		{"101", testPassword, "number"}, {"200", testPassword, "number"}, {"1010", testPassword, "number"},
		{"102", "short", "sip_password"}, {"102", strings.Repeat("x", 65), "sip_password"}, {"102", "with a space in it", "sip_password"},
	} {
		_, err := s.ForTenant(id).Update(t.Context(), admin(), func(tx *Tx) error {
			_, err := tx.CreateExtension(telephony.Extension{Number: e.number}, e.password)
			return err
		})
		if fe, ok := telephony.AsFieldError(err); !ok || fe.Field != e.field {
			t.Errorf("%+v: %v", e, err)
		}
	}
	if _, err := s.System().Update(t.Context(), admin(), func(tx *Tx) error {
		_, err := tx.CreateExtension(telephony.Extension{Number: "102"}, testPassword)
		return err
	}); !errors.Is(err, ErrScope) {
		t.Errorf("an extension of the box: %v", err)
	}
}

func TestSubscriptionsRoundTrip(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := openAt(t, dir)
	id := addTenant(t, s, "pbx.example", "101", "102")
	one := telephony.Subscription{
		Tenant: id, Subscriber: "101", Resource: "102", Event: "dialog", EventID: "7", CallID: "c@x", LocalTag: "ours", RemoteTag: "theirs",
		Local: "<sip:102@pbx.example>", Remote: `"A" <sip:101@pbx.example>`, Target: "sip:101@192.0.2.5:5071", Routes: []string{"<sip:a;lr>", "<sip:b;lr>"},
		LocalSeq: 9, RemoteSeq: 1<<31 - 1, Version: 8, Expires: time.Now().Add(time.Hour).UTC().Truncate(time.Microsecond),
		Flow: telephony.Flow{Node: "n", Epoch: 3, Listener: ports.SIPUDP, Local: netip.MustParseAddrPort("192.0.2.1:5060"), Remote: netip.MustParseAddrPort("192.0.2.5:5071")},
	}
	two, expired, nobody := one, one, one
	two.LocalTag, two.Routes, two.Expires = "ours-2", nil, one.Expires.Add(time.Second)
	expired.LocalTag, expired.Expires = "ours-3", time.Now().Add(-time.Second)
	nobody.LocalTag, nobody.Subscriber = "ours-4", "199"
	if err := s.SaveSubscriptions(t.Context(), []telephony.Subscription{one, two, expired, nobody}, nil); err != nil {
		t.Fatal(err)
	}
	one.LocalSeq, one.Version, one.Target = 509, 508, "sip:101@192.0.2.6"
	if err := s.SaveSubscriptions(t.Context(), []telephony.Subscription{one}, nil); err != nil {
		t.Fatal(err)
	}
	s.Close()
	s = openAt(t, dir)
	if got, err := s.LoadSubscriptions(t.Context()); err != nil || !reflect.DeepEqual(got, []telephony.Subscription{one, two}) {
		t.Fatalf("got %+v, %v\nwant %+v", got, err, []telephony.Subscription{one, two})
	}
	if err := s.pruneSubscriptions(t.Context(), time.Now()); err != nil {
		t.Fatal(err)
	}
	var n int
	if err := s.readers.QueryRow(`SELECT count(*) FROM subscription`).Scan(&n); err != nil || n != 2 {
		t.Errorf("%d rows after pruning, %v", n, err)
	}
	if err := s.SaveSubscriptions(t.Context(), nil, []telephony.Subscription{one}); err != nil {
		t.Fatal(err)
	}
	if got, err := s.LoadSubscriptions(t.Context()); err != nil || len(got) != 1 || got[0].LocalTag != "ours-2" {
		t.Errorf("after removal: %+v, %v", got, err)
	}
}

func TestPublicationsRoundTrip(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := openAt(t, dir)
	id := addTenant(t, s, "pbx.example", "101", "102")
	at := time.Now().UTC().Truncate(time.Microsecond)
	one := telephony.Publication{Tenant: id, Number: "101", Tag: "z", Open: true, Activities: []string{"away", "on-the-phone"}, Note: "back\nsoon", Published: at, Expires: at.Add(time.Hour)}
	two, expired, nobody := one, one, one
	two.Tag, two.Activities, two.Open, two.Published = "a", []string{}, false, at.Add(time.Second)
	expired.Tag, expired.Expires = "b", at.Add(-time.Second)
	nobody.Tag, nobody.Number = "c", "199"
	if err := s.SavePublications(t.Context(), []telephony.Publication{two, one, expired, nobody}, nil); err != nil {
		t.Fatal(err)
	}
	s.Close()
	s = openAt(t, dir)
	if got, err := s.LoadPublications(t.Context()); err != nil || !reflect.DeepEqual(got, []telephony.Publication{one, two}) {
		t.Fatalf("got %+v, %v\nwant %+v", got, err, []telephony.Publication{one, two})
	}
	if err := s.prunePublications(t.Context(), time.Now()); err != nil {
		t.Fatal(err)
	}
	var n int
	if err := s.readers.QueryRow(`SELECT count(*) FROM publication`).Scan(&n); err != nil || n != 2 {
		t.Errorf("%d rows after pruning, %v", n, err)
	}
	if err := s.SavePublications(t.Context(), nil, []telephony.Publication{one}); err != nil {
		t.Fatal(err)
	}
	if got, err := s.LoadPublications(t.Context()); err != nil || len(got) != 1 || got[0].Tag != "a" {
		t.Errorf("after removal: %+v, %v", got, err)
	}
}
