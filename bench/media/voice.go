package media

import (
	"fmt"
	"math"

	"ringfence/internal/audio"
)

// voice is what one side of a call says.
type voice struct {
	name     string // of the codec, as a relay knows it
	mapping  string // as in an rtpmap attribute
	pt       uint8
	step     uint32 // RTP units of a packet
	payloads [][]byte
}

func (v *voice) payload(seq uint16) []byte { return v.payloads[int(seq)%len(v.payloads)] }

// turns is how many packets a voice repeats: 2 s.
const turns = 100

// newVoice makes what sounds like speech to a codec: syllables of a deep buzz,
// each of another height, with pauses between them.
func newVoice(name string, pt uint8) (*voice, error) {
	c, ok := audio.Find(name)
	if !ok {
		return nil, fmt.Errorf("no codec %s", name)
	}
	rate := min(c.Rate, 16000)
	e, err := c.NewEncoder(rate)
	if err != nil {
		return nil, err
	}
	v := &voice{name: c.Name, mapping: fmt.Sprintf("%s/%d", c.Name, c.Clock), pt: pt, step: uint32(c.Clock / 50)}
	if c.Channels == 2 {
		v.mapping += "/2"
	}
	pcm := make([]int16, rate/50)
	for i := range turns {
		for j := range pcm {
			at := float64(i*len(pcm)+j) / float64(rate)
			pcm[j] = int16(6000 * buzz(at))
		}
		p, err := e.Encode(nil, pcm)
		if err != nil {
			return nil, err
		}
		v.payloads = append(v.payloads, p)
	}
	return v, nil
}

// buzz has five syllables a second, and the harmonics of a voice.
func buzz(at float64) (sum float64) {
	syllable, within := math.Modf(5 * at)
	pitch := 110 + 20*math.Mod(syllable, 4)
	for n := 1.0; n <= 12; n++ {
		sum += math.Sin(2*math.Pi*pitch*n*at) / n
	}
	return sum * math.Sin(math.Pi*within)
}

// standard is G.711 with every octet there is, which tells a relay that changes
// them.
func standard() *voice {
	p := make([]byte, 160)
	for i := range p {
		p[i] = byte(i)
	}
	return &voice{name: "PCMU", mapping: "PCMU/8000", pt: 0, step: 160, payloads: [][]byte{p}}
}

// mode is what the sides speak.
type mode struct {
	name      string
	encrypted [2]bool
	voices    [2]*voice // nil is PCMU
	recorded  bool
}

// voice is what a side says.
func (m mode) voice(side int) *voice {
	if v := m.voices[side]; v != nil {
		return v
	}
	return standard()
}

// converts reports whether the sides speak different codecs.
func (m mode) converts() bool { return m.voice(0).name != m.voice(1).name }
