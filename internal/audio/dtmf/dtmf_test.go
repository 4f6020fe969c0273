package dtmf

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"
)

func TestEventsAreReadAndWritten(t *testing.T) {
	t.Parallel()
	for _, e := range []Event{{}, {Code: 11, End: true, Volume: 10, Duration: 1600}, {Code: 16, Volume: 63, Duration: 0xffff}} {
		if got, err := ParseEvent(e.Append(nil)); err != nil || got != e {
			t.Errorf("%+v became %+v, %v", e, got, err)
		}
	}
	if _, err := ParseEvent([]byte{1, 2, 3}); err == nil {
		t.Error("three octets are an event")
	}
	for i := range uint8(16) {
		if c, ok := Code(Key(i)); !ok || c != i {
			t.Errorf("event %d is %q", i, Key(i))
		}
	}
	if Key(Flash) != 0 {
		t.Error("a flash is a digit")
	}
}

func TestDurationsAreScaled(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		in       uint16
		from, to int
		want     uint16
	}{{160, 8000, 48000, 960}, {960, 48000, 8000, 160}, {0xffff, 8000, 48000, 0xffff}, {0xffff, 48000, 8000, 10923}, {5, 0, 8000, 5}} {
		if got := Scale(c.in, c.from, c.to); got != c.want {
			t.Errorf("%d of %d is %d of %d, want %d", c.in, c.from, got, c.to, c.want)
		}
	}
}

// The whole life of an event: a marker, updates, three ends, one timestamp; and
// a receiver tells it once even when only the last packet comes.
func TestSenderAndReceiver(t *testing.T) {
	t.Parallel()
	for _, clock := range []int{8000, 48000} {
		s := NewSender(clock)
		var r, deaf Receiver
		got, heard := "", ""
		for i, key := range "159#" {
			if !s.Start(byte(key), 100*time.Millisecond) {
				t.Fatal("no such digit")
			}
			stamp := uint32(i * clock)
			var all []Packet
			for s.Busy() {
				p, _ := s.Next()
				all = append(all, p)
				if k := r.Packet(stamp, p.Event.Append(nil)); k != 0 {
					got += string(k)
				}
			}
			last := all[len(all)-1]
			if k := deaf.Packet(stamp, last.Event.Append(nil)); k != 0 {
				heard += string(k)
			}
			ends := 0
			for j, p := range all {
				if p.Marker != (j == 0) {
					t.Errorf("packet %d has the marker %v", j, p.Marker)
				}
				if p.Event.End {
					ends++
				}
			}
			if ends != 3 || int(last.Event.Duration) != clock/10 || len(all) != 7 {
				t.Errorf("%d packets, %d ends, duration %d", len(all), ends, last.Event.Duration)
			}
		}
		if got != "159#" || heard != "159#" {
			t.Errorf("heard %q and %q", got, heard)
		}
	}
	if _, ok := NewSender(8000).Next(); ok || NewSender(8000).Start('x', 0) {
		t.Error("a sender of nothing sends")
	}
}

// An event of more than 65535 units goes on in segments and is one digit.
func TestLongEventIsOneDigit(t *testing.T) {
	t.Parallel()
	var r Receiver
	stamp, n := uint32(math.MaxUint32-100), 0
	for range 3 {
		for d := 0; d <= 0xffff; d += 9600 {
			if r.Packet(stamp, Event{Code: 5, Duration: uint16(d)}.Append(nil)) != 0 {
				n++
			}
		}
		if r.Packet(stamp, Event{Code: 5, Duration: 0xffff}.Append(nil)) != 0 {
			n++
		}
		stamp += 0xffff
	}
	if n != 1 {
		t.Errorf("%d digits", n)
	}
	if r.Packet(stamp+8000, Event{Code: 5}.Append(nil)) != '5' {
		t.Error("the next press is not heard")
	}
}

// dial makes digits of audio.
func dial(digits string, on, off int, twist float64, noise float64) []int16 {
	r := rand.New(rand.NewPCG(3, 4))
	var pcm []int16
	for i := range len(digits) {
		tone := NewTone(digits[i], 8000, on)
		if twist != 0 { // rebuilt with unequal levels
			var row, column [4]float64
			copy(row[:], rows[:])
			copy(column[:], columns[:])
			for r := range pad {
				for c := range pad[r] {
					if pad[r][c] == digits[i] {
						for n := range on {
							a := 3000 * math.Sin(2*math.Pi*row[r]*float64(n)/8000)
							b := 3000 * math.Pow(10, twist/20) * math.Sin(2*math.Pi*column[c]*float64(n)/8000)
							pcm = append(pcm, int16(a+b))
						}
					}
				}
			}
		} else {
			part := make([]int16, on)
			tone.Fill(part)
			pcm = append(pcm, part...)
		}
		pcm = append(pcm, make([]int16, off)...)
	}
	for i := range pcm {
		pcm[i] += int16(r.NormFloat64() * noise)
	}
	return pcm
}

