package telephony

import (
	"slices"
	"strings"
	"time"
)

// Bounds of what a tenant may have.
const (
	MaxRules        = 2000 // of each direction
	MaxSchedules    = 100
	MaxHolidays     = 200
	MaxBlocked      = 10_000
	MaxContacts     = 10_000
	MaxConditions   = 64 // of one kind in a rule
	maxSpansOfDay   = 8
	maxPriority     = 9999
	DefaultPriority = 1000
)

// Validate reports the first field that is not usable. Whether what it names is
// there says the store.
func (r OutboundRule) Validate() error {
	if err := checkRuleHead(r.Name, r.Priority); err != nil {
		return err
	}
	if err := r.checkConditions(); err != nil {
		return err
	}
	if r.Order != OrderListed && r.Order != OrderCheapest && r.Order != OrderRandom {
		return refuse("order", "is none of listed, cheapest, random")
	}
	if len(r.Routes) == 0 {
		return refuse("routes", "must name a trunk")
	}
	return checkRoutes("routes", r.Routes)
}

func checkRuleHead(name string, priority int) error {
	if err := checkName("name", name, 1, MaxUserNameLen); err != nil {
		return err
	}
	if priority < 1 || priority > maxPriority {
		return refuse("priority", "must be between 1 and %d", maxPriority)
	}
	return nil
}

func (r OutboundRule) checkConditions() error {
	for field, n := range map[string]int{
		"prefixes": len(r.Prefixes), "lengths": len(r.Lengths), "groups": len(r.Groups), "roles": len(r.Roles), "extensions": len(r.Extensions),
	} {
		if n > MaxConditions {
			return refuse(field, "are more than %d", MaxConditions)
		}
	}
	for i, p := range r.Prefixes {
		if !dialable(p) || len(p) > 20 {
			return refuse(item("prefixes", i), "must be 1 to 20 digits, * , # or +")
		}
	}
	for i, n := range r.Lengths {
		if n < 1 || n > 32 {
			return refuse(item("lengths", i), "must be between 1 and 32")
		}
	}
	for i, c := range r.Classes {
		if !c.Known() || c == ClassInternal || slices.Contains(r.Classes[:i], c) {
			return refuse(item("classes", i), "must be local, national, mobile, international or premium, and each once")
		}
	}
	for i, g := range r.Groups {
		if err := checkName(item("groups", i), g, 1, MaxUserNameLen); err != nil {
			return err
		}
	}
	for i, role := range r.Roles {
		if err := checkName(item("roles", i), string(role), 1, MaxUserNameLen); err != nil {
			return err
		}
	}
	for i, e := range r.Extensions {
		if err := e.check(item("extensions", i), CheckNumber); err != nil {
			return err
		}
	}
	return nil
}

// dialable reports whether s is what a phone's keys give, or a +.
func dialable(s string) bool { return s != "" && strings.Trim(s, "0123456789*#+") == "" }

func checkRoutes(list string, routes []Route) error {
	if len(routes) > MaxRoutes {
		return refuse(list, "are more than %d", MaxRoutes)
	}
	for i, r := range routes {
		switch {
		case r.Trunk <= 0:
			return refuse(entry(list, i, "trunk"), "must name a trunk")
		case r.Strip < 0 || r.Strip > 15:
			return refuse(entry(list, i, "strip"), "must be between 0 and 15")
		case r.Prepend != "" && (!dialable(r.Prepend) || len(r.Prepend) > 20):
			return refuse(entry(list, i, "prepend"), "may hold 20 digits, * , # and +")
		}
		if r.CallerID != "" {
			if err := CheckE164(entry(list, i, "caller_id"), r.CallerID); err != nil {
				return err
			}
		}
	}
	return nil
}

// Validate reports the first field that is not usable. Whether what it names is
// there says the store.
func (r InboundRule) Validate() error {
	if err := checkRuleHead(r.Name, r.Priority); err != nil {
		return err
	}
	if len(r.Trunks) > MaxConditions {
		return refuse("trunks", "are more than %d", MaxConditions)
	}
	if len(r.DIDs) > MaxConditions {
		return refuse("dids", "are more than %d", MaxConditions)
	}
	for i, d := range r.DIDs {
		if err := d.check(item("dids", i), CheckE164); err != nil {
			return err
		}
	}
	if r.Caller != "" {
		if err := CheckCallerMask("caller", r.Caller); err != nil {
			return err
		}
	}
	if r.Open.Kind == ToNothing {
		return refuse("open.kind", "must say where calls go")
	}
	for _, d := range []struct {
		field string
		Destination
	}{{"open", r.Open}, {"closed", r.Closed}, {"holiday", r.Holiday}, {"night", r.Night}} {
		if err := d.check(d.field, r.DIDs); err != nil {
			return err
		}
	}
	return nil
}

