package store

import (
	"strings"
	"testing"
)

// 100,000 names of provisioning folders: all different, and every character is
// as likely as any other in every place.
func TestProvisionPathsAreRandom(t *testing.T) {
	t.Parallel()
	const n, alphabet = 100_000, "abcdefghijklmnopqrstuvwxyz234567"
	seen := make(map[string]bool, n)
	var count [26][len(alphabet)]int
	for range n {
		p := newProvisionPath()
		if len(p) != 26 || seen[p] {
			t.Fatalf("%q comes twice, or is not 128 bits long", p)
		}
		seen[p] = true
		for i, c := range []byte(p) {
			at := strings.IndexByte(alphabet, c)
			if at < 0 {
				t.Fatalf("%q", p)
			}
			count[i][at]++
		}
	}
	for i := range count {
		// The last character carries 3 bits of 128.
		kinds := len(alphabet)
		if i == 25 {
			kinds = 8
		}
		want, chi := float64(n)/float64(kinds), 0.0
		used := 0
		for _, have := range count[i] {
			if have == 0 {
				continue
			}
			used++
			chi += (float64(have) - want) * (float64(have) - want) / want
		}
		// Beyond 85 with 31 degrees of freedom, or 40 with 7, lies one honest
		// run in a million.
		if limit := map[int]float64{32: 85, 8: 40}[kinds]; used != kinds || chi > limit {
			t.Errorf("character %d: chi-square %.1f over %d values, at most %.0f over %d", i, chi, used, limit, kinds)
		}
	}
}
