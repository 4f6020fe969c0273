package interop

import (
	"context"
	"regexp"
	"testing"
	"time"

	"ringfence/internal/ports"
	"ringfence/internal/telephony"
	"ringfence/tests/clients"
)

const suite128 = "AES_CM_128_HMAC_SHA1_80"

// demands has an extension want media protected in a way.
func (b *bench) demands(t *testing.T, number string, m telephony.MediaSecurity) {
	t.Helper()
	in := map[string]any{"display_name": "", "no_answer_seconds": 30, "media_security": string(m)}
	if err := b.pbx.Admin(t).Do(t.Context(), "PUT", "/extensions/"+number, in, nil); err != nil {
		t.Fatal(err)
	}
}

// An extension that wants 256-bit keys takes no client that knows 128 bits only,
// and its owner is told why, in words, on the screen of that client; so is who
// calls it.
func TestRequire256RefusesA128BitPeer(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	for _, number := range []string{"101", "102"} {
		b.demands(t, number, telephony.SecurityRequire256)
	}
	own := `media must be encrypted with AES-256 \(this phone offers ` + suite128 + `\)`

	baresip := b.baresip(t, "101", 0, 440, ";mediaenc=srtp-mand") // offers 128 bits only
	linphone := b.linphone(t, "102", 0, 660, func(c *clients.LinphoneConfig) {
		c.Secure, c.SIP = true, []string{"srtp_crypto_suites=" + suite128}
	})
	do(t, baresip, "dial", "102")
	e, err := baresip.Wait(within(t, 20*time.Second), "CALL_CLOSED")
	if err != nil {
		t.Fatal(err)
	}
	if want := "488 Not Acceptable Here"; e.Param != want {
		t.Errorf("baresip's call ended with %q, want %q", e.Param, want)
	}
	matches(t, "baresip", baresip.Log(), `(?m)^Warning: 399 pbx "`+own+`"\r?$`)

	say(t, linphone, "call sip:101@"+b.pbx.Extension("102").Domain)
	state(t, linphone, "Error")
	matches(t, "linphone", linphone.Log(), `(?m)^SIP/2.0 488 `)
	matches(t, "linphone", linphone.Log(), `(?m)^Warning: ?399 pbx "`+own+`"\r?$`)

	caller := b.sipp(t, ports.SIPUDP, "103", "102", 6600, dial(true), []clients.Step{
		clients.Expect(180, `optional="true"`),
		clients.ExpectWith(488, `search_in="hdr" header="Warning:"`, `399 pbx "the phone of 102: media must be encrypted with AES-256"`, "why"),
		clients.Within("ACK", 2),
	})
	b.play(t, caller, func(ctx context.Context) {
		if _, err := linphone.Wait(ctx, `to LinphoneCallIncomingReceived$`); err == nil {
			say(t, linphone, "answer")
		}
	})
	for _, r := range records(t, b.pbx.Admin(t), 3) {
		if r.Reason != string(telephony.EndMediaSecurity) || r.Status != 488 || r.Answered != "" {
			t.Errorf("call record %+v", r)
		}
	}
}

// matches demands a pattern of a client's log.
func matches(t *testing.T, who, log, pattern string) {
	t.Helper()
	if !regexp.MustCompile(pattern).MatchString(log) {
		t.Errorf("%s's log has no %q:\n%s", who, pattern, log[max(0, len(log)-4000):])
	}
}
