// Package audio turns the payloads of voice codecs into 16-bit samples and
// back, at the sample rate that its caller works at. It has no sockets and no
// goroutines.
package audio

import (
	"fmt"
	"strings"
	"time"
)

// MaxPacket is the longest speech a packet may hold (RFC 6716 section 2.1.4).
const MaxPacket = 120 * time.Millisecond

// Decoder turns the payloads of one stream into samples. It keeps the state of
// that stream and allocates nothing.
type Decoder interface {
	// Decode writes the samples of a payload and returns their number. pcm has
	// room for MaxPacket. After an error the stream goes on with the next payload.
	Decode(pcm []int16, payload []byte) (int, error)
	// Conceal fills pcm in place of a packet that did not come. next is the
	// payload after it when that is there already, which may help.
	Conceal(pcm []int16, next []byte)
}

// Encoder turns samples into the payloads of one stream.
type Encoder interface {
	// Encode appends the payload of one frame. What the frame may last is the
	// codec's: any for G.711 and G.722, 10, 20, 40 or 60 ms for Opus.
	Encode(payload []byte, pcm []int16) ([]byte, error)
}

// Codec is one we can transcode.
type Codec struct {
	Name     string // as in an rtpmap attribute
	Clock    int    // of RTP timestamps
	Channels int    // as in an rtpmap attribute
	Rate     int    // of samples that lose nothing, at most

	decoder func(rate int) (Decoder, error)
	encoder func(rate int) (Encoder, error)
}

// Codecs lists what we can transcode, the cheapest first.
func Codecs() []Codec {
	return []Codec{
		{"PCMA", 8000, 1, 8000, newALaw, newALawEncoder},
		{"PCMU", 8000, 1, 8000, newULaw, newULawEncoder},
		{"G722", 8000, 1, 16000, newG722, newG722Encoder}, // the clock of RFC 3551 section 4.5.2
		{"opus", 48000, 2, 48000, newOpus, newOpusEncoder},
	}
}

// Find looks a codec up by its name in SDP, which knows no case.
func Find(name string) (Codec, bool) {
	for _, c := range Codecs() {
		if strings.EqualFold(c.Name, name) {
			return c, true
		}
	}
	return Codec{}, false
}

// NewDecoder makes a decoder whose samples have the given rate: 8000, 16000 or
// 48000 a second.
func (c Codec) NewDecoder(rate int) (Decoder, error) {
	if !validRate(rate) {
		return nil, fmt.Errorf("decoding %s to %d samples a second: no such rate", c.Name, rate)
	}
	d, err := c.decoder(rate)
	if err != nil {
		return nil, fmt.Errorf("preparing to decode %s: %w", c.Name, err)
	}
	return d, nil
}

// NewEncoder makes an encoder of samples at the given rate.
func (c Codec) NewEncoder(rate int) (Encoder, error) {
	if !validRate(rate) {
		return nil, fmt.Errorf("encoding %s from %d samples a second: no such rate", c.Name, rate)
	}
	e, err := c.encoder(rate)
	if err != nil {
		return nil, fmt.Errorf("preparing to encode %s: %w", c.Name, err)
	}
	return e, nil
}

func validRate(rate int) bool { return rate == 8000 || rate == 16000 || rate == 48000 }

// Samples is the number of samples that last d.
func Samples(d time.Duration, rate int) int { return int(int64(d) * int64(rate) / int64(time.Second)) }

// saturate keeps a sum within 16 bits.
func saturate(v int32) int16 {
	return int16(max(-32768, min(32767, v)))
}
