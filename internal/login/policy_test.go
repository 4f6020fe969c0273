package login

import (
	"strings"
	"testing"
	"unicode/utf8"

	"ringfence/internal/telephony"
)

// annaLee is the account the table test speaks of.
var annaLee = []string{"Anna-Maria", "Lee", "Anna-Maria Lee", "a.lee", "annamaria.lee@example.org", "4711", "Müller & Söhne", "voice.example.org", "+49 (170) 555-0199", "Li"}

// reasons of refusal, in a few words of the message.
const (
	fine      = ""
	short     = "fewer than 8"
	long      = "more than 32"
	noLetter  = "one Latin letter"
	noDigit   = "one digit"
	noUpper   = "upper-case letter or special"
	sequence  = "in sequence"
	repeat    = "three times"
	account   = "account's own"
	invisible = "invisible"
	utf       = "UTF-8"
	keyboard  = "keys of a keyboard"
	piece     = "again and again"
	common    = "well-known"
)

// TestPasswordPolicy has for every clause of the policy at least one password
// that passes and one that does not.
func TestPasswordPolicy(t *testing.T) {
	t.Parallel()
	for _, x := range []struct{ row, password, want string }{
		// A09: 8 to 32 code points, counted after NFC.
		{"A09", "Kv7#mQz", short},
		{"A09", "Kv7#mQzp", fine},
		{"A09", "Kv7#mQzpKv7#mQzpRt5!wXybNh2$cGfe", fine}, // 32
		{"A09", "Kv7#mQzpKv7#mQzpRt5!wXybNh2$cGfe8", long},
		{"A09", "", short},
		{"A09", "Kv7#mü\u0301z", short},               // 8 code points before NFC, 7 after
		{"A09", "Kv7#mu\u0308z", short},               // u and diaeresis are one
		{"A09", "Kv7#mqu\u0308z", fine},               // 8 after NFC
		{"A09", "Kv7#мир☎", fine},                     // 8 code points, more bytes
		{"A09", strings.Repeat("ä", 31) + "1A", long}, // 33

		// A03: at least one Latin letter; others do not count.
		{"A03", "82046135!", noLetter},
		{"A03", "8204613a!", fine},
		{"A03", "8204пароль!", noLetter},
		{"A03", "8204éàüßñ!7", noLetter},
		{"A03", "8204éàüßñ!Z", fine},

		// A04: at least one digit 0-9.
		{"A04", "Kvb#mQzp", noDigit},
		{"A04", "Kvb#mQz5", fine},
		{"A04", "Kvb#mQz٣", noDigit}, // Arabic-Indic three
		{"A04", "Kvb#mQz²", noDigit},

		// A05: one upper-case Latin letter or one ASCII special character.
		{"A05", "kvb7mqzp", noUpper},
		{"A05", "kvb7mQzp", fine},
		{"A05", "kvb7m#zp", fine},
		{"A05", "kvb7 mqzp", fine}, // a space is one
		{"A05", "kvb7mqzpÄ", noUpper},
		{"A05", "kvb7mqzp§", noUpper},
		{"A05", "kvb7mqzp~", fine},
		{"A05", "kvb7mqzp_", fine},

		// A06: no run of four letters or digits, up or down; digits go round.
		{"A06", "Kvm#1234z", sequence},
		{"A06", "Kvm#123zp", fine},
		{"A06", "Kvm#7890z", sequence},
		{"A06", "Kvm#8901z", sequence},
		{"A06", "Kvm#9012z", sequence},
		{"A06", "Kvm#789zp", fine},
		{"A06", "Kvm#4321z", sequence},
		{"A06", "Kvm#1098z", sequence},
		{"A06", "Kvm#2109z", sequence},
		{"A06", "Kvm#109zp", fine},
		{"A06", "Abcd#7mqz", sequence},
		{"A06", "aBcD#7mqz", sequence},
		{"A06", "dcbA#7mqz", sequence},
		{"A06", "Abc#7mqzp", fine},
		{"A06", "Kv7#wxyz!", sequence},
		{"A06", "Kv7#yzab!", fine}, // letters do not go round
		{"A06", "Kv#yz01m!", fine}, // letters and digits do not mix
		{"A06", "Kv#ab12m!", fine},
		{"A06", "Kv#1357m!", fine},
		{"A06", "Kv#1243m!", fine},
		{"A06", "Kv#12.34m", fine},
		{"A06", "Kv#12321m", fine},     // three up, three down
		{"A06", "Kv7#mQ!\"#$", fine},   // signs have no order
		{"A06", "Kv#98765m", sequence}, // longer runs too

		// A07: no character three times in a row, case-folded.
		{"A07", "Kvm#222zp", repeat},
		{"A07", "Kvm#22zpq", fine},
		{"A07", "Kv7#Aaazp", repeat},
		{"A07", "Kv7#aAzpq", fine},
		{"A07", "Kv7###mqz", repeat},
		{"A07", "Kv7##mqz#", fine},
		{"A07", "Kv7   mqz", repeat},
		{"A07", "Kv7#ÄäÄmq", repeat},
		{"A07", "Kv7#aaaaq", repeat},

		// A08: nothing of the account; names shorter than three are not looked for.
		{"A08", "Anna#8204m", account},
		{"A08", "xxANNAx#82", account},
		{"A08", "x7#mariaQz", account},
		{"A08", "AnnaMaria#7", account},
		{"A08", "Leeway#82m", account},
		{"A08", "82-a.lee-Q", account},
		{"A08", "Annam#82qz", account}, // anna is in it
		{"A08", "Ann#8204mq", fine},
		{"A08", "Kv#m4711zp", account},
		{"A08", "Kv#m4712zp", fine},
		{"A08", "Kv#7müller", account},
		{"A08", "Kv#7MU\u0308LLER", account}, // the same in other code points
		{"A08", "Kv#7söhne!", account},
		{"A08", "Kv#7voiceQ", account},
		{"A08", "Example#82", account},
		{"A08", "Kv#7org.mQ", fine}, // the end of a domain is nobody's own
		{"A08", "Linen#82mq", fine}, // Li is too short to look for
		{"A08", "Kv#m550199", account},
		{"A08", "Kv#m55-01-99", account}, // separators hide nothing
		{"A08", "Kv#491705!", account},   // the beginning of the number
		{"A08", "Kv#m55019!", fine},      // five digits of it

		// Characters nobody can type again with certainty.
		{"chars", "Kv7#mQzp\x07", invisible},
		{"chars", "Kv7#mQz\tp", invisible},
		{"chars", "Kv7#mQz\u200bp", invisible},
		{"chars", "Kv7#mQz\u202ep", invisible},
		{"chars", "Kv7#mQz\ufeffp", invisible},
		{"chars", "Kv7#mQz\u2028p", invisible},
		{"chars", "Kv7#mQz\ue000p", invisible},
		{"chars", "Kv7#mQz\xffp", utf},
		{"chars", "Kv7#mQz☎p", fine},
		{"chars", "Kv7# mQ zp", fine},

		// Blocklist: keyboard walks.
		{"block", "Qwertyui#8", keyboard},
		{"block", "xQwerty#82", keyboard},
		{"block", "Asdf#Qwer8", keyboard},
		{"block", "poiuytQ#82", keyboard},
		{"block", "1qaz2WSX", keyboard},
		{"block", "Zxcvbn#82m", keyboard},
		{"block", "Qwertz#82m", keyboard},
		{"block", "!@#$%^aQ82", keyboard},
		{"block", "Kv7#asdmqz", fine},
		{"block", "Kv7#qwermQzp82", fine}, // four keys in a long password

		// Blocklist: short pieces.
		{"block", "Ab1!Ab1!", piece},
		{"block", "a1A1a1A1a1", piece},
		{"block", "Ab1!Ab1!Ab", piece},
		{"block", "Ab1!xAb1!y", fine},

		// Blocklist: well-known words in disguise.
		{"block", "Password1", common},
		{"block", "P@ssw0rd", common},
		{"block", "p4$$w0rd!", common},
		{"block", "Passwort2026!", common},
		{"block", "Welcome1!", common},
		{"block", "W3lc0m3!!", common},
		{"block", "Admin2026!", common},
		{"block", "adm1n!82", common},
		{"block", "Summer2026", common},
		{"block", "$umm3r26!", common},
		{"block", "Letmein#1", common},
		{"block", "!Dragon!82", common},
		{"block", "ILoveYou#2", common},
		{"block", "Ringfence1", common},
		{"block", "Changeme!7", common},
		{"block", "P-a-s-s-w-o-r-d-1", common},
		{"block", "AdminAdmin1", common},
		{"block", "Password-for-gate-7", fine},
		{"block", "Summerhouse#7q", fine},
		{"block", "correct horse 42", fine},
	} {
		err := CheckPassword(DefaultPolicy(), x.password, annaLee)
		switch fe, ok := telephony.AsFieldError(err); {
		case x.want == fine && err != nil:
			t.Errorf("%s: %q refused: %v", x.row, x.password, err)
		case x.want != fine && err == nil:
			t.Errorf("%s: %q accepted, want %q", x.row, x.password, x.want)
		case x.want != fine && (!ok || fe.Field != "password" || !strings.Contains(fe.Reason, reasonText(x.want))):
			t.Errorf("%s: %q refused with %q, want %q", x.row, x.password, err, x.want)
		}
		if err != nil && x.password != "" && strings.Contains(err.Error(), x.password) {
			t.Errorf("%s: the error repeats the password", x.row)
		}
	}
}

