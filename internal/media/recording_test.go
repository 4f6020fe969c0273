package media

import (
	"errors"
	"io"
	"log/slog"
	"math"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	sound "ringfence/internal/audio"
	"ringfence/internal/audio/record"
	"ringfence/internal/siptest"
	"ringfence/internal/siptest/impair"
)

// recorded is a file of two voices.
type recorded struct {
	rate        int
	left, right []int16
}

func readRecording(t *testing.T, path string) (r recorded) {
	t.Helper()
	f, err := os.Open(path)
	must(t, err)
	defer f.Close()
	in, err := record.NewWAVReader(f)
	must(t, err)
	if in.Channels != 2 {
		t.Fatalf("%d channels", in.Channels)
	}
	r.rate = in.Rate
	buf := make([]int16, 2*4000)
	for {
		n, err := in.Read(buf)
		for i := 0; i+1 < n; i += 2 {
			r.left, r.right = append(r.left, buf[i]), append(r.right, buf[i+1])
		}
		if err == io.EOF {
			return r
		}
		must(t, err)
	}
}

func (r recorded) length() time.Duration {
	return time.Duration(len(r.left)) * time.Second / time.Duration(r.rate)
}

// part is what lies between two times.
func (r recorded) part(pcm []int16, from, to time.Duration) []int16 {
	return pcm[sound.Samples(from, r.rate):min(len(pcm), sound.Samples(to, r.rate))]
}

// onset is when a voice first becomes loud.
func (r recorded) onset(pcm []int16) time.Duration {
	n := r.rate / 500
	for i := 0; i+n <= len(pcm); i += n {
		if sound.NoiseOf(pcm[i:i+n]) < 30 {
			return time.Duration(i) * time.Second / time.Duration(r.rate)
		}
	}
	return -1
}

// share checks that a part of a voice is one tone.
func (r recorded) share(t *testing.T, what string, pcm []int16, from, to time.Duration, hz, enough float64) {
	t.Helper()
	if s := siptest.Share(r.part(pcm, from, to), r.rate, hz); s < enough {
		t.Errorf("%s, %v to %v: share of %g Hz is %.3f", what, from, to, hz, s)
	}
}

// silent checks that nobody speaks.
func (r recorded) silent(t *testing.T, what string, pcm []int16, from, to time.Duration) {
	t.Helper()
	if n := sound.NoiseOf(r.part(pcm, from, to)); n < 50 {
		t.Errorf("%s, %v to %v: -%d dBov", what, from, to, n)
	}
}

func recordTo(t *testing.T, l *Leg, o RecordOptions) *Recording {
	t.Helper()
	if o.Path == "" {
		o.Path = filepath.Join(t.TempDir(), "call.wav")
	}
	r, err := l.Record(o)
	must(t, err)
	return r
}

// finish stops a recording and reads its file.
func finish(t *testing.T, r *Recording) recorded {
	t.Helper()
	r.Stop()
	select {
	case <-r.Done():
	case <-time.After(20 * time.Second):
		t.Fatal("the recording does not end")
	}
	if o := r.Outcome(); o.Err != nil || o.Dropped != 0 || !o.Finished {
		t.Errorf("%+v", o)
	}
	return readRecording(t, r.Outcome().Path)
}

const ms = time.Millisecond

