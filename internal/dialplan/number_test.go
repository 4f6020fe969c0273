package dialplan

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"ringfence/internal/telephony"
)

func TestZonesAreSortedAndKnowTheirCountries(t *testing.T) {
	t.Parallel()
	if !slices.IsSortedFunc(zoneTable[:], func(a, b zone) int { return strings.Compare(a.prefix, b.prefix) }) {
		t.Error("the table is not sorted")
	}
	for i, z := range zoneTable {
		if i > 0 && zoneTable[i-1].prefix == z.prefix {
			t.Errorf("%s is there twice", z.prefix)
		}
	}
	for digits, want := range map[string]string{
		"4930": "DE", "12125551234": "US", "14165551234": "CA", "18765551234": "JM", "16585551234": "JM", "17875551234": "PR",
		"74951234567": "RU", "77011234567": "KZ", "5999": "CW", "5993": "BQ", "883": "", "35812345": "FI",
	} {
		if z, ok := zoneOf(digits); !ok || z.iso != want {
			t.Errorf("%s: %+v", digits, z)
		}
	}
	for _, digits := range []string{"", "0", "210", "384", "999", "28"} {
		if z, ok := zoneOf(digits); ok {
			t.Errorf("%s: %+v", digits, z)
		}
	}
}

func TestCountriesAreWellFormed(t *testing.T) {
	t.Parallel()
	if len(countryTable) < 40 {
		t.Errorf("only %d countries", len(countryTable))
	}
	seen := map[string]bool{}
	for _, c := range countryTable {
		if seen[c.iso] {
			t.Errorf("%s is there twice", c.iso)
		}
		seen[c.iso] = true
		if z, ok := zoneOf(c.code + map[string]string{"KZ": "7", "CA": "416"}[c.iso]); !ok || z.iso != c.iso {
			t.Errorf("%s: the code %s is that of %s", c.iso, c.code, z.iso)
		}
		if c.intl == "" || c.emergency == "" || c.min < 3 || c.max < c.min || len(c.code)+c.min > maxE164 {
			t.Errorf("%s: %+v", c.iso, c)
		}
		for _, list := range []string{c.intl, c.trunk, c.mobile, c.premium, c.plain, c.bare, c.emergency} {
			if strings.Trim(list, "0123456789x ") != "" || list != strings.Join(strings.Fields(list), " ") {
				t.Errorf("%s: list %q", c.iso, list)
			}
		}
		words(c.emergency, func(w string) bool {
			if len(w) >= c.min && len(w) > 4 && c.iso != "ZA" {
				t.Errorf("%s: the emergency number %s could be any other", c.iso, w)
			}
			return true
		})
	}
}

