package dialplan

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"ringfence/internal/telephony"
)

// made is a generated configuration: rules that try to shadow emergency numbers,
// extensions that have them, roles that may do nothing, hours that are never open.
func made(random *rand.Rand) *telephony.Snapshot {
	pick := func(list ...string) string { return list[random.IntN(len(list))] }
	some := func(list ...string) (out []string) {
		for _, s := range list {
			if random.IntN(3) == 0 {
				out = append(out, s)
			}
		}
		return out
	}
	var trunks []telephony.Trunk
	for id := range 1 + random.IntN(4) {
		trunks = append(trunks, telephony.Trunk{
			Tenant: 1, ID: telephony.TrunkID(id + 1), Name: fmt.Sprint("t", id), Enabled: id == 0 || random.IntN(2) == 0, KeepCallerID: random.IntN(2) == 0,
			Format:   []telephony.NumberFormat{telephony.FormatPlus, telephony.FormatDigits, telephony.FormatNational, telephony.FormatDialled, ""}[random.IntN(5)],
			CallerID: pick("", "+49301000", "+1"), DIDs: []telephony.NumberRange{{First: "+493010", Last: "+493019"}},
			Rates: []telephony.Rate{{Prefix: pick("4", "49", "1"), Minute: telephony.Money(random.IntN(9))}, {Prefix: pick("43", "4930")}},
		})
	}
	route := func() telephony.Route {
		return telephony.Route{Trunk: telephony.TrunkID(random.IntN(6)), Strip: random.IntN(12), Prepend: pick("", "0", "+49", "9"), CallerID: pick("", "+4930777")}
	}
	routes := func(most int) (out []telephony.Route) {
		for range random.IntN(most + 1) {
			out = append(out, route())
		}
		return out
	}
	r := telephony.Routing{
		Plan: telephony.NumberingPlan{
			Country: pick("DE", "US", "FR", "AU", "IN", "GB", "BR", "GH", ""), AreaCode: pick("", "30", "212", "1"), Outside: pick("", "0", "9", "1", "11", "*"),
			Allowed: some("1", "43", "882", "1876"), Disallowed: some("49", "1", "112", "4311", "911"),
			Emergency:       []telephony.EmergencyNumber{{Number: "112"}, {Number: "911"}, {Number: "999", Name: "help"}},
			EmergencyRoutes: routes(3),
		},
		Night:     telephony.NightMode(pick("auto", "on")),
		Schedules: []telephony.Schedule{{Name: "never"}, {Name: "always", Week: always(telephony.DaySpan{From: 0, To: 1440}).Week}},
		Blocked:   []telephony.CallerBlock{{Caller: "*"}},
	}
	for id := range random.IntN(8) {
		rule := telephony.OutboundRule{
			ID: int64(id + 1), Name: fmt.Sprint("r", id), Enabled: random.IntN(4) > 0, Priority: random.IntN(5), Prefixes: some("9", "1", "11", "0", "+49", "00"),
			Groups: some("a", "b"), Hours: pick("", "", "never", "always", "gone"), Routes: routes(8),
			Order: []telephony.RouteOrder{telephony.OrderListed, telephony.OrderCheapest, telephony.OrderRandom}[random.IntN(3)],
		}
		for _, l := range some("3", "8", "11") {
			rule.Lengths = append(rule.Lengths, len(l)*4)
		}
		for _, c := range telephony.CallClasses() {
			if random.IntN(3) == 0 {
				rule.Classes = append(rule.Classes, c)
			}
		}
		r.Outbound = append(r.Outbound, rule)
	}
	for id := range random.IntN(4) {
		destination := func() telephony.Destination {
			return telephony.Destination{
				Kind:   []telephony.DestinationKind{telephony.ToNothing, telephony.ToExtension, telephony.ToDirect, telephony.ToNumber, telephony.ToHangUp, telephony.ToBusy}[random.IntN(6)],
				Number: pick("101", "112", "0112", "0049301234567"), As: pick("101", "911", "none"),
			}
		}
		r.Inbound = append(r.Inbound, telephony.InboundRule{
			ID: int64(id + 1), Enabled: true, DIDs: []telephony.NumberRange{{First: "+493010", Last: pick("", "+493019", "broken")}},
			Caller: pick("", "+4*", "anonymous"), Hours: pick("", "never", "gone"), Open: destination(), Closed: destination(), Night: destination(),
		})
	}
	roles := []telephony.Role{telephony.RoleStandard, telephony.RoleInternational, telephony.RoleAdmin, "nothing", "gone"}
	extensions := []telephony.Extension{{Tenant: 1, Number: "101"}}
	for _, n := range some("112", "911", "999", "0112", "9911", "110") {
		extensions = append(extensions, telephony.Extension{Tenant: 1, Number: n})
	}
	for i := range extensions {
		extensions[i].OwnRole = roles[random.IntN(len(roles))]
		extensions[i].Groups = some("a", "b")
	}
	return telephony.NewSnapshot(1, telephony.DefaultSettings(), []telephony.Tenant{{ID: 1, Domain: "a.test", ExtensionFirst: pick("100", "900"), ExtensionLast: "999", TimeZone: pick("Europe/Berlin", "America/New_York")}}, extensions).
		WithRouting(trunks, map[telephony.TenantID]telephony.Routing{1: r}).
		WithRoles([]telephony.RoleDefinition{{Tenant: 1, Name: "nothing"}})
}