// Whatever the two speak, each is on its side and what they say at one time is
// at one place.
func TestRecordingHasBothVoicesSideBySide(t *testing.T) {
	t.Parallel()
	for i, c := range []struct {
		a, b     string
		ptA, ptB uint8
		rate     int
	}{
		{"PCMU", "PCMU", 0, 0, 8000},
		{"opus", "PCMA", 111, 8, 16000}, // over SRTP
		{"PCMA", "G722", 8, 9, 16000},
	} {
		t.Run(c.a+" and "+c.b, func(t *testing.T) {
			t.Parallel()
			a, b := newTalker(t, c.a, c.ptA, 20), newTalker(t, c.b, c.ptB, 20)
			if c.a == "opus" {
				a.shield()
			}
			br := call(t, uint16(23400+20*i), a, b)
			start := time.Now()
			r := recordTo(t, br.a, RecordOptions{})
			if _, err := br.a.Record(RecordOptions{Path: r.options.Path + "2"}); !errors.Is(err, ErrRecorded) {
				t.Errorf("it is recorded twice: %v", err)
			}
			steady := clockwork(3*time.Second, func(i int) {
				if i < 50 {
					a.say(0)
					b.say(0)
					return
				}
				a.say(440)
				b.say(880)
			})
			took := time.Since(start)
			file := finish(t, r)
			if file.rate != c.rate {
				t.Errorf("%d samples a second", file.rate)
			}
			if d := file.length() - took; d.Abs() > 100*ms {
				t.Errorf("%v too long", d)
			}
			if !steady {
				t.Log("the machine is busy: the voices are not looked at")
				return
			}
			left, right := file.onset(file.left), file.onset(file.right)
			if (left-right).Abs() > 40*ms || (left-time.Second).Abs() > 100*ms {
				t.Errorf("the left begins at %v, the right at %v", left, right)
			}
			enough := map[bool]float64{true: 0.8, false: 0.9}[c.a == "opus"] // it makes less of a tone than of a voice
			file.share(t, "left", file.left, 1200*ms, 2900*ms, 440, enough)
			file.share(t, "right", file.right, 1200*ms, 2900*ms, 880, 0.9)
			file.silent(t, "left", file.left, 0, 900*ms)
		})
	}
}

// A fifth of the packets gets lost on the way, and the rest out of order: the
// time stays right, and the voice what it was.
func TestRecordingOfABadLineKeepsTime(t *testing.T) {
	t.Parallel()
	a, b := newTalker(t, "PCMA", 8, 20), newTalker(t, "PCMA", 8, 20)
	br := call(t, 23460, a, b)
	line, err := impair.NewProxy(loopback, a.addr(), br.a.RTP(), impair.Profile{Loss: 0.2, Jitter: 30 * ms}, 7)
	must(t, err)
	t.Cleanup(line.Close)
	must(t, br.a.SetRemote(sdpAt(line.Far(), "a=rtpmap:8 PCMA/8000")))
	a.to = line.Near()
	start := time.Now()
	r := recordTo(t, br.a, RecordOptions{})
	steady := clockwork(4*time.Second, func(i int) {
		a.say(440)
		b.say(map[bool]float64{true: 880}[i%100 < 50]) // a second of tone, a second of silence
	})
	took := time.Since(start)
	file := finish(t, r)
	if d := file.length() - took; d.Abs() > 100*ms {
		t.Errorf("%v too long", d)
	}
	if !steady {
		return
	}
	file.share(t, "left", file.left, 500*ms, 3800*ms, 440, 0.7)
	file.share(t, "right", file.right, 2200*ms, 2900*ms, 880, 0.9)
	file.silent(t, "right", file.right, 3200*ms, 3800*ms)
}

// The other party is transferred, holds and comes back with another codec, and
// leaves: its side says who is there, and the recording ends with its leg.
func TestRecordingFollowsTheLeg(t *testing.T) {
	t.Parallel()
	a, b := newTalker(t, "PCMA", 8, 20), newTalker(t, "PCMA", 8, 20)
	br := call(t, 23480, a, b)
	c, third := newTalker(t, "PCMA", 8, 20), newLeg(t, br.call, loopback)
	offer, err := third.Offer(br.a)
	must(t, err)
	if !strings.Contains(string(offer), " PCMA/8000") {
		t.Fatalf("%s", offer)
	}
	must(t, third.SetRemote(c.sdp()))
	c.to = third.RTP()

	var mu sync.Mutex
	var ended []Outcome
	r := recordTo(t, br.a, RecordOptions{Mirror: true, Rate: 16000, Done: func(o Outcome) {
		mu.Lock()
		defer mu.Unlock()
		ended = append(ended, o)
	}})
	other := newTalker(t, "G722", 9, 20)
	other.to, other.ssrc = third.RTP(), 99
	steady := clockwork(5*time.Second, func(i int) {
		a.say(440)
		switch {
		case i == 50: // transferred
			br.call.Bridge(br.a, third)
			br.b.Close()
		case i == 150: // back from a hold, elsewhere and with another codec
			must(t, third.SetRemote(other.sdp()))
			_, err := third.Answer(br.a)
			must(t, err)
		case i == 200: // gone
			third.Close()
		}
		switch {
		case i < 50:
			b.say(880)
		case i < 100:
			c.say(660)
		case i < 150: // holds
		case i < 200:
			other.say(1000)
		}
	})
	br.a.Close()
	<-r.Done()
	mu.Lock()
	defer mu.Unlock()
	if len(ended) != 1 || !ended[0].Finished || ended[0].Err != nil {
		t.Errorf("%+v", ended)
	}
	file := readRecording(t, r.Outcome().Path)
	if !steady {
		return
	}
	file.share(t, "right", file.right, 300*ms, 4800*ms, 440, 0.9)
	file.share(t, "first", file.left, 300*ms, 900*ms, 880, 0.9)
	file.share(t, "second", file.left, 1300*ms, 1900*ms, 660, 0.9)
	file.silent(t, "hold", file.left, 2300*ms, 2900*ms)
	file.share(t, "other codec", file.left, 3400*ms, 3900*ms, 1000, 0.9)
	file.silent(t, "gone", file.left, 4300*ms, 4800*ms)
	if _, err := br.a.Record(RecordOptions{Path: "x"}); !errors.Is(err, ErrClosed) {
		t.Errorf("a closed leg is recorded: %v", err)
	}
}

