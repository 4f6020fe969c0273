package dialplan

import (
	"fmt"
	"slices"
	"strings"

	"ringfence/internal/telephony"
)

// Bounds of E.164 numbers: ITU-T E.164 section 6.2.1 has at most 15 digits; none
// is shorter than 7.
const (
	minE164 = 7
	maxE164 = 15
)

// number is one of the outside, as the numbering plan of a tenant sees it.
type number struct {
	dialled  string // without the outside prefix
	digits   string // E.164 without +
	national string // national (significant) number
	zone     zone
	plan     *country // of its country; nil of networks of none
	home     bool     // of the tenant's country
	local    bool     // dialled without area code
	// emergency is set instead of all others: the number was an emergency number
	// behind a prefix that it does not need.
	emergency string
	how       string // for people
}

// e164 is the number with +.
func (n *number) e164() string { return "+" + n.digits }

// short reports whether it is dialled as it is and has no meaning abroad.
func (n *number) short() bool {
	return n.plan != nil && len(n.national) < minE164 && whole(n.plan.bare, n.national)
}

// Clean takes away what people write between digits (RFC 3966 section 5.1.1, and
// spaces and slashes). It refuses what cannot be dialled.
func Clean(dialled string) (string, error) {
	if len(dialled) > 2*telephony.MaxDialledLen {
		return "", fmt.Errorf("is longer than %d characters", telephony.MaxDialledLen)
	}
	if strings.ContainsAny(dialled, " -./()") {
		dialled = strings.Map(func(c rune) rune {
			if strings.ContainsRune(" -./()", c) {
				return -1
			}
			return c
		}, dialled)
	}
	if err := telephony.CheckDialled("number", dialled); err != nil {
		return "", err
	}
	return dialled, nil
}

// dialler reads numbers as people of a place dial them.
type dialler struct {
	home *country // nil if it is not known
	area string   // area code, or empty
}

// diallerOf is that of a tenant.
func diallerOf(snap *telephony.Snapshot, tenant telephony.TenantID) dialler {
	plan := &snap.Routing(tenant).Plan
	iso := plan.Country
	if iso == "" {
		t, _ := snap.Tenant(tenant)
		iso = t.Country
	}
	return dialler{countryOf(iso), plan.AreaCode}
}

// Normalise writes a number as E.164 with +, as people of a country dial it: with
// + or the international prefix, with the national prefix or the whole national
// number, or without the area code. A prefix for the outside is not expected.
func Normalise(iso, areaCode, dialled string) (string, error) {
	clean, err := Clean(dialled)
	if err != nil {
		return "", err
	}
	n, refusal := dialler{countryOf(iso), areaCode}.read(clean)
	if refusal.Code != 0 {
		return "", fmt.Errorf("%s", refusal.Reason)
	}
	if n.emergency != "" {
		return "", fmt.Errorf("%s is an emergency number", n.emergency)
	}
	return n.e164(), nil
}

// read finds out which number was dialled; a Refusal with a code says why there
// is none.
func (d dialler) read(dialled string) (number, Refusal) {
	if strings.ContainsAny(dialled, "*#") {
		return number{}, Refusal{404, dialled + " is no number outside"}
	}
	n, refusal := d.form(dialled)
	n.dialled = dialled
	return n, refusal
}

// form tells the forms apart, the unmistakable ones first.
func (d dialler) form(dialled string) (number, Refusal) {
	if digits, ok := strings.CutPrefix(dialled, "+"); ok {
		return d.abroad(digits, "dialled with +")
	}
	if d.home == nil {
		if digits, ok := strings.CutPrefix(dialled, "00"); ok {
			return d.abroad(digits, "dialled with 00")
		}
		return number{}, Refusal{404, dialled + " cannot be read: the country of the organisation is not set"}
	}
	if whole(d.home.bare, dialled) {
		return d.national(dialled, "dialled as it is")
	}
	if rest, prefix := cut(d.home.intl, dialled); prefix != "" {
		if d.home.carrier && len(rest) > 2 { // 00 XX: a carrier comes first
			rest, prefix = rest[2:], prefix+rest[:2]
		}
		return d.abroad(rest, "dialled with the international prefix "+prefix)
	}
	if n, refusal, ok := d.withTrunk(dialled); ok {
		return n, refusal
	}
	if (d.home.trunk == "" || d.home.full) && len(dialled) >= d.home.min {
		return d.national(dialled, "dialled as a whole national number")
	}
	return d.withinArea(dialled)
}

// withTrunk reads numbers that begin with the national prefix.
func (d dialler) withTrunk(dialled string) (number, Refusal, bool) {
	rest, prefix := cut(d.home.trunk, dialled)
	if prefix == "" {
		return number{}, Refusal{}, false
	}
	// Local numbers may begin like a national prefix other than 0.
	if prefix != "0" && len(rest) < d.home.min {
		return number{}, Refusal{}, false
	}
	if d.home.carrier && len(rest) > d.home.max {
		rest = rest[2:]
	}
	if d.home.mobile15 {
		rest = mobile15(rest)
	}
	n, refusal := d.national(rest, "dialled with the national prefix "+prefix)
	return n, refusal, true
}

