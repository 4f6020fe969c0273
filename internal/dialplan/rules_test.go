package dialplan

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"ringfence/internal/telephony"
)

// only leaves one rule, which carries everything over trunk 1, and changes it.
func only(change func(*telephony.OutboundRule)) *telephony.Snapshot {
	return house(func(r *telephony.Routing, _ []telephony.Trunk) {
		rule := telephony.OutboundRule{ID: 9, Name: "it", Enabled: true, Routes: []telephony.Route{{Trunk: 1}}}
		change(&rule)
		r.Outbound = []telephony.OutboundRule{rule}
	})
}

func TestConditionsOfRules(t *testing.T) {
	t.Parallel()
	type rule = telephony.OutboundRule
	for _, c := range []struct {
		what   string
		change func(*rule)
		number string
		want   bool
	}{
		{"no condition", func(*rule) {}, "0089123456", true},
		{"off", func(r *rule) { r.Enabled = false }, "0089123456", false},
		{"prefix", func(r *rule) { r.Prefixes = []string{"030", "089"} }, "0089123456", true},
		{"other prefix", func(r *rule) { r.Prefixes = []string{"030"} }, "0089123456", false},
		{"prefix of E.164", func(r *rule) { r.Prefixes = []string{"+4989"} }, "0089123456", true},
		{"prefix of a number with +", func(r *rule) { r.Prefixes = []string{"00"} }, "+43123456", true},
		{"national prefix of a number with +", func(r *rule) { r.Prefixes = []string{"089"} }, "+4989123456", true},
		{"prefix is not of the outside prefix", func(r *rule) { r.Prefixes = []string{"0089"} }, "0089123456", false},
		{"length", func(r *rule) { r.Lengths = []int{8, 9} }, "0089123456", true},
		{"other length", func(r *rule) { r.Lengths = []int{8, 10} }, "0089123456", false},
		{"class", func(r *rule) { r.Classes = []telephony.CallClass{telephony.ClassNational} }, "0089123456", true},
		{"other class", func(r *rule) { r.Classes = []telephony.CallClass{telephony.ClassLocal} }, "0089123456", false},
		{"group", func(r *rule) { r.Groups = []string{"sales", "support"} }, "0089123456", true},
		{"other group", func(r *rule) { r.Groups = []string{"support"} }, "0089123456", false},
		{"role", func(r *rule) { r.Roles = []telephony.Role{telephony.RoleInternational} }, "0089123456", true},
		{"other role", func(r *rule) { r.Roles = []telephony.Role{telephony.RoleAdmin} }, "0089123456", false},
		{"extension", func(r *rule) { r.Extensions = []telephony.NumberRange{{First: "100", Last: "110"}} }, "0089123456", true},
		{"other extension", func(r *rule) { r.Extensions = []telephony.NumberRange{{First: "102"}} }, "0089123456", false},
		{"hours", func(r *rule) { r.Hours = "office" }, "0089123456", true},
		{"hours that do not exist", func(r *rule) { r.Hours = "none" }, "0089123456", false},
		{"all of them", func(r *rule) {
			r.Prefixes, r.Lengths, r.Groups, r.Hours = []string{"089"}, []int{9}, []string{"sales"}, "office"
		}, "0089123456", true},
		{"all but one", func(r *rule) { r.Prefixes, r.Lengths, r.Groups = []string{"089"}, []int{9}, []string{"support"} }, "0089123456", false},
	} {
		p := dial(only(c.change), "101", c.number, officeTime())
		if (p.Outcome == ToOutside) != c.want {
			t.Errorf("%s: %s\n%s", c.what, short(p), text(p))
		}
		if !c.want && (p.Refusal.Code != 403 || !strings.Contains(text(p), "- rule")) {
			t.Errorf("%s: refused with %+v without telling which rule did not match", c.what, p.Refusal)
		}
	}
}

func TestWhyARefusalIsUnderstood(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		from, to string
		at       time.Time
		want     string
	}{
		{"102", "0089123456", officeTime(), "403 extension 102 may not make national calls"},
		{"101", "00043123456", nightTime(), "403 rule abroad does not hold at this hour"},
		{"101", "00041443334455", officeTime(), "403 calls to Switzerland (+41) are not allowed"},
		{"101", "0030666123", officeTime(), "403 numbers that begin with +4930666 are not allowed"},
		{"101", "177", officeTime(), "404 there is no extension 177"},
		{"101", "55512", officeTime(), "404 there is no extension 55512; numbers outside begin with 0"},
		{"101", "0004", officeTime(), "484 +4 is too short"},
		{"101", "", officeTime(), "484 what was dialled must not be empty"},
	} {
		p := dial(house(nil), c.from, c.to, c.at)
		if got := fmt.Sprint(p.Refusal.Code, " ", p.Refusal.Reason); got != c.want {
			t.Errorf("%s dials %s: %s, want %s", c.from, c.to, got, c.want)
		}
	}
}

