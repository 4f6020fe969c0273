package telephony

import "testing"

func TestParseMediaSecurity(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]MediaSecurity{"": SecurityOffer, "offer": SecurityOffer, "off": SecurityOff, "require": SecurityRequire, "require-256": SecurityRequire256} {
		if got, err := ParseMediaSecurity(in); err != nil || got != want {
			t.Errorf("%q: %q, %v; want %q", in, got, err, want)
		}
	}
	for _, in := range []string{"Offer", "require-128", " off"} {
		if got, err := ParseMediaSecurity(in); err == nil {
			t.Errorf("%q is accepted as %q", in, got)
		}
	}
}
