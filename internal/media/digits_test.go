package media

import (
	"sync"
	"testing"
	"time"

	"ringfence/internal/audio/dtmf"
	"ringfence/internal/ports"
	"ringfence/internal/telephony"
)

// sound sends a packet of samples.
func (p *talker) sound(pcm []int16) {
	payload, err := p.encoder.Encode(nil, pcm)
	must(p.t, err)
	p.write(p.pt, p.stamp, payload)
	p.pass()
}

// press lasts 5 packets and 5 of voice: in telephone-events, in tones, or in both,
// as some phones do.
func (p *talker) press(key byte, events, tones bool, tick <-chan time.Time) {
	code, _ := dtmf.Code(key)
	start, tone := p.stamp, dtmf.NewTone(key, p.rate, p.rate/10)
	for i := range 5 {
		<-tick
		if events {
			e := dtmf.Event{Code: code, End: i == 4, Volume: 10, Duration: uint16((i + 1) * p.clock / 50)}
			p.write(p.events, start, e.Append(nil))
		}
		pcm := make([]int16, p.rate/50)
		tone.Fill(pcm)
		if tones {
			p.sound(pcm)
		} else {
			p.pass()
		}
	}
	for range 7 {
		<-tick
		p.say(440)
	}
}

// heardTones are the digits in the speech that a talker heard.
func (p *talker) heardTones() string {
	var d dtmf.Detector
	return string(d.Hear(nil, p.speech()))
}

// heardEvents are those of its telephone-events.
func (p *talker) heardEvents() (keys string) {
	var r dtmf.Receiver
	for _, a := range p.heardPackets() {
		if a.payloadType == p.events && p.events != 0 {
			if k := r.Packet(a.timestamp, a.payload); k != 0 {
				keys += string(k)
			}
		}
	}
	return keys
}

// TestDigitsInEveryForm: a digit reaches the other party once, in the form that it
// takes, and in no other.
func TestDigitsInEveryForm(t *testing.T) {
	t.Parallel()
	const auto, inband, info, rfc = telephony.DTMFAuto, telephony.DTMFInband, telephony.DTMFInfo, telephony.DTMFEvents
	for i, c := range []struct {
		name                string
		codec               string // of the one who dials
		pt                  uint8
		events              bool // it has telephone-events
		sendsE, sendsT      bool // and dials so
		theirs              bool // the other has telephone-events
		mode, other         telephony.DTMF
		wantE, wantT, wantS string
	}{
		{"events to tones", "PCMA", 8, true, true, false, false, auto, auto, "", "15#", ""},
		{"both to tones", "PCMA", 8, true, true, true, false, auto, auto, "", "15#", ""},
		{"tones to events", "PCMU", 0, false, false, true, true, auto, auto, "15#", "", ""},
		{"tones of G.722 to events", "G722", 9, false, false, true, true, auto, auto, "15#", "", ""},
		{"tones to tones", "PCMA", 8, false, false, true, false, auto, auto, "", "15#", ""},
		{"events to INFO", "PCMA", 8, true, true, false, true, auto, info, "", "", "15#"},
		{"both to INFO", "PCMA", 8, true, true, true, true, auto, info, "", "", "15#"},
		{"tones to INFO", "PCMA", 8, false, false, true, false, auto, info, "", "", "15#"},
		{"events to one who is to get tones", "PCMA", 8, true, true, false, true, auto, inband, "", "15#", ""},
		{"tones of one who is to send them", "PCMA", 8, true, false, true, true, inband, auto, "15#", "", ""},
		{"events of one who is to send tones", "PCMA", 8, true, true, false, true, inband, auto, "", "", ""},
		{"tones of one who is to send events", "PCMA", 8, false, false, true, true, rfc, auto, "", "15#", ""},
		{"events to one who takes nothing else", "PCMA", 8, true, true, false, false, auto, rfc, "", "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			a, b := newTalker(t, c.codec, c.pt, 20), newTalker(t, "PCMA", 8, 20)
			a.clock, a.events, b.events = 8000, 0, 0
			if c.events {
				a.events = 101
			}
			if c.theirs {
				b.events = 101
			}
			signalled := dialled(t, uint16(24800+20*i), a, b, c.mode, c.other)
			if a.events == 0 {
				a.events = 101 // it sends none
			}
			ticker := time.NewTicker(20 * time.Millisecond)
			defer ticker.Stop()
			for range 40 {
				<-ticker.C
				a.say(440)
			}
			for _, key := range "15#" {
				a.press(byte(key), c.sendsE, c.sendsT, ticker.C)
			}
			for range 30 {
				<-ticker.C
				a.say(440)
			}
			time.Sleep(200 * time.Millisecond)
			if e, s, tones := b.heardEvents(), signalled(), b.heardTones(); e != c.wantE || tones != c.wantT || s != c.wantS {
				t.Errorf("events %q, tones %q, INFO %q; want %q, %q, %q", e, tones, s, c.wantE, c.wantT, c.wantS)
			}
		})
	}
}

