package store

import (
	"context"
	"database/sql"
	"errors"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"ringfence/internal/telephony"
)

const trunkPassword = telephony.Secret("itsp-password-77")

func exampleTrunk(name, did string) telephony.Trunk {
	return telephony.Trunk{
		Name: name, Kind: telephony.TrunkRegister, Enabled: true, Host: "sip.provider.example", Port: 5060, Transport: telephony.TrunkTLS,
		OutboundProxy: "proxy.provider.example:5071", Interface: "eth1", Peers: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}, PeerPort: 5061,
		User: "4930" + name, AuthUser: "auth", Password: trunkPassword, RegisterInterval: 5 * time.Minute, OptionsInterval: 30 * time.Second,
		Media: telephony.SecurityRequire, DTMF: telephony.DTMFEvents, MaxCalls: 8,
		DIDs: []telephony.NumberRange{{First: did + "0", Last: did + "9"}}, Format: telephony.FormatNational, CallerID: did + "0", KeepCallerID: true,
		Identity: telephony.IdentityPAI, TrustIdentity: true, DialledIn: "to",
		Headers: []telephony.HeaderRule{{Name: "X-Account", Value: "{trunk}"}, {Inbound: true, Name: "Diversion", Remove: true}},
		Caps:    telephony.Caps{MoneyDay: 50_000_000, CallsPerMinute: 10},
		Rates:   []telephony.Rate{{Prefix: "49", Name: "Germany", Minute: 9000, First: time.Minute, Next: time.Second}, {Prefix: "4915", Minute: 90000, Connect: 1}},
	}
}

// fillRoutes gives a tenant something of everything; it needs extension 101.
func fillRoutes(t *testing.T, s *Store, id telephony.TenantID, did string) (trunk telephony.Trunk, out telephony.OutboundRule, in telephony.InboundRule) {
	t.Helper()
	mustUpdate(t, s.ForTenant(id), func(tx *Tx) (err error) {
		if trunk, err = tx.CreateTrunk(exampleTrunk("a", did)); err != nil {
			return err
		}
		if _, err := tx.CreateGroup(telephony.Group{Name: "Sales", Members: []string{"101"}}); err != nil {
			return err
		}
		hours := telephony.Schedule{Name: "Office", Holidays: []telephony.Holiday{{Name: "Labour Day", Month: 5, Day: 1}}}
		hours.Week[1] = []telephony.DaySpan{{From: 480, To: 1020}}
		if err := tx.CreateSchedule(hours); err != nil {
			return err
		}
		out, err = tx.CreateOutboundRule(telephony.OutboundRule{
			Name: "Abroad", Enabled: true, Priority: 20, Prefixes: []string{"00"}, Lengths: []int{10, 12}, Classes: []telephony.CallClass{telephony.ClassInternational},
			Groups: []string{"Sales"}, Roles: []telephony.Role{telephony.RoleInternational}, Extensions: []telephony.NumberRange{{First: "100", Last: "199"}},
			Hours: "Office", Order: telephony.OrderCheapest, Routes: []telephony.Route{{Trunk: trunk.ID, Strip: 1, Prepend: "0", CallerID: did + "1"}},
		})
		if err != nil {
			return err
		}
		in, err = tx.CreateInboundRule(telephony.InboundRule{
			Name: "Main", Enabled: true, Priority: 10, Trunks: []telephony.TrunkID{trunk.ID}, DIDs: []telephony.NumberRange{{First: did + "0"}}, Caller: "+49*", Hours: "Office",
			Open: telephony.Destination{Kind: telephony.ToExtension, Number: "101"}, Closed: telephony.Destination{Kind: telephony.ToBusy},
			Holiday: telephony.Destination{Kind: telephony.ToHangUp}, Night: telephony.Destination{Kind: telephony.ToNumber, Number: "0301", As: "101"},
		})
		if err != nil {
			return err
		}
		plan := telephony.NumberingPlan{
			AreaCode: "30", Outside: "0", Allowed: []string{"49", "43"}, Disallowed: []string{"882"}, Emergency: []telephony.EmergencyNumber{{Number: "112", Name: "Emergency"}},
			EmergencyRoutes: []telephony.Route{{Trunk: trunk.ID}}, EmergencyNotify: []string{"guard@example.org"},
		}
		err = tx.PutRoutingSettings(telephony.Routing{Plan: plan, Currency: "CHF", Night: telephony.NightOn, RejectAnonymous: true, MaxCalls: 4, Caps: telephony.Caps{MinutesHour: 60}})
		_, err2 := tx.CreateContact(telephony.Contact{Name: "Supplier", Numbers: []string{did + "77"}})
		return errors.Join(err, err2, tx.BlockCaller(telephony.CallerBlock{Caller: "+4990*", Note: "noise"}))
	})
	return trunk, out, in
}

