package media

import (
	"encoding/binary"
	"fmt"
	"math"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	sound "ringfence/internal/audio"
	"ringfence/internal/audio/dtmf"
	"ringfence/internal/media/srtp"
)

// talker is a phone that says a tone in a codec and decodes what it hears.
type talker struct {
	t      *testing.T
	conn   *net.UDPConn
	to     netip.AddrPort
	codec  sound.Codec
	pt     uint8
	events uint8 // payload type; 0 is none
	clock  int   // of them
	ptime  int

	encoder sound.Encoder
	rate    int
	seq     uint16
	stamp   uint32
	ssrc    uint32
	said    int // samples

	mu      sync.Mutex
	packets []arrived

	key srtp.Key // of a talker that protects its media, see shield
	out *srtp.Outbound
	in  *srtp.Inbound
}

type arrived struct {
	header
	marker  bool
	payload []byte
	at      time.Time
}

func newTalker(t *testing.T, codec string, pt uint8, ptime int) *talker {
	t.Helper()
	c, ok := sound.Find(codec)
	if !ok {
		t.Fatalf("no codec %s", codec)
	}
	conn, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(loopback, 0)))
	must(t, err)
	t.Cleanup(func() { conn.Close() })
	p := &talker{t: t, conn: conn, codec: c, pt: pt, events: 101, clock: c.Clock, ptime: ptime, rate: min(c.Rate, 16000), seq: 65500, stamp: math.MaxUint32 - 3000, ssrc: 77}
	p.encoder, err = c.NewEncoder(p.rate)
	must(t, err)
	go p.listen()
	return p
}

func (p *talker) listen() {
	buf := make([]byte, 2000)
	for {
		n, err := p.conn.Read(buf)
		if err != nil {
			return
		}
		if h, ok := readHeader(buf[:n]); ok {
			p.mu.Lock()
			b := buf[:n]
			if p.in != nil {
				b, err = p.in.RTP(b)
			}
			if err == nil {
				p.packets = append(p.packets, arrived{h, b[1]&0x80 != 0, slices.Clone(payloadOf(b, h)), time.Now()})
			}
			p.mu.Unlock()
		}
	}
}

func (p *talker) sdp() []byte {
	name := p.codec.Name
	if p.codec.Channels == 2 {
		name += fmt.Sprintf("/%d/2", p.codec.Clock)
	} else {
		name += fmt.Sprintf("/%d", p.codec.Clock)
	}
	s := fmt.Sprintf("v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio %d RTP/AVP %d", p.conn.LocalAddr().(*net.UDPAddr).Port, p.pt)
	if p.events != 0 {
		s += fmt.Sprintf(" %d", p.events)
	}
	s += fmt.Sprintf("\r\na=rtpmap:%d %s\r\n", p.pt, name)
	if p.events != 0 {
		s += fmt.Sprintf("a=rtpmap:%d telephone-event/%d\r\n", p.events, p.clock)
	}
	if p.out != nil {
		s = strings.Replace(s, "RTP/AVP", "RTP/SAVP", 1) + fmt.Sprintf("a=crypto:%s\r\n", srtp.Crypto{Tag: 1, Key: p.key})
	}
	return []byte(s + fmt.Sprintf("a=ptime:%d\r\n", p.ptime))
}

func (p *talker) write(pt uint8, stamp uint32, payload []byte) {
	b := make([]byte, 12, 1500)
	b[0], b[1] = 0x80, pt
	binary.BigEndian.PutUint16(b[2:], p.seq)
	binary.BigEndian.PutUint32(b[4:], stamp)
	binary.BigEndian.PutUint32(b[8:], p.ssrc)
	p.seq++
	b = append(b, payload...)
	if p.out != nil {
		var err error
		b, err = p.out.RTP(make([]byte, 0, 1600), b)
		must(p.t, err)
	}
	_, _ = p.conn.WriteToUDPAddrPort(b, p.to)
}

// shield has a talker offer AES-256-GCM and nothing else.
func (p *talker) shield() *talker {
	p.key = srtp.NewKey(srtp.AES256GCM)
	var err error
	p.out, err = srtp.NewOutbound(p.key)
	must(p.t, err)
	return p
}