// dialled connects two talkers, and returns what b is to be told in SIP.
func dialled(t *testing.T, first uint16, a, b *talker, mode, other telephony.DTMF) (signalled func() string) {
	t.Helper()
	br := formed(t, first, a, b, mode, other)
	var mu sync.Mutex
	var all []byte
	br.b.OnSignal(func(digit byte, _ time.Duration) {
		mu.Lock()
		defer mu.Unlock()
		all = append(all, digit)
	})
	return func() string {
		mu.Lock()
		defer mu.Unlock()
		return string(all)
	}
}

func formed(t *testing.T, first uint16, a, b *talker, mode, other telephony.DTMF) bridge {
	t.Helper()
	c := testEngine(t, first, first+19, nil).NewCall("digits")
	t.Cleanup(c.Close)
	leg := func(mode telephony.DTMF) *Leg {
		l, err := c.NewLeg(t.Context(), LegParams{Side: ports.Core, Local: loopback, DTMF: mode})
		must(t, err)
		return l
	}
	br := bridge{call: c, a: leg(mode), b: leg(other)}
	must(t, br.a.SetRemote(a.sdp()))
	_, err := br.b.Offer(br.a)
	must(t, err)
	must(t, br.b.SetRemote(b.sdp()))
	_, err = br.a.Answer(br.b)
	must(t, err)
	c.Bridge(br.a, br.b)
	a.to, b.to = br.a.RTP(), br.b.RTP()
	return br
}

// TestDigitsOfINFO reach the other party as events or tones; one that came as an
// event just before is the same press, and one of a phone that is to send others
// is none.
func TestDigitsOfINFO(t *testing.T) {
	t.Parallel()
	for i, c := range []struct {
		name         string
		mode, other  telephony.DTMF
		theirs       bool
		done         bool // not to be passed on in INFO
		wantE, wantT string
	}{
		{"to events", telephony.DTMFAuto, telephony.DTMFAuto, true, true, "42", ""},
		{"to tones", telephony.DTMFInfo, telephony.DTMFAuto, false, true, "", "42"},
		{"to INFO", telephony.DTMFAuto, telephony.DTMFInfo, true, false, "", ""},
		{"of one who is to send events", telephony.DTMFEvents, telephony.DTMFAuto, true, true, "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			a, b := newTalker(t, "PCMA", 8, 20), newTalker(t, "PCMA", 8, 20)
			if !c.theirs {
				b.events = 0
			}
			br := formed(t, uint16(25200+20*i), a, b, c.mode, c.other)
			ours := ""
			br.a.OnDigit(func(digit byte) { ours += string(digit) })
			clockwork(1600*time.Millisecond, func(i int) {
				a.say(440)
				if i == 40 {
					for _, key := range "42" {
						if br.a.Dialled(byte(key), 100*time.Millisecond) != c.done {
							t.Errorf("%c is passed on: %v", key, !c.done)
						}
					}
				}
			})
			time.Sleep(100 * time.Millisecond)
			if e, tones := b.heardEvents(), b.heardTones(); e != c.wantE || tones != c.wantT {
				t.Errorf("events %q, tones %q; want %q, %q", e, tones, c.wantE, c.wantT)
			}
			if want := c.mode != telephony.DTMFEvents; want != (ours == "42") {
				t.Errorf("we heard %q", ours)
			}
		})
	}
}

// TestOnePressInTwoForms is one digit, whichever comes first; pressed twice it is
// two.
func TestOnePressInTwoForms(t *testing.T) {
	t.Parallel()
	now := time.Now()
	for _, order := range [][2]form{{asEvent, asSignal}, {asSignal, asEvent}, {asTones, asSignal}} {
		var k keypad
		n := 0
		for i := range 3 {
			for _, f := range order {
				if k.fresh('5', f, now.Add(time.Duration(i)*200*time.Millisecond)) {
					n++
				}
			}
		}
		if n != 3 {
			t.Errorf("%v: %d digits", order, n)
		}
	}
}