func TestTrunksThatCannotCarryAreLeftOut(t *testing.T) {
	t.Parallel()
	snap := house(func(r *telephony.Routing, _ []telephony.Trunk) {
		r.Outbound = append(r.Outbound, telephony.OutboundRule{ID: 3, Name: "last", Enabled: true, Priority: 30, Routes: []telephony.Route{{Trunk: 2, Strip: 20}, {Trunk: 2, Prepend: "99"}}})
		r.Outbound[1].Routes = r.Outbound[1].Routes[:2]
	})
	e, _ := snap.Extension(1, "101")
	req := Request{Tenant: 1, Caller: e, Dialled: "0089123456", At: officeTime()}
	if got := short(Resolve(snap, req)); got != "national +4989123456 1:+4989123456<+4930100001" {
		t.Error(got)
	}
	// The next rule is asked, and a route that leaves nothing is left out.
	req.Down = func(id telephony.TrunkID) bool { return id == 1 }
	if got := short(Resolve(snap, req)); got != "national +4989123456 2:99089123456<0302000" {
		t.Error(got)
	}
	req.Down = func(telephony.TrunkID) bool { return true }
	if p := Resolve(snap, req); p.Refusal != (Refusal{503, "no trunk of rule all can carry the call now"}) {
		t.Errorf("%+v", p.Refusal)
	}
	// Emergency calls try what does not answer, too.
	req.Dialled, req.Down = "110", func(id telephony.TrunkID) bool { return id == 1 }
	if got := short(Resolve(snap, req)); got != "emergency 110 2:110<0302000 1:110<+4930100001" {
		t.Error(got)
	}
}

func TestStripAndPrepend(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		number  string
		strip   int
		prepend string
		want    string
	}{
		{"+4930", 0, "", "+4930"}, {"+4930", 2, "", "30"}, {"+4930", 2, "0", "030"}, {"030", 1, "+49", "+4930"}, {"4930", 0, "00", "004930"},
		{"4930", 4, "", ""}, {"4930", 9, "1", ""}, {"030", 0, "*31#", "*31#030"},
	} {
		if got := change(c.number, telephony.Route{Strip: c.strip, Prepend: c.prepend}); got != c.want {
			t.Errorf("%s, strip %d, prepend %q: %q, want %q", c.number, c.strip, c.prepend, got, c.want)
		}
	}
}

func TestFormatsOfTrunks(t *testing.T) {
	t.Parallel()
	for format, want := range map[telephony.NumberFormat][3]string{
		telephony.FormatPlus:     {"+4989123456", "+43123456", "+49171234567"},
		telephony.FormatDigits:   {"4989123456", "43123456", "49171234567"},
		telephony.FormatNational: {"089123456", "0043123456", "0171234567"},
		telephony.FormatDialled:  {"089123456", "0043123456", "+49171234567"},
	} {
		snap := house(func(r *telephony.Routing, trunks []telephony.Trunk) {
			trunks[0].Format = format
			r.Outbound = []telephony.OutboundRule{{ID: 1, Enabled: true, Routes: []telephony.Route{{Trunk: 1}}}}
		})
		for i, number := range []string{"0089123456", "00043123456", "+49171234567"} {
			if p := dial(snap, "101", number, officeTime()); len(p.Attempts) != 1 || p.Attempts[0].Number != want[i] {
				t.Errorf("%s in %s: %s, want %s", number, format, short(p), want[i])
			}
		}
	}
}

func TestCallerIDs(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		what     string
		from, by string // who calls, and who sends the call on
		route    string
		keep     bool
		want     string
	}{
		{"the extension's own", "", "101", "", false, "+4930100001"},
		{"the route's", "", "101", "+49305555", false, "+49305555"},
		{"the trunk's", "", "150", "", false, "+49301000"},
		{"sent on", "+43123", "101", "", false, "+4930100001 by +4930100001"},
		{"sent on as it is", "+431234567", "101", "", true, "+431234567 by +4930100001"},
		{"sent on for a colleague", "102", "101", "", true, "+4930100002 by +4930100001"},
		{"sent on for who has no number", "150", "101", "", true, "+4930100001 by +4930100001"},
	} {
		snap := house(func(r *telephony.Routing, trunks []telephony.Trunk) {
			trunks[0].KeepCallerID = c.keep
			r.Outbound = []telephony.OutboundRule{{ID: 1, Enabled: true, Routes: []telephony.Route{{Trunk: 1, CallerID: c.route}}}}
		})
		p := Resolve(snap, Request{Tenant: 1, Caller: telephony.Extension{Tenant: 1, Number: c.by, Role: telephony.RoleAdmin}, From: c.from, Dialled: "0089123456", At: officeTime()})
		if len(p.Attempts) != 1 {
			t.Errorf("%s: %s", c.what, short(p))
			continue
		}
		got := p.Attempts[0].CallerID
		if d := p.Attempts[0].Diversion; d != "" {
			got += " by " + d
		}
		if got != c.want {
			t.Errorf("%s: %s, want %s", c.what, got, c.want)
		}
	}
}