// TestNumbersOfCountries is the way of writing and the class of known numbers,
// typed by hand.
func TestNumbersOfCountries(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ iso, area, dialled, want, class string }{
		{"DE", "30", "030 1234567", "+49301234567", "local"},
		{"DE", "30", "1234567", "+49301234567", "local"},
		{"DE", "30", "089 1234567", "+49891234567", "national"},
		{"DE", "30", "0170 1234567", "+491701234567", "mobile"},
		{"DE", "30", "0137 1234567", "+491371234567", "premium"},
		{"DE", "30", "0180 5123456", "+491805123456", "premium"},
		{"DE", "30", "0800 1234567", "+498001234567", "national"},
		{"DE", "30", "116117", "+49116117", "national"},
		{"DE", "30", "00441514960000", "+441514960000", "international"},
		{"DE", "30", "00449090123456", "+449090123456", "premium"},
		{"AT", "1", "0676 1234567", "+436761234567", "mobile"},
		{"AT", "1", "01 5123456", "+4315123456", "local"},
		{"CH", "44", "044 668 18 00", "+41446681800", "local"},
		{"CH", "44", "0900 123 456", "+41900123456", "premium"},
		{"GB", "20", "020 7946 0000", "+442079460000", "local"},
		{"GB", "20", "7946 0000", "+442079460000", "local"},
		{"GB", "20", "07700 900123", "+447700900123", "mobile"},
		{"GB", "20", "07624 123456", "+447624123456", "mobile"},
		{"GB", "20", "070 1234 5678", "+447012345678", "premium"},
		{"GB", "20", "0845 464 7000", "+448454647000", "premium"},
		{"GB", "20", "0800 1111", "+448001111", "national"},
		{"GB", "20", "118500", "+44118500", "premium"},
		{"FR", "1", "01 99 00 12 34", "+33199001234", "local"},
		{"FR", "1", "06 39 98 12 34", "+33639981234", "mobile"},
		{"FR", "1", "0899 12 34 56", "+33899123456", "premium"},
		{"FR", "1", "3949", "+333949", "premium"},
		{"FR", "1", "3114", "+333114", "national"},
		{"IT", "06", "06 1234567", "+39061234567", "local"},
		{"IT", "06", "02 1234567", "+39021234567", "national"},
		{"IT", "06", "320 1234567", "+393201234567", "mobile"},
		{"IT", "06", "899 123456", "+39899123456", "premium"},
		{"ES", "91", "912 34 56 78", "+34912345678", "local"},
		{"ES", "91", "612 34 56 78", "+34612345678", "mobile"},
		{"ES", "91", "803 12 34 56", "+34803123456", "premium"},
		{"PL", "22", "22 123 45 67", "+48221234567", "local"},
		{"CZ", "", "601 123 456", "+420601123456", "mobile"},
		{"DK", "", "32 12 34 56", "+4532123456", "local"},
		{"DK", "", "20 12 34 56", "+4520123456", "mobile"},
		{"NO", "", "02800", "+4702800", "national"},
		{"HU", "1", "06 20 123 4567", "+36201234567", "mobile"},
		{"IE", "1", "1800 123 456", "+3531800123456", "national"},
		{"IE", "1", "1550 123 456", "+3531550123456", "premium"},
		{"US", "212", "555-0123", "+12125550123", "local"},
		{"US", "212", "(415) 555-0123", "+14155550123", "national"},
		{"US", "212", "1 415 555 0123", "+14155550123", "national"},
		{"US", "212", "1 800 555 0123", "+18005550123", "national"},
		{"US", "212", "1 900 555 0123", "+19005550123", "premium"},
		{"US", "212", "1 876 555 0123", "+18765550123", "international"},
		{"US", "212", "1 416 555 0123", "+14165550123", "international"},
		{"US", "212", "011 49 30 1234567", "+49301234567", "international"},
		{"US", "212", "811", "+1811", "national"},
		{"CA", "416", "1 604 555 0123", "+16045550123", "national"},
		{"CA", "416", "1 888 555 0123", "+18885550123", "national"},
		{"JM", "876", "555 0123", "+18765550123", "local"},
		{"MX", "55", "55 1234 5678", "+525512345678", "local"},
		{"DE", "30", "+52 1 55 1234 5678", "+525512345678", "international"},
		{"BR", "11", "0 15 21 91234 5678", "+5521912345678", "mobile"},
		{"BR", "11", "00 15 49 30 1234567", "+49301234567", "international"},
		{"BR", "11", "3123 4567", "+551131234567", "local"},
		{"AR", "11", "0 351 15 123 4567", "+5493511234567", "mobile"},
		{"AR", "11", "0 11 15 1234 5678", "+5491112345678", "mobile"},
		{"AU", "2", "02 7010 1234", "+61270101234", "local"},
		{"AU", "2", "0491 570 156", "+61491570156", "mobile"},
		{"AU", "2", "1300 975 707", "+611300975707", "premium"},
		{"AU", "2", "13 12 34", "+61131234", "premium"},
		{"AU", "2", "1800 160 401", "+611800160401", "national"},
		{"AU", "2", "0011 49 30 1234567", "+49301234567", "international"},
		{"NZ", "4", "021 123 4567", "+64211234567", "mobile"},
		{"JP", "3", "03 1234 5678", "+81312345678", "local"},
		{"JP", "3", "090 1234 5678", "+819012345678", "mobile"},
		{"JP", "3", "0120 123 456", "+81120123456", "national"},
		{"JP", "3", "0800 123 4567", "+818001234567", "national"},
		{"JP", "3", "0570 123456", "+81570123456", "premium"},
		{"JP", "3", "010 49 30 1234567", "+49301234567", "international"},
		{"IN", "11", "011 2345 6789", "+911123456789", "local"},
		{"IN", "11", "98765 43210", "+919876543210", "mobile"},
		{"IN", "11", "0 98765 43210", "+919876543210", "mobile"},
		{"IN", "11", "080 2345 6789", "+918023456789", "national"},
		{"IN", "11", "1800 123 4567", "+9118001234567", "national"},
		{"CN", "10", "010 6552 9988", "+861065529988", "local"},
		{"CN", "10", "138 1234 5678", "+8613812345678", "mobile"},
		{"CN", "10", "400 810 1234", "+864008101234", "premium"},
		{"RU", "495", "8 812 123 45 67", "+78121234567", "national"},
		{"RU", "495", "8 912 123 45 67", "+79121234567", "mobile"},
		{"RU", "495", "8 10 49 30 1234567", "+49301234567", "international"},
		{"RU", "495", "8 701 123 45 67", "+77011234567", "international"},
		{"KZ", "727", "8 701 123 45 67", "+77011234567", "mobile"},
		{"SG", "", "6123 4567", "+6561234567", "local"},
		{"SG", "", "1800 123 4567", "+6518001234567", "national"},
		{"ZA", "11", "011 123 4567", "+27111234567", "local"},
		{"ZA", "11", "082 123 4567", "+27821234567", "mobile"},
		{"GH", "", "024 123 4567", "+233241234567", "national"},
		{"DE", "30", "+882 16 1234567", "+882161234567", "premium"},
		{"DE", "30", "+979 1 2345 6789", "+979123456789", "premium"},
		{"DE", "30", "+800 1234 5678", "+80012345678", "international"},
		{"", "", "+49 30 1234567", "+49301234567", "international"},
		{"", "", "00 49 30 1234567", "+49301234567", "international"},
	} {
		got, err := Normalise(c.iso, c.area, c.dialled)
		if err != nil || got != c.want {
			t.Errorf("%s: %q is %s, %v; want %s", c.iso, c.dialled, got, err, c.want)
			continue
		}
		clean, _ := Clean(c.dialled)
		d := dialler{countryOf(c.iso), c.area}
		n, _ := d.read(clean)
		if class := d.class(&n); string(class) != c.class {
			t.Errorf("%s: %q is %s, want %s", c.iso, c.dialled, class, c.class)
		}
	}
}