// learn takes our key from an answer to a talker's offer.
func (p *talker) learn(answer []byte) {
	if p.out == nil {
		return
	}
	d, err := parseDescription(answer)
	must(p.t, err)
	in, err := srtp.NewInbound(d.stream(audio).cryptos[0].Key)
	must(p.t, err)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.in = in
}

// say sends a packet of a tone.
func (p *talker) say(hz float64) {
	pcm := make([]int16, p.rate*p.ptime/1000)
	for i := range pcm {
		pcm[i] = int16(8000 * math.Sin(2*math.Pi*hz*float64(p.said+i)/float64(p.rate)))
	}
	p.said += len(pcm)
	payload, err := p.encoder.Encode(nil, pcm)
	must(p.t, err)
	p.write(p.pt, p.stamp, payload)
	p.pass()
}

// pass lets the time of a packet go by.
func (p *talker) pass() { p.stamp += uint32(p.codec.Clock * p.ptime / 1000) }

// dial sends a digit of 5 packets, then its end twice more.
func (p *talker) dial(key byte, wait func()) {
	code, _ := dtmf.Code(key)
	start := p.stamp
	for i := range 7 {
		n := min(i+1, 5)
		e := dtmf.Event{Code: code, End: n == 5, Volume: 10, Duration: uint16(n * p.clock * p.ptime / 1000)}
		p.write(p.events, start, e.Append(nil))
		if i < 5 {
			p.pass()
			wait()
		}
	}
}

func (p *talker) heardPackets() []arrived {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.packets)
}

// speech is what came in the talker's codec, decoded, after the first half
// second.
func (p *talker) speech() []int16 {
	d, err := p.codec.NewDecoder(8000)
	must(p.t, err)
	pcm := make([]int16, 8000)
	var out []int16
	for _, a := range p.heardPackets() {
		if a.payloadType == p.pt {
			n, err := d.Decode(pcm, a.payload)
			must(p.t, err)
			out = append(out, pcm[:n]...)
		}
	}
	return out[min(len(out), 4000):]
}

func toneShare(pcm []int16, hz float64) float64 {
	sum, n := 0.0, 0
	for ; len(pcm) >= 800; pcm = pcm[800:] {
		var re, im, all float64
		for i, s := range pcm[:800] {
			a := 2 * math.Pi * hz * float64(i) / 8000
			re += float64(s) * math.Cos(a)
			im += float64(s) * math.Sin(a)
			all += float64(s) * float64(s)
		}
		sum += 2 * (re*re + im*im) / (800*all + 1)
		n++
	}
	return sum / float64(max(n, 1))
}

// call connects two talkers through the engine: a calls b.
func call(t *testing.T, first uint16, a, b *talker) bridge {
	t.Helper()
	e := testEngine(t, first, first+19, nil)
	c := e.NewCall("voice")
	t.Cleanup(c.Close)
	br := bridge{call: c, a: newLeg(t, c, loopback), b: newLeg(t, c, loopback)}
	must(t, br.a.SetRemote(a.sdp()))
	offer, err := br.b.Offer(br.a)
	must(t, err)
	if !strings.Contains(string(offer), fmt.Sprintf(" %s/%d", map[bool]string{true: "opus", false: b.codec.Name}[b.codec.Name == "opus"], b.codec.Clock)) {
		t.Fatalf("b is not offered %s:\n%s", b.codec.Name, offer)
	}
	must(t, br.b.SetRemote(b.sdp()))
	answer, err := br.a.Answer(br.b)
	must(t, err)
	a.learn(answer)
	c.Bridge(br.a, br.b)
	a.to, b.to = br.a.RTP(), br.b.RTP()
	return br
}

// clockwork calls f every 20 ms, and reports whether the machine kept up: it may
// be busy, and then speech comes by fits and starts.
func clockwork(d time.Duration, f func(i int)) (steady bool) {
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	start := time.Now()
	steady = true
	for i := range int(d / (20 * time.Millisecond)) {
		<-ticker.C
		f(i)
		steady = steady && time.Since(start) < time.Duration(i+2)*20*time.Millisecond
	}
	return steady
}

