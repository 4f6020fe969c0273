package registrar

import (
	"fmt"
	"math"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestUnknownExtensionsLookLikeKnownOnes: whatever is wrong with a REGISTER,
// its answer has the same code, header names and parameters for an extension
// that exists as for one that does not.
func TestUnknownExtensionsLookLikeKnownOnes(t *testing.T) {
	inTime(t, func(t *testing.T) {
		for what, lines := range map[string][]string{
			"wrong password":   {"Contact: <sip:x@192.0.2.50>"},
			"query":            nil,
			"removal":          {"Contact: *", "Expires: 0"},
			"too brief":        {"Contact: <sip:x@h>;expires=1"},
			"malformed":        {"Contact: <tel:1>"},
			"required":         {"Require: path", "Supported: path", "Path: <sip:p;lr>"},
			"unknown required": {"Require: gruu"},
			"path":             {"Path: <sip:p;lr>"},
		} {
			shape := map[string]string{}
			for _, user := range []string{"101", "199"} {
				r := newRig(t, Config{})
				r.password = "guess"
				aor := "sip:" + user + "@a.test"
				first := r.send(ask{user: user, from: aor, to: aor, callID: "same", branch: "b", cseq: 1, lines: lines}, "")
				_, second := r.register(ask{user: user, cseq: 2, lines: lines})
				shape[user] = shapeOf(first) + "\n" + shapeOf(second)
			}
			if shape["101"] != shape["199"] {
				t.Errorf("%s:\n%s\n%s", what, shape["101"], shape["199"])
			}
		}
	})
}

// shapeOf is an answer without what differs between any two.
func shapeOf(answer string) string {
	answer = regexp.MustCompile(`nonce="[^"]*"`).ReplaceAllString(answer, `nonce=""`)
	answer = regexp.MustCompile(`tag=[A-Z0-9]+|branch=\w+`).ReplaceAllString(answer, "")
	return strings.NewReplacer("101", "N", "199", "N").Replace(answer)
}

// TestUnknownExtensionsCostTheSame: the same work is done for both, measured
// by what is allocated, which is exact, and by the median of time.
func TestUnknownExtensionsCostTheSame(t *testing.T) {
	r := newRig(t, Config{})
	r.password = "guess"
	try := func(user string, i int) {
		r.nonce = ""
		if code, _ := r.register(ask{user: user, callID: fmt.Sprint(user, i), cseq: 1, lines: []string{"Contact: <sip:x@192.0.2.50>"}}); code != "401 Unauthorized" {
			t.Fatal(code)
		}
	}
	took := map[string][]time.Duration{}
	const rounds = 1000
	for i := range rounds {
		for _, user := range []string{"101", "199"} {
			start := time.Now()
			try(user, i)
			took[user] = append(took[user], time.Since(start))
		}
	}
	a, b := medianOf(took["101"]), medianOf(took["199"])
	t.Logf("median of %d: %v and %v", rounds, a, b)
	if d := (a - b).Abs(); d > time.Millisecond || d > max(a, b)/3 {
		t.Errorf("an extension that exists takes %v, one that does not %v", a, b)
	}
	i := rounds
	allocs := func(user string) float64 {
		// The least of several: what pools lost to the collector only adds.
		least := math.Inf(1)
		for range 8 {
			least = min(least, testing.AllocsPerRun(25, func() { i++; try(user, i) }))
		}
		return least
	}
	if a, b := allocs("101"), allocs("199"); math.Abs(a-b) > allocSlack {
		t.Errorf("%v allocations for an extension that exists, %v for one that does not", a, b)
	}
}

func medianOf(d []time.Duration) time.Duration {
	slices.Sort(d)
	return d[len(d)/2]
}
