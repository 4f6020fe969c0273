package telephony

import (
	"testing"
	"time"
)

func TestCallRulesAreChecked(t *testing.T) {
	t.Parallel()
	for what, x := range map[string]struct {
		change func(*CallRules)
		want   string
	}{
		"as they are":     {func(*CallRules) {}, ""},
		"no media":        {func(r *CallRules) { r.Media = "" }, "media_security"},
		"unknown media":   {func(r *CallRules) { r.Media = "require-512" }, "media_security"},
		"strictest media": {func(r *CallRules) { r.Media = SecurityRequire256 }, ""},
		"session":         {func(r *CallRules) { r.Session = "always" }, "session_timers"},
		"short session":   {func(r *CallRules) { r.MinSE = 89 * time.Second }, "session_min_seconds"},
		"long least":      {func(r *CallRules) { r.MinSE, r.SessionExpires = 61*time.Minute, 2*time.Hour }, "session_min_seconds"},
		"below the least": {func(r *CallRules) { r.MinSE, r.SessionExpires = time.Hour, 30*time.Minute }, "session_expires_seconds"},
		"long session":    {func(r *CallRules) { r.SessionExpires = 25 * time.Hour }, "session_expires_seconds"},
		"dead for ever":   {func(r *CallRules) { r.DeadMedia = 0 }, ""},
		"dead at once":    {func(r *CallRules) { r.DeadMedia = 29 * time.Second }, "dead_media_seconds"},
		"dead for days":   {func(r *CallRules) { r.DeadMedia = 25 * time.Hour }, "dead_media_seconds"},
		"tones":           {func(r *CallRules) { r.Tones = "de" }, "tones"},
		"music":           {func(r *CallRules) { r.Music = "off" }, "music_on_hold"},
	} {
		r := DefaultCallRules()
		x.change(&r)
		checkField(t, what, r.Validate(), x.want)
	}
	if got := (CallRules{Tones: "DE"}).Complete(); got.Tones != "DE" || got.Media != SecurityOffer || got.SessionExpires != 30*time.Minute || got.DeadMedia != 0 {
		t.Errorf("completed: %+v", got)
	}
	for m, want := range map[MediaSecurity]string{"": "", SecurityRequire: "", "srtp": "media_security"} {
		e := Extension{Number: "101", NoAnswer: DefaultNoAnswer, Media: m}
		checkField(t, string(m), e.Validate(Tenant{ExtensionFirst: "100", ExtensionLast: "199"}), want)
	}
}
