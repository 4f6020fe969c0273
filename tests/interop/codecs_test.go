package interop

import (
	"testing"

	"ringfence/tests/clients"
)

// onlyOpus confines a page's audio.
func onlyOpus() map[string]any {
	return map[string]any{"codecs": map[string]any{"audio": []string{"opus"}}}
}

// A browser that speaks Opus only and a phone that knows PCMA only hear each
// other, whoever calls: the PBX converts.
func TestOpusBrowserAndPCMAPhone(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	page := b.webPhone(t, b.browser(t), "101", 440, onlyOpus())
	web := &webVoice{p: page, domain: b.pbx.Extension("101").Domain}
	phone := &baresipVoice{p: b.baresip(t, "102", 0, 660, "", func(c *clients.BaresipConfig) { c.Codecs = "PCMA" })}
	members := []member{
		{name: "Chromium", number: "101", tone: 440, offers: "AEAD_AES_256_GCM", takes: "AEAD_AES_256_GCM", voice: web},
		{name: "baresip", number: "102", tone: 660, voice: phone},
	}
	for _, m := range []meeting{{members[0], members[1]}, {members[1], members[0]}} {
		if err := m.take(t.Context(), members); err != nil {
			t.Errorf("%s: %.4000v", m, err)
		}
		if s, err := web.stats(); err != nil || s.Hears != "audio/opus" || s.Speaks != "audio/opus" {
			t.Errorf("%s: the browser hears %s and speaks %s, %v", m, s.Hears, s.Speaks, err)
		}
		matches(t, "baresip", phone.p.Log(), `(?m)^a=rtpmap:8 PCMA/8000`)
	}
	matches(t, "baresip", phone.p.Log(), `(?m)^m=audio \d+ RTP/AVP 8 101\r?$`)
}

// A phone that knows none of the caller's codecs refuses what it is offered first,
// and is connected all the same: then the PBX converts.
func TestPhonesWithoutACommonCodec(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	wide := &baresipVoice{p: b.baresip(t, "101", 0, 440, "", func(c *clients.BaresipConfig) { c.Codecs = "G722/16000" })}
	law := &baresipVoice{p: b.baresip(t, "102", 1, 660, "", func(c *clients.BaresipConfig) { c.Codecs = "PCMU" })}
	members := []member{
		{name: "baresip with G.722", number: "101", tone: 440, voice: wide},
		{name: "baresip with PCMU", number: "102", tone: 660, voice: law},
	}
	for _, m := range []meeting{{members[0], members[1]}, {members[1], members[0]}} {
		if err := m.take(t.Context(), members); err != nil {
			t.Errorf("%s: %.4000v", m, err)
		}
	}
	matches(t, "baresip", wide.p.Log(), `(?m)^SIP/2.0 488 `)
}