// TestEmergencyIsReachedInEveryConfiguration: whatever is set, an emergency
// number goes out by every trunk that is switched on, with all its digits.
func TestEmergencyIsReachedInEveryConfiguration(t *testing.T) {
	t.Parallel()
	for seed := range uint64(3000) {
		random := rand.New(rand.NewPCG(seed, 1))
		snap := made(random)
		plan := snap.Routing(1).Plan
		e := snap.Extensions(1)[0]
		for _, number := range append([]string{"112", "911", "999"}, Emergency(plan.Country)...) {
			for _, dialled := range []string{number, plan.Outside + number, "+" + number, strings.Join(strings.Split(number, ""), "-")} {
				p := Resolve(snap, Request{
					Tenant: 1, Caller: e, Dialled: dialled, At: time.Unix(int64(seed)*100_000, 0), Down: func(telephony.TrunkID) bool { return seed%2 == 0 },
				})
				want := 0
				for _, trunk := range snap.Trunks(1) {
					if !trunk.Enabled {
						continue
					}
					want++
					if !slices.ContainsFunc(p.Attempts, func(a Attempt) bool { return a.Trunk == trunk.ID && strings.HasSuffix(a.Number, p.Number) }) {
						t.Errorf("seed %d: %s does not go out by trunk %d: %s", seed, dialled, trunk.ID, short(p))
					}
				}
				// With the outside prefix 1, 911 is also that behind a 9; 1 and 12
				// might be another emergency number.
				if !p.Emergency || p.Outcome != ToOutside || len(p.Attempts) < want || !strings.HasSuffix(dialled, p.Number[len(p.Number)-1:]) {
					t.Errorf("seed %d: %s: %s", seed, dialled, short(p))
				}
				if p.Number != number && (plan.Outside == "" || !strings.HasPrefix(dialled, plan.Outside)) && p.Number != strings.ReplaceAll(strings.TrimPrefix(dialled, "+"), "-", "") {
					t.Errorf("seed %d: %s became %s", seed, dialled, p.Number)
				}
			}
		}
	}
}

// TestTheDryRunIsTheCall: with steps or without, the plan is the same one, and
// what is refused has no attempt.
func TestTheDryRunIsTheCall(t *testing.T) {
	t.Parallel()
	outside := 0
	for seed := range uint64(4000) {
		random := rand.New(rand.NewPCG(seed, 2))
		snap := made(random)
		list := snap.Extensions(1)
		numbers := []string{"101", "112", "0030123456", "00043123456", "01143123456", "1 212 555 0123", "+18765550123", "+88212345678", "9011491234567", "110101", "*31#1"}
		req := Request{
			Tenant: 1, Caller: list[random.IntN(len(list))], Dialled: numbers[random.IntN(len(numbers))], At: time.Unix(random.Int64N(2e9), 0), Seed: seed,
			Down: func(id telephony.TrunkID) bool { return uint64(id)%3 == seed%5 },
		}
		plan := Resolve(snap, req)
		req.Explain = true
		dry := Resolve(snap, req)
		if len(dry.Steps) == 0 || len(plan.Steps) != 0 {
			t.Errorf("seed %d: %d steps, and %d of a call", seed, len(dry.Steps), len(plan.Steps))
		}
		dry.Steps = nil
		if !reflect.DeepEqual(plan, dry) {
			t.Errorf("seed %d: %s, the dry run says %s", seed, short(plan), short(dry))
		}
		if plan.Outcome == ToOutside {
			outside++
		}
		checkPlan(t, snap, req, plan)

		in := InboundRequest{Tenant: 1, Trunk: 1, Called: []string{"+493012", "493012", "3012", "x", ""}[random.IntN(5)], Caller: []string{"", "+43123456", "anonymous", "alice"}[random.IntN(4)], At: req.At, Seed: seed}
		plan = ResolveInbound(snap, in)
		in.Explain = true
		dry = ResolveInbound(snap, in)
		dry.Steps = nil
		if !reflect.DeepEqual(plan, dry) {
			t.Errorf("seed %d: inbound %s, the dry run says %s", seed, short(plan), short(dry))
		}
	}
	if outside < 300 {
		t.Errorf("only %d generated calls went outside", outside)
	}
}

