package media

import (
	"bytes"
	"fmt"
	"testing"

	"ringfence/internal/media/srtp"
)

// A peer that names another port and another codec in a re-INVITE hears there and
// in that, from the answer on, and nothing goes to where it was.
func TestPitfall05NewPortAndCodec(t *testing.T) {
	t.Parallel()
	a, b := newTalker(t, "PCMU", 0, 20), newTalker(t, "PCMU", 0, 20)
	br := call(t, 21600, a, b)
	for range 5 {
		a.say(440)
		b.say(660)
	}
	eventually(t, "both hear", func() bool { return len(a.heardPackets()) == 5 && len(b.heardPackets()) == 5 })
	moved := newTalker(t, "PCMA", 8, 20)
	moved.to, moved.ssrc = a.to, 78
	must(t, br.a.SetRemote(moved.sdp()))
	_, err := br.b.Offer(br.a)
	must(t, err)
	must(t, br.b.SetRemote(b.sdp())) // it stays with its codec
	_, err = br.a.Answer(br.b)
	must(t, err)
	for range 5 {
		b.say(660)
		moved.say(440)
	}
	eventually(t, "both hear again", func() bool { return len(moved.heardPackets()) == 5 && len(b.heardPackets()) == 10 })
	for _, p := range moved.heardPackets() {
		if p.payloadType != 8 {
			t.Errorf("payload type %d", p.payloadType)
		}
	}
	for _, p := range b.heardPackets() {
		if p.payloadType != 0 {
			t.Errorf("payload type %d", p.payloadType)
		}
	}
	if n := len(a.heardPackets()); n != 5 {
		t.Errorf("%d packets went to the old port", n-5)
	}
}

// A phone that moved may have begun its roll-over count again, with key and source
// as they were.
func TestPitfall21MovedPhoneBeginsAnew(t *testing.T) {
	t.Parallel()
	for i, suite := range []srtp.Suite{srtp.AES256CM80, srtp.AES256GCM} {
		e := testEngine(t, uint16(21700+20*i), uint16(21719+20*i), nil)
		c := e.NewCall("moved")
		a, b := newSpeaker(t), newSpeaker(t)
		a.seq = 65530
		la, lb := connect(t, c, a, b, suite, srtp.AES256GCM)
		a.say(la.RTP(), "past the wrap", 20)
		eventually(t, "the wrap is relayed", func() bool { return b.heard("past the wrap") == 20 })
		moved := newSpeaker(t)
		moved.ours, moved.ssrc, moved.seq, moved.in = a.ours, a.ssrc, 100, a.in
		var err error
		moved.out, err = srtp.NewOutbound(a.ours[suite])
		must(t, err)
		must(t, la.SetRemote(moved.describe("RTP/SAVP", suite)))
		offer, err := lb.Offer(la)
		must(t, err)
		d, err := parseDescription(offer)
		must(t, err)
		must(t, lb.SetRemote(bytes.Replace(b.describe("RTP/AVP", srtp.AES256GCM), []byte("crypto:1"), fmt.Appendf(nil, "crypto:%d", d.stream(audio).cryptos[0].Tag), 1)))
		_, err = la.Answer(lb)
		must(t, err)
		talk(t, moved, b, la, lb, "moved")
		c.Close()
	}
}

// Each side has its own numbers for what both know (RFC 3264 section 5.1): digits
// that are only relayed bear those of who gets them.
func TestPitfall20PayloadTypesOfEachSide(t *testing.T) {
	t.Parallel()
	a, b := newTalker(t, "PCMA", 8, 20), newTalker(t, "PCMA", 8, 20)
	a.events, b.events = 101, 96
	call(t, 21640, a, b)
	for _, x := range []struct{ from, to *talker }{{a, b}, {b, a}} {
		x.from.say(440)
		eventually(t, "speech comes", func() bool { return len(x.to.heardPackets()) == 1 })
		x.from.dial('5', func() {})
		eventually(t, "digits come", func() bool { return len(x.to.heardPackets()) == 8 })
		for i, p := range x.to.heardPackets() {
			if want := map[bool]uint8{true: 8, false: x.to.events}[i == 0]; p.payloadType != want {
				t.Errorf("packet %d has payload type %d, want %d", i, p.payloadType, want)
			}
		}
	}
}
