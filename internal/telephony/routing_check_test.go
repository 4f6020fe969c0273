package telephony

import (
	"net/netip"
	"strings"
	"testing"
	"time"
)

func exampleTrunk() Trunk {
	return Trunk{
		Name: "Provider", Kind: TrunkRegister, Enabled: true, Host: "sip.provider.example", User: "4930123456", Password: "secret-of-it",
		DIDs: []NumberRange{{First: "+4930123450", Last: "+4930123459"}}, CallerID: "+4930123450",
	}.Complete()
}

// refusedField is the field that an error names, "" for none.
func refusedField(t *testing.T, err error) string {
	t.Helper()
	if err == nil {
		return ""
	}
	fe, ok := AsFieldError(err)
	if !ok {
		t.Fatalf("not a field's error: %v", err)
	}
	return fe.Field
}

func TestTrunkFieldsAreRefusedByName(t *testing.T) {
	t.Parallel()
	networks := func(list ...string) (out []netip.Prefix) {
		for _, s := range list {
			out = append(out, netip.MustParsePrefix(s))
		}
		return out
	}
	for name, x := range map[string]struct {
		change func(*Trunk)
		field  string
	}{
		"as it is":              {func(*Trunk) {}, ""},
		"no name":               {func(t *Trunk) { t.Name = " " }, "name"},
		"unknown kind":          {func(t *Trunk) { t.Kind = "isdn" }, "kind"},
		"register without host": {func(t *Trunk) { t.Host = "" }, "host"},
		"register without user": {func(t *Trunk) { t.User = "" }, "user"},
		"peer by addresses":     {func(t *Trunk) { t.Kind, t.Host, t.Peers = TrunkPeer, "", networks("192.0.2.0/24") }, ""},
		"peer without any":      {func(t *Trunk) { t.Kind, t.Host = TrunkPeer, "" }, "host"},
		"gateway with host":     {func(t *Trunk) { t.Kind = TrunkAccept }, "host"},
		"gateway as extension":  {func(t *Trunk) { t.Kind, t.Host, t.User = TrunkAccept, "", "101" }, "user"},
		"gateway, short secret": {func(t *Trunk) { t.Kind, t.Host, t.User, t.Password = TrunkAccept, "", "gw", "short" }, "password"},
		"gateway":               {func(t *Trunk) { t.Kind, t.Host, t.User = TrunkAccept, "", "gw-1" }, ""},
		"metadata service":      {func(t *Trunk) { t.Host = "169.254.169.254" }, "host"},
		"metadata, IPv6":        {func(t *Trunk) { t.Host = "fd00:ec2::254" }, "host"},
		"proxy link-local":      {func(t *Trunk) { t.OutboundProxy = "[fe80::1]:5060" }, "outbound_proxy"},
		"proxy, port too high":  {func(t *Trunk) { t.OutboundProxy = "proxy.example:65536" }, "outbound_proxy"},
		"proxy":                 {func(t *Trunk) { t.OutboundProxy = "proxy.example:5070" }, ""},
		"proxy, IPv6":           {func(t *Trunk) { t.OutboundProxy = "[2001:db8::1]:5070" }, ""},
		"line end in the user":  {func(t *Trunk) { t.User = "a\r\nb" }, "user"},
		"quote in the user":     {func(t *Trunk) { t.AuthUser = `a"b` }, "auth_user"},
		"line end in password":  {func(t *Trunk) { t.Password = "a\nb" }, "password"},
		"peers of everybody":    {func(t *Trunk) { t.Peers = networks("0.0.0.0/0") }, "peers[0]"},
		"peers too wide":        {func(t *Trunk) { t.Peers = networks("192.0.2.0/24", "10.0.0.0/8") }, "peers[1]"},
		"peers twice":           {func(t *Trunk) { t.Peers = networks("192.0.2.0/24", "192.0.2.0/24") }, "peers[1]"},
		"interface":             {func(t *Trunk) { t.Interface = "eth0; reboot" }, "interface"},
		"registers too often":   {func(t *Trunk) { t.RegisterInterval = time.Second }, "register_seconds"},
		"asks too often":        {func(t *Trunk) { t.OptionsInterval = time.Second }, "options_seconds"},
		"never asks":            {func(t *Trunk) { t.OptionsInterval = 0 }, ""},
		"DID without +":         {func(t *Trunk) { t.DIDs = []NumberRange{{First: "030123"}} }, "dids[0].first"},
		"DIDs backwards":        {func(t *Trunk) { t.DIDs = []NumberRange{{"+4930129", "+4930120"}} }, "dids[0].last"},
		"DIDs overlap":          {func(t *Trunk) { t.DIDs = []NumberRange{{"+4930120", "+4930129"}, {First: "+4930125"}} }, "dids[1]"},
		"negative calls":        {func(t *Trunk) { t.MaxCalls = -1 }, "max_calls"},
		"negative cap":          {func(t *Trunk) { t.Caps.MoneyDay = -1 }, "caps.money_day"},
	} {
		trunk := exampleTrunk()
		x.change(&trunk)
		if got := refusedField(t, trunk.Validate()); got != x.field {
			t.Errorf("%s: refused field is %q, want %q", name, got, x.field)
		}
	}
}

