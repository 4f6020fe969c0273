package audio

import (
	"fmt"
	"hash/crc32"
	"math"
	"testing"
	"time"
)

func must[T any](t testing.TB, err error, v T) T {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// through sends samples through an encoder and a decoder, 20 ms at a time.
func through(t testing.TB, c Codec, from, to int, pcm []int16) []int16 {
	t.Helper()
	e, err := c.NewEncoder(from)
	must(t, err, e)
	d, err := c.NewDecoder(to)
	must(t, err, d)
	frame := make([]int16, Samples(MaxPacket, to))
	var out []int16
	for ; len(pcm) >= from/50; pcm = pcm[from/50:] {
		payload, err := e.Encode(nil, pcm[:from/50])
		must(t, err, payload)
		n, err := d.Decode(frame, payload)
		must(t, err, n)
		if n != to/50 {
			t.Fatalf("%s from %d to %d: %d samples of 20 ms", c.Name, from, to, n)
		}
		out = append(out, frame[:n]...)
	}
	return out
}

func TestEveryCodecCarriesATone(t *testing.T) {
	t.Parallel()
	for _, c := range Codecs() {
		for _, from := range []int{8000, 16000, 48000} {
			for _, to := range []int{8000, 16000, 48000} {
				for _, hz := range []float64{440, 2600} {
					out := through(t, c, from, to, sine(from, from*3/5, hz, -12))
					out = out[len(out)/2:]
					if s := share(out, to, hz); s < 0.98 {
						t.Errorf("%s %d to %d: %.0f Hz is %.3f of what comes out", c.Name, from, to, hz, s)
					}
					if g := dB(amplitude(out, to, hz) / (32767 * math.Pow(10, -12.0/20))); math.Abs(g) > 1 {
						t.Errorf("%s %d to %d: %.0f Hz changes by %.1f dB", c.Name, from, to, hz, g)
					}
				}
			}
		}
	}
}

// Wideband survives where the codec has it.
func TestWidebandStaysWide(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"G722", "opus"} {
		c, _ := Find(name)
		out := through(t, c, 16000, 16000, sine(16000, 32000, 6000, -12))
		if s := share(out[16000:], 16000, 6000); s < 0.95 {
			t.Errorf("%s: 6 kHz is %.3f of what comes out", name, s)
		}
	}
}

// The values of ITU-T G.711: the whole code space, and the ends of the scale.
func TestG711Tables(t *testing.T) {
	t.Parallel()
	for i := range 256 {
		c := byte(i)
		if got := alawCodes[uint16(alawSamples[c])>>2]; got != c {
			t.Errorf("A-law %#x decodes to %d, which is %#x", c, alawSamples[c], got)
		}
		if got := ulawCodes[uint16(ulawSamples[c])>>2]; got != c && c != 0x7f { // two zeros
			t.Errorf("mu-law %#x decodes to %d, which is %#x", c, ulawSamples[c], got)
		}
	}
	for _, v := range []struct {
		table *[256]int16
		code  byte
		want  int16
	}{
		{&alawSamples, 0xd5, 8}, {&alawSamples, 0x55, -8}, {&alawSamples, 0xaa, 32256}, {&alawSamples, 0x2a, -32256},
		{&ulawSamples, 0xff, 0}, {&ulawSamples, 0x80, 32124}, {&ulawSamples, 0x00, -32124}, {&ulawSamples, 0xfe, 8},
	} {
		if got := v.table[v.code]; got != v.want {
			t.Errorf("%#x decodes to %d, want %d", v.code, got, v.want)
		}
	}
	if Recode("PCMA", "PCMU") == nil || Recode("PCMU", "PCMA")[0xff] != 0xd5 || Recode("PCMA", "G722") != nil {
		t.Error("recoding is wrong")
	}
}

// SNR of G.711 for a sine is above 33 dB over a wide range (G.712 section 9).
func TestG711SignalToNoise(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"PCMA", "PCMU"} {
		c, _ := Find(name)
		for _, level := range []float64{-30, -20, -10, -3} {
			in := sine(8000, 8000, 1020, level)
			out := through(t, c, 8000, 8000, in)
			if snr := snrOf(in, out); snr < 33 {
				t.Errorf("%s at %.0f dB: %.1f dB", name, level, snr)
			}
		}
	}
}

func snrOf(in, out []int16) float64 {
	diff := make([]int16, len(out))
	for i := range diff {
		diff[i] = saturate(int32(out[i]) - int32(in[i]))
	}
	return dB(rms(in) / rms(diff))
}

