package media

import (
	"testing"
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
