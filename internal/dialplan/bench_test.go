package dialplan

import (
	"fmt"
	"testing"

	"ringfence/internal/telephony"
)

// large is 100 tenants with 100 extensions each; the first has 1,000 rules in
// each direction and six trunks with 2,000 rates.
func large() *telephony.Snapshot {
	var tenants []telephony.Tenant
	var extensions []telephony.Extension
	routing := map[telephony.TenantID]telephony.Routing{}
	var trunks []telephony.Trunk
	for id := telephony.TenantID(1); id <= 100; id++ {
		tenants = append(tenants, telephony.Tenant{ID: id, Domain: fmt.Sprintf("t%d.test", id), ExtensionFirst: "1000", ExtensionLast: "1999", TimeZone: "Europe/Berlin"})
		for n := range 100 {
			extensions = append(extensions, telephony.Extension{Tenant: id, Number: fmt.Sprint(1000 + n), OwnRole: telephony.RoleInternational, Groups: []string{"sales"}})
		}
		routing[id] = telephony.Routing{Plan: telephony.NumberingPlan{Country: "DE", Outside: "0"}}
	}
	var week telephony.Schedule
	for day := range week.Week {
		week.Week[day] = []telephony.DaySpan{{From: 0, To: 1440}}
	}
	week.Name = "office"
	r := telephony.Routing{Plan: telephony.NumberingPlan{Country: "DE", AreaCode: "30", Outside: "0", Allowed: []string{"43", "41", "1"}}, Schedules: []telephony.Schedule{week}}
	for i := range 1000 {
		rule := telephony.OutboundRule{ID: int64(i + 1), Name: fmt.Sprint("rule ", i), Enabled: true, Priority: i, Prefixes: []string{fmt.Sprintf("0%03d", i), fmt.Sprintf("00%03d", i)}, Lengths: []int{8, 9, 10, 11, 12}, Groups: []string{"support"}}
		if i == 999 {
			rule.Prefixes, rule.Groups, rule.Hours, rule.Order = nil, nil, "office", telephony.OrderCheapest
			for id := range telephony.TrunkID(6) {
				rule.Routes = append(rule.Routes, telephony.Route{Trunk: id + 1})
			}
		}
		r.Outbound = append(r.Outbound, rule)
		did := fmt.Sprintf("+493012%04d", i)
		r.Inbound = append(r.Inbound, telephony.InboundRule{ID: int64(i + 1), Name: fmt.Sprint("in ", i), Enabled: true, Priority: i, DIDs: []telephony.NumberRange{{First: did}}, Hours: "office",
			Open: telephony.Destination{Kind: telephony.ToExtension, Number: fmt.Sprint(1000 + i)}})
	}
	routing[1] = r
	for id := range telephony.TrunkID(6) {
		t := telephony.Trunk{Tenant: 1, ID: id + 1, Name: fmt.Sprint("trunk ", id), Enabled: true, CallerID: "+49301234", DIDs: []telephony.NumberRange{{First: "+4930120000", Last: "+4930129999"}}}
		for i := range 2000 {
			t.Rates = append(t.Rates, telephony.Rate{Prefix: fmt.Sprint(4000 + i), Minute: telephony.Money(i)})
		}
		trunks = append(trunks, t)
	}
	return telephony.NewSnapshot(1, telephony.DefaultSettings(), tenants, extensions).WithRouting(trunks, routing)
}

func benchmarkDialling(b *testing.B, tenant telephony.TenantID, number string, explain bool) {
	snap := large()
	e, _ := snap.Extension(tenant, "1050")
	req := Request{Tenant: tenant, Caller: e, Dialled: number, At: officeTime(), Explain: explain}
	b.ReportAllocs()
	for b.Loop() {
		if Resolve(snap, req).Outcome == "" {
			b.Fatal("no outcome")
		}
	}
}

func BenchmarkExtension(b *testing.B)     { benchmarkDialling(b, 50, "1001", false) }
func BenchmarkEmergency(b *testing.B)     { benchmarkDialling(b, 1, "112", false) }
func BenchmarkThousandRules(b *testing.B) { benchmarkDialling(b, 1, "0089123456", false) }
func BenchmarkDryRun(b *testing.B)        { benchmarkDialling(b, 1, "0089123456", true) }

func BenchmarkInbound(b *testing.B) {
	snap := large()
	req := InboundRequest{Tenant: 1, Trunk: 1, Called: "+4930120050", Caller: "+43123456", At: officeTime()}
	b.ReportAllocs()
	for b.Loop() {
		if ResolveInbound(snap, req).Extension != "1050" {
			b.Fatal("not found")
		}
	}
}
