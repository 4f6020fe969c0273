package api

import (
	"encoding/csv"
	"slices"
	"strings"
	"testing"
	"time"

	"ringfence/internal/telephony"
)

// FuzzRules: whatever is uploaded is taken as rules that are valid, or refused
// with a reason; rules that were taken come back the same from their export.
func FuzzRules(f *testing.F) {
	for _, s := range []string{
		"network,action,note,expires_at\n192.0.2.0/24,block,\"a, \"\"b\"\"\",2099-01-31T12:00:00Z\n",
		"41.202.0.0 255.255.0.0,allow,'=1+1\n2001:db8::/32,BLOCK",
		"a\"b", "\"", ",", "\xff,allow", "# comment\n", "\ufeffnetwork\n::ffff:192.0.2.1,block",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		rules, err := parseRules(text)
		if err != nil {
			if err.Error() == "" || len(rules) > 0 {
				t.Fatalf("%d rules, error %q", len(rules), err)
			}
			return
		}
		var b strings.Builder
		w := csv.NewWriter(&b)
		for _, r := range rules {
			if err := r.Validate(); err != nil {
				t.Fatalf("%+v was taken: %v", r, err)
			}
			expires := ""
			if !r.Expires.IsZero() {
				expires = r.Expires.UTC().Format(time.RFC3339)
			}
			_ = w.Write([]string{networkText(r.Prefix), actionOf(r), inert(r.Note), expires})
		}
		w.Flush()
		again, err := parseRules(b.String())
		same := slices.EqualFunc(rules, again, func(a, b telephony.AddressRule) bool {
			return a.Prefix == b.Prefix && a.Allow == b.Allow && strings.TrimPrefix(a.Note, "'") == strings.TrimPrefix(b.Note, "'") && a.Expires.Truncate(time.Second).Equal(b.Expires)
		})
		if err != nil || !same {
			t.Fatalf("%+v became %+v by\n%s\n%v", rules, again, b.String(), err)
		}
	})
}