// slowDisk holds what is written until it is released.
type slowDisk struct {
	sink
	release chan struct{}
}

func (d slowDisk) Write(pcm []int16) error {
	<-d.release
	return d.sink.Write(pcm)
}

// A disk that stands still costs the recording audio, which is counted, and the
// call nothing.
func TestSlowDiskStopsNobody(t *testing.T) {
	t.Parallel()
	e := testEngine(t, 23500, 23519, nil)
	a, b := newPeer(t, loopback, 0xa), newPeer(t, loopback, 0xb)
	br := newBridge(t, e, a, b)
	release := make(chan struct{})
	path := filepath.Join(t.TempDir(), "slow.wav")
	r, err := br.a.record(RecordOptions{Path: path}, func(path string, f record.Format, rate int) (sink, error) {
		file, err := create(path, f, rate)
		return slowDisk{file, release}, err
	})
	must(t, err)
	time.Sleep(300 * ms) // it waits for the disk now
	const packets = maxTaken + 500
	for sent := 0; sent < packets; sent += 50 {
		a.send(br.a.RTP(), 50)
		eventually(t, "b hears a", func() bool { return b.heard(0xa) >= sent+50 })
	}
	if n := r.Outcome().Dropped; n < 500-50 {
		t.Errorf("%d packets are left out", n)
	}
	close(release)
	r.Stop()
	<-r.Done()
	file := readRecording(t, path)
	if d := file.length() - r.Outcome().Length; r.Outcome().Err != nil || d != 0 || file.length() < 300*ms {
		t.Errorf("%+v, %v in the file", r.Outcome(), file.length())
	}
}

// A disk that fails ends the recording, and not the call.
func TestFailingDiskEndsTheRecording(t *testing.T) {
	t.Parallel()
	e := testEngine(t, 23520, 23539, nil)
	a, b := newPeer(t, loopback, 0xa), newPeer(t, loopback, 0xb)
	br := newBridge(t, e, a, b)
	r, err := br.a.Record(RecordOptions{Path: filepath.Join(t.TempDir(), "no", "such", "folder.wav")})
	must(t, err)
	<-r.Done()
	if o := r.Outcome(); o.Err == nil || !o.Finished {
		t.Errorf("%+v", o)
	}
	a.send(br.a.RTP(), 3)
	eventually(t, "b hears a", func() bool { return b.heard(0xa) == 3 })
	again := recordTo(t, br.a, RecordOptions{})
	finish(t, again)
}

