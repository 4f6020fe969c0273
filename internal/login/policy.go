package login

import (
	"crypto/rand"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"

	"ringfence/internal/telephony"
)

// Policy says what a password must be like. The blocklist always applies.
type Policy = telephony.PasswordPolicy

// DefaultPolicy is the policy for people.
func DefaultPolicy() Policy { return telephony.DefaultPasswordPolicy() }

const (
	sequenceRun  = 4
	repeatRun    = 3
	accountToken = 3 // shorter names are not looked for
	phoneRun     = 6 // digits of a phone number that must not stand in a row
)

// CheckPassword refuses a password with a *telephony.FieldError whose reason
// names the rule, and never repeats the password. account is what the password
// must not contain: names, user name, e-mail address, extension, company,
// SIP domain, phone number.
func CheckPassword(p Policy, password string, account []string) error {
	if !utf8.ValidString(password) {
		return refuse("is not valid UTF-8")
	}
	if err := checkRules(p.Effective(), password, account); err != nil {
		return err
	}
	return checkListed(fold(password))
}

// checkRules is CheckPassword without the list of common passwords.
func checkRules(p Policy, password string, account []string) error {
	password = norm.NFC.String(password)
	if err := checkCharacters(p, password); err != nil {
		return err
	}
	folded := fold(password)
	switch {
	case p.NoSequence && hasSequence(folded):
		return refuse("holds %d or more letters or digits in sequence, such as 1234, 7890 or dcba", sequenceRun)
	case p.NoRepeat && hasRepeat(folded):
		return refuse("holds the same character %d times in a row", repeatRun)
	case p.NoAccount && holdsAccount(folded, account):
		return refuse("holds a part of the account's own names or numbers")
	}
	return checkCommon(folded)
}

func refuse(format string, args ...any) error {
	return &telephony.FieldError{Field: "password", Reason: fmt.Sprintf(format, args...)}
}

// checkCharacters applies the rules on length and on kinds of characters.
func checkCharacters(p Policy, password string) error {
	var letter, digit, strong bool
	n := 0
	for _, r := range password {
		n++
		// Control, invisible and private characters cannot be typed again with
		// certainty.
		if unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp, unicode.Co) {
			return refuse("holds a control or invisible character")
		}
		switch {
		case r >= 'a' && r <= 'z':
			letter = true
		case r >= 'A' && r <= 'Z':
			letter, strong = true, true
		case r >= '0' && r <= '9':
			digit = true
		case r >= ' ' && r <= '~':
			strong = true
		}
	}
	switch {
	case n < p.Min:
		return refuse("has fewer than %d characters", p.Min)
	case n > p.Max:
		return refuse("has more than %d characters", p.Max)
	case p.Letter && !letter:
		return refuse("needs at least one Latin letter")
	case p.Digit && !digit:
		return refuse("needs at least one digit")
	case p.UpperOrSpecial && !strong:
		return refuse("needs at least one upper-case letter or special character")
	}
	return nil
}

// fold takes the case away, for comparing.
func fold(s string) string { return cases.Fold().String(norm.NFC.String(s)) }

// hasSequence looks for a run up or down. Digits go round from 9 to 0 and
// back; a run does not go from letters to digits.
func hasSequence(folded string) bool {
	var up, down int
	var last rune
	for _, r := range folded {
		up, down = up+1, down+1
		if !follows(last, r) {
			up = 1
		}
		if !follows(r, last) {
			down = 1
		}
		last = r
		if up >= sequenceRun || down >= sequenceRun {
			return true
		}
	}
	return false
}

// follows reports whether b comes right after a.
func follows(a, b rune) bool {
	digits := isDigit(a) && isDigit(b)
	letters := isLetter(a) && isLetter(b)
	return digits && (b == a+1 || a == '9' && b == '0') || letters && b == a+1
}

func isDigit(r rune) bool  { return r >= '0' && r <= '9' }
func isLetter(r rune) bool { return r >= 'a' && r <= 'z' }

func hasRepeat(folded string) bool {
	run := 0
	last := rune(-1)
	for _, r := range folded {
		if r != last {
			run = 0
		}
		run, last = run+1, r
		if run >= repeatRun {
			return true
		}
	}
	return false
}

// holdsAccount looks for the account's words and numbers in the password.
func holdsAccount(folded string, account []string) bool {
	digits := strings.Map(dropSeparators, folded)
	for _, entry := range account {
		entry = fold(strings.TrimSpace(entry))
		if number := onlyDigits(entry); isPhone(entry, number) {
			for i := 0; i+phoneRun <= len(number); i++ {
				if strings.Contains(digits, number[i:i+phoneRun]) {
					return true
				}
			}
			continue
		}
		for _, token := range accountTokens(entry) {
			if utf8.RuneCountInString(token) >= accountToken && strings.Contains(folded, token) {
				return true
			}
		}
	}
	return false
}

// isPhone tells a phone number from a name: only digits and separators, and
// enough digits to look for.
func isPhone(entry, digits string) bool {
	return len(digits) >= phoneRun && strings.Trim(entry, "0123456789"+separators) == ""
}

// separators stand between the digits of phone numbers.
const separators = "+-./() "

func dropSeparators(r rune) rune {
	if strings.ContainsRune(separators, r) {
		return -1
	}
	return r
}

func onlyDigits(s string) string {
	return strings.Map(func(r rune) rune {
		if isDigit(r) {
			return r
		}
		return -1
	}, s)
}

// accountTokens are the words of a name: whole, each part, and the parts run
// together. Of an e-mail address only what stands before the @ counts; of a
// domain name everything but its last label, which is nobody's own.
func accountTokens(entry string) []string {
	if local, domain, ok := strings.Cut(entry, "@"); ok && domain != "" {
		entry = local
	} else if i := strings.LastIndexByte(entry, '.'); i > 0 && telephony.CheckDomain("", entry) == nil {
		entry = entry[:i]
	}
	parts := strings.FieldsFunc(entry, func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) && !unicode.IsMark(r) })
	return append(parts, entry, strings.Join(parts, ""))
}

// generated are the characters of generated passwords: none that are mistaken
// for one another, none that needs escaping in a phone's configuration.
const generated = "ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnpqrstuvwxyz23456789"

// GeneratePassword makes a random password of n characters, at least 12, that
// passes the default policy whenever n is not above its maximum. 20 characters
// carry 116 bits.
func GeneratePassword(n int) string {
	n = max(n, 12)
	p := DefaultPolicy()
	p.Max = max(p.Max, n)
	for {
		if s := randomText(n); checkRules(p, s, nil) == nil {
			return s
		}
	}
}

// randomText draws n characters, each as likely as any other.
func randomText(n int) string {
	const even = 256 / len(generated) * len(generated) // bytes from here on would favour some
	text := make([]byte, 0, n)
	for len(text) < n {
		b := make([]byte, n)
		rand.Read(b)
		for _, v := range b {
			if int(v) < even && len(text) < n {
				text = append(text, generated[int(v)%len(generated)])
			}
		}
	}
	return string(text)
}
