package shell

import (
	"slices"
	"strings"
	"testing"
	"unicode"
)

func TestWords(t *testing.T) {
	t.Parallel()
	for line, want := range map[string][]string{
		"":                   nil,
		"  a \t b  ":         {"a", "b"},
		`a "b  c" 'd"e' f""`: {"a", "b  c", `d"e`, "f"},
		`''`:                 {""},
		`a\ b $x *`:          {"a\\", "b", "$x", "*"},
		`add-key "Zoë's" k`:  {"add-key", "Zoë's", "k"},
		`x"y z"w`:            {"xy zw"},
	} {
		if got, err := Words(line); err != nil || !slices.Equal(got, want) {
			t.Errorf("%q: %q, %v; want %q", line, got, err, want)
		}
	}
	for line, want := range map[string]error{
		`"`: errQuote, `a 'b`: errQuote, "a\x1b": errControl, "a\nb": errControl, "\xff": errControl, "a\u202e": errControl,
		strings.Repeat("a", maxLine+1): errLong,
	} {
		if _, err := Words(line); err != want {
			t.Errorf("%.20q: %v, want %v", line, err, want)
		}
	}
}

// Words never makes anything up: what comes out stood there, is printable, and
// says the same when it is quoted and read again.
func FuzzWords(f *testing.F) {
	for _, seed := range []string{"status", `ports -format "aws-cli"`, `'`, `""`, "a\tb", "\x00", "ä 'ö ü'"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, line string) {
		words, err := Words(line)
		if err != nil {
			return
		}
		total := 0
		for _, w := range words {
			total += len(w)
			for _, r := range w {
				if !unicode.IsPrint(r) && r != '\t' {
					t.Fatalf("%q holds %q", w, r)
				}
			}
		}
		if total > len(line) {
			t.Fatalf("%d bytes of %d", total, len(line))
		}
		var quoted []string
		for _, w := range words {
			if strings.Contains(w, `"`) && strings.Contains(w, "'") {
				return // cannot be said with one pair of quotes
			}
			q := `"`
			if strings.Contains(w, `"`) {
				q = "'"
			}
			quoted = append(quoted, q+w+q)
		}
		again, err := Words(strings.Join(quoted, " "))
		if err == errLong {
			return
		}
		if err != nil || !slices.Equal(again, words) {
			t.Fatalf("%q became %q: %v", words, again, err)
		}
	})
}
