package dialplan

import (
	"strings"
	"testing"
	"time"

	"ringfence/internal/telephony"
)

// reception answers +4930100000: 101 by day, 102 when closed, the outside on
// holidays, busy at night.
func reception(change func(*telephony.Routing, []telephony.Trunk)) *telephony.Snapshot {
	return house(func(r *telephony.Routing, trunks []telephony.Trunk) {
		r.Inbound = append(r.Inbound, telephony.InboundRule{
			ID: 8, Name: "reception", Enabled: true, Priority: 2, Trunks: []telephony.TrunkID{1}, DIDs: []telephony.NumberRange{{First: "+4930100000"}}, Hours: "office",
			Open: telephony.Destination{Kind: telephony.ToExtension, Number: "101"}, Closed: telephony.Destination{Kind: telephony.ToExtension, Number: "102"},
			Holiday: telephony.Destination{Kind: telephony.ToNumber, Number: "0089123456", As: "103"}, Night: telephony.Destination{Kind: telephony.ToBusy},
		})
		if change != nil {
			change(r, trunks)
		}
	})
}

func TestWhereCallsComeIn(t *testing.T) {
	t.Parallel()
	day, holiday := officeTime(), time.Date(2026, 10, 3, 9, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		what           string
		change         func(*telephony.Routing, []telephony.Trunk)
		called, caller string
		at             time.Time
		want           string
	}{
		{"by day", nil, "+4930100000", "+43123456", day, "ext 101"},
		{"digits", nil, "4930100000", "43123456", day, "ext 101"},
		{"national", nil, "030100000", "0043123456", day, "ext 101"},
		{"within the area", nil, "100000", "", day, "ext 101"},
		{"closed", nil, "+4930100000", "+43123456", nightTime(), "ext 102"},
		{"on a holiday outside, on an account", nil, "+4930100000", "+43123456", holiday, "national +4989123456 1:+4989123456<+4930100003 2:089123456<0302000"},
		{"night mode", func(r *telephony.Routing, _ []telephony.Trunk) { r.Night = telephony.NightOn }, "+4930100000", "+43123456", day, "busy"},
		{"direct", nil, "+4930100002", "+43123456", nightTime(), "ext 102"},
		{"direct to nobody", nil, "+4930100009", "+43123456", day, "404"},
		{"no rule", nil, "+4930100050", "+43123456", day, "404"},
		{"not ours", nil, "+4930999999", "+43123456", day, "404"},
		{"no number", nil, "reception", "+43123456", day, "404"},
		{"nothing", nil, "", "", day, "404"},
		{"hang up", func(r *telephony.Routing, _ []telephony.Trunk) { r.Inbound[1].Open.Kind = telephony.ToHangUp }, "+4930100000", "", day, "hangup"},
		{"holiday without its own is closed", func(r *telephony.Routing, _ []telephony.Trunk) { r.Inbound[1].Holiday = telephony.Destination{} }, "+4930100000", "", holiday, "ext 102"},
		{"closed without its own is open", func(r *telephony.Routing, _ []telephony.Trunk) { r.Inbound[1].Closed = telephony.Destination{} }, "+4930100000", "", nightTime(), "ext 101"},
		{"another trunk's rule", func(r *telephony.Routing, _ []telephony.Trunk) { r.Inbound[1].Trunks = []telephony.TrunkID{2} }, "+4930100000", "", day, "404"},
		{"rule off", func(r *telephony.Routing, _ []telephony.Trunk) { r.Inbound[1].Enabled = false }, "+4930100000", "", day, "404"},
		{"trunk off", func(_ *telephony.Routing, all []telephony.Trunk) { all[0].Enabled = false }, "+4930100000", "", day, "403"},
		{"caller", func(r *telephony.Routing, _ []telephony.Trunk) { r.Inbound[1].Caller = "+43*" }, "+4930100000", "0043123456", day, "ext 101"},
		{"another caller", func(r *telephony.Routing, _ []telephony.Trunk) { r.Inbound[1].Caller = "+43*" }, "+4930100000", "+41123456789", day, "404"},
		{"anonymous caller", func(r *telephony.Routing, _ []telephony.Trunk) { r.Inbound[1].Caller = "anonymous" }, "+4930100000", "Anonymous", day, "ext 101"},
		{"anonymous refused", func(r *telephony.Routing, _ []telephony.Trunk) { r.RejectAnonymous = true }, "+4930100000", "anonymous", day, "433"},
		{"blocked", func(r *telephony.Routing, _ []telephony.Trunk) {
			r.Blocked = []telephony.CallerBlock{{Caller: "+4312345?"}}
		}, "+4930100000", "0043123456", day, "603"},
		{"not blocked", func(r *telephony.Routing, _ []telephony.Trunk) {
			r.Blocked = []telephony.CallerBlock{{Caller: "+4312345?"}}
		}, "+4930100000", "00431234567", day, "ext 101"},
		{"anonymous blocked", func(r *telephony.Routing, _ []telephony.Trunk) {
			r.Blocked = []telephony.CallerBlock{{Caller: "anonymous"}}
		}, "+4930100000", "", day, "603"},
		{"the account is called", func(r *telephony.Routing, _ []telephony.Trunk) { r.Inbound[1].DIDs = nil }, "acct", "", day, "ext 101"},
		{"outside on nobody's account", func(r *telephony.Routing, _ []telephony.Trunk) { r.Inbound[1].Holiday.As = "199" }, "+4930100000", "", holiday, "404"},
		{"outside is dialled with the account's rights", func(r *telephony.Routing, _ []telephony.Trunk) { r.Inbound[1].Holiday.As = "102" }, "+4930100000", "", holiday, "403"},
	} {
		p := ResolveInbound(reception(c.change), InboundRequest{Tenant: 1, Trunk: 1, Called: c.called, Caller: c.caller, At: c.at, Explain: true})
		if got := short(p); got != c.want {
			t.Errorf("%s: %s, want %s\n%s", c.what, got, c.want, text(p))
		}
	}
	p := ResolveInbound(reception(nil), InboundRequest{Tenant: 1, Trunk: 1, Called: "030100000", Caller: "0043123456", At: holiday, Explain: true})
	if p.Called != "+4930100000" || p.Caller != "+43123456" || p.InboundRule != 8 || p.Account != "103" || p.Attempts[0].Diversion != "+4930100003" {
		t.Errorf("%+v", p)
	}
	if !strings.Contains(text(p), "Unity") {
		t.Errorf("the holiday is not named:\n%s", text(p))
	}
}

