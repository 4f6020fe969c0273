package dialplan

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"ringfence/internal/telephony"
)

// house is a tenant in Berlin: 101 may call abroad, 102 inside only, 103 is an
// administrator; 0 goes outside; trunk 1 is the usual one, trunk 2 cheap abroad.
func house(change func(*telephony.Routing, []telephony.Trunk)) *telephony.Snapshot {
	week := [7][]telephony.DaySpan{}
	for day := time.Monday; day <= time.Friday; day++ {
		week[day] = []telephony.DaySpan{{From: 9 * 60, To: 17 * 60}}
	}
	trunks := []telephony.Trunk{
		{Tenant: 1, ID: 1, Name: "main", Enabled: true, Format: telephony.FormatPlus, CallerID: "+49301000", User: "acct", DIDs: []telephony.NumberRange{{First: "+4930100000", Last: "+4930100099"}},
			Rates: []telephony.Rate{{Prefix: "49", Minute: 10_000}, {Prefix: "4", Minute: 200_000}, {Prefix: "43", Minute: 50_000}}},
		{Tenant: 1, ID: 2, Name: "cheap", Enabled: true, Format: telephony.FormatNational, CallerID: "+49302000", Rates: []telephony.Rate{{Prefix: "43", Minute: 20_000}}},
		{Tenant: 1, ID: 3, Name: "spare", Enabled: false},
	}
	routing := telephony.Routing{
		Plan: telephony.NumberingPlan{Country: "DE", AreaCode: "30", Outside: "0", Allowed: []string{"43", "882"}, Disallowed: []string{"43900", "4930666"},
			Emergency: []telephony.EmergencyNumber{{Number: "110", Name: "police"}, {Number: "112", Name: "fire"}}},
		Schedules: []telephony.Schedule{{Name: "office", Week: week, Holidays: []telephony.Holiday{{Name: "Unity", Month: time.October, Day: 3}}}},
		Outbound: []telephony.OutboundRule{
			{ID: 1, Name: "abroad", Enabled: true, Priority: 10, Classes: []telephony.CallClass{telephony.ClassInternational}, Hours: "office", Order: telephony.OrderCheapest,
				Routes: []telephony.Route{{Trunk: 1}, {Trunk: 2}}},
			{ID: 2, Name: "all", Enabled: true, Priority: 20, Classes: []telephony.CallClass{telephony.ClassLocal, telephony.ClassNational, telephony.ClassMobile, telephony.ClassPremium},
				Routes: []telephony.Route{{Trunk: 3}, {Trunk: 1}, {Trunk: 2}}},
		},
		Inbound: []telephony.InboundRule{
			{ID: 7, Name: "direct", Enabled: true, Priority: 1, DIDs: []telephony.NumberRange{{First: "+4930100001", Last: "+4930100009"}}, Open: telephony.Destination{Kind: telephony.ToDirect, Number: "101"}},
		},
	}
	if change != nil {
		change(&routing, trunks)
	}
	return telephony.NewSnapshot(1, telephony.DefaultSettings(),
		[]telephony.Tenant{{ID: 1, Domain: "a.test", ExtensionFirst: "100", ExtensionLast: "199", TimeZone: "Europe/Berlin"}, {ID: 2, Domain: "b.test", ExtensionFirst: "100", ExtensionLast: "199"}},
		[]telephony.Extension{
			{Tenant: 1, Number: "101", OwnRole: telephony.RoleInternational, Groups: []string{"sales"}}, {Tenant: 1, Number: "102", OwnRole: telephony.RoleStandard},
			{Tenant: 1, Number: "103", OwnRole: telephony.RoleAdmin}, {Tenant: 1, Number: "112"}, {Tenant: 2, Number: "105"},
		}).WithRouting(trunks, map[telephony.TenantID]telephony.Routing{1: routing})
}

// officeTime is a Wednesday at 10 in Berlin, night the same day at 22.
func officeTime() time.Time { return time.Date(2026, 11, 25, 9, 0, 0, 0, time.UTC) }
func nightTime() time.Time  { return officeTime().Add(12 * time.Hour) }

func dial(snap *telephony.Snapshot, from, to string, at time.Time) Plan {
	e, _ := snap.Extension(1, from)
	return Resolve(snap, Request{Tenant: 1, Caller: e, Dialled: to, At: at, Explain: true})
}

