package siptest

import (
	"cmp"
	"math"
	"slices"
	"time"

	"github.com/thesyncim/gopus"
)

// opus is the payload type the phone gives to Opus (RFC 7587).
const opus = 107

// opusType is the payload type of Opus in this call: the peer's, if it has one;
// c.mu is held.
func (c *Call) opusType() uint8 { return cmp.Or(c.remote.Opus, opus) }

// ownPayloads are the payload types of our offer; c.mu is held.
func (c *Call) ownPayloads() []uint8 {
	list := c.phone.ownPayloads()
	for i := range list {
		if list[i] == opus {
			list[i] = c.opusType()
		}
	}
	return list
}

// shared are our payload types that the peer has too, in its order; c.mu is held.
func (c *Call) shared() []uint8 {
	var list []uint8
	own := c.ownPayloads()
	for _, pt := range c.remote.Payloads {
		if slices.Contains(own, pt) && (pt != c.opusType() || c.remote.Opus != 0) {
			list = append(list, pt)
		}
	}
	return list
}

// opusTone is one second of a tone in packets of 20 ms, which may be sent again
// and again.
func opusTone(frequency float64) [][]byte {
	e, err := gopus.NewEncoder(gopus.EncoderConfig{SampleRate: 48000, Channels: 1, Application: gopus.ApplicationVoIP})
	if err != nil {
		return nil
	}
	var packets [][]byte
	samples := Samples(math.Round(frequency), 48000, time.Second)
	buf := make([]byte, 1275)
	for i := range 100 { // the second one, when the encoder has settled
		frame := samples[i%50*960:][:960]
		n, err := e.EncodeInt16(frame, buf)
		if err != nil {
			return nil
		}
		if i >= 50 {
			packets = append(packets, append([]byte(nil), buf[:n]...))
		}
	}
	return packets
}

// hearOpus decodes a packet to 8000 samples a second.
func (r *recorder) hearOpus(payload []byte) {
	if r.decoder == nil {
		d, err := gopus.NewDecoder(gopus.DefaultDecoderConfig(8000, 1))
		if err != nil {
			return
		}
		r.decoder = d
	}
	pcm := make([]int16, 960)
	if n, err := r.decoder.DecodeInt16(payload, pcm); err == nil {
		r.heard.Samples = append(r.heard.Samples, pcm[:n]...)
	}
}
