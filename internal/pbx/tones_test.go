package pbx_test

import (
	"slices"
	"testing"

	"ringfence/internal/audio/tone"
	"ringfence/internal/telephony"
)

// What can be chosen is what can be made.
func TestToneCountriesAreThoseWhoseTonesAreMade(t *testing.T) {
	t.Parallel()
	if chosen, made := telephony.ToneCountries(), tone.Countries(); !slices.Equal(chosen, made) {
		t.Errorf("%v can be chosen, %v are made", chosen, made)
	}
}