// TestRoutingIsKept: what is set comes back unchanged after a restart, and the
// snapshot that the change made is the one that is read from the disk.
func TestRoutingIsKept(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := openAt(t, dir)
	a := addTenant(t, s, "a.example", "101")
	b := addTenant(t, s, "b.example", "101")
	trunk, out, in := fillRoutes(t, s, a, "+493012")
	fillRoutes(t, s, b, "+493099")
	before := s.Snapshot()
	got, _ := before.Trunk(a, trunk.ID)
	if want := exampleTrunk("a", "+493012"); got.Password != want.Password || len(got.Rates) != 2 || !reflect.DeepEqual(got.Rates, want.Rates) || got.Host != want.Host || !reflect.DeepEqual(got.Headers, want.Headers) {
		t.Errorf("trunk: %+v", got)
	}
	r := before.Routing(a)
	if len(r.Outbound) != 1 || !reflect.DeepEqual(r.Outbound[0], out) || len(r.Inbound) != 1 || !reflect.DeepEqual(r.Inbound[0], in) {
		t.Errorf("rules: %+v", r)
	}
	if r.Plan.Outside != "0" || len(r.Plan.EmergencyRoutes) != 1 || r.Currency != "CHF" || r.Night != telephony.NightOn || r.MaxCalls != 4 || r.Caps.MinutesHour != 60 ||
		len(r.Schedules) != 1 || r.Schedules[0].Week[1][0].To != 1020 || len(r.Schedules[0].Holidays) != 1 || len(r.Blocked) != 1 || !r.RejectAnonymous {
		t.Errorf("settings: %+v", r)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = openAt(t, dir)
	for _, id := range []telephony.TenantID{a, b} {
		if !reflect.DeepEqual(s.Snapshot().Routing(id), before.Routing(id)) || !reflect.DeepEqual(s.Snapshot().Trunks(id), before.Trunks(id)) {
			t.Errorf("tenant %d after a restart:\n%+v\n%+v", id, s.Snapshot().Routing(id), before.Routing(id))
		}
	}
}

// TestNextSnapshotIsWhatIsOnTheDisk: after every kind of change the snapshot that
// was built from the one before equals the one that is read whole.
func TestNextSnapshotIsWhatIsOnTheDisk(t *testing.T) {
	t.Parallel()
	s := open(t)
	a := addTenant(t, s, "a.example", "101")
	b := addTenant(t, s, "b.example", "101")
	trunk, out, in := fillRoutes(t, s, a, "+493012")
	fillRoutes(t, s, b, "+493099")
	var second telephony.Trunk
	for i, step := range []func(*Tx) error{
		func(tx *Tx) error { trunk.MaxCalls = 30; return tx.PutTrunk(trunk) },
		func(tx *Tx) error { return tx.PutRates(trunk.ID, nil) },
		func(tx *Tx) error { return tx.SetTrunkPassword(trunk.ID, "another-one-88") },
		func(tx *Tx) (err error) {
			second, err = tx.CreateTrunk(telephony.Trunk{Name: "peer", Kind: telephony.TrunkPeer, Host: "192.0.2.9"})
			return err
		},
		func(tx *Tx) error { out.Enabled, out.Hours = false, ""; return tx.PutOutboundRule(out) },
		func(tx *Tx) error { in.Trunks = nil; return tx.PutInboundRule(in) },
		func(tx *Tx) error {
			h, err := tx.Schedule("Office")
			h.Name = "Bureau"
			return errors.Join(err, tx.PutSchedule("Office", h))
		},
		func(tx *Tx) error {
			list, err := s.ForTenant(a).Groups(t.Context())
			list[0].Name = "Sellers"
			return errors.Join(err, tx.PutGroup(list[0]))
		},
		func(tx *Tx) error {
			v, err := tx.Tenant()
			v.Country, v.TimeZone = "CH", "Europe/Zurich"
			return errors.Join(err, tx.PutTenant(v))
		},
		func(tx *Tx) error { return tx.UnblockCaller("+4990*") },
		func(tx *Tx) error { return tx.DeleteOutboundRule(out.ID) },
		func(tx *Tx) error { return tx.DeleteInboundRule(in.ID) },
		func(tx *Tx) error { return tx.DeleteSchedule("Bureau") },
		func(tx *Tx) error { return tx.PutRoutingSettings(defaultRouting()) },
		func(tx *Tx) error { return tx.DeleteTrunk(trunk.ID) },
		func(tx *Tx) error { return tx.DeleteTrunk(second.ID) },
		func(tx *Tx) error {
			_, err := tx.CreateExtension(telephony.Extension{Number: "150"}, testPassword)
			return err
		},
	} {
		rev := s.Snapshot().Rev
		mustUpdate(t, s.ForTenant(a), step)
		made := s.Snapshot()
		if made.Rev != rev+1 {
			t.Errorf("step %d changed nothing", i)
		}
		whole, err := s.readSnapshot(t.Context(), s.readers)
		if err != nil {
			t.Fatal(err)
		}
		for _, id := range []telephony.TenantID{a, b} {
			if !reflect.DeepEqual(made.Routing(id), whole.Routing(id)) || !reflect.DeepEqual(made.Trunks(id), whole.Trunks(id)) {
				t.Errorf("step %d, tenant %d:\n%+v\n%+v", i, id, made.Routing(id), whole.Routing(id))
			}
		}
	}
	mustUpdate(t, s.System(), func(tx *Tx) error { return tx.DeleteTenant(b) })
	if snap := s.Snapshot(); len(snap.Trunks(b)) != 0 || len(snap.Routing(b).Outbound) != 0 {
		t.Error("routing of a deleted tenant is still there")
	}
}

func TestRenamedHoursAndGroupsKeepTheirRules(t *testing.T) {
	t.Parallel()
	s := open(t)
	id := addTenant(t, s, "a.example", "101")
	fillRoutes(t, s, id, "+493012")
	mustUpdate(t, s.ForTenant(id), func(tx *Tx) error {
		h, err := tx.Schedule("Office")
		h.Name = "Bureau"
		groups, err2 := s.ForTenant(id).Groups(t.Context())
		groups[0].Name = "Sellers"
		return errors.Join(err, err2, tx.PutSchedule("Office", h), tx.PutGroup(groups[0]))
	})
	r := s.Snapshot().Routing(id)
	if !slices.Equal(r.Outbound[0].Groups, []string{"Sellers"}) {
		t.Errorf("rule is for %q", r.Outbound[0].Groups)
	}
	if r.Outbound[0].Hours != "Bureau" || r.Inbound[0].Hours != "Bureau" {
		t.Errorf("rules name %q and %q", r.Outbound[0].Hours, r.Inbound[0].Hours)
	}
}

// TestWhatIsUsedStays: trunks and hours that rules name are not deleted, and the
// answer names the rules.
func TestWhatIsUsedStays(t *testing.T) {
	t.Parallel()
	s := open(t)
	id := addTenant(t, s, "a.example", "101")
	trunk, _, _ := fillRoutes(t, s, id, "+493012")
	groups, err := s.ForTenant(id).Groups(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for name, fn := range map[string]func(*Tx) error{
		"trunk": func(tx *Tx) error { return tx.DeleteTrunk(trunk.ID) },
		"hours": func(tx *Tx) error { return tx.DeleteSchedule("Office") },
		"group": func(tx *Tx) error { return tx.DeleteGroup(groups[0].ID) },
	} {
		_, err := s.ForTenant(id).Update(t.Context(), admin(), fn)
		fe, _ := telephony.AsFieldError(err)
		if !errors.Is(err, ErrExists) || fe == nil || !strings.Contains(fe.Reason, "outgoing rule Abroad") || name != "group" && !strings.Contains(fe.Reason, "incoming rule Main") {
			t.Errorf("%s: %v", name, err)
		}
		if name == "trunk" && !strings.Contains(fe.Reason, "emergency") {
			t.Errorf("emergency is not named: %v", err)
		}
	}
}

func TestRulesNameOnlyWhatIsThere(t *testing.T) {
	t.Parallel()
	s := open(t)
	a := addTenant(t, s, "a.example", "101")
	b := addTenant(t, s, "b.example", "101", "150")
	trunk, out, in := fillRoutes(t, s, a, "+493012")
	var others telephony.Trunk
	mustUpdate(t, s.ForTenant(b), func(tx *Tx) (err error) {
		for range 5 {
			others, err = tx.CreateTrunk(telephony.Trunk{Name: "x", Kind: telephony.TrunkPeer, Host: "192.0.2.9"})
			if err != nil || others.ID > trunk.ID+3 {
				return err
			}
			if err := tx.DeleteTrunk(others.ID); err != nil {
				return err
			}
		}
		return err
	})
	for name, x := range map[string]struct {
		fn    func(*Tx) error
		field string
	}{
		"other tenant's trunk": {func(tx *Tx) error {
			r := out
			r.Routes = []telephony.Route{{Trunk: trunk.ID}, {Trunk: others.ID}}
			return tx.PutOutboundRule(r)
		}, "routes[1].trunk"},
		"other's trunk, in":  {func(tx *Tx) error { r := in; r.Trunks = []telephony.TrunkID{others.ID}; return tx.PutInboundRule(r) }, "trunks[0]"},
		"no such hours":      {func(tx *Tx) error { r := out; r.Hours = "Night"; return tx.PutOutboundRule(r) }, "hours"},
		"no such hours, in":  {func(tx *Tx) error { r := in; r.Hours = "Night"; return tx.PutInboundRule(r) }, "hours"},
		"other's extension":  {func(tx *Tx) error { r := in; r.Open.Number = "150"; return tx.PutInboundRule(r) }, "open.number"},
		"on other's account": {func(tx *Tx) error { r := in; r.Night.As = "150"; return tx.PutInboundRule(r) }, "night.as"},
		"emergency by another": {func(tx *Tx) error {
			r := defaultRouting()
			r.Plan.EmergencyRoutes = []telephony.Route{{Trunk: others.ID}}
			return tx.PutRoutingSettings(r)
		}, "emergency_routes[0].trunk"},
		"name twice":  {func(tx *Tx) error { r := out; r.ID = 0; _, err := tx.CreateOutboundRule(r); return err }, "name"},
		"trunk twice": {func(tx *Tx) error { _, err := tx.CreateTrunk(exampleTrunk("a", "+493077")); return err }, "name"},
		"no password": {func(tx *Tx) error {
			v := exampleTrunk("b", "+493077")
			v.Password = ""
			_, err := tx.CreateTrunk(v)
			return err
		}, "password"},
	} {
		_, err := s.ForTenant(a).Update(t.Context(), admin(), x.fn)
		if fe, ok := telephony.AsFieldError(err); !ok || fe.Field != x.field {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestNumbersBelongToOneTenant: a number of another tenant is refused, without
// saying whose it is; two trunks of one tenant may share a number.
func TestNumbersBelongToOneTenant(t *testing.T) {
	t.Parallel()
	s := open(t)
	a := addTenant(t, s, "a.example", "101")
	b := addTenant(t, s, "b.example", "101")
	fillRoutes(t, s, a, "+493012")
	with := func(id telephony.TenantID, name string, r telephony.NumberRange) error {
		_, err := s.ForTenant(id).Update(t.Context(), admin(), func(tx *Tx) error {
			_, err := tx.CreateTrunk(telephony.Trunk{Name: name, Kind: telephony.TrunkPeer, Host: "192.0.2.9", DIDs: []telephony.NumberRange{{First: "+4940" + name}, r}})
			return err
		})
		return err
	}
	for i, x := range []struct {
		r  telephony.NumberRange
		ok bool
	}{
		{telephony.NumberRange{First: "+4930125"}, false},
		{telephony.NumberRange{First: "+4930100", Last: "+4930120"}, false},
		{telephony.NumberRange{First: "+4930129", Last: "+4930199"}, false},
		{telephony.NumberRange{First: "+4930100", Last: "+4930199"}, false},
		{telephony.NumberRange{First: "+49301250"}, true}, // longer
		{telephony.NumberRange{First: "+4930130", Last: "+4930139"}, true},
	} {
		err := with(b, string(rune('1'+i))+"11", x.r)
		if (err == nil) != x.ok {
			t.Errorf("%v: %v", x.r, err)
		}
		if err != nil && (!errors.Is(err, ErrExists) || strings.Contains(err.Error(), "a.example") || strings.Contains(err.Error(), "tenant")) {
			t.Errorf("%v: %v", x.r, err)
		}
	}
	if err := with(a, "999", telephony.NumberRange{First: "+4930125"}); err != nil {
		t.Errorf("a second trunk of the same tenant: %v", err)
	}
}

// TestTrunkPasswordsStayInside: neither rows nor history hold them in the clear,
// and one copied to another trunk's row does not open.
func TestTrunkPasswordsStayInside(t *testing.T) {
	t.Parallel()
	s := open(t)
	id := addTenant(t, s, "a.example", "101")
	trunk, _, _ := fillRoutes(t, s, id, "+493012")
	mustUpdate(t, s.ForTenant(id), func(tx *Tx) error {
		if err := tx.SetTrunkPassword(trunk.ID, trunkPassword+"x"); err != nil {
			return err
		}
		v, err := tx.Trunk(trunk.ID)
		v.MaxCalls = 77
		return errors.Join(err, tx.PutTrunk(v))
	})
	if strings.Contains(dump(t, s), string(trunkPassword)) {
		t.Error("the database holds a trunk's password in the clear")
	}
	list, err := s.ForTenant(id).Audit(t.Context(), AuditFilter{})
	if err != nil || !strings.Contains(list[0].Kind+string(list[0].Payload), "trunk.put") {
		t.Fatalf("%+v, %v", list, err)
	}
	if got, _ := s.Snapshot().Trunk(id, trunk.ID); got.Password != trunkPassword+"x" || got.MaxCalls != 77 {
		t.Errorf("%+v", got)
	}
	sealed := s.keys.sealTrunk(id, trunk.ID, trunkPassword)
	for name, open := range map[string]func() (telephony.Secret, error){
		"other trunk":  func() (telephony.Secret, error) { return s.keys.openTrunk(id, trunk.ID+1, sealed) },
		"other tenant": func() (telephony.Secret, error) { return s.keys.openTrunk(id+1, trunk.ID, sealed) },
		"as an extension's": func() (telephony.Secret, error) {
			v, err := s.keys.open(id, "1", sealed)
			return telephony.Secret(v), err
		},
	} {
		if got, err := open(); err == nil || got != "" {
			t.Errorf("%s opened", name)
		}
	}
}

// TestRoutingCannotCross goes behind the code, to the schema.
func TestRoutingCannotCross(t *testing.T) {
	t.Parallel()
	s := open(t)
	a := addTenant(t, s, "a.example", "101")
	b := addTenant(t, s, "b.example", "101")
	trunk, out, in := fillRoutes(t, s, a, "+493012")
	for _, x := range []struct {
		query string
		args  []any
	}{
		{`INSERT INTO outbound_route VALUES (?, ?, 3, ?, 0, '', '')`, []any{b, out.ID, trunk.ID}},
		{`INSERT INTO inbound_trunk VALUES (?, ?, 3, ?)`, []any{b, in.ID, trunk.ID}},
		{`INSERT INTO emergency_route VALUES (?, 0, ?, 0, '', '')`, []any{b, trunk.ID}},
		{`INSERT INTO trunk_did VALUES (?, ?, '+1', '+1')`, []any{b, trunk.ID}},
		{`INSERT INTO trunk_rate VALUES (?, ?, '1', '', 0, 0, 0, 0)`, []any{b, trunk.ID}},
		{`INSERT INTO outbound_rule VALUES (?, 99, 'x', 1, 1, '{}', 'Office', 'listed')`, []any{b}},
		{`DELETE FROM trunk WHERE tenant_id = ?`, []any{a}},
		{`DELETE FROM schedule WHERE tenant_id = ?`, []any{a}},
		{`INSERT INTO routing VALUES (0, '{}', 'EUR', 'auto', 0, 0, '{}')`, nil},
	} {
		err := s.write(t.Context(), func(ctx context.Context, tx *sql.Tx) error {
			_, err := tx.ExecContext(ctx, x.query, x.args...)
			return err
		})
		if err == nil || code(err) != 19 { // SQLITE_CONSTRAINT
			t.Errorf("%s: %v", x.query, err)
		}
	}
	for name, fn := range map[string]func(*Tx) error{
		"read trunk":    func(tx *Tx) error { _, err := tx.Trunk(trunk.ID); return err },
		"put trunk":     func(tx *Tx) error { return tx.PutTrunk(trunk) },
		"password":      func(tx *Tx) error { return tx.SetTrunkPassword(trunk.ID, "aaaaaaaaaaaa") },
		"rates":         func(tx *Tx) error { return tx.PutRates(trunk.ID, nil) },
		"delete trunk":  func(tx *Tx) error { return tx.DeleteTrunk(trunk.ID) },
		"rule":          func(tx *Tx) error { _, err := tx.OutboundRule(out.ID); return err },
		"put rule":      func(tx *Tx) error { return tx.PutOutboundRule(out) },
		"delete rule":   func(tx *Tx) error { return tx.DeleteOutboundRule(out.ID) },
		"incoming":      func(tx *Tx) error { _, err := tx.InboundRule(in.ID); return err },
		"put incoming":  func(tx *Tx) error { return tx.PutInboundRule(in) },
		"del incoming":  func(tx *Tx) error { return tx.DeleteInboundRule(in.ID) },
		"hours":         func(tx *Tx) error { _, err := tx.Schedule("Office"); return err },
		"put hours":     func(tx *Tx) error { return tx.PutSchedule("Office", telephony.Schedule{Name: "Office"}) },
		"delete hours":  func(tx *Tx) error { return tx.DeleteSchedule("Office") },
		"unblock":       func(tx *Tx) error { return tx.UnblockCaller("+4990*") },
		"contact":       func(tx *Tx) error { return tx.DeleteContact(1) },
		"box, trunk":    func(tx *Tx) error { tx.scope = telephony.System; _, err := tx.Trunk(trunk.ID); return err },
		"box, settings": func(tx *Tx) error { tx.scope = telephony.System; return tx.PutRoutingSettings(defaultRouting()) },
	} {
		if _, err := s.ForTenant(b).Update(t.Context(), admin(), fn); !errors.Is(err, ErrNotFound) && !errors.Is(err, ErrScope) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestDirectoryIsListedByName(t *testing.T) {
	t.Parallel()
	s := open(t)
	id := addTenant(t, s, "a.example", "101")
	other := addTenant(t, s, "b.example", "101")
	var first telephony.Contact
	mustUpdate(t, s.ForTenant(id), func(tx *Tx) (err error) {
		for _, name := range []string{"Zoe", "Adam", "Mia 50%", "Mia_x"} {
			if first, err = tx.CreateContact(telephony.Contact{Name: name, Company: "Firm", Numbers: []string{"+4930" + "1"}}); err != nil {
				return err
			}
		}
		return nil
	})
	mustUpdate(t, s.ForTenant(other), func(tx *Tx) error {
		_, err := tx.CreateContact(telephony.Contact{Name: "Other", Numbers: []string{"1"}})
		return err
	})
	names := func(f ContactFilter) string {
		list, err := s.ForTenant(id).Contacts(t.Context(), f)
		if err != nil {
			t.Fatal(err)
		}
		var out []string
		for _, c := range list {
			out = append(out, c.Name)
		}
		return strings.Join(out, ",")
	}
	for want, f := range map[string]ContactFilter{
		"Adam,Mia 50%,Mia_x,Zoe": {}, "Adam,Mia 50%": {Limit: 2}, "Mia_x,Zoe": {AfterName: "Mia 50%", AfterID: first.ID - 1, Limit: 5},
		"Mia 50%": {Search: "50%"}, "Mia_x": {Search: "_"}, "Zoe": {Search: "zOE"}, "": {Search: "Other"},
	} {
		if got := names(f); got != want {
			t.Errorf("%+v: %s, want %s", f, got, want)
		}
	}
	first.Name = "Bea"
	mustUpdate(t, s.ForTenant(id), func(tx *Tx) error { return tx.PutContact(first) })
	if got := names(ContactFilter{Limit: 2}); got != "Adam,Bea" {
		t.Errorf("after a change: %s", got)
	}
	mustUpdate(t, s.ForTenant(id), func(tx *Tx) error { return tx.DeleteContact(first.ID) })
	if got := names(ContactFilter{}); strings.Contains(got, "Bea") {
		t.Errorf("after deleting: %s", got)
	}
}
