package media

import (
	"encoding/binary"
	"time"

	sound "ringfence/internal/audio"
)

// mixture names what a conference gives to a recording: samples of 16 bits, as
// they are. No peer can name it so: encodings of SDP are upper case here.
const mixture = "mixture"

// record gives what the participant hears to the recording of its leg.
func (s *Seat) record(r *Recording, now time.Time) {
	s.raw = s.raw[:0]
	for _, v := range s.out {
		s.raw = binary.LittleEndian.AppendUint16(s.raw, uint16(v))
	}
	s.told.sequence++
	s.told.timestamp += uint32(len(s.out))
	r.put(others, nil, s.told, s.raw, codec{mixture, uint32(s.room.rate), 1}, now)
}

// rawDecoder reads samples that were never encoded.
type rawDecoder struct {
	pcm       []int16
	resampler *sound.Resampler // nil where the rates are the same
}

func newRawDecoder(from, to int) *rawDecoder {
	d := &rawDecoder{pcm: make([]int16, sound.Samples(sound.MaxPacket, from))}
	if from != to {
		d.resampler = sound.NewResampler(from, to)
	}
	return d
}

// Decode writes the samples of a frame.
func (d *rawDecoder) Decode(pcm []int16, payload []byte) (int, error) {
	n := min(len(payload)/2, len(d.pcm))
	for i := range n {
		d.pcm[i] = int16(binary.LittleEndian.Uint16(payload[2*i:]))
	}
	if d.resampler == nil {
		return copy(pcm, d.pcm[:n]), nil
	}
	return d.resampler.Process(pcm, d.pcm[:n]), nil
}

// Conceal is silence: nothing gets lost on this way.
func (d *rawDecoder) Conceal(pcm []int16, _ []byte) { clear(pcm) }
