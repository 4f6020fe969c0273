package audio

import (
	"testing"
	"time"
)

// Whatever a peer sends as Opus: no panic leaves the decoder, nothing takes
// long, and a good packet afterwards is decoded.
func FuzzOpus(f *testing.F) {
	c, _ := Find("opus")
	e, _ := c.NewEncoder(16000)
	good, _ := e.Encode(nil, speechLike(16000, 320))
	f.Add(good, uint8(0))
	f.Add([]byte{0xfc, 0xff, 0xfe}, uint8(1))
	f.Add([]byte{3, 0xff, 0xff}, uint8(2))
	f.Fuzz(func(t *testing.T, p []byte, split uint8) {
		d, err := c.NewDecoder([]int{8000, 16000, 48000}[split%3])
		if err != nil {
			t.Fatal(err)
		}
		pcm := make([]int16, Samples(MaxPacket, 48000))
		start := time.Now()
		cut := min(len(p), int(split))
		_, _ = d.Decode(pcm, p[:cut])
		_, _ = d.Decode(pcm, p[cut:])
		d.Conceal(pcm[:Samples(20*time.Millisecond, 8000)*[]int{1, 2, 6}[split%3]], p)
		if took := time.Since(start); took > time.Second {
			t.Errorf("took %v", took)
		}
		if d.(*opusDecoder).broken {
			t.Errorf("the codec panicked")
		}
		if _, err := d.Decode(pcm, good); err != nil {
			t.Errorf("a good packet afterwards: %v", err)
		}
	})
}