// Both hear the tone, and each other around it; while it is paused the recording
// is silent.
func TestRecordingBeepsAndPauses(t *testing.T) {
	t.Parallel()
	a, b := newTalker(t, "PCMA", 8, 20), newTalker(t, "PCMA", 8, 20)
	br := call(t, 23540, a, b)
	r := recordTo(t, br.a, RecordOptions{Beep: true})
	steady := clockwork(2*time.Second, func(i int) {
		a.say(440)
		b.say(880)
		r.Pause(i >= 50 && i < 75)
	})
	file := finish(t, r)
	if !steady {
		return
	}
	file.share(t, "left", file.left, 300*ms, 900*ms, 440, 0.9)
	file.silent(t, "left", file.left, 1200*ms, 1400*ms)
	file.share(t, "left", file.left, 1600*ms, 1900*ms, 440, 0.9)
	for who, p := range map[string]*talker{"a": a, "b": b} {
		loudest := 0.0
		d, _ := p.codec.NewDecoder(8000)
		pcm := make([]int16, 960)
		beeps := 0
		for _, x := range p.heardPackets() {
			n, err := d.Decode(pcm, x.payload)
			must(t, err)
			s := siptest.Goertzel(pcm[:n], 8000, beepHertz) / (float64(n) * beepLoud * beepLoud / 2)
			if loudest = math.Max(loudest, s); s > 0.5 {
				beeps++
			}
		}
		if beeps < 8 || beeps > 11 {
			t.Errorf("%s hears %d packets of the tone, at most %.2f of it", who, beeps, loudest)
		}
		checkLine(t, who, p, 1)
	}
}

// Once a recording has its memory, a packet for it allocates nothing.
func TestTakingAPacketAllocatesNothing(t *testing.T) {
	var q taken
	payload := make([]byte, 160)
	fill := func() {
		q.clear()
		for q.put(packet{}, payload) {
		}
	}
	fill()
	if len(q.packets) != maxTaken {
		t.Errorf("%d packets", len(q.packets))
	}
	if n := testing.AllocsPerRun(10, fill); n != 0 {
		t.Errorf("%g allocations", n)
	}
}

func (p *talker) addr() netip.AddrPort { return p.conn.LocalAddr().(*net.UDPAddr).AddrPort() }

// counted is a file of which only the length is of interest.
type counted struct{ samples int }

func (c *counted) Write(pcm []int16) error { c.samples += len(pcm); return nil }
func (c *counted) Close() error            { return nil }

// FuzzRecording takes what strangers send in any order and at any time: the
// recording is as long as its time.
func FuzzRecording(f *testing.F) {
	f.Add([]byte{0, 0, 1, 160, 20, 5, 0, 1, 0, 1, 160, 20, 5, 1, 2, 2, 3, 1, 100, 3, 7, 7, 7, 4, 0, 1, 1, 1, 2, 60, 60})
	codecs := []codec{{"PCMU", 8000, 1}, {"PCMA", 8000, 1}, {"G722", 8000, 1}, {"OPUS", 48000, 2}, {digits, 8000, 1}, {"CN", 8000, 1}, {"G729", 8000, 1}}
	f.Fuzz(func(t *testing.T, in []byte) {
		in = in[:min(len(in), 2000)] // not hours of it
		file, who := &counted{}, [2]*stream{{}, {}}
		began := time.Now()
		r := &Recording{leg: &Leg{call: &Call{log: slog.New(slog.DiscardHandler)}}, rate: 16000, began: began, at: began.Add(settle), file: file}
		for i := range r.ears {
			r.ears[i], r.frames[i] = r.newEar(), make([]int16, sound.Samples(frameTime, r.rate))
		}
		now := began
		h := [2]header{{ssrc: 1}, {ssrc: 2}}
		for len(in) >= 6 {
			voice := int(in[0] & 1)
			p := &h[voice]
			p.sequence += uint16(int8(in[2]))
			p.timestamp += uint32(int32(int8(in[3])) * 16)
			if in[0]&64 != 0 {
				p.ssrc++
			}
			now = now.Add(time.Duration(in[4]) * ms)
			n := min(int(in[5]), len(in)-6)
			r.put(voice, who[in[0]>>7], *p, in[6:6+n], codecs[int(in[1])%len(codecs)], now)
			if in[0]&2 != 0 {
				must(t, r.turn(now))
			}
			in = in[6+n:]
		}
		must(t, r.turn(now.Add(settle)))
		want := 2 * (int(now.Sub(began)/frameTime) + 1) * sound.Samples(frameTime, r.rate)
		if file.samples != want {
			t.Errorf("%d samples in %v, want %d", file.samples, now.Sub(began), want)
		}
	})
}