func TestWhatIsNoNumberIsRefused(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		iso, dialled string
		code         int
	}{
		{"DE", "+4930", 484}, {"DE", "+49 30 12345678901234", 404}, {"DE", "+999123456", 404}, {"DE", "+0301234567", 404},
		{"US", "+1 115 555 0123", 404}, {"US", "+1 212 155 0123", 404}, {"US", "12", 404}, {"US", "1212555012", 404}, {"US", "+1212555012", 484},
		{"FR", "0123", 484}, {"FR", "199001234", 404}, {"ES", "91234", 484}, {"", "030123456", 404}, {"ZZ", "030123456", 404}, {"DE", "12*34", 404},
	} {
		d := dialler{home: countryOf(c.iso)}
		clean, err := Clean(c.dialled)
		if err != nil {
			t.Fatal(err)
		}
		if n, refusal := d.read(clean); refusal.Code != c.code || refusal.Reason == "" {
			t.Errorf("%s %s: %+v %+v", c.iso, c.dialled, n, refusal)
		}
	}
	for _, s := range []string{"", "alice", "+", "12+34", "1\n2", "１１０", strings.Repeat("1", 65), "1;isub=2"} {
		if got, err := Clean(s); err == nil {
			t.Errorf("%q: %q", s, got)
		}
	}
}

// oracle is how people dial in a country, told independently of the table: the
// prefixes, and ordinary numbers as area code and subscriber number.
type oracle struct {
	iso, code, intl, trunk string
	areas                  []string
	subscriber             int
	local, whole           bool // the subscriber number alone; the whole number without prefix
}

