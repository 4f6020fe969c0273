package jitter_test

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"ringfence/internal/audio"
	"ringfence/internal/audio/jitter"
)

const frame = 20 * time.Millisecond

// network is what a stream suffers on its way.
type network struct {
	loss, duplicate float64
	jitter          time.Duration // of each packet on its own, so it reorders
}

type arrival struct {
	header  jitter.Header
	payload []byte
	at      time.Duration
	event   bool
}

// send plays packets over the network. The order is that of arrival.
func (n network) send(packets []arrival) []arrival {
	r := rand.New(rand.NewPCG(7, 11))
	var out []arrival
	for _, p := range packets {
		copies := 1
		if r.Float64() < n.duplicate {
			copies = 2
		}
		if r.Float64() < n.loss {
			copies = 0
		}
		for range copies {
			late := p
			late.at += 30*time.Millisecond + time.Duration(r.Int64N(int64(n.jitter)+1))
			out = append(out, late)
		}
	}
	slices.SortStableFunc(out, func(a, b arrival) int { return int(a.at - b.at) })
	return out
}

// tone is a stream of 440 Hz in PCMA.
func tone(seconds int) []arrival {
	c, _ := audio.Find("PCMA")
	e, _ := c.NewEncoder(8000)
	var out []arrival
	for i := range seconds * 50 {
		pcm := make([]int16, 160)
		for j := range pcm {
			pcm[j] = int16(8000 * math.Sin(2*math.Pi*440*float64(i*160+j)/8000))
		}
		payload, _ := e.Encode(nil, pcm)
		out = append(out, arrival{
			header:  jitter.Header{Sequence: uint16(65000 + i), Timestamp: uint32(math.MaxUint32 - 16000 + 160*i), SSRC: 1, Type: 8},
			payload: payload, at: time.Duration(i) * frame,
		})
	}
	return out
}

// played is what a listener makes of a stream.
type played struct {
	pcm      []int16
	kinds    [4]int
	worst    time.Duration // delay
	delays   []time.Duration
	inFrames []jitter.Kind
}

// listen plays for as long as given, 20 ms at a time.
func listen(b *jitter.Buffer, packets []arrival, d time.Duration) (p played) {
	c, _ := audio.Find("PCMA")
	dec, _ := c.NewDecoder(8000)
	pcm := make([]int16, 960)
	for now := 7 * time.Millisecond; now < d; now += frame {
		for len(packets) > 0 && packets[0].at <= now {
			if packets[0].event {
				b.Mark(packets[0].header, packets[0].at)
			} else {
				b.Put(packets[0].header, packets[0].payload, packets[0].at)
			}
			packets = packets[1:]
		}
		f := b.Next(now)
		p.kinds[f.Kind]++
		p.inFrames = append(p.inFrames, f.Kind)
		clear(pcm[:160])
		switch f.Kind {
		case jitter.Packet:
			n, _ := dec.Decode(pcm, f.Payload)
			b.Played(time.Duration(n) * time.Second / 8000)
		case jitter.Lost:
			dec.Conceal(pcm[:160], f.Payload)
		}
		p.pcm = append(p.pcm, pcm[:160]...)
		delay := b.Delay(now)
		p.worst = max(p.worst, delay)
		p.delays = append(p.delays, delay)
	}
	return p
}

// share is the mean share of 440 Hz in pieces of 100 ms.
func share(pcm []int16) float64 {
	sum, n := 0.0, 0
	for ; len(pcm) >= 800; pcm = pcm[800:] {
		var re, im, all float64
		for i, s := range pcm[:800] {
			a := 2 * math.Pi * 440 * float64(i) / 8000
			re += float64(s) * math.Cos(a)
			im += float64(s) * math.Sin(a)
			all += float64(s) * float64(s)
		}
		sum += 2 * (re*re + im*im) / (800*all + 1)
		n++
	}
	return sum / float64(n)
}