func TestDirectRangesGoForthAndBack(t *testing.T) {
	t.Parallel()
	ranges := []telephony.NumberRange{{First: "+493010", Last: "+493019"}, {First: "+4999900", Last: ""}, {First: "broken", Last: "x"}}
	for number, extension := range map[string]string{"+493010": "100", "+493019": "109", "+4999900": "110"} {
		if got := forth(ranges, "100", number); got != extension {
			t.Errorf("%s reaches %s, want %s", number, got, extension)
		}
		if got := back(ranges, "100", extension); got != number {
			t.Errorf("%s has %s, want %s", extension, got, number)
		}
	}
	if got := forth(ranges, "007", "+493012"); got != "009" {
		t.Error(got)
	}
	for _, e := range []string{"111", "099", "1000", "", "abc", "99999999999999999999999"} {
		if got := back(ranges, "100", e); got != "" {
			t.Errorf("%s has %s", e, got)
		}
	}
	if forth(ranges, "100", "+493020") != "" || forth(ranges, "x", "+493010") != "" {
		t.Error("a number out of the range")
	}
}

func TestMasks(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		mask, number string
		want         bool
	}{
		{"+49*", "+4930", true}, {"+49*", "+49", true}, {"+49*", "+43", false}, {"+49?0", "+4930", true}, {"+49?0", "+49300", false},
		{"?", "+", false}, {"*", "+49", true}, {"+4930", "+4930", true}, {"+4930", "+493", false},
	} {
		if masks(c.mask, c.number) != c.want {
			t.Errorf("%s on %s: %v", c.mask, c.number, !c.want)
		}
	}
}