func TestTrunkMayNotLeadToTheMachineItself(t *testing.T) {
	t.Parallel()
	for host, ok := range map[string]bool{"localhost": false, "a.localhost": false, "127.0.0.1": false, "127.8.9.1": false, "::1": false, "sip.example": true, "192.0.2.1": true} {
		if got := (Trunk{Host: host}).CheckNotSelf() == nil; got != ok {
			t.Errorf("host %s: allowed is %v", host, got)
		}
		if got := (Trunk{OutboundProxy: host}).CheckNotSelf() == nil; got != ok {
			t.Errorf("proxy %s: allowed is %v", host, got)
		}
	}
}

// TestHeaderRulesKeepTheCallWhole: what a dialog, a transaction, a body or
// somebody's credentials need cannot be touched, in whichever case or form.
func TestHeaderRulesKeepTheCallWhole(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"Via", "v", "ROUTE", "Record-Route", "Contact", "m", "CSeq", "Call-ID", "i", "Content-Type", "c", "Content-Length", "l", "Content-X",
		"Authorization", "Proxy-Authorization", "Max-Forwards", "Require", "Session-Expires", "X", "", "a b", "X-A:", "X-\r\nVia"} {
		if err := checkHeaders([]HeaderRule{{Name: name, Value: "x"}}); refusedField(t, err) != "headers[0].name" {
			t.Errorf("header %q: %v", name, err)
		}
	}
	for _, name := range []string{"P-Asserted-Identity", "Diversion", "X-Account", "Privacy", "From", "User-Agent"} {
		if err := checkHeaders([]HeaderRule{{Name: name, Value: "<sip:{caller}@example.org>"}}); err != nil {
			t.Errorf("header %q: %v", name, err)
		}
	}
	for value, ok := range map[string]bool{"x": true, "{caller} {callee} {did} {trunk}": true, "{password}": false, "a\r\nVia: b": false, "{caller": false, "": false, strings.Repeat("a", 257): false} {
		if err := checkHeaders([]HeaderRule{{Name: "X-A", Value: value}}); (err == nil) != ok {
			t.Errorf("value %q: %v", value, err)
		}
	}
	for _, r := range []HeaderRule{{Name: "From", Remove: true}, {Name: "t", Remove: true}, {Name: "From", Value: "<sip:a@b>;tag=1"}, {Name: "X-A", Remove: true, Value: "x"}} {
		if checkHeaders([]HeaderRule{r}) == nil {
			t.Errorf("went through: %+v", r)
		}
	}
}

func TestOutboundRuleFieldsAreRefusedByName(t *testing.T) {
	t.Parallel()
	for name, x := range map[string]struct {
		change func(*OutboundRule)
		field  string
	}{
		"as it is":       {func(*OutboundRule) {}, ""},
		"priority 0":     {func(r *OutboundRule) { r.Priority = 0 }, "priority"},
		"letters":        {func(r *OutboundRule) { r.Prefixes = []string{"00", "a"} }, "prefixes[1]"},
		"length 0":       {func(r *OutboundRule) { r.Lengths = []int{0} }, "lengths[0]"},
		"emergency":      {func(r *OutboundRule) { r.Classes = []CallClass{ClassEmergency} }, "classes[0]"},
		"extension":      {func(r *OutboundRule) { r.Extensions = []NumberRange{{First: "1x"}} }, "extensions[0].first"},
		"no trunk":       {func(r *OutboundRule) { r.Routes = nil }, "routes"},
		"seven trunks":   {func(r *OutboundRule) { r.Routes = make([]Route, 7) }, "routes"},
		"strips too far": {func(r *OutboundRule) { r.Routes[0].Strip = 16 }, "routes[0].strip"},
		"prepends words": {func(r *OutboundRule) { r.Routes[0].Prepend = "a@b" }, "routes[0].prepend"},
		"caller ID":      {func(r *OutboundRule) { r.Routes[0].CallerID = "030" }, "routes[0].caller_id"},
		"order":          {func(r *OutboundRule) { r.Order = "" }, "order"},
	} {
		r := OutboundRule{Name: "a", Priority: 1, Routes: []Route{{Trunk: 1}}, Order: OrderListed}
		x.change(&r)
		if got := refusedField(t, r.Validate()); got != x.field {
			t.Errorf("%s: refused field is %q, want %q", name, got, x.field)
		}
	}
}

