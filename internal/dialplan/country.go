package dialplan

import (
	"cmp"
	"slices"
	"strings"
)

// country is how people of a country dial. Lists are words with a space between
// them. Prefixes are of national (significant) numbers (ITU-T E.164 section 6);
// one with x is the whole number, each x a digit.
type country struct {
	iso, code string
	intl      string // international prefixes; the first is the usual one
	trunk     string // national prefixes; the first is the usual one
	// min and max bound the digits of a national number.
	min, max int
	// local is the shortest number that is dialled without its area code; 0 where
	// none is.
	local     int
	mobile    string
	premium   string // premium rate, shared cost, personal numbers
	plain     string // ordinary numbers amid mobile or premium ones
	bare      string // dialled as they are, never after the national prefix
	emergency string
	// noAreas says that numbers do not tell where they are.
	noAreas bool
	// full says that whole national numbers are dialled without prefix as well.
	full bool
	// carrier says that two digits of a carrier may follow both prefixes.
	carrier bool
	// mobile15 says that mobile numbers are dialled with 15 after the area code,
	// and written with 9 before it (Argentina).
	mobile15 bool
	// leadingZero says that national numbers may begin with 0.
	leadingZero bool
}

// generic is how most countries dial whose plan is not in the table.
func generic(iso, code string) *country {
	return &country{iso: iso, code: code, intl: "00", trunk: "0", min: 4, max: 13, local: 4, emergency: "112"}
}

// countryOf finds how people of a country dial, or nil if there is no such one.
func countryOf(iso string) *country {
	for i := range countryTable {
		if countryTable[i].iso == iso {
			return &countryTable[i]
		}
	}
	for i := range zoneTable {
		if z := &zoneTable[i]; iso != "" && z.iso == iso {
			if strings.HasPrefix(z.prefix, "1") {
				nanp := *countryOf("US")
				nanp.iso = iso
				return &nanp
			}
			return generic(iso, z.prefix)
		}
	}
	return nil
}

// words calls f with each word of a list until it returns false.
func words(list string, f func(string) bool) {
	for list != "" {
		var word string
		word, list, _ = strings.Cut(list, " ")
		if !f(word) {
			return
		}
	}
}

// fits is how many digits the best word of a list has in common with a number,
// by which it begins or which it is; 0 is none.
func fits(list, number string) (best int) {
	words(list, func(w string) bool {
		if n := len(w) - strings.Count(w, "x"); n > best && matches(w, number) {
			best = n
		}
		return true
	})
	return best
}

// matches reports whether a number begins with a prefix, or is one with x.
func matches(pattern, number string) bool {
	if !strings.Contains(pattern, "x") {
		return strings.HasPrefix(number, pattern)
	}
	if len(pattern) != len(number) {
		return false
	}
	for i := range len(pattern) {
		if pattern[i] != 'x' && pattern[i] != number[i] {
			return false
		}
	}
	return true
}

// whole reports whether a number is one of a list.
func whole(list, number string) (found bool) {
	words(list, func(w string) bool {
		found = len(w) == len(number) && matches(w, number)
		return !found
	})
	return found
}

// kind is what sort of number a national number is in its country.
type kind uint8

const (
	ordinary kind = iota
	mobile
	premium
)

// kind takes what says the most of the number, and of two the dearer one.
func (c *country) kind(national string) kind {
	is, n := ordinary, fits(c.plain, national)
	if l := fits(c.mobile, national); l > n {
		is, n = mobile, l
	}
	if l := fits(c.premium, national); l > 0 && l >= n {
		is = premium
	}
	return is
}

// write is a national number as it is dialled in its country.
func (c *country) write(national string) string {
	if whole(c.bare, national) {
		return national
	}
	trunk, _, _ := strings.Cut(c.trunk, " ")
	return trunk + national
}

// abroad is the usual international prefix.
func (c *country) abroad() string {
	intl, _, _ := strings.Cut(c.intl, " ")
	return intl
}

// Country is what a form needs to know of a country.
type Country struct {
	ISO  string // ISO 3166 alpha-2; empty for networks of no country
	Name string
	// Codes are what NumberingPlan.Allowed takes for it: the calling code, or
	// with the digits after it that tell it from others with the same code.
	Codes []string
	// Premium says that all its numbers are of ClassPremium.
	Premium bool
	// What follows is known of countries that dial by a plan of their own.
	Planned       bool
	International string // prefix
	National      string // prefix, or empty
	Areas         bool   // there are area codes
	Emergency     []string
}

// Countries are all calling codes that the ITU has assigned, by name.
func Countries() []Country {
	byName := make(map[string]*Country, len(zoneTable))
	for _, z := range zoneTable {
		c := byName[z.name]
		if c == nil {
			c = &Country{ISO: z.iso, Name: z.name, Premium: z.premium}
			byName[z.name] = c
			c.describe()
		}
		c.Codes = append(c.Codes, z.prefix)
	}
	canada := &Country{ISO: "CA", Name: "Canada", Codes: []string{"1"}}
	canada.describe()
	byName["Canada"] = canada
	out := make([]Country, 0, len(byName))
	for _, c := range byName {
		out = append(out, *c)
	}
	slices.SortFunc(out, func(a, b Country) int { return cmp.Compare(a.Name, b.Name) })
	return out
}

func (c *Country) describe() {
	plan := countryOf(c.ISO)
	if plan == nil {
		return
	}
	c.Planned = slices.ContainsFunc(countryTable[:], func(t country) bool { return t.iso == c.ISO })
	c.International, c.Areas, c.Emergency = plan.abroad(), !plan.noAreas, strings.Fields(plan.emergency)
	c.National, _, _ = strings.Cut(plan.trunk, " ")
}

// Emergency are the emergency numbers of a country, or nil if it is not known.
func Emergency(iso string) []string {
	if c := countryOf(iso); c != nil {
		return strings.Fields(c.emergency)
	}
	return nil
}