// A bad network: the delay stays bounded and the tone a tone.
func TestToneSurvivesTheNetwork(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		net   network
		share float64
		delay time.Duration // at the end
	}{
		{"quiet", network{}, 0.999, 45 * time.Millisecond},
		{"loss 1 %", network{loss: 0.01}, 0.99, 45 * time.Millisecond},
		{"loss 5 %", network{loss: 0.05}, 0.97, 45 * time.Millisecond},
		{"loss 20 %", network{loss: 0.2}, 0.90, 60 * time.Millisecond},
		{"duplicates", network{duplicate: 0.3}, 0.999, 45 * time.Millisecond},
		{"jitter 20 ms", network{jitter: 20 * time.Millisecond}, 0.98, 60 * time.Millisecond},
		{"jitter 50 ms", network{jitter: 50 * time.Millisecond}, 0.97, 100 * time.Millisecond},
		{"jitter 100 ms", network{jitter: 100 * time.Millisecond}, 0.95, 150 * time.Millisecond},
		{"all of it", network{loss: 0.05, duplicate: 0.05, jitter: 100 * time.Millisecond}, 0.92, 150 * time.Millisecond},
	} {
		b := jitter.New(8000, jitter.MinDelay, jitter.MaxDelay)
		p := listen(b, c.net.send(tone(30)), 29*time.Second)
		end := p.delays[len(p.delays)-1]
		got := share(p.pcm[8000:])
		t.Logf("%-14s share %.4f, delay at most %v, at the end %v, kinds %v, dropped %d, missing %d", c.name, got, p.worst, end, p.kinds, b.Dropped, b.Missing)
		if got < c.share {
			t.Errorf("%s: the tone's share is %.4f, want %.3f", c.name, got, c.share)
		}
		if p.worst > jitter.MaxDelay+3*frame || end > c.delay {
			t.Errorf("%s: delay at most %v, at the end %v", c.name, p.worst, end)
		}
	}
}

// After a storm the delay comes down again, where the voice pauses.
func TestDelayComesDown(t *testing.T) {
	t.Parallel()
	all := tone(40)
	var packets []arrival
	for i, p := range all { // the peer suppresses silence: a pause of 200 ms each second
		if i%50 < 40 {
			p.header.Sequence = uint16(i - i/50*10 + min(0, 40-i%50))
			packets = append(packets, p)
		}
	}
	stormy := network{jitter: 100 * time.Millisecond}.send(packets[:400])
	for i := range packets[400:] {
		packets[400+i].at += 30 * time.Millisecond
	}
	b := jitter.New(8000, jitter.MinDelay, jitter.MaxDelay)
	p := listen(b, append(stormy, packets[400:]...), 39*time.Second)
	if high := slices.Max(p.delays[200:500]); high < 80*time.Millisecond {
		t.Errorf("the delay is %v in the storm", high)
	}
	if end := p.delays[len(p.delays)-1]; end > 60*time.Millisecond {
		t.Errorf("the delay is %v long after it", end)
	}
}

// DTX, with and without an announcement, is no loss: sequence numbers go on
// and timestamps jump.
func TestPausesAreNotLoss(t *testing.T) {
	t.Parallel()
	var packets []arrival
	for i, p := range tone(4) {
		if i%50 < 25 {
			p.header.Sequence = uint16(i - i/50*25)
			packets = append(packets, p)
		}
	}
	b := jitter.New(8000, jitter.MinDelay, jitter.MaxDelay)
	p := listen(b, packets, 4*time.Second)
	if b.Missing != 0 || b.Dropped != 0 {
		t.Errorf("%d missing, %d dropped", b.Missing, b.Dropped)
	}
	if n := p.kinds[jitter.Packet]; n != 100 {
		t.Errorf("%d packets played of 100", n)
	}
	announced := jitter.New(8000, jitter.MinDelay, jitter.MaxDelay)
	announced.Put(packets[0].header, packets[0].payload, 0)
	if f := announced.Next(2 * frame); f.Kind != jitter.Packet {
		t.Fatalf("got %v", f)
	}
	announced.Announce()
	for i := range 20 {
		if f := announced.Next(time.Duration(i+3) * frame); f.Kind != jitter.Pause {
			t.Fatalf("after CN: %v", f)
		}
	}
}

// Telephone events share the sequence with audio and are not lost audio.
func TestEventsAreNotLoss(t *testing.T) {
	t.Parallel()
	packets := tone(2)
	for i := 40; i < 60; i++ {
		packets[i].event = true
		packets[i].header.Timestamp = packets[40].header.Timestamp
	}
	b := jitter.New(8000, jitter.MinDelay, jitter.MaxDelay)
	p := listen(b, packets, 2*time.Second)
	if b.Missing != 0 || p.kinds[jitter.Lost] > 1 || p.kinds[jitter.Packet] < 75 {
		t.Errorf("%d missing, kinds %v", b.Missing, p.kinds)
	}
}

func TestNewSourceStartsAnew(t *testing.T) {
	t.Parallel()
	packets := tone(2)
	for i := 50; i < 100; i++ { // another peer, with numbers of its own
		packets[i].header = jitter.Header{Sequence: uint16(i * 7), Timestamp: uint32(i * 160), SSRC: 2}
		packets[i].header.Sequence = uint16(9000 + i)
	}
	b := jitter.New(8000, jitter.MinDelay, jitter.MaxDelay)
	p := listen(b, packets, 2*time.Second)
	if p.kinds[jitter.Packet] < 95 {
		t.Errorf("kinds %v", p.kinds)
	}
}

