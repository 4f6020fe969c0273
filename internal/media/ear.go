package media

import (
	"sync"
	"time"

	sound "ringfence/internal/audio"
	"ringfence/internal/audio/jitter"
)

// frameTime is the pace of everything that works on samples.
const frameTime = 20 * time.Millisecond

// ear turns the packets of one stream into samples: packets come as the network
// gives them, samples are taken frame by frame. It has no goroutine of its own.
type ear struct {
	rate              int
	origin            time.Time
	shortest, longest time.Duration // of the jitter buffer

	mu      sync.Mutex
	voices  map[codec]*voice // of the codecs we can decode: a peer may change between them
	now     *voice
	left    []int16 // decoded and not taken yet
	from    int     // in left
	comfort *sound.Comfort
	buf     []int16
}

// voice is what one codec of a stream needs.
type voice struct {
	buffer  *jitter.Buffer
	decoder sound.Decoder
}

// comfortType marks payloads of comfort noise in a jitter buffer; it is theirs
// in RTP as well (RFC 3389).
const comfortType = 13

// heard says what a frame is made of.
type heard uint8

const (
	nothing heard = iota // the peer has not begun to speak, or is gone
	silence              // it pauses: noise
	speech
)

// newEar hears with as little delay as the network allows.
func newEar(rate int) *ear { return newEarWith(rate, jitter.MinDelay, jitter.MaxDelay) }

func newEarWith(rate int, shortest, longest time.Duration) *ear {
	n := sound.Samples(sound.MaxPacket, rate)
	return &ear{
		rate: rate, origin: time.Now(), shortest: shortest, longest: longest, voices: map[codec]*voice{},
		comfort: sound.NewComfort(), buf: make([]int16, n), left: make([]int16, 0, n+sound.Samples(frameTime, rate)),
	}
}

// put takes a packet of the stream. One that is neither speech we can decode
// nor noise only holds its place in the sequence.
func (e *ear) put(h header, payload []byte, c codec, now time.Time) {
	e.mu.Lock()
	defer e.mu.Unlock()
	at := now.Sub(e.origin)
	head := jitter.Header{Sequence: h.sequence, Timestamp: h.timestamp, SSRC: h.ssrc, Type: h.payloadType}
	if !c.speech() {
		switch {
		case e.now == nil:
		case c.name == "CN":
			head.Type = comfortType
			e.now.buffer.Put(head, payload, at)
		default:
			e.now.buffer.Mark(head, at)
		}
		return
	}
	if v := e.voice(c); v != nil {
		e.now = v
		if head.Type == comfortType {
			head.Type = 0
		}
		v.buffer.Put(head, payload, at)
	}
}

// voice finds or makes that of a codec, nil for one we cannot decode.
func (e *ear) voice(c codec) *voice {
	if v, ok := e.voices[c]; ok {
		return v
	}
	d := e.decoder(c)
	if d == nil {
		return nil
	}
	v := &voice{jitter.New(int(c.clock), e.shortest, e.longest), d}
	e.voices[c] = v
	return v
}

func (e *ear) decoder(c codec) sound.Decoder {
	if c.name == mixture {
		return newRawDecoder(int(c.clock), e.rate)
	}
	known, ok := transcodable(c)
	if !ok {
		return nil
	}
	d, err := known.NewDecoder(e.rate)
	if err != nil {
		return nil
	}
	return d
}

// take fills a frame with what is to be heard now.
func (e *ear) take(frame []int16, now time.Time) heard {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.now == nil {
		clear(frame)
		return nothing
	}
	kind, at := nothing, now.Sub(e.origin)
	for turns := 0; len(e.left)-e.from < len(frame) && turns < 8; turns++ {
		if k := e.next(len(frame), at); k > kind {
			kind = k
		}
	}
	if n := len(e.left) - e.from; n > 0 && kind == nothing {
		kind = speech
	}
	n := copy(frame, e.left[e.from:])
	clear(frame[n:])
	if e.from += n; e.from == len(e.left) {
		e.left, e.from = e.left[:0], 0
	}
	return kind
}

// next decodes one more packet, or what stands for it.
func (e *ear) next(n int, at time.Duration) heard {
	if e.from > 0 {
		e.left = e.left[:copy(e.left, e.left[e.from:])]
		e.from = 0
	}
	b := e.now.buffer
	f := b.Next(at)
	pcm := e.buf[:n]
	kind := speech
	switch f.Kind {
	case jitter.Packet:
		if f.Type == comfortType {
			e.comfort.Set(sound.ParseCN(f.Payload))
			b.Announce()
			e.comfort.Fill(pcm)
			kind = silence
			break
		}
		got, err := e.now.decoder.Decode(e.buf, f.Payload)
		if err != nil || got == 0 {
			e.now.decoder.Conceal(pcm, nil)
			break
		}
		pcm = e.buf[:got]
		b.Played(time.Duration(got) * time.Second / time.Duration(e.rate))
		if f.Skip && sound.NoiseOf(pcm) > 45 {
			return speech // too much delay: nobody misses a quiet packet
		}
	case jitter.Lost:
		e.now.decoder.Conceal(pcm, f.Payload)
	case jitter.Pause:
		e.comfort.Fill(pcm)
		kind = silence
	default:
		e.comfort.Fill(pcm)
		kind = nothing
	}
	if len(e.left)+len(pcm) > cap(e.left) {
		e.left = e.left[:0]
	}
	e.left = append(e.left, pcm...)
	return kind
}

// delay is by how much the jitter buffer holds the voice back.
func (e *ear) delay(now time.Time) time.Duration {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.now == nil {
		return 0
	}
	return e.now.buffer.Delay(now.Sub(e.origin)) + time.Duration(len(e.left)-e.from)*time.Second/time.Duration(e.rate)
}

// transcodable finds the codec of ours that a payload type means.
func transcodable(c codec) (sound.Codec, bool) {
	known, ok := sound.Find(c.name)
	return known, ok && known.Clock == int(c.clock) && (known.Channels == c.channels || known.Channels == 1)
}
