package httpd

import (
	"testing"

	"ringfence/internal/telephony"
)

func TestHostNamesOfThisMachine(t *testing.T) {
	t.Parallel()
	settings := telephony.Settings{SetupDone: true, WebNames: []string{"voice.firm.example"}}
	snap := telephony.NewSnapshot(1, settings, []telephony.Tenant{{ID: 1, Domain: "pbx.example"}}, nil)
	allowed := HostNames(func() *telephony.Snapshot { return snap }, "Box", func() []string { return []string{"cert.example", "*.wild.example"} })
	for name, want := range map[string]bool{
		"localhost": true, "box": true, "box.local": true, "pbx.example": true, "sip.pbx.example": true,
		"voice.firm.example": true, "cert.example": true, "a.wild.example": true,
		"evil.example": false, "notpbx.example": false, "box.evil.example": false, "a.b.wild.example": false, "wild.example": false, ".wild.example": false, "": false,
	} {
		if got := allowed(name); got != want {
			t.Errorf("%q: %v, want %v", name, got, want)
		}
	}
	snap = telephony.NewSnapshot(1, telephony.Settings{}, nil, nil)
	if !allowed("anything.example") {
		t.Error("before set-up a name was refused")
	}
}
