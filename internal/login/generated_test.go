package login

import (
	"testing"
	"time"
)

func TestAGeneratedPasswordIsCheckedInTheUsualTime(t *testing.T) {
	t.Parallel()
	h := newHasher(usualCost())
	password := GeneratePassword(MinGenerated)
	usual, err := h.hash(t.Context(), password)
	if err != nil {
		t.Fatal(err)
	}
	quick := HashGenerated(password)
	if quick == HashGenerated(password) {
		t.Error("two hashes of one password are equal")
	}
	spent := func(hash string) time.Duration { // the shortest of some: others use the processor too
		best := time.Hour
		for range 5 {
			began := time.Now()
			if ok, err := h.verify(t.Context(), hash, password); err != nil || !ok {
				t.Fatalf("right password: %v, %v", ok, err)
			}
			best = min(best, time.Since(began))
		}
		return best
	}
	if a, b := spent(quick), spent(usual); a < b/3 {
		t.Errorf("a generated password is checked in %v, another in %v", a, b)
	}
	if ok, err := h.verify(t.Context(), quick, password+"x"); err != nil || ok {
		t.Errorf("wrong password: %v, %v", ok, err)
	}
}
