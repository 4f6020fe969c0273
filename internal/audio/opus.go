package audio

import (
	"errors"
	"fmt"

	"github.com/thesyncim/gopus"
)

// What we ask of the Opus encoder: speech, with in-band FEC. FEC comes into being above certain bit rates only, which
// depend on complexity; these are the cheapest settings that have it.
const (
	opusBitrate          = 28000
	opusComplexity       = 0
	opusNarrowBitrate    = 20000 // what comes of 8000 samples a second has less to tell
	opusNarrowComplexity = 5     // with less, a steady tone loses half of its level in every fifth frame
	opusStereoBitrate    = 48000 // two voices that have nothing in common
	opusLoss             = 10    // percent that FEC is made for
	opusPacket           = 1275
	concealAtOnce        = 60 // ms
)

var errOpus = errors.New("Opus payload cannot be decoded")

type opusDecoder struct {
	codec   *gopus.Decoder
	rate    int
	scratch []float32
	broken  bool // the codec panicked: its state is not to be trusted
}

// newOpus decodes to one channel at the rate asked for, whatever the encoder
// did (RFC 7587 section 4.2).
func newOpus(rate int) (Decoder, error) {
	d, err := gopus.NewDecoder(gopus.DefaultDecoderConfig(rate, 1))
	if err != nil {
		return nil, err
	}
	return &opusDecoder{codec: d, rate: rate, scratch: make([]float32, rate*concealAtOnce/1000)}, nil
}

func (d *opusDecoder) Decode(pcm []int16, payload []byte) (int, error) {
	if len(payload) == 0 {
		return 0, errOpus // to the codec this would mean loss
	}
	return d.contained(pcm, payload, false)
}

func (d *opusDecoder) Conceal(pcm []int16, next []byte) {
	for len(pcm) > 0 {
		n, err := 0, errOpus
		frame := pcm[:min(len(pcm), len(d.scratch))]
		if next != nil {
			n, err = d.contained(frame, next, true)
			next = nil
		} else {
			n, err = d.contained(frame, nil, false)
		}
		if err != nil || n == 0 {
			clear(pcm)
			return
		}
		pcm = pcm[n:]
	}
}

// contained decodes. The codec reads what strangers send: should it panic, that
// is one bad packet and not the end of every call, and it starts anew.
func (d *opusDecoder) contained(pcm []int16, payload []byte, fec bool) (n int, err error) {
	defer func() {
		if recover() != nil {
			n, err = 0, errOpus
			d.broken = true
		}
	}()
	if d.broken {
		d.codec.Reset()
		d.broken = false
	}
	if fec {
		n, err = d.fromNext(pcm, payload)
	} else {
		n, err = d.codec.DecodeInt16(payload, pcm)
	}
	if err != nil || n > len(pcm) {
		return 0, fmt.Errorf("%w: %w", errOpus, err)
	}
	return n, nil
}

// fromNext decodes what the payload after a lost one says of it (RFC 6716
// section 2.1.7).
func (d *opusDecoder) fromNext(pcm []int16, next []byte) (int, error) {
	scratch := d.scratch[:len(pcm)]
	n, err := d.codec.DecodeWithFEC(next, scratch, true)
	for i := range min(n, len(pcm)) {
		pcm[i] = saturate(int32(scratch[i] * 32768))
	}
	return n, err
}

type opusEncoder struct {
	codec    *gopus.Encoder
	packet   [opusPacket]byte
	channels int
	frame    int // samples of a channel the codec is set to
}

// NewStereoOpus makes an encoder of two voices for files. Its frames have left
// and right samples in turns.
func NewStereoOpus(rate int) (Encoder, error) {
	e, err := gopus.NewEncoder(gopus.EncoderConfig{SampleRate: rate, Channels: 2, Application: gopus.ApplicationAudio})
	if err != nil {
		return nil, fmt.Errorf("preparing to encode Opus: %w", err)
	}
	err = errors.Join(e.SetBitrate(opusStereoBitrate), e.SetComplexity(opusComplexity))
	return &opusEncoder{codec: e, channels: 2, frame: rate / 50}, err
}

func newOpusEncoder(rate int) (Encoder, error) {
	e, err := gopus.NewEncoder(gopus.EncoderConfig{SampleRate: rate, Channels: 1, Application: gopus.ApplicationVoIP})
	if err != nil {
		return nil, err
	}
	bitrate, complexity := opusBitrate, opusComplexity
	if rate == 8000 {
		bitrate, complexity = opusNarrowBitrate, opusNarrowComplexity
	}
	e.SetFEC(true)
	err = errors.Join(
		e.SetBitrate(bitrate), e.SetComplexity(complexity),
		e.SetSignal(gopus.SignalVoice), e.SetPacketLoss(opusLoss),
	)
	return &opusEncoder{codec: e, channels: 1, frame: rate / 50}, err
}

func (e *opusEncoder) Encode(payload []byte, pcm []int16) ([]byte, error) {
	if n := len(pcm) / e.channels; n != e.frame {
		if err := e.codec.SetFrameSize(n); err != nil {
			return payload, fmt.Errorf("encoding a frame of %d samples as Opus: %w", n, err)
		}
		e.frame = n
	}
	n, err := e.codec.EncodeInt16(pcm, e.packet[:])
	if err != nil {
		return payload, fmt.Errorf("encoding Opus: %w", err)
	}
	return append(payload, e.packet[:n]...), nil
}