// short is a plan in a few words.
func short(p Plan) string {
	switch p.Outcome {
	case ToExtension:
		return "ext " + p.Extension
	case ToOutside:
		s := string(p.Class) + " " + p.Number
		for _, a := range p.Attempts {
			s += fmt.Sprintf(" %d:%s<%s", a.Trunk, a.Number, a.CallerID)
		}
		return s
	case Refused:
		return fmt.Sprint(p.Refusal.Code)
	}
	return string(p.Outcome)
}

// TestWhoMayCallWhat is the matrix of roles, kinds of numbers, hours and limits.
func TestWhoMayCallWhat(t *testing.T) {
	t.Parallel()
	const (
		day, night = "day", "night"
	)
	for _, c := range []struct{ from, to, when, want string }{
		{"102", "101", day, "ext 101"},
		{"102", "1-01", day, "ext 101"},
		{"102", "150", day, "404"},     // of the range, and not there
		{"102", "105", day, "404"},     // another tenant's
		{"102", "0301234", day, "403"}, // local: 301234
		{"102", "0030 123456", day, "403"},
		{"102", "0 0170 1234567", day, "403"},
		{"102", "00043 1 234567", day, "403"},
		{"101", "0030123456", day, "local +4930123456 1:+4930123456<+4930100001 2:030123456<0302000"},
		{"101", "00302", day, "484"},
		{"101", "0456789", day, "local +4930456789 1:+4930456789<+4930100001 2:030456789<0302000"},
		{"101", "0089123456", night, "national +4989123456 1:+4989123456<+4930100001 2:089123456<0302000"},
		{"101", "001701234567", day, "mobile +491701234567 1:+491701234567<+4930100001 2:01701234567<0302000"},
		{"101", "+49 (0)170 / 1234567", day, "mobile +491701234567 1:+491701234567<+4930100001 2:01701234567<0302000"},
		{"101", "00043123456", day, "international +43123456 2:0043123456<0302000 1:+43123456<+4930100001"},
		{"101", "+43123456", day, "international +43123456 2:0043123456<0302000 1:+43123456<+4930100001"},
		{"101", "00043123456", night, "403"},  // the rule does not hold
		{"101", "00041443334455", day, "403"}, // Switzerland is not allowed
		{"103", "00041443334455", day, "403"}, // to nobody
		{"101", "00043900123456", day, "403"}, // disallowed wins
		{"103", "0030666123", day, "403"},     // at home too
		{"101", "00088212345678", day, "403"}, // satellites: the code is allowed, the class is not
		{"101", "009001234567", day, "403"},   // premium at home
		{"103", "009001234567", day, "premium +499001234567 1:+499001234567<+4930100003 2:09001234567<0302000"},
		{"103", "011833", day, "premium +4911833 1:11833<+4930100003 2:11833<0302000"},
		{"101", "0116117", day, "national +49116117 1:116117<+4930100001 2:116117<0302000"},
		{"101", "030", day, "484"},
		{"101", "89123456", day, "404"}, // no 0 for the outside
		{"101", "0", day, "404"},
		{"101", "", day, "484"},
		{"101", "+", day, "404"},
		{"101", "+4930", day, "484"},
		{"101", "+21012345678", day, "404"}, // no such code
		{"101", "0*31#0301", day, "404"},
		{"101", "alice", day, "404"},
		{"102", "112", day, "emergency 112 1:112<+4930100002 2:112<0302000"},
		{"102", "0112", night, "emergency 112 1:112<+4930100002 2:112<0302000"},
		{"102", "1-1-0", night, "emergency 110 1:110<+4930100002 2:110<0302000"},
		{"102", "+49112", night, "emergency 112 1:112<+4930100002 2:112<0302000"},
		{"102", "00110", night, "emergency 110 1:110<+4930100002 2:110<0302000"},
		{"102", "00049110", night, "emergency 110 1:110<+4930100002 2:110<0302000"},
	} {
		at := officeTime()
		if c.when == night {
			at = nightTime()
		}
		p := dial(house(nil), c.from, c.to, at)
		if got := short(p); got != c.want {
			t.Errorf("%s dials %q by %s: %s, want %s\n%s", c.from, c.to, c.when, got, c.want, text(p))
		}
	}
}

func text(p Plan) string {
	var b strings.Builder
	_ = p.Write(&b, func(id telephony.TrunkID) string { return fmt.Sprint("trunk ", id) })
	return b.String()
}