// calm reports whether what a leg's peer hears came in time to be converted.
func calm(l *Leg) bool {
	w := l.streams[audio].Load().converter.Load()
	if w == nil {
		return true
	}
	w.ear.mu.Lock()
	defer w.ear.mu.Unlock()
	for _, v := range w.ear.voices {
		if v.buffer.Target() > 45*time.Millisecond {
			return false
		}
	}
	return true
}

// checkLine looks at numbers as a strict receiver does: one source, sequence
// numbers without a gap, timestamps that go on by the length of packets.
func checkLine(t *testing.T, who string, p *talker, step uint32) {
	t.Helper()
	var last *arrived
	speech := uint32(0)
	for _, a := range p.heardPackets() {
		if last != nil {
			if a.ssrc != last.ssrc || a.sequence != last.sequence+1 {
				t.Errorf("%s: SSRC %x sequence %d after %x %d", who, a.ssrc, a.sequence, last.ssrc, last.sequence)
			}
		}
		if a.payloadType == p.pt {
			if speech != 0 && (a.timestamp-speech)%step != 0 {
				t.Errorf("%s: timestamp %d after %d", who, a.timestamp, speech)
			}
			speech = a.timestamp
		}
		last = &a
	}
}

// Every pair of codecs that has none in common, both ways at once, with packets
// of other lengths.
func TestLegsWithoutACommonCodecHearEachOther(t *testing.T) {
	t.Parallel()
	for i, c := range []struct {
		a, b           string
		ptA, ptB       uint8
		ptimeA, ptimeB int
	}{
		{"opus", "PCMA", 111, 8, 20, 20},
		{"PCMU", "opus", 0, 96, 30, 20},
		{"G722", "PCMU", 9, 0, 20, 40},
		{"opus", "G722", 109, 9, 20, 20},
		{"PCMA", "G722", 8, 9, 10, 20},
		{"PCMU", "PCMA", 0, 8, 20, 20},
	} {
		t.Run(c.a+" and "+c.b, func(t *testing.T) {
			t.Parallel()
			a, b := newTalker(t, c.a, c.ptA, c.ptimeA), newTalker(t, c.b, c.ptB, c.ptimeB)
			br := call(t, uint16(23000+20*i), a, b)
			ms := 0
			steady := clockwork(3*time.Second, func(int) {
				for ms += 20; a.said*1000/a.rate+a.ptime <= ms; {
					a.say(440)
				}
				for b.said*1000/b.rate+b.ptime <= ms {
					b.say(660)
				}
			})
			time.Sleep(200 * time.Millisecond)
			enough := 0.8 // Opus makes less of a tone than of a voice
			if !steady || !calm(br.a) || !calm(br.b) {
				enough = 0.1 // much is concealed, which is no pure tone
			}
			for who, h := range map[string]struct {
				pcm       []int16
				want, not float64
			}{"a": {a.speech(), 660, 440}, "b": {b.speech(), 440, 660}} {
				want, not := toneShare(h.pcm, h.want), toneShare(h.pcm, h.not)
				if want < enough || not > enough/20 || len(h.pcm) < 16000 {
					t.Errorf("%s hears %.3f of the other and %.3f of itself in %d samples", who, want, not, len(h.pcm))
				}
			}
			checkLine(t, "a", a, uint32(a.codec.Clock/100))
			checkLine(t, "b", b, uint32(b.codec.Clock/100))
		})
	}
}

// The two laws of G.711 differ in the meaning of octets only: packets go through
// as they come, with their numbers.
func TestLawsAreRecodedPacketForPacket(t *testing.T) {
	t.Parallel()
	a, b := newTalker(t, "PCMU", 0, 20), newTalker(t, "PCMA", 8, 20)
	br := call(t, 23200, a, b)
	for range 20 {
		a.say(440)
	}
	eventually(t, "b hears all", func() bool { return len(b.heardPackets()) == 20 })
	if p := b.heardPackets()[0]; p.sequence != 65500 || p.timestamp != math.MaxUint32-3000 || p.ssrc != 77 || p.payloadType != 8 {
		t.Errorf("the first packet is %+v", p)
	}
	if br.b.streams[audio].Load().converter.Load() != nil {
		t.Error("a converter is at work")
	}
}