// The codes of a fixed signal, which another implementation of G.722 made of
// it as well.
func TestG722CodesAreThoseOfTheRecommendation(t *testing.T) {
	t.Parallel()
	e := g722Coder{g722State: newG722State()}
	in := append(speechLike(16000, 16000), whiteNoise(8000, -3)...)
	codes, err := e.Encode(nil, in)
	must(t, err, codes)
	if got := crc32.ChecksumIEEE(codes); got != g722CodesSum {
		t.Errorf("codes have the sum %#x", got)
	}
	d := g722Decoder{newG722State()}
	pcm := make([]int16, 2*len(codes))
	if _, err := d.Decode(pcm, codes); err != nil {
		t.Fatal(err)
	}
	var raw []byte
	for _, s := range pcm {
		raw = append(raw, byte(s), byte(s>>8))
	}
	if got := crc32.ChecksumIEEE(raw); got != g722SamplesSum {
		t.Errorf("samples have the sum %#x", got)
	}
}

const (
	g722CodesSum   = 0x92e8938f
	g722SamplesSum = 0x44b24330
)

func TestOpusFrames(t *testing.T) {
	t.Parallel()
	c, _ := Find("OPUS")
	for _, rate := range []int{8000, 16000, 48000} {
		e, err := c.NewEncoder(rate)
		must(t, err, e)
		d, err := c.NewDecoder(8000)
		must(t, err, d)
		pcm := make([]int16, Samples(MaxPacket, 8000))
		for _, ms := range []int{10, 20, 40, 60, 20} {
			p, err := e.Encode(nil, speechLike(rate, rate*ms/1000))
			must(t, err, p)
			if n, err := d.Decode(pcm, p); err != nil || n != 8*ms {
				t.Errorf("%d ms at %d: %d samples, %v", ms, rate, n, err)
			}
		}
		if _, err := e.Encode(nil, make([]int16, 77)); err == nil {
			t.Error("a frame of no length Opus knows was encoded")
		}
	}
}

// lossy sends samples with every 10th packet lost, and the same without loss.
func lossy(t testing.TB, c Codec, rate int, in []int16) (out, whole []int16) {
	t.Helper()
	e, err := c.NewEncoder(rate)
	must(t, err, e)
	d, err := c.NewDecoder(rate)
	must(t, err, d)
	var payloads [][]byte
	for rest := in; len(rest) >= rate/50; rest = rest[rate/50:] {
		p, err := e.Encode(nil, rest[:rate/50])
		must(t, err, p)
		payloads = append(payloads, p)
	}
	frame := make([]int16, Samples(MaxPacket, rate))
	for i, p := range payloads {
		if i%10 == 9 && i+1 < len(payloads) {
			d.Conceal(frame[:rate/50], payloads[i+1])
		} else if _, err := d.Decode(frame, p); err != nil {
			t.Fatal(err)
		}
		out = append(out, frame[:rate/50]...)
	}
	return out, through(t, c, rate, rate, in)
}

func TestLossIsConcealed(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"PCMA", "G722"} {
		for _, rate := range []int{8000, 16000} {
			c, _ := Find(name)
			out, _ := lossy(t, c, rate, sine(rate, 4*rate, 440, -12))
			if s := share(out, rate, 440); s < 0.95 {
				t.Errorf("%s at %d: a tone with loss is %.3f of what comes out", name, rate, s)
			}
		}
	}
}

// A lost Opus packet comes back out of the next one: without FEC this is 14 dB.
func TestOpusCarriesFEC(t *testing.T) {
	t.Parallel()
	for _, rate := range []int{8000, 16000} {
		c, _ := Find("opus")
		out, whole := lossy(t, c, rate, speechLike(rate, 4*rate))
		if snr := snrOf(whole, out); snr < 18 {
			t.Errorf("at %d: %.1f dB to what comes without loss", rate, snr)
		}
	}
}

func TestLongLossFadesToSilence(t *testing.T) {
	t.Parallel()
	for _, c := range Codecs() {
		e, _ := c.NewEncoder(8000)
		d, _ := c.NewDecoder(8000)
		frame := make([]int16, Samples(MaxPacket, 8000))
		in := speechLike(8000, 8000)
		for ; len(in) >= 160; in = in[160:] {
			p, err := e.Encode(nil, in[:160])
			must(t, err, p)
			if _, err := d.Decode(frame, p); err != nil {
				t.Fatal(err)
			}
		}
		for range 50 {
			d.Conceal(frame[:160], nil)
		}
		if r := rms(frame[:160]); r > 60 {
			t.Errorf("%s: loudness %.0f after a second of nothing", c.Name, r)
		}
	}
}