// withinArea reads numbers without an area code.
func (d dialler) withinArea(dialled string) (number, Refusal) {
	c := d.home
	if c.local == 0 || d.area == "" {
		if c.local == 0 && len(dialled) < c.min {
			return number{}, Refusal{484, dialled + " is too short for a number in " + nameOf(c.iso)}
		}
		if c.local == 0 {
			return number{}, Refusal{404, dialled + " has no area code and no prefix"}
		}
		return number{}, Refusal{404, dialled + " has no area code, and that of the organisation is not set"}
	}
	if len(dialled) < c.local {
		return number{}, Refusal{484, dialled + " is too short for a local number"}
	}
	n, refusal := d.national(d.area+dialled, "dialled within the area code "+d.area)
	n.local = true
	return n, refusal
}

// national is a number of the home country.
func (d dialler) national(national, how string) (number, Refusal) {
	return d.abroad(d.home.code+national, how)
}

// abroad is a number in E.164.
func (d dialler) abroad(digits, how string) (number, Refusal) {
	z, ok := zoneOf(digits)
	if !ok {
		if len(digits) < 4 {
			return number{}, Refusal{484, "+" + digits + " is too short"}
		}
		return number{}, Refusal{404, "no country has the code that +" + digits + " begins with"}
	}
	n := number{digits: digits, zone: z, plan: countryOf(z.iso), how: how}
	if n.plan == nil {
		n.national = digits[len(z.prefix):]
	} else {
		n.national = n.plan.repair(digits[len(n.plan.code):])
		n.digits = n.plan.code + n.national
	}
	n.home = d.home != nil && n.plan != nil && (n.plan.iso == d.home.iso || d.home.code == "1" && z.prefix == "1" && len(n.national) == 10 && whole(nowhere, n.national[:3]))
	if d.home != nil && n.home && slices.Contains(strings.Fields(d.home.emergency), n.national) {
		return number{emergency: n.national}, Refusal{}
	}
	return n, n.check()
}

// check refuses what cannot be a number.
func (n *number) check() Refusal {
	if n.plan != nil && whole(n.plan.bare, n.national) {
		return Refusal{}
	}
	least, most := minE164, maxE164
	if n.plan != nil {
		least, most = n.plan.min+len(n.plan.code), min(n.plan.max+len(n.plan.code), maxE164)
	}
	switch {
	case len(n.digits) < least:
		return Refusal{484, n.e164() + " is too short for a number in " + n.zone.name}
	case len(n.digits) > most:
		return Refusal{404, n.e164() + " is too long for a number in " + n.zone.name}
	case n.plan != nil && n.plan.code == "1" && (n.national[0] < '2' || n.national[3] < '2'):
		return Refusal{404, n.e164() + " is no number: area codes and exchanges of +1 begin with 2 to 9"}
	case n.plan != nil && n.plan.trunk == "0" && n.national[0] == '0':
		return Refusal{404, n.e164() + " is no number in " + n.zone.name}
	}
	return Refusal{}
}

// repair takes away what people leave in numbers that they write in E.164: the
// national prefix, as in +49 (0)30.
func (c *country) repair(national string) string {
	if c.trunk == "0" && !c.leadingZero && len(national) > c.min {
		national = strings.TrimPrefix(national, "0")
	}
	if c.iso == "MX" && len(national) == c.max+1 { // mobile numbers had a 1 until 2019
		national = strings.TrimPrefix(national, "1")
	}
	return national
}

// mobile15 turns area code, 15, number into 9, area code, number.
func mobile15(national string) string {
	if len(national) != 12 {
		return national
	}
	for _, p := range []int{2, 3, 4} {
		if national[p:p+2] == "15" && (p > 2 || national[:2] == "11") {
			return "9" + national[:p] + national[p+2:]
		}
	}
	return national
}

// cut takes the longest prefix of a list away.
func cut(list, number string) (rest, prefix string) {
	words(list, func(w string) bool {
		if len(w) > len(prefix) && strings.HasPrefix(number, w) {
			rest, prefix = number[len(w):], w
		}
		return true
	})
	return rest, prefix
}

func nameOf(iso string) string {
	if iso == "CA" {
		return "Canada"
	}
	for i := range zoneTable {
		if zoneTable[i].iso == iso {
			return zoneTable[i].name
		}
	}
	return iso
}

// class is what a role must be granted for the number.
func (d dialler) class(n *number) telephony.CallClass {
	kind := ordinary
	if n.plan != nil {
		kind = n.plan.kind(n.national)
	}
	switch {
	case n.zone.premium, kind == premium:
		return telephony.ClassPremium
	case !n.home:
		return telephony.ClassInternational
	case kind == mobile:
		return telephony.ClassMobile
	case n.local:
		return telephony.ClassLocal
	case whole(n.plan.bare, n.national): // of the whole country
		return telephony.ClassNational
	case n.plan.noAreas, d.area != "" && strings.HasPrefix(n.national, d.area):
		return telephony.ClassLocal
	}
	return telephony.ClassNational
}

// write is the number in a format of trunks.
func (d dialler) write(n *number, f telephony.NumberFormat) string {
	switch {
	case n.short():
		return n.national
	case f == telephony.FormatDialled && n.dialled != "":
		return n.dialled
	case f == telephony.FormatDigits:
		return n.digits
	case f == telephony.FormatNational:
		return d.domestic(n)
	}
	return n.e164()
}

// domestic is the number as it is dialled in the tenant's country.
func (d dialler) domestic(n *number) string {
	switch {
	case d.home == nil:
		return "00" + n.digits
	case n.home:
		return n.plan.write(n.national)
	}
	return d.home.abroad() + n.digits
}