func oracles() []oracle {
	return []oracle{
		{"DE", "49", "00", "0", []string{"30", "89", "40", "221", "6221"}, 7, true, false},
		{"GB", "44", "00", "0", []string{"20", "28", "23"}, 8, true, false},
		{"FR", "33", "00", "0", []string{"1", "2", "3", "4", "5"}, 8, false, false},
		{"ES", "34", "00", "", []string{"91", "93", "96"}, 7, false, true},
		{"IT", "39", "00", "", []string{"06", "02", "011"}, 7, false, true},
		{"US", "1", "011", "1", []string{"212", "415", "312", "702"}, 7, true, true},
		{"AU", "61", "0011", "0", []string{"2", "3", "7", "8"}, 8, true, false},
		{"JP", "81", "010", "0", []string{"3", "6"}, 8, true, false},
		{"IN", "91", "00", "0", []string{"11", "22", "33", "44"}, 8, true, true},
		{"CN", "86", "00", "0", []string{"10", "20", "21", "22"}, 8, true, false},
		{"BR", "55", "00", "0", []string{"11", "21", "31", "61"}, 8, true, false},
		{"RU", "7", "810", "8", []string{"495", "812", "383"}, 7, true, true},
		{"HU", "36", "00", "06", []string{"1"}, 7, true, false},
		{"SE", "46", "00", "0", []string{"8", "31", "40"}, 7, true, false},
		{"NL", "31", "00", "0", []string{"20", "10", "70"}, 7, true, false},
		{"PL", "48", "00", "", []string{"22", "12", "61"}, 7, false, true},
		{"ZA", "27", "00", "0", []string{"11", "21", "31"}, 7, false, false},
		{"MX", "52", "00", "", []string{"55", "33", "81"}, 8, false, true},
	}
}

// TestEveryFormIsTheSameNumber dials generated numbers in every form there is.
func TestEveryFormIsTheSameNumber(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(7, 19))
	all := oracles()
	pick := func(list []string) string { return list[random.IntN(len(list))] }
	for range 4000 {
		o, other := all[random.IntN(len(all))], all[random.IntN(len(all))]
		area := pick(o.areas)
		// Numbers of subscribers that begin with 2 to 6 are ordinary everywhere.
		subscriber := fmt.Sprint(2+random.IntN(5)) + fmt.Sprint(2+random.IntN(8)) + digitsOf(random, o.subscriber-2)
		national := area + subscriber
		want := "+" + o.code + national
		forms := []string{"+" + o.code + national, o.trunk + national}
		if o.local {
			forms = append(forms, subscriber)
		}
		if o.whole {
			forms = append(forms, national)
		}
		for _, form := range forms {
			if got, err := Normalise(o.iso, area, form); err != nil || got != want {
				t.Errorf("%s, area %s: %s is %s, %v; want %s", o.iso, area, form, got, err, want)
			}
		}
		if o.iso == other.iso {
			continue
		}
		abroad := other.intl + o.code + national
		if other.iso == "BR" {
			abroad = other.intl + "21" + o.code + national
		}
		if got, err := Normalise(other.iso, pick(other.areas), abroad); err != nil || got != want {
			t.Errorf("from %s: %s is %s, %v; want %s", other.iso, abroad, got, err, want)
		}
	}
}

// TestWhatIsWrittenIsReadAgain: the formats of trunks name the same number.
func TestWhatIsWrittenIsReadAgain(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(1, 2))
	all := oracles()
	for range 2000 {
		o, home := all[random.IntN(len(all))], all[random.IntN(len(all))]
		want := "+" + o.code + o.areas[0] + fmt.Sprint(2+random.IntN(5)) + fmt.Sprint(2+random.IntN(8)) + digitsOf(random, o.subscriber-2)
		d := dialler{home: countryOf(home.iso)}
		n, refusal := d.read(want)
		if refusal.Code != 0 {
			t.Fatalf("%s: %+v", want, refusal)
		}
		if got := d.write(&n, telephony.FormatDigits); "+"+got != want {
			t.Errorf("digits of %s: %s", want, got)
		}
		if home.iso == "BR" { // a carrier would have to be chosen
			continue
		}
		national := d.write(&n, telephony.FormatNational)
		if again, _ := d.read(national); again.e164() != want {
			t.Errorf("%s is dialled %s in %s, which is %s", want, national, home.iso, again.e164())
		}
	}
}

func digitsOf(random *rand.Rand, n int) string {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte('0' + random.IntN(10))
	}
	return string(b)
}
