package login

import "strings"

// The blocklist is made of rules instead of a list of leaked passwords: what
// people choose under a policy like ours is a well-known word in some dress, a
// walk over the keyboard, or a short piece again and again.

// commonWords are the undressed forms of what is tried first, everywhere and
// on telephone systems.
var commonWords = [...]string{
	"access", "administrator", "admin", "adminadmin", "angel", "asterisk", "august", "autumn", "bailey", "baseball",
	"batman", "benutzer", "cheese", "change", "changeme", "charlie", "chocolate", "company", "computer", "cookie",
	"default", "december", "demo", "donald", "dragon", "extension", "facebook", "fall", "february", "flower", "football",
	"freepbx", "freedom", "freeswitch", "friday", "friend", "geheim", "google", "guest", "hallo", "hello", "hockey", "iloveyou",
	"internet", "january", "jesus", "jordan", "july", "june", "kennwort", "killer", "letmein", "liverpool", "login", "love",
	"lovely", "manager", "march", "master", "michael", "microsoft", "monday", "monkey", "mustang", "ninja", "nothing",
	"november", "october", "office", "operator", "passphrase", "password", "passwort", "pass", "pbx", "phone", "pokemon",
	"portsip", "princess", "private", "qwerty", "qwertz", "azerty", "ringfence", "root", "saturday", "samsung", "secret", "secure",
	"security", "september", "server", "shadow", "soccer", "softphone", "spring", "starwars", "summer", "sunday", "sunshine",
	"superman", "support", "sysadmin", "system", "telefon", "telephone", "temp", "test", "testing", "thursday", "trustno",
	"tuesday", "user", "voicemail", "voip", "wednesday", "welcome", "whatever", "winter", "zxcvbn",
}

// keyboardLines are runs of neighbouring keys: rows of the usual layouts, the
// digit row with its shifted forms, and columns.
var keyboardLines = [...]string{
	"qwertyuiop", "asdfghjkl", "zxcvbnm",
	"qwertzuiop", "yxcvbnm", "azertyuiop", "qsdfghjklm", "wxcvbn",
	"1234567890", "!@#$%^&*()", `!"§$%&/()=`,
	"1qaz", "2wsx", "3edc", "4rfv", "5tgb", "6yhn", "7ujm", "8ik,", "9ol.", "0p;/",
	"1qay", "6zhn", "!qaz", "@wsx", "#edc", "$rfv",
}

const (
	keyboardRun  = 4 // keys that count as a walk when walks make up half a password
	keyboardLong = 6 // keys that are a walk in any password
)

func checkCommon(folded string) error {
	switch {
	case isWalk(folded):
		return refuse("is on the blocklist: it follows the keys of a keyboard")
	case isPieceRepeated(folded):
		return refuse("is on the blocklist: it is a short piece again and again")
	case isCommonWord(folded):
		return refuse("is on the blocklist: it is a well-known password in disguise")
	}
	return nil
}

// isWalk measures how much of the password follows keyboard lines.
func isWalk(folded string) bool {
	s := []rune(folded)
	covered := 0
	for i := 0; i < len(s); {
		n := walkAt(s[i:])
		switch {
		case n >= keyboardLong:
			return true
		case n >= keyboardRun:
			covered += n
			i += n
		default:
			i++
		}
	}
	return covered > 0 && covered*2 >= len(s)
}

// walkAt is the length of the longest walk at the beginning of s.
func walkAt(s []rune) int {
	longest := 0
	for _, line := range keyboardLines {
		keys := []rune(line)
		for start, key := range keys {
			if len(s) == 0 || key != s[0] {
				continue
			}
			for _, step := range [...]int{1, -1} {
				n := 1
				for n < len(s) && start+n*step >= 0 && start+n*step < len(keys) && keys[start+n*step] == s[n] {
					n++
				}
				longest = max(longest, n)
			}
		}
	}
	return longest
}

// isPieceRepeated finds a piece of up to four characters that makes up the
// whole password.
func isPieceRepeated(folded string) bool {
	s := []rune(folded)
	for size := 1; size <= 4 && size*2 <= len(s); size++ {
		same := true
		for i := size; i < len(s) && same; i++ {
			same = s[i] == s[i-size]
		}
		if same {
			return true
		}
	}
	return false
}

// isCommonWord undresses the password: figures and signs around it go, and
// those that stand for letters inside become letters.
func isCommonWord(folded string) bool {
	for _, bare := range undressed(folded) {
		for _, word := range commonWords {
			if bare == word || bare == word+word {
				return true
			}
		}
	}
	return false
}

// undressed are the readings of a password as a word: what stands at either
// end may be decoration (admin2026!) or letters (4dm1n, w3lc0m3).
func undressed(folded string) []string {
	notLetter := func(r rune) bool { return !isLetter(r) }
	sign := func(r rune) bool { return !isLetter(r) && !isDigit(r) }
	never := func(rune) bool { return false }
	var out []string
	for _, head := range [...]func(rune) bool{never, sign, notLetter} {
		for _, tail := range [...]func(rune) bool{never, sign, notLetter} {
			core := strings.TrimRightFunc(strings.TrimLeftFunc(folded, head), tail)
			out = append(out, lettersOnly(core))
			for _, one := range [...]string{"l", "i"} {
				out = append(out, lettersOnly(plain(core, one)))
			}
		}
	}
	return out
}

// plain turns figures and signs back into the letters they stand for; one is
// what 1 and ! stand for.
func plain(s, one string) string {
	return strings.NewReplacer("0", "o", "1", one, "3", "e", "4", "a", "5", "s", "7", "t", "8", "b", "9", "g",
		"@", "a", "$", "s", "!", one, "|", "l", "+", "t").Replace(s)
}

func lettersOnly(s string) string {
	return strings.Map(func(r rune) rune {
		if isLetter(r) {
			return r
		}
		return -1
	}, s)
}