func hear(pcm []int16) string {
	var d Detector
	var digits []byte
	for ; len(pcm) >= 160; pcm = pcm[160:] {
		digits = d.Hear(digits, pcm[:160])
	}
	return string(d.Hear(digits, pcm))
}

func TestDigitsAreHeardInTheAudio(t *testing.T) {
	t.Parallel()
	const all = "0123456789*#ABCD1122"
	for _, c := range []struct {
		name    string
		on, off int
		noise   float64
	}{{"long", 1000, 1000, 0}, {"50 ms", 400, 400, 0}, {"noise at 20 dB", 800, 800, 450}} {
		if got := hear(dial(all, c.on, c.off, 0, c.noise)); got != all {
			t.Errorf("%s: heard %q", c.name, got)
		}
	}
}

func TestTwistHasLimits(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		twist float64 // of the column against the row
		want  string
	}{{-6, "159D"}, {3, "159D"}, {-12, ""}, {8, ""}} {
		if got := hear(dial("159D", 800, 800, c.twist, 0)); got != c.want {
			t.Errorf("twist %.0f dB: heard %q", c.twist, got)
		}
	}
}

// Talk-off: voices, noise and music are no digits.
func TestVoicesAreNoDigits(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(5, 6))
	for name, make := range map[string]func(i int) float64{
		"noise": func(int) float64 { return r.NormFloat64() * 6000 },
		"voice": func(i int) float64 {
			at := float64(i) / 8000
			f, v := 110+60*math.Sin(2*math.Pi*0.3*at), 0.0
			for h := 1.0; h < 20; h++ {
				formant := math.Exp(-math.Pow((h*f-700-400*math.Sin(3*at))/250, 2)) + math.Exp(-math.Pow((h*f-1400-500*math.Sin(2*at))/300, 2))
				v += (0.1 + formant) * math.Sin(h*2*math.Pi*f*at)
			}
			return 4000 * v * (0.5 + 0.5*math.Sin(20*at))
		},
		"chord": func(i int) float64 {
			v, note := 0.0, math.Pow(2, float64(i/3000%13)/12)
			for _, f := range []float64{262, 330, 392, 523, 659, 784, 1047, 1319} {
				v += 1500 * math.Sin(2*math.Pi*f*note*float64(i)/8000)
			}
			return v
		},
		"one tone": func(i int) float64 { return 8000 * math.Sin(2*math.Pi*697*float64(i)/8000) },
	} {
		pcm := []int16{}
		for i := range 40 * 8000 {
			pcm = append(pcm, int16(max(-32000, min(32000, make(i)))))
		}
		if got := hear(pcm); got != "" {
			t.Errorf("%s: heard %q in 40 seconds", name, got)
		}
	}
}

func TestCollector(t *testing.T) {
	t.Parallel()
	ms := func(n int) time.Duration { return time.Duration(n) * time.Millisecond }
	start := func() *Collector {
		c := &Collector{Most: 4, Terminator: '#', First: ms(5000), Between: ms(2000)}
		c.Start(ms(100))
		return c
	}
	c := start()
	for i, key := range "1234" {
		if r := c.Digit(byte(key), ms(1000*(i+1))); (r == Full) != (i == 3) {
			t.Errorf("digit %d: %v", i, r)
		}
	}
	if c.Digits() != "1234" || c.Digit('5', ms(5000)) != Full || c.Digits() != "1234" {
		t.Errorf("collected %q", c.Digits())
	}
	c = start()
	c.Digit('9', ms(200))
	if c.Digit('#', ms(300)) != Terminated || c.Digits() != "9" {
		t.Errorf("collected %q", c.Digits())
	}
	c = start()
	if c.Tick(ms(5099)) != Collecting || c.Tick(ms(5100)) != TimedOut {
		t.Error("the first digit has another deadline")
	}
	c = start()
	c.Digit('1', ms(4000))
	if c.Tick(ms(5999)) != Collecting || c.Digit('2', ms(6000)) != TimedOut || c.Digits() != "1" {
		t.Error("the second digit has another deadline")
	}
	c = &Collector{Most: 1 << 30, First: ms(1), Between: ms(1)}
	c.Start(0)
	for range 1000 {
		c.Digit('1', 0)
	}
	if len(c.Digits()) != maxDigits {
		t.Errorf("%d digits", len(c.Digits()))
	}
}

func FuzzReceiver(f *testing.F) {
	f.Add(uint32(0), []byte{1, 2, 3, 4, 5, 6, 7, 8})
	f.Fuzz(func(t *testing.T, stamp uint32, p []byte) {
		var r Receiver
		for i := range p {
			if k := r.Packet(stamp+uint32(p[i])*160, p[i:]); k != 0 {
				if _, ok := Code(k); !ok {
					t.Errorf("told %q", k)
				}
			}
		}
	})
}

func BenchmarkDetectorSecond(b *testing.B) {
	var d Detector
	pcm := dial("1", 8000, 0, 0, 100)
	b.ReportAllocs()
	for b.Loop() {
		d.Hear(nil, pcm)
	}
}