// checkPlan holds a plan of Resolve against the settings, told in other words
// than Resolve's own.
func checkPlan(t *testing.T, snap *telephony.Snapshot, req Request, p Plan) {
	t.Helper()
	routing := snap.Routing(req.Tenant)
	complain := func(why string) {
		t.Helper()
		t.Errorf("%q of %s %s: %s", req.Dialled, req.Caller.Number, why, short(p))
	}
	switch p.Outcome {
	case Refused:
		if p.Refusal.Code < 400 || p.Refusal.Reason == "" || len(p.Attempts) > 0 {
			complain("is refused badly")
		}
		return
	case ToExtension:
		if _, ok := snap.Extension(req.Tenant, p.Extension); !ok {
			complain("rings nobody")
		}
		return
	case ToOutside:
	default:
		complain("has no outcome")
	}
	if len(p.Attempts) == 0 {
		complain("goes outside without a trunk")
	}
	for _, a := range p.Attempts {
		if trunk, ok := snap.Trunk(req.Tenant, a.Trunk); !ok || !trunk.Enabled || a.Number == "" || strings.Trim(a.Number, "+0123456789*#") != "" {
			complain("goes to a trunk that is off, or badly")
		}
		if !p.Emergency && req.Down != nil && req.Down(a.Trunk) {
			complain("goes to a trunk that is down")
		}
	}
	if p.Emergency {
		return
	}
	role, _ := snap.Role(req.Tenant, req.Caller.Role)
	if !slices.Contains(role.Classes, p.Class) || len(p.Attempts) > telephony.MaxRoutes {
		complain("is not permitted to role " + string(role.Name))
	}
	for _, code := range routing.Plan.Disallowed {
		if strings.HasPrefix(p.Number, "+"+code) {
			complain("is disallowed")
		}
	}
	if p.Class == telephony.ClassInternational && !slices.ContainsFunc(routing.Plan.Allowed, func(code string) bool { return strings.HasPrefix(p.Number, "+"+code) }) {
		complain("goes to a country that is not allowed")
	}
}

// FuzzResolve dials anything in generated configurations.
func FuzzResolve(f *testing.F) {
	for _, s := range []string{"112", "0049301234567", "+1 876 555 0123", "9 011 49 30", "*#06#", "+49 (0)30", "\x00", "٠١", "1" + strings.Repeat("0", 40)} {
		f.Add(uint64(len(s)), s, s, int64(1.7e9))
	}
	f.Fuzz(func(t *testing.T, seed uint64, dialled, from string, at int64) {
		snap := made(rand.New(rand.NewPCG(seed, 3)))
		list := snap.Extensions(1)
		req := Request{Tenant: 1, Caller: list[seed%uint64(len(list))], Dialled: dialled, From: from, At: time.Unix(at%4e9, 0), Seed: seed, Explain: true}
		begun := time.Now()
		p := Resolve(snap, req)
		in := ResolveInbound(snap, InboundRequest{Tenant: 1, Trunk: 1, Called: dialled, Caller: from, At: req.At, Explain: true})
		if took := time.Since(begun); took > 5*time.Second {
			t.Errorf("took %s", took)
		}
		checkPlan(t, snap, req, p)
		if in.Outcome == "" {
			t.Errorf("no outcome for %q from %q", dialled, from)
		}
		_, _ = Normalise("DE", "30", dialled)
	})
}