// The packet after a lost one comes with it: Opus mends the hole from that.
func TestLossShowsWhatFollows(t *testing.T) {
	t.Parallel()
	packets := tone(1)
	b := jitter.New(8000, 60*time.Millisecond, jitter.MaxDelay)
	for i, p := range packets[:5] {
		if i != 2 {
			b.Put(p.header, []byte{byte(i)}, p.at)
		}
	}
	for i := range 5 {
		f := b.Next(time.Duration(4+i) * frame)
		want := jitter.Packet
		if i == 2 {
			want = jitter.Lost
		}
		if f.Kind != want || len(f.Payload) != 1 || f.Payload[0] != byte(i)+byte(f.Kind-jitter.Packet) {
			t.Errorf("frame %d: %v", i, f)
		}
	}
}

func TestLongPackets(t *testing.T) {
	t.Parallel()
	for _, ms := range []int{10, 30, 40, 60} {
		b := jitter.New(8000, jitter.MinDelay, jitter.MaxDelay)
		d := time.Duration(ms) * time.Millisecond
		got, sent := 0, 0
		next := time.Duration(0)
		for now := time.Duration(0); now < 3*time.Second; now += 5 * time.Millisecond {
			if now%d == 0 {
				b.Put(jitter.Header{Sequence: uint16(sent), Timestamp: uint32(sent * ms * 8)}, nil, now)
				sent++
			}
			if now >= next { // a listener that has used up what it had
				next = now + frame
				if f := b.Next(now); f.Kind == jitter.Packet {
					got++
					b.Played(d)
					next = now + d
				}
			}
		}
		if got < sent-5 || b.Missing != 0 || b.Dropped != 0 {
			t.Errorf("%d ms: %d of %d packets, %d missing, %d dropped", ms, got, sent, b.Missing, b.Dropped)
		}
	}
}

func TestBufferAllocatesNothing(t *testing.T) {
	b := jitter.New(8000, jitter.MinDelay, jitter.MaxDelay)
	payload := make([]byte, 160)
	i := 0
	step := func() {
		b.Put(jitter.Header{Sequence: uint16(i), Timestamp: uint32(160 * i)}, payload, time.Duration(i)*frame)
		b.Next(time.Duration(i) * frame)
		i++
	}
	for range 200 {
		step()
	}
	if n := testing.AllocsPerRun(1000, step); n != 0 {
		t.Errorf("%.0f allocations a packet", n)
	}
}

// Whatever comes, in whatever order, the buffer goes on and stays in bounds.
func FuzzBuffer(f *testing.F) {
	f.Add([]byte{1, 2, 3, 4, 5, 6, 7, 8})
	f.Add([]byte{0, 0, 1, 0, 1, 0, 1, 0, 255, 255, 255, 255, 0, 0})
	f.Fuzz(func(t *testing.T, script []byte) {
		b := jitter.New(8000, jitter.MinDelay, jitter.MaxDelay)
		var now time.Duration
		var h jitter.Header
		for ; len(script) >= 4; script = script[4:] {
			h.Sequence += uint16(int8(script[0])) * uint16(script[3]&0x1f)
			h.Timestamp += uint32(int32(int8(script[1]))) * 160 * uint32(script[3]>>5+1)
			h.SSRC = uint32(script[3] & 1)
			now += time.Duration(script[2]) * time.Millisecond
			switch script[3] & 7 {
			case 0:
				b.Mark(h, now)
			case 1:
				b.Announce()
			default:
				b.Put(h, script[:4], now)
			}
			for range script[3] >> 6 {
				fr := b.Next(now)
				if fr.Kind == jitter.Packet {
					b.Played(time.Duration(script[1]&0x7f) * time.Millisecond)
				}
			}
			if d := b.Depth(); d > 64*120*time.Millisecond {
				t.Fatalf("depth %v", d)
			}
		}
	})
}

// A burst of loss is as long as it is: what comes after it is played in time,
// whether the burst was short, or as long as the buffer, or longer.
func TestBurstOfLossCostsNoMoreThanItself(t *testing.T) {
	t.Parallel()
	for _, lost := range []int{3, 10, 25, 45, 60, 150} {
		packets := slices.Delete(tone(6), 100, 100+lost)
		p := listen(jitter.New(8000, jitter.MinDelay, jitter.MaxDelay), packets, 6*time.Second)
		frames := 0
		for _, k := range p.inFrames[100+lost:] {
			if k == jitter.Packet {
				frames++
			}
		}
		if want := len(p.inFrames) - 100 - lost; frames < want-10 || p.worst > 200*time.Millisecond {
			t.Errorf("after %d lost packets %d of %d frames are played; delay up to %v", lost, frames, want, p.worst)
		}
		pcm := p.pcm[160*(110+lost):]
		if s := share(pcm); s < 0.95 {
			t.Errorf("after %d lost packets the share is %.3f", lost, s)
		}
	}
}
