package b2bua

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"ringfence/internal/sip"
	"ringfence/internal/siptest"
)

// TestFavouriteCodecsAreNotConverted: a phone that answers with its favourite of
// what it is offered is offered what the caller knows. It stays so when the caller
// changes the session.
func TestFavouriteCodecsAreNotConverted(t *testing.T) {
	t.Parallel()
	_, a, b := realPair(t)
	favourite := func(offer string, port int) string {
		for _, pt := range []uint8{9, 96, 107, 8, 0} {
			if offered(t, offer, pt) {
				return strings.Replace(describe(1, port), "RTP/AVP 0 8", fmt.Sprint("RTP/AVP ", pt), 1)
			}
		}
		t.Fatal(offer)
		return ""
	}
	law := strings.Replace(describe(1, 40000), "RTP/AVP 0 8", "RTP/AVP 0", 1)
	da := a.dial("102", law)
	invite := b.want("INVITE")
	b.reply(invite, 200, "b1", favourite(invite, 40100))
	b.want("ACK")
	ok := a.want("200")
	da.learn(ok)
	da.request(sip.ACK, "")
	for range 2 {
		got, _ := reoffer(t, da, b, law+"a=sendonly\r\n", favourite(invite, 40100))
		if offered(t, got, 9) || !offered(t, got, 0) {
			t.Error(got)
		}
	}
}

func offered(t *testing.T, message string, pt uint8) bool {
	t.Helper()
	d, err := siptest.ParseSDP(body(message))
	if err != nil {
		t.Fatal(err)
	}
	return slices.Contains(d.Payloads, pt)
}

// TestPhoneWithoutTheCallersCodecs: it refuses, and is asked again with all that
// we can convert; what it says then is its last word about codecs.
func TestPhoneWithoutTheCallersCodecs(t *testing.T) {
	t.Parallel()
	_, a, b := realPair(t)
	da := a.dial("102", describe(1, 40000))
	first := b.want("INVITE")
	if offered(t, first, 9) || !offered(t, first, 8) {
		t.Error(first)
	}
	b.reply(first, 488, "b1", "")
	b.want("ACK")
	second := b.want("INVITE")
	if !offered(t, second, 9) || !offered(t, second, 0) || header(second, "Call-ID") == header(first, "Call-ID") {
		t.Error(second)
	}
	b.reply(second, 200, "b2", strings.Replace(describe(1, 40100), "RTP/AVP 0 8", "RTP/AVP 9", 1))
	b.want("ACK")
	ok := a.want("200")
	if !offered(t, ok, 0) || offered(t, ok, 9) {
		t.Error(ok)
	}
	da.learn(ok)
	da.request(sip.ACK, "")
	// The phone has no G.711: it must not be asked for it alone.
	got, _ := reoffer(t, da, b, describe(2, 40000, "a=sendonly"), strings.Replace(describe(2, 40100), "RTP/AVP 0 8", "RTP/AVP 9", 1))
	if !offered(t, got, 9) {
		t.Error(got)
	}
}
