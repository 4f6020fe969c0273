package media

import (
	"encoding/binary"
	"testing"
	"time"
)

// The marker stands in the first packet of a digit and in no other, whatever the
// phone that dials makes of it: Chromium's three ends of a digit, relayed to a
// phone that counts markers, were three digits.
func TestMarkerBeginsADigitOnce(t *testing.T) {
	t.Parallel()
	s, feed, now := &sender{single: true}, &stream{}, time.Now()
	send := func(seq uint16, stamp uint32, c codec) (marked bool) {
		p := make([]byte, 16)
		p[0], p[1] = 0x80, 0x80|101
		binary.BigEndian.PutUint16(p[2:], seq)
		binary.BigEndian.PutUint32(p[4:], stamp)
		if !s.write(p, feed, header{payloadType: 101, sequence: seq, timestamp: stamp, ssrc: 7, length: 12}, c, now) {
			t.Fatalf("packet %d was not sent", seq)
		}
		return p[1]&0x80 != 0
	}
	event, speech := codec{digits, 48000, 1}, codec{"OPUS", 48000, 2}
	for i, c := range []struct {
		stamp uint32
		codec
		want bool
	}{
		{0, event, true}, {0, event, false}, {0, event, false},
		{960, speech, true}, {960, speech, true}, // none of our business
		{1920, event, true}, {1920, event, false},
		{2880, event, true},
	} {
		if got := send(uint16(65533+i), c.stamp, c.codec); got != c.want {
			t.Errorf("packet %d: marker %v, want %v", i, got, c.want)
		}
	}
}