// Digits cross between clocks of 8000 and 48000, each in its payload type, with
// durations in its own units; their packets share the timestamp of the beginning
// and lie on one line with the speech around them.
func TestPitfall20DigitsBetweenClocks(t *testing.T) {
	t.Parallel()
	browser, phone := newTalker(t, "opus", 111, 20), newTalker(t, "PCMA", 8, 20)
	browser.events, phone.events = 110, 101
	br := call(t, 23220, browser, phone)
	var mu sync.Mutex
	dialled := map[string]string{}
	for name, l := range map[string]*Leg{"browser": br.a, "phone": br.b} {
		l.OnDigit(func(d byte) {
			mu.Lock()
			defer mu.Unlock()
			dialled[name] += string(d)
		})
	}
	both := func() { browser.say(440); phone.say(660) }
	clockwork(400*time.Millisecond, func(int) { both() })
	for _, key := range "159" {
		ticker := time.NewTicker(20 * time.Millisecond)
		browser.dial(byte(key), func() { <-ticker.C; phone.say(660) })
		phone.dial(byte(key), func() { <-ticker.C; browser.say(440) })
		ticker.Stop()
		clockwork(100*time.Millisecond, func(int) { both() })
	}
	clockwork(300*time.Millisecond, func(int) { both() })
	time.Sleep(100 * time.Millisecond)
	if dialled["browser"] != "159" || dialled["phone"] != "159" {
		t.Errorf("we heard %v", dialled)
	}
	for who, p := range map[string]*talker{"phone": phone, "browser": browser} {
		checkDigits(t, who, p, "159")
		checkLine(t, who, p, uint32(p.codec.Clock/100))
	}
}

// checkDigits looks at the digits a talker was sent.
func checkDigits(t *testing.T, who string, p *talker, want string) {
	t.Helper()
	var r dtmf.Receiver
	got, ends, last := "", 0, dtmf.Event{}
	newest := uint32(0)
	for i, a := range p.heardPackets() {
		if a.payloadType != p.events {
			if i > 0 && int32(a.timestamp-newest) < 0 {
				t.Errorf("%s: speech goes back from %d to %d", who, newest, a.timestamp)
			}
			newest = a.timestamp
			continue
		}
		e, err := dtmf.ParseEvent(a.payload)
		must(t, err)
		if key := r.Packet(a.timestamp, a.payload); key != 0 {
			got += string(key)
			if !a.marker || int32(a.timestamp-newest) < 0 {
				t.Errorf("%s: %c begins with the marker %v at %d, after %d", who, key, a.marker, a.timestamp, newest)
			}
			newest = a.timestamp
		} else if a.timestamp != newest {
			t.Errorf("%s: a packet of a digit is at %d, the first one at %d", who, a.timestamp, newest)
		}
		if e.End {
			ends++
			last = e
		}
	}
	if got != want || ends != 3*len(want) {
		t.Errorf("%s: digits %q with %d ends", who, got, ends)
	}
	if int(last.Duration) != p.clock/10 {
		t.Errorf("%s: a digit of 100 ms lasts %d units of %d", who, last.Duration, p.clock)
	}
}

// A peer that pauses, with comfort noise or without a word, is no loss: the
// other hears continuous noise, not gaps and not an echo of the last word.
func TestPitfall30SilenceIsNotLoss(t *testing.T) {
	t.Parallel()
	a, b := newTalker(t, "PCMA", 8, 20), newTalker(t, "G722", 9, 20)
	br := call(t, 23240, a, b)
	sdp := strings.Replace(string(a.sdp()), "RTP/AVP 8", "RTP/AVP 8 13", 1)
	must(t, br.a.SetRemote([]byte(sdp)))
	_, err := br.a.Answer(br.b)
	must(t, err)
	steady := clockwork(2*time.Second, func(i int) {
		switch {
		case i < 30 || i >= 70:
			a.say(440)
		case i == 30:
			a.write(13, a.stamp, []byte{60})
			fallthrough
		default:
			a.pass()
		}
	})
	time.Sleep(200 * time.Millisecond)
	packets := b.heardPackets()
	if len(packets) < 98 {
		t.Errorf("%d packets in two seconds", len(packets))
	}
	for i := range packets[1:] {
		if gap := packets[i+1].at.Sub(packets[i].at); steady && gap > 200*time.Millisecond {
			t.Errorf("a gap of %v", gap)
		}
	}
	checkLine(t, "b", b, 160)
	d, _ := b.codec.NewDecoder(8000)
	pcm := make([]int16, 960)
	quiet, loud := 0, 0
	for _, p := range packets[5:] {
		n, err := d.Decode(pcm, p.payload)
		must(t, err)
		switch level := sound.NoiseOf(pcm[:n]); {
		case level < 25:
			loud++
		case level > 50 && level < 75:
			quiet++
		}
	}
	if steady && (quiet < 33 || loud < 52) {
		t.Errorf("%d frames of noise and %d of speech", quiet, loud)
	}
}