func TestRandomOrderIsThatOfTheSeed(t *testing.T) {
	t.Parallel()
	snap := house(func(r *telephony.Routing, trunks []telephony.Trunk) {
		trunks[2].Enabled = true
		r.Outbound = []telephony.OutboundRule{{ID: 1, Enabled: true, Order: telephony.OrderRandom, Routes: []telephony.Route{{Trunk: 1}, {Trunk: 2}, {Trunk: 3}}}}
	})
	e, _ := snap.Extension(1, "101")
	firsts := map[telephony.TrunkID]int{}
	for seed := range uint64(300) {
		req := Request{Tenant: 1, Caller: e, Dialled: "0089123456", At: officeTime(), Seed: seed}
		p := Resolve(snap, req)
		if again := Resolve(snap, req); !reflect.DeepEqual(p, again) || len(p.Attempts) != 3 {
			t.Fatalf("seed %d: %s, then %s", seed, short(p), short(again))
		}
		firsts[p.Attempts[0].Trunk]++
	}
	for id := range telephony.TrunkID(3) {
		if firsts[id+1] < 60 {
			t.Errorf("trunk %d is first %d times of 300", id+1, firsts[id+1])
		}
	}
}

func TestCosts(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		rate telephony.Rate
		d    time.Duration
		want telephony.Money
	}{
		{telephony.Rate{Minute: 60_000}, time.Minute, 60_000},
		{telephony.Rate{Minute: 60_000}, 1500 * time.Millisecond, 2_000},
		{telephony.Rate{Minute: 60_000, First: time.Minute, Next: time.Minute}, time.Second, 60_000},
		{telephony.Rate{Minute: 60_000, First: time.Minute, Next: time.Minute}, 61 * time.Second, 120_000},
		{telephony.Rate{Connect: 500, Minute: 60_000, First: 30 * time.Second, Next: 6 * time.Second}, 31 * time.Second, 36_500},
		{telephony.Rate{}, time.Hour, 0},
	} {
		if got := Cost(c.rate, c.d); got != c.want {
			t.Errorf("%v of %+v: %d, want %d", c.d, c.rate, got, c.want)
		}
	}
	for price, want := range map[Price]string{10_000: "0.01", 200_000: "0.20", 1_234_560: "1.23456", 0: "0.00", 1: "0.000001"} {
		if price.String() != want {
			t.Errorf("%d: %s, want %s", int64(price), price, want)
		}
	}
	rates := []telephony.Rate{{Prefix: "4"}, {Prefix: "43"}, {Prefix: "49"}, {Prefix: "4930"}}
	for digits, want := range map[string]string{"493012": "4930", "4989": "49", "43": "43", "4": "4", "1": "", "": ""} {
		if r, ok := rateOf(rates, digits); r.Prefix != want || ok != (want != "") {
			t.Errorf("%s: %q", digits, r.Prefix)
		}
	}
}

// TestSharedCodesOpenOneCountryOnly: 1 does not open the islands that bill calls
// like far countries, nor 7 Kazakhstan.
func TestSharedCodesOpenOneCountryOnly(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		home    string
		allowed []string
		number  string
		want    bool
	}{
		{"US", nil, "+12125550123", true}, {"US", nil, "+14165550123", false}, {"US", nil, "+18765550123", false}, {"US", nil, "+18005550123", true},
		{"US", []string{"1"}, "+14165550123", true}, {"US", []string{"1"}, "+18765550123", false}, {"US", []string{"1876"}, "+18765550123", true},
		{"US", []string{"1876"}, "+16585550123", false}, {"US", []string{"49"}, "+12125550123", true},
		{"DE", []string{"1"}, "+12125550123", true}, {"DE", []string{"1"}, "+18095550123", false}, {"DE", []string{"7"}, "+74951234567", true},
		{"DE", []string{"7"}, "+77011234567", false}, {"DE", []string{"77"}, "+77011234567", true}, {"DE", []string{"599"}, "+59991234567", false},
		{"DE", []string{"4412"}, "+441234567890", true}, {"DE", []string{"4412"}, "+442079460000", false}, {"DE", []string{"8"}, "+81312345678", false},
	} {
		snap := only(func(*telephony.OutboundRule) {})
		snap.Routing(1).Plan = telephony.NumberingPlan{Country: c.home, Allowed: c.allowed}
		if p := dial(snap, "103", c.number, officeTime()); (p.Outcome == ToOutside) != c.want {
			t.Errorf("%s with %v calls %s: %s", c.home, c.allowed, c.number, short(p))
		}
	}
}