func (d Destination) check(field string, dids []NumberRange) error {
	if d.As != "" && d.Kind != ToNumber {
		return refuse(field+".as", "is for numbers of the outside only")
	}
	switch d.Kind {
	case ToNothing, ToHangUp, ToBusy:
		if d.Number != "" {
			return refuse(field+".number", "must be empty: there is nothing to dial")
		}
		return nil
	case ToExtension:
		return checkService(field+".number", d.Number)
	case ToDirect:
		if len(dids) != 1 {
			return refuse(field+".kind", "needs exactly one range of called numbers")
		}
		return CheckNumber(field+".number", d.Number)
	case ToNumber:
		if !dialable(d.Number) || len(d.Number) > MaxPhoneLen {
			return refuse(field+".number", "must be the number to dial: digits, * , # or +")
		}
		return CheckNumber(field+".as", d.As)
	}
	return refuse(field+".kind", "is none of extension, direct, number, hangup, busy")
}

// checkService accepts an extension, or the code of a service such as *97.
func checkService(field, number string) error {
	if strings.HasPrefix(number, "*") && dialable(number) && len(number) <= MaxNumberDigits {
		return nil
	}
	return CheckNumber(field, number)
}

// AnonymousCaller is the mask of callers who withhold their number.
const AnonymousCaller = "anonymous"

// CheckCallerMask accepts a mask of callers: digits with + in front, ? for one
// digit, * for the rest; or anonymous.
func CheckCallerMask(field, mask string) error {
	if mask == AnonymousCaller {
		return nil
	}
	body := strings.TrimSuffix(strings.TrimPrefix(mask, "+"), "*")
	if mask == "" || len(mask) > MaxPhoneLen || body == "" && !strings.HasSuffix(mask, "*") || strings.Trim(body, "0123456789?") != "" {
		return refuse(field, "must be a number with + in front, ? for one digit and * at its end, or anonymous")
	}
	return nil
}

// Validate reports the first field that is not usable.
func (b CallerBlock) Validate() error {
	if err := CheckCallerMask("caller", b.Caller); err != nil {
		return err
	}
	if strings.Trim(b.Caller, "+*?") == "" {
		return refuse("caller", "would block everybody")
	}
	return checkName("note", b.Note, 0, MaxNameLen)
}

// Validate reports the first field that is not usable.
func (s Schedule) Validate() error {
	if err := checkName("name", s.Name, 1, MaxUserNameLen); err != nil {
		return err
	}
	if strings.ContainsAny(s.Name, "/\\?#%") {
		return refuse("name", "must not hold / \\ ? # %%")
	}
	for day, spans := range s.Week {
		if err := checkDay(item("week", day), spans); err != nil {
			return err
		}
	}
	if len(s.Holidays) > MaxHolidays {
		return refuse("holidays", "are more than %d", MaxHolidays)
	}
	for i, h := range s.Holidays {
		if err := h.check(i); err != nil {
			return err
		}
		if slices.ContainsFunc(s.Holidays[:i], func(o Holiday) bool { return o.Month == h.Month && o.Day == h.Day && o.Year == h.Year }) {
			return refuse(entry("holidays", i, "day"), "is there twice")
		}
	}
	return nil
}

func checkDay(field string, spans []DaySpan) error {
	if len(spans) > maxSpansOfDay {
		return refuse(field, "has more than %d spans", maxSpansOfDay)
	}
	end := -1
	for _, s := range spans {
		if s.From < 0 || s.To > 24*60 || s.From >= s.To {
			return refuse(field, "has a span that does not end after it begins, within one day")
		}
		if s.From <= end {
			return refuse(field, "has spans that touch, overlap or are out of order")
		}
		end = s.To
	}
	return nil
}

func (h Holiday) check(i int) error {
	if err := checkName(entry("holidays", i, "name"), h.Name, 0, MaxUserNameLen); err != nil {
		return err
	}
	year := h.Year
	if year == 0 {
		year = 2000 // a leap year: the 29th of February may be every year's
	} else if year < 2000 || year > 2200 {
		return refuse(entry("holidays", i, "year"), "must be 0 (every year) or between 2000 and 2200")
	}
	if d := time.Date(year, h.Month, h.Day, 0, 0, 0, 0, time.UTC); h.Month < 1 || h.Month > 12 || d.Day() != h.Day || d.Month() != h.Month {
		return refuse(entry("holidays", i, "day"), "is no day of that month")
	}
	return nil
}