// What we play is heard in place of the other party, on the same line, and the
// other party again afterwards.
func TestPlayInPlaceOfTheOther(t *testing.T) {
	t.Parallel()
	a, b := newTalker(t, "PCMA", 8, 20), newTalker(t, "PCMA", 8, 20)
	br := call(t, 23260, a, b)
	left, done := 16000, make(chan bool, 1)
	phase := 0
	steady := clockwork(3*time.Second, func(i int) {
		a.say(440)
		b.say(660)
		if i == 50 {
			must(t, br.a.Play(func(pcm []int16) int {
				n := min(left, len(pcm))
				for j := range n {
					pcm[j] = int16(8000 * math.Sin(2*math.Pi*1000*float64(phase)/SoundRate))
					phase++
				}
				left -= n
				return n
			}, func() { done <- true }))
		}
	})
	<-done
	heard := a.speech() // from 0.5 s on
	for _, c := range []struct {
		from, to int
		hz       float64
	}{{0, 3200, 660}, {5600, 11200, 1000}, {13600, 19200, 660}} {
		if s := toneShare(heard[c.from:c.to], c.hz); steady && s < 0.9 {
			t.Errorf("from %d to %d there is %.3f of %.0f Hz", c.from, c.to, s, c.hz)
		}
	}
	if s := toneShare(b.speech(), 440); s < 0.98 {
		t.Errorf("b hears %.3f of a", s)
	}
	checkLine(t, "a", a, 1)
}

// Digits of ours reach a peer between its speech.
func TestSendDigit(t *testing.T) {
	t.Parallel()
	a, b := newTalker(t, "PCMA", 8, 20), newTalker(t, "PCMA", 8, 20)
	b.events = 0
	br := call(t, 23280, a, b)
	clockwork(1800*time.Millisecond, func(i int) {
		b.say(660)
		if i == 20 {
			for _, key := range "42#" {
				if !br.a.SendDigit(byte(key), 100*time.Millisecond) {
					t.Error("a digit is refused")
				}
			}
		}
	})
	if br.a.SendDigit('x', 100*time.Millisecond) {
		t.Error("x is no digit")
	}
	checkDigits(t, "a", a, "42#")
	checkLine(t, "a", a, 1)
	if p := a.heardPackets(); p[len(p)-1].payloadType != 8 {
		t.Error("speech does not come back")
	}
}

// Parted or closed, nothing goes on speaking.
func TestConvertersEndWithTheBridge(t *testing.T) {
	t.Parallel()
	a, b := newTalker(t, "opus", 111, 20), newTalker(t, "PCMA", 8, 20)
	br := call(t, 23300, a, b)
	clockwork(300*time.Millisecond, func(int) { a.say(440) })
	w := br.b.streams[audio].Load().converter.Load()
	if w == nil {
		t.Fatal("there is no converter")
	}
	must(t, br.b.Background(func(pcm []int16) int { return len(pcm) }))
	p := br.b.streams[audio].Load().player.Load()
	br.call.Close()
	for _, stopped := range []chan struct{}{w.stopped, p.stopped} {
		select {
		case <-stopped:
		default:
			t.Error("something goes on")
		}
	}
	if err := br.b.Play(func([]int16) int { return 0 }, nil); err == nil {
		t.Error("a closed leg plays")
	}
}