func reasonText(want string) string {
	if want == repeat {
		return "3 times in a row"
	}
	return want
}

// TestPolicySwitches turns each clause off; then its passwords pass.
func TestPolicySwitches(t *testing.T) {
	t.Parallel()
	for _, x := range []struct {
		password string
		off      func(*Policy)
	}{
		{"Kv7#m", func(p *Policy) { p.Min = 5 }},
		{strings.Repeat("Kv7#mQzp", 5), func(p *Policy) { p.Max = 40 }},
		{"82046135!", func(p *Policy) { p.Letter = false }},
		{"Kvb#mQzp", func(p *Policy) { p.Digit = false }},
		{"kvb7mqzp", func(p *Policy) { p.UpperOrSpecial = false }},
		{"Kvm#1234z", func(p *Policy) { p.NoSequence = false }},
		{"Kvm#222zp", func(p *Policy) { p.NoRepeat = false }},
		{"Anna#8204m", func(p *Policy) { p.NoAccount = false }},
	} {
		p := DefaultPolicy()
		if CheckPassword(p, x.password, annaLee) == nil {
			t.Errorf("%q passes the default policy", x.password)
		}
		x.off(&p)
		if err := CheckPassword(p, x.password, annaLee); err != nil {
			t.Errorf("%q with its clause off: %v", x.password, err)
		}
	}
}