// Validate reports the first field that is not usable.
func (p NumberingPlan) Validate() error {
	if p.Country != "" && (len(p.Country) != 2 || strings.Trim(p.Country, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") != "") {
		return refuse("country", "must be the two capital letters of ISO 3166")
	}
	if !onlyDigits(p.AreaCode) || len(p.AreaCode) > 6 || strings.HasPrefix(p.AreaCode, "0") && p.Country != "IT" {
		return refuse("area_code", "may have 6 digits, without the 0 that is dialled before it")
	}
	if len(p.Outside) > 3 || p.Outside != "" && strings.Trim(p.Outside, "0123456789*#") != "" {
		return refuse("outside", "may have 3 digits, * or #")
	}
	if err := checkCodes("allowed", p.Allowed, 7); err != nil {
		return err
	}
	if err := checkCodes("disallowed", p.Disallowed, 15); err != nil {
		return err
	}
	return p.checkEmergency()
}

func checkCodes(field string, codes []string, digits int) error {
	const most = 400
	if len(codes) > most {
		return refuse(field, "are more than %d", most)
	}
	for i, c := range codes {
		if c == "" || len(c) > digits || !onlyDigits(c) || c[0] == '0' {
			return refuse(item(field, i), "must be 1 to %d digits without + and without 0 in front", digits)
		}
		if slices.Contains(codes[:i], c) {
			return refuse(item(field, i), "is there twice")
		}
	}
	return nil
}

func (p NumberingPlan) checkEmergency() error {
	const mostNumbers, mostMails = 20, 10
	if len(p.Emergency) > mostNumbers {
		return refuse("emergency", "are more than %d", mostNumbers)
	}
	for i, e := range p.Emergency {
		if len(e.Number) < 2 || len(e.Number) > 10 || !onlyDigits(e.Number) {
			return refuse(entry("emergency", i, "number"), "must be 2 to 10 digits")
		}
		if slices.ContainsFunc(p.Emergency[:i], func(o EmergencyNumber) bool { return o.Number == e.Number }) {
			return refuse(entry("emergency", i, "number"), "is there twice")
		}
		if err := checkName(entry("emergency", i, "name"), e.Name, 0, MaxUserNameLen); err != nil {
			return err
		}
	}
	if len(p.EmergencyNotify) > mostMails {
		return refuse("emergency_notify", "are more than %d", mostMails)
	}
	for i, mail := range p.EmergencyNotify {
		if mail == "" || checkEmail(mail) != nil {
			return refuse(item("emergency_notify", i), "must look like name@example.org")
		}
	}
	return checkRoutes("emergency_routes", p.EmergencyRoutes)
}

// ValidateSettings reports the first field that is not usable of what is not a
// list of its own: plan, currency, night mode, limits.
func (r Routing) ValidateSettings() error {
	if err := r.Plan.Validate(); err != nil {
		return err
	}
	switch {
	case len(r.Currency) != 3 || strings.Trim(r.Currency, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") != "":
		return refuse("currency", "must be the three capital letters of ISO 4217, such as EUR")
	case r.Night != NightAuto && r.Night != NightOn:
		return refuse("night", "is none of auto, on")
	case r.MaxCalls < 0 || r.MaxCalls > MaxTrunkCalls:
		return refuse("max_calls", "must be 0 (no limit) or up to %d", MaxTrunkCalls)
	}
	if err := r.Caps.Validate(); err != nil {
		return err
	}
	if err := r.ExtensionCaps.Validate(); err != nil {
		if fe, ok := AsFieldError(err); ok {
			return refuse("extension_"+fe.Field, "%s", fe.Reason)
		}
		return err
	}
	return nil
}

// Contact is an entry of a tenant's directory: somebody outside.
type Contact struct {
	Tenant  TenantID `json:"-"`
	ID      int64    `json:"-"`
	Name    string   `json:"name"`
	Company string   `json:"company,omitempty"`
	Numbers []string `json:"numbers"` // as dialled or E.164; 1 to 4
	Note    string   `json:"note,omitempty"`
}

// Validate reports the first field that is not usable.
func (c Contact) Validate() error {
	if err := checkName("name", c.Name, 1, MaxNameLen); err != nil {
		return err
	}
	if err := checkName("company", c.Company, 0, MaxNameLen); err != nil {
		return err
	}
	if len(c.Numbers) < 1 || len(c.Numbers) > 4 {
		return refuse("numbers", "must be 1 to 4")
	}
	for i, n := range c.Numbers {
		if !dialable(n) || len(n) > MaxPhoneLen {
			return refuse(item("numbers", i), "must be 1 to %d digits, * , # or +", MaxPhoneLen)
		}
	}
	return checkName("note", c.Note, 0, MaxNameLen)
}
