package login

import (
	"strings"
	"unicode/utf8"

	"github.com/trustelem/zxcvbn/frequency"
)

const (
	listedWord = 6   // letters of a listed password that is looked for inside signs and figures
	listedPart = 4   // characters of each of two listed passwords that make up one
	maxListed  = 256 // bytes: no longer password is taken apart
)

// checkListed refuses the 30,000 passwords that were found most often in
// leaks, and people's names: as they are, with figures and signs around them,
// two of them in a row, or one again and again.
func checkListed(folded string) error {
	if len(folded) > maxListed {
		return nil
	}
	wanted := make(map[string]bool) // whether it was found
	forms := append(undressed(folded), plain(folded, "l"), plain(folded, "i"), repeated(folded))
	for _, form := range forms {
		if len(form) >= listedWord {
			wanted[form] = false
		}
	}
	wanted[folded] = false
	var splits [][2]string
	for i := range folded {
		if head, tail := folded[:i], folded[i:]; utf8.RuneCountInString(head) >= listedPart && utf8.RuneCountInString(tail) >= listedPart {
			splits = append(splits, [2]string{head, tail})
			wanted[head], wanted[tail] = false, false
		}
	}
	find(wanted)
	for _, form := range append(forms, folded) {
		if wanted[form] {
			return refuse("is on the blocklist: it is among the passwords used most often")
		}
	}
	for _, s := range splits {
		if wanted[s[0]] && wanted[s[1]] {
			return refuse("is on the blocklist: it is made of two of the passwords used most often")
		}
	}
	return nil
}

// find marks those that are on the list. Most of the list is passed over by
// its length and first byte.
func find(wanted map[string]bool) {
	var first [256]bool
	var long [maxListed + 1]bool
	for w := range wanted {
		if w != "" {
			first[w[0]], long[len(w)] = true, true
		}
	}
	for _, list := range [...]string{"passwords", "female_names", "male_names", "surnames"} {
		for _, word := range frequency.FrequencyLists[list] {
			if word == "" || len(word) > maxListed || !long[len(word)] || !first[word[0]] {
				continue
			}
			if _, asked := wanted[word]; asked {
				wanted[word] = true
			}
		}
	}
}

// repeated is the shortest text that s repeats from beginning to end.
func repeated(s string) string {
	for n := 1; n <= len(s)/2; n++ {
		if len(s)%n == 0 && strings.Repeat(s[:n], len(s)/n) == s {
			return s[:n]
		}
	}
	return s
}
