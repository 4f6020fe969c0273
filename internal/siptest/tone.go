package siptest

import (
	"encoding/binary"
	"fmt"
	"math"
	"os"
	"slices"
	"sync"
	"time"
)

// Tones are frequencies in Hz that Share tells apart in every window it uses.
func Tones() []float64 { return []float64{440, 520, 660, 740, 880, 1000, 1320} }

// Samples makes a sine of the given frequency in Hz, a quarter of full scale,
// at rate samples per second.
func Samples(frequency float64, rate int, d time.Duration) []int16 {
	out := make([]int16, int(d.Seconds()*float64(rate)))
	for i := range out {
		out[i] = int16(8192 * math.Sin(2*math.Pi*frequency*float64(i)/float64(rate)))
	}
	return out
}

// Goertzel is the energy of samples at a frequency in Hz, in the unit of the
// sum of squares: a pure tone over whole periods has its whole energy there.
func Goertzel(samples []int16, rate int, frequency float64) float64 {
	if len(samples) == 0 {
		return 0
	}
	w := 2 * math.Pi * frequency / float64(rate)
	k := 2 * math.Cos(w)
	var s1, s2 float64
	for _, x := range samples {
		s1, s2 = float64(x)+k*s1-s2, s1
	}
	return 2 * (s1*s1 + s2*s2 - k*s1*s2) / float64(len(samples))
}

// Share is the share of the energy of samples at a frequency, 0..1, taken in
// windows of 100 ms so that a lost packet costs one window only. Silence has
// no share of anything.
func Share(samples []int16, rate int, frequency float64) float64 {
	window := rate / 10
	var at, all float64
	for w := range slices.Chunk(samples, window) {
		if len(w) < window {
			break
		}
		at += Goertzel(w, rate, frequency)
		for _, x := range w {
			all += float64(x) * float64(x)
		}
	}
	// Below a hundredth of full scale there is only idle noise.
	if n := len(samples) / window * window; n == 0 || all/float64(n) < 300*300 {
		return 0
	}
	return at / all
}

// HeardWAV analyses a WAV file: the first channel of 16 bit PCM, G.711 or
// 32 bit float. A header that was never finished is made good by the file's
// length.
func HeardWAV(path string) (Heard, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return Heard{}, err
	}
	h, err := parseWAV(data)
	if err != nil {
		return Heard{}, fmt.Errorf("reading %s: %w", path, err)
	}
	return h, nil
}

func parseWAV(data []byte) (Heard, error) {
	if len(data) < 12 || string(data[:4]) != "RIFF" || string(data[8:12]) != "WAVE" {
		return Heard{}, fmt.Errorf("not a WAV file")
	}
	var format, channels, bits uint16
	var rate uint32
	for rest := data[12:]; len(rest) >= 8; {
		id, size := string(rest[:4]), int(binary.LittleEndian.Uint32(rest[4:]))
		body := rest[8:]
		switch {
		case id == "fmt " && len(body) >= 16:
			format, channels = binary.LittleEndian.Uint16(body), binary.LittleEndian.Uint16(body[2:])
			rate, bits = binary.LittleEndian.Uint32(body[4:]), binary.LittleEndian.Uint16(body[14:])
			if format == 0xfffe && len(body) >= 26 { // extensible: the format stands further down
				format = binary.LittleEndian.Uint16(body[24:])
			}
		case id == "data":
			if size == 0 || size > len(body) {
				size = len(body)
			}
			samples, err := decodeWAV(body[:size], format, channels, bits)
			if err != nil {
				return Heard{}, err
			}
			if rate < 4000 {
				return Heard{}, fmt.Errorf("sample rate %d", rate)
			}
			return Heard{Samples: samples, Rate: int(rate)}, nil
		}
		if size < 0 || size > len(body) {
			break
		}
		rest = body[min(size+size%2, len(body)):]
	}
	return Heard{}, fmt.Errorf("no samples in it")
}

func decodeWAV(body []byte, format, channels, bits uint16) ([]int16, error) {
	step := int(channels) * int(bits) / 8
	if step == 0 {
		return nil, fmt.Errorf("no format in it")
	}
	var decode func([]byte) int16
	switch {
	case format == 1 && bits == 16:
		decode = func(b []byte) int16 { return int16(binary.LittleEndian.Uint16(b)) }
	case format == 3 && bits == 32:
		decode = func(b []byte) int16 {
			v := float64(math.Float32frombits(binary.LittleEndian.Uint32(b)))
			return int16(max(-1, min(1, v)) * 32767)
		}
	case format == 6 && bits == 8:
		decode = func(b []byte) int16 { return decodeALaw(b[0]) }
	case format == 7 && bits == 8:
		decode = func(b []byte) int16 { return decodeULaw(b[0]) }
	default:
		return nil, fmt.Errorf("format %d with %d bits is not supported", format, bits)
	}
	var out []int16
	for ; len(body) >= step; body = body[step:] {
		out = append(out, decode(body))
	}
	return out, nil
}

// WriteWAV writes mono 16 bit samples.
func WriteWAV(path string, samples []int16, rate int) error {
	b := make([]byte, 44, 44+2*len(samples))
	copy(b, "RIFF")
	binary.LittleEndian.PutUint32(b[4:], uint32(36+2*len(samples)))
	copy(b[8:], "WAVEfmt ")
	binary.LittleEndian.PutUint32(b[16:], 16)
	binary.LittleEndian.PutUint16(b[20:], 1)
	binary.LittleEndian.PutUint16(b[22:], 1)
	binary.LittleEndian.PutUint32(b[24:], uint32(rate))
	binary.LittleEndian.PutUint32(b[28:], uint32(2*rate))
	binary.LittleEndian.PutUint16(b[32:], 2)
	binary.LittleEndian.PutUint16(b[34:], 16)
	copy(b[36:], "data")
	binary.LittleEndian.PutUint32(b[40:], uint32(2*len(samples)))
	for _, s := range samples {
		b = binary.LittleEndian.AppendUint16(b, uint16(s))
	}
	return os.WriteFile(path, b, 0o644)
}

// toneCache holds one second of the phone's tone, encoded.
type toneCache struct {
	once       sync.Once
	ulaw, alaw []byte
	opusOnce   sync.Once
	opus       [][]byte
}

func (t *toneCache) opusSecond(frequency float64) [][]byte {
	t.opusOnce.Do(func() { t.opus = opusTone(frequency) })
	return t.opus
}

func (t *toneCache) second(frequency float64, pt uint8) []byte {
	t.once.Do(func() {
		for _, s := range Samples(math.Round(frequency), 8000, time.Second) {
			t.ulaw = append(t.ulaw, encodeULaw(s))
			t.alaw = append(t.alaw, encodeALaw(s))
		}
	})
	if pt == 8 {
		return t.alaw
	}
	return t.ulaw
}
