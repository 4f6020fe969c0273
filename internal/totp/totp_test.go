package totp

import (
	"net/url"
	"testing"
	"time"
)

// TestVectors are those of RFC 6238 appendix B for SHA-1, of eight digits.
func TestVectors(t *testing.T) {
	t.Parallel()
	secret := []byte("12345678901234567890")
	for at, want := range map[int64]string{
		59: "94287082", 1111111109: "07081804", 1111111111: "14050471", 1234567890: "89005924",
		2000000000: "69279037", 20000000000: "65353130",
	} {
		step := StepAt(time.Unix(at, 0))
		if got := code(secret, step, 8); got != want {
			t.Errorf("at %d: %s, want %s", at, got, want)
		}
		if got := Code(secret, step); got != want[2:] {
			t.Errorf("six digits at %d: %s, want %s", at, got, want[2:])
		}
	}
	// RFC 4226 appendix D: counters 0 to 9.
	for step, want := range []string{"755224", "287082", "359152", "969429", "338314", "254676", "287922", "162583", "399871", "520489"} {
		if got := Code(secret, int64(step)); got != want {
			t.Errorf("counter %d: %s, want %s", step, got, want)
		}
	}
}

func TestCodesOpenOnceAndInTheirTime(t *testing.T) {
	t.Parallel()
	secret := NewSecret()
	now := time.Unix(1_800_000_015, 0)
	this := StepAt(now)
	for off := int64(-3); off <= 3; off++ {
		step, ok := Match(secret, Code(secret, this+off), now, -1)
		if want := off >= -Skew && off <= Skew; ok != want || ok && step != this+off {
			t.Errorf("%+d steps: %d, %v", off, step-this, ok)
		}
		by, ok := Offset(secret, Code(secret, this+off*40), now)
		if off := time.Duration(off) * 40 * Step; !ok || by != off {
			t.Errorf("clock off by %v: %v, %v", off, by, ok)
		}
	}
	mine := Code(secret, this)
	if _, ok := Match(secret, mine, now, this); ok {
		t.Error("a code that was used opens again")
	}
	if _, ok := Match(secret, Code(secret, this-1), now, this); ok {
		t.Error("a code from before the one used last opens")
	}
	if _, ok := Match(secret, Code(secret, this+1), now, this); !ok {
		t.Error("the next code does not open")
	}
	if _, ok := Match(secret, mine[:3]+" "+mine[3:], now, -1); !ok {
		t.Error("a code with the space apps show in it is refused")
	}
	for _, bad := range []string{"", mine[1:], mine + "0", "000000x", "       "} {
		if _, ok := Match(secret, bad, now, -1); ok {
			t.Errorf("%q opens", bad)
		}
	}
}

func TestURI(t *testing.T) {
	t.Parallel()
	secret := []byte("12345678901234567890")
	text := URI("Ringfence pbx.example", "anna@x", secret)
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "otpauth" || u.Host != "totp" || u.Path != "/Ringfence pbx.example:anna@x" {
		t.Fatalf("%s: %v", text, err)
	}
	q := u.Query()
	if q.Get("secret") != "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ" || q.Get("issuer") != "Ringfence pbx.example" || q.Get("digits") != "6" || q.Get("period") != "30" || q.Get("algorithm") != "SHA1" {
		t.Errorf("%s", text)
	}
}