func TestInboundRuleFieldsAreRefusedByName(t *testing.T) {
	t.Parallel()
	one := []NumberRange{{First: "+4930120", Last: "+4930129"}}
	for name, x := range map[string]struct {
		change func(*InboundRule)
		field  string
	}{
		"as it is":          {func(*InboundRule) {}, ""},
		"goes nowhere":      {func(r *InboundRule) { r.Open = Destination{} }, "open.kind"},
		"unknown":           {func(r *InboundRule) { r.Night.Kind = "moon" }, "night.kind"},
		"number to hang up": {func(r *InboundRule) { r.Closed = Destination{Kind: ToHangUp, Number: "1"} }, "closed.number"},
		"direct, no range":  {func(r *InboundRule) { r.Open = Destination{Kind: ToDirect, Number: "100"} }, "open.kind"},
		"direct":            {func(r *InboundRule) { r.DIDs, r.Open = one, Destination{Kind: ToDirect, Number: "100"} }, ""},
		"nobody's account":  {func(r *InboundRule) { r.Open = Destination{Kind: ToNumber, Number: "0301"} }, "open.as"},
		"a number, as 101":  {func(r *InboundRule) { r.Open = Destination{Kind: ToNumber, Number: "0301", As: "101"} }, ""},
		"as without number": {func(r *InboundRule) { r.Open.As = "101" }, "open.as"},
		"service":           {func(r *InboundRule) { r.Open.Number = "*97" }, ""},
		"mask":              {func(r *InboundRule) { r.Caller = "+49*30" }, "caller"},
		"anonymous":         {func(r *InboundRule) { r.Caller = "anonymous" }, ""},
	} {
		r := InboundRule{Name: "a", Priority: 1, Open: Destination{Kind: ToExtension, Number: "101"}}
		x.change(&r)
		if got := refusedField(t, r.Validate()); got != x.field {
			t.Errorf("%s: refused field is %q, want %q", name, got, x.field)
		}
	}
}

func TestHoursAndHolidaysAreChecked(t *testing.T) {
	t.Parallel()
	day := func(spans ...DaySpan) (s Schedule) { s.Name = "Office"; s.Week[1] = spans; return s }
	for name, x := range map[string]struct {
		Schedule
		field string
	}{
		"lunch":            {day(DaySpan{480, 720}, DaySpan{780, 1080}), ""},
		"whole day":        {day(DaySpan{0, 1440}), ""},
		"over midnight":    {day(DaySpan{1320, 360}), "week[1]"},
		"too late":         {day(DaySpan{0, 1441}), "week[1]"},
		"overlap":          {day(DaySpan{480, 720}, DaySpan{700, 800}), "week[1]"},
		"out of order":     {day(DaySpan{780, 1080}, DaySpan{480, 720}), "week[1]"},
		"29 February":      {Schedule{Name: "a", Holidays: []Holiday{{Month: 2, Day: 29}}}, ""},
		"29 February 2027": {Schedule{Name: "a", Holidays: []Holiday{{Month: 2, Day: 29, Year: 2027}}}, "holidays[0].day"},
		"31 April":         {Schedule{Name: "a", Holidays: []Holiday{{Month: 4, Day: 31}}}, "holidays[0].day"},
		"month 13":         {Schedule{Name: "a", Holidays: []Holiday{{Month: 13, Day: 1}}}, "holidays[0].day"},
		"twice":            {Schedule{Name: "a", Holidays: []Holiday{{Month: 5, Day: 1}, {Name: "x", Month: 5, Day: 1}}}, "holidays[1].day"},
		"slash":            {Schedule{Name: "a/b"}, "name"},
	} {
		if got := refusedField(t, x.Validate()); got != x.field {
			t.Errorf("%s: refused field is %q, want %q", name, got, x.field)
		}
	}
}

func TestPlanAndBlockedCallersAreChecked(t *testing.T) {
	t.Parallel()
	for name, x := range map[string]struct {
		plan  NumberingPlan
		field string
	}{
		"empty":        {NumberingPlan{}, ""},
		"Berlin":       {NumberingPlan{Country: "DE", AreaCode: "30", Outside: "0", Allowed: []string{"49", "43"}, Disallowed: []string{"49900", "882"}}, ""},
		"country":      {NumberingPlan{Country: "de"}, "country"},
		"area with 0":  {NumberingPlan{Country: "DE", AreaCode: "030"}, "area_code"},
		"plus":         {NumberingPlan{Allowed: []string{"+49"}}, "allowed[0]"},
		"twice":        {NumberingPlan{Disallowed: []string{"1", "1"}}, "disallowed[1]"},
		"emergency":    {NumberingPlan{Emergency: []EmergencyNumber{{Number: "112"}, {Number: "11x"}}}, "emergency[1].number"},
		"mail":         {NumberingPlan{EmergencyNotify: []string{"a@example.org", "nobody"}}, "emergency_notify[1]"},
		"route nobody": {NumberingPlan{EmergencyRoutes: []Route{{}}}, "emergency_routes[0].trunk"},
	} {
		if got := refusedField(t, x.plan.Validate()); got != x.field {
			t.Errorf("%s: refused field is %q, want %q", name, got, x.field)
		}
	}
	for mask, ok := range map[string]bool{"+4930123": true, "+4930*": true, "0900??": true, "anonymous": true, "": false, "*": false, "+": false, "??": false, "+49a": false, "+4*9": false} {
		if got := (CallerBlock{Caller: mask}).Validate() == nil; got != ok {
			t.Errorf("mask %q: allowed is %v", mask, got)
		}
	}
}