func TestPayloadsOfAnyKindAreSurvived(t *testing.T) {
	t.Parallel()
	for _, c := range Codecs() {
		d, err := c.NewDecoder(16000)
		must(t, err, d)
		pcm := make([]int16, Samples(MaxPacket, 16000))
		for n := range 1000 {
			junk := make([]byte, n*3%1500)
			for i := range junk {
				junk[i] = byte(n * (i + 7) * 31 >> (n % 5))
			}
			if got, err := d.Decode(pcm, junk); err == nil && got > len(pcm) {
				t.Fatalf("%s: %d samples", c.Name, got)
			}
			d.Conceal(pcm[:320], junk)
		}
	}
}

// Opus is left out: its FEC allocates.
func TestCodecsAllocateNothing(t *testing.T) {
	for _, c := range Codecs() {
		if c.Name == "opus" {
			continue
		}
		for _, rate := range []int{8000, 16000} {
			e, _ := c.NewEncoder(rate)
			d, _ := c.NewDecoder(rate)
			in, pcm, buf := speechLike(rate, rate/50), make([]int16, Samples(MaxPacket, rate)), make([]byte, 0, 1500)
			for range 50 {
				p, _ := e.Encode(buf, in)
				_, _ = d.Decode(pcm, p)
			}
			if n := testing.AllocsPerRun(50, func() {
				p, _ := e.Encode(buf, in)
				_, _ = d.Decode(pcm, p)
				d.Conceal(pcm[:rate/50], nil)
			}); n > 0.5 {
				t.Errorf("%s at %d: %.0f allocations a frame", c.Name, rate, n)
			}
		}
	}
}

// The cost of a second of audio: decode and encode at the rate of the leg
// on the other side.
func BenchmarkSecond(b *testing.B) {
	for _, c := range Codecs() {
		for _, rate := range []int{8000, 16000} {
			e, _ := c.NewEncoder(rate)
			d, _ := c.NewDecoder(rate)
			in := speechLike(rate, rate)
			pcm, buf := make([]int16, Samples(MaxPacket, rate)), make([]byte, 0, 1500)
			var payloads [][]byte
			for i := range 50 {
				p, _ := e.Encode(nil, in[i*rate/50:(i+1)*rate/50])
				payloads = append(payloads, p)
			}
			b.Run(fmt.Sprintf("%s/%d/encode", c.Name, rate), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					for i := range 50 {
						buf, _ = e.Encode(buf[:0], in[i*rate/50:(i+1)*rate/50])
					}
				}
			})
			b.Run(fmt.Sprintf("%s/%d/decode", c.Name, rate), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					for _, p := range payloads {
						_, _ = d.Decode(pcm, p)
					}
				}
			})
		}
	}
}

func TestSamples(t *testing.T) {
	t.Parallel()
	if n := Samples(20*time.Millisecond, 48000); n != 960 {
		t.Error(n)
	}
}

// Tones that came as G.711, with its noise, stay tones in narrow-band Opus: an
// encoder that takes it too easy lets their level fall in frames of some phases.
func TestNarrowOpusKeepsTones(t *testing.T) {
	t.Parallel()
	const rate, frame = 8000, 160
	for _, hz := range []float64{330, 440, 523, 660, 880, 1000, 1590, 2000} {
		e, err := newOpusEncoder(rate)
		if err != nil {
			t.Fatal(err)
		}
		d, err := newOpus(rate)
		if err != nil {
			t.Fatal(err)
		}
		in, noise := sine(rate, 5*rate, hz, -13), whiteNoise(5*rate, -51)
		for i := range in {
			in[i] += noise[i]
		}
		var out []int16
		for i := 0; i < len(in); i += frame {
			p, err := e.Encode(nil, in[i:i+frame])
			if err != nil {
				t.Fatal(err)
			}
			pcm := make([]int16, MaxPacket.Nanoseconds()*rate/1e9)
			n, err := d.Decode(pcm, p)
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, pcm[:n]...)
		}
		if s := share(out[rate:], rate, hz); s < 0.94 {
			t.Errorf("%g Hz: share %.3f", hz, s)
		}
	}
}