func TestGeneratedPasswordsPass(t *testing.T) {
	t.Parallel()
	seen := make(map[string]bool)
	for i := range 300 {
		n := 12 + i%21
		s := GeneratePassword(n)
		if len(s) != n || seen[s] {
			t.Fatalf("%d characters asked, %d given, seen before: %v", n, len(s), seen[s])
		}
		seen[s] = true
		if err := CheckPassword(DefaultPolicy(), s, nil); err != nil {
			t.Fatalf("%q: %v", s, err)
		}
		if strings.Trim(s, generated) != "" {
			t.Fatalf("%q holds other characters", s)
		}
	}
	if s := GeneratePassword(1); len(s) != 12 {
		t.Errorf("%d characters", len(s))
	}
	if s := GeneratePassword(40); len(s) != 40 {
		t.Errorf("%d characters", len(s))
	}
}

// TestGeneratedCharactersAreEven is a chi-square test over the alphabet.
func TestGeneratedCharactersAreEven(t *testing.T) {
	t.Parallel()
	counts := make(map[rune]int)
	n := 0
	for range 4000 {
		for _, r := range randomText(20) {
			counts[r]++
			n++
		}
	}
	expected := float64(n) / float64(len(generated))
	chi := 0.0
	for _, r := range generated {
		d := float64(counts[r]) - expected
		chi += d * d / expected
	}
	// 55 degrees of freedom: even characters exceed 130 once in ten million
	// runs, and bytes taken modulo 56 without care pass 900.
	if chi > 130 {
		t.Errorf("chi-square %.1f over %d characters", chi, n)
	}
}

func FuzzCheckPassword(f *testing.F) {
	for _, s := range []string{"Kv7#mQzp", "", "P@ssw0rd", "1098", "Aaa", "\xff", "Kv7#mQz\u200bp", strings.Repeat("ä", 40), "qwer1qaz", "a.lee@x"} {
		f.Add(s, "anna-maria", "+49 170 555 0199")
	}
	f.Fuzz(func(t *testing.T, password, name, phone string) {
		p := DefaultPolicy()
		err := CheckPassword(p, password, []string{name, phone})
		if err2 := CheckPassword(p, password, []string{name, phone}); (err == nil) != (err2 == nil) {
			t.Fatal("two answers")
		}
		if err != nil {
			if fe, ok := telephony.AsFieldError(err); !ok || fe.Field != "password" || fe.Reason == "" {
				t.Fatalf("error of another kind: %v", err)
			}
			return
		}
		// What passed has what the policy asks for, counted another way.
		if !utf8.ValidString(password) || !strings.ContainsAny(password, "0123456789") ||
			!strings.ContainsAny(password, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ") {
			t.Fatalf("%q passed", password)
		}
		if n := utf8.RuneCountInString(string(normal(password))); n < 8 || n > 32 {
			t.Fatalf("%q passed with %d characters", password, n)
		}
		if name := strings.ToLower(name); len(name) >= 3 && strings.Trim(name, "abcdefghijklmnopqrstuvwxyz") == "" && strings.Contains(strings.ToLower(password), name) {
			t.Fatalf("%q passed with the name %q in it", password, name)
		}
		// Nothing passes that a stricter policy without the lists refuses.
		p.NoAccount = false
		if CheckPassword(p, password, nil) != nil {
			t.Fatal("a policy with fewer clauses refuses more")
		}
	})
}
