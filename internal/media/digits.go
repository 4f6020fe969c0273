package media

import (
	"slices"
	"sync"
	"time"

	sound "ringfence/internal/audio"
	"ringfence/internal/audio/dtmf"
	"ringfence/internal/telephony"
)

// form is how a digit travels.
type form uint32

const (
	noForm   form = iota
	asEvent       // RFC 4733
	asTones       // in the audio
	asSignal      // in SIP, which others do: see OnSignal
)

const (
	// digitLength is how long a digit lasts whose length is not known yet.
	digitLength = 160 * time.Millisecond
	// samePress is for how long a digit that comes again in another form is the
	// same press: some phones send two forms of each.
	samePress = time.Second
	// hushTime is how long the audio of a peer stays out after a packet of a digit
	// that is passed on in another form: it may have the tones in it as well.
	hushTime = 50 * time.Millisecond
)

// keypad is what is known of the digits of a stream's peer.
type keypad struct {
	mode telephony.DTMF
	told byte // the last one
	info bool // some came in SIP: tones are not meant
	form form
	at   time.Time

	received dtmf.Receiver
	ignored  uint32 // timestamp of an event that was told already in another form
	ignoring bool
	onDigit  func(digit byte)
	onSignal func(digit byte, length time.Duration)
}

// fresh notes a digit, and reports false when it is another form of the last one.
func (k *keypad) fresh(key byte, f form, now time.Time) bool {
	if k.told == key && k.form != f && now.Sub(k.at) < samePress {
		return false
	}
	k.told, k.form, k.at = key, f, now
	return true
}

// withoutDigits leaves telephone-events out.
func withoutDigits(list []payload) []payload {
	return slices.DeleteFunc(slices.Clone(list), func(p payload) bool { return p.codec.name == digits })
}

// eventless reports whether a way of dialling does without telephone-events,
// though the phone may offer them.
func eventless(d telephony.DTMF) bool { return d == telephony.DTMFInband || d == telephony.DTMFInfo }

// takes is the form in which a peer that listed these payload types gets digits.
func takes(mode telephony.DTMF, accepts *payloadTable) form {
	_, events := accepts.events(accepts.say.clock)
	switch {
	case mode == telephony.DTMFInfo:
		return asSignal
	case events.clock != 0:
		return asEvent
	case accepts.speaks && mode != telephony.DTMFEvents:
		return asTones
	case mode == telephony.DTMFAuto || mode == "":
		return asSignal
	}
	return noForm
}

// hearable reports whether digits are heard in the audio of a codec.
func hearable(c codec) bool { return c.name == "PCMU" || c.name == "PCMA" || c.name == "G722" }

// dials is what the peer understands, without the form of digits that it is not to
// get. It notes in which it does, and whether its speech may hold some. The caller
// holds s.mu.
func (s *stream) dials(m *mediaLine) *payloadTable {
	listed := m.payloads
	if eventless(s.keypad.mode) {
		listed = withoutDigits(listed)
	}
	accepts := newPayloadTable(listed)
	f := takes(s.keypad.mode, accepts)
	s.takes.Store(uint32(f))
	s.listens.Store(s.kind == audio && f == asTones && !s.keypad.info)
	return accepts
}

// hearDigit takes a telephone-event of the peer. It reports true when that is not
// to be passed on as it is.
func (s *stream) hearDigit(h header, payload []byte, now time.Time) (ours bool) {
	s.mu.Lock()
	k := &s.keypad
	if eventless(k.mode) {
		s.mu.Unlock()
		return true
	}
	key := k.received.Packet(h.timestamp, payload)
	if key != 0 {
		k.ignored, k.ignoring = h.timestamp, !k.fresh(key, asEvent, now)
	}
	ignore := k.ignoring && h.timestamp == k.ignored
	s.mu.Unlock()
	if ignore {
		return true
	}
	if key != 0 {
		s.tell(key, asEvent)
	}
	partner := s.partner.Load()
	if partner == nil || form(partner.takes.Load()) == asEvent {
		return false
	}
	s.hush.Store(now.Add(hushTime).UnixNano())
	return true
}

// tell hands a digit of the peer to who asked for its digits, and to the other
// party unless that gets it in the form in which it came anyway.
func (s *stream) tell(key byte, f form) {
	s.mu.Lock()
	onDigit := s.keypad.onDigit
	s.mu.Unlock()
	if onDigit != nil {
		onDigit(key)
	}
	if partner := s.partner.Load(); partner != nil && form(partner.takes.Load()) != f {
		partner.giveDigit(key, digitLength)
	}
}

// giveDigit lets the peer have a digit in the form that it takes. It reports
// false where there is none, or one of many waits too long already.
func (s *stream) giveDigit(key byte, length time.Duration) bool {
	switch form(s.takes.Load()) {
	case asEvent, asTones:
		return s.dial(key, length)
	case asSignal:
		s.mu.Lock()
		f := s.keypad.onSignal
		s.mu.Unlock()
		if f != nil {
			f(key, length)
			return true
		}
	}
	return false
}

// toneEar hears digits in the audio of a stream. It belongs to the reader of its
// socket.
type toneEar struct {
	codec    codec
	decoder  sound.Decoder
	detector dtmf.Detector
	pcm      []int16
	keys     []byte
	sequence uint16
}

// detect looks for digits in a packet of speech. It reports true when the packet
// is part of one that the other party gets in another form.
func (s *stream) detect(p []byte, h header, c codec, now time.Time) (ours bool) {
	partner := s.partner.Load()
	passes := partner != nil && form(partner.takes.Load()) != asTones
	if s.listens.Load() && hearable(c) && (passes || s.wantsDigits()) {
		s.listen(payloadOf(p, h), h, c, now)
	}
	return passes && now.UnixNano() < s.hush.Load()
}

// wantsDigits reports whether somebody else than the other party asks for them.
func (s *stream) wantsDigits() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.keypad.onDigit != nil
}

func (s *stream) listen(payload []byte, h header, c codec, now time.Time) {
	e := s.toneEar
	if e == nil || e.codec != c {
		known, _ := transcodable(c)
		decoder, err := known.NewDecoder(8000)
		if err != nil {
			return
		}
		e = &toneEar{codec: c, decoder: decoder, pcm: make([]int16, sound.Samples(sound.MaxPacket, 8000)), keys: make([]byte, 0, 16), sequence: h.sequence - 1}
		s.toneEar = e
	}
	if step := int16(h.sequence - e.sequence); step <= 0 && step > -reordered {
		return // late, or again
	}
	e.sequence = h.sequence
	n, err := e.decoder.Decode(e.pcm, payload)
	if err != nil {
		return
	}
	e.keys = e.detector.Hear(e.keys[:0], e.pcm[:n])
	for _, key := range e.keys {
		s.mu.Lock()
		fresh := s.keypad.fresh(key, asTones, now)
		s.mu.Unlock()
		if fresh {
			s.tell(key, asTones)
		}
	}
	if e.detector.Sounding() {
		s.hush.Store(now.Add(hushTime).UnixNano())
	}
}

// OnDigit has a function called with every digit that this leg's peer dials, in
// whatever form. It must not block; nil ends it.
func (l *Leg) OnDigit(f func(digit byte)) {
	if s := l.streams[audio].Load(); s != nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.keypad.onDigit = f
	}
}

// OnSignal has a function called with every digit that this leg's peer is to get
// in SIP (INFO). It must not block; nil ends it.
func (l *Leg) OnSignal(f func(digit byte, length time.Duration)) {
	if s := l.streams[audio].Load(); s != nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.keypad.onSignal = f
	}
}

// Dialled takes a digit that this leg's peer sent in SIP (INFO), and passes it on
// to the other party in the form that one takes. It reports false when that is SIP
// as well, or none, and so not done.
func (l *Leg) Dialled(digit byte, length time.Duration) bool {
	s := l.streams[audio].Load()
	if _, ok := dtmf.Code(digit); s == nil || !ok {
		return false
	}
	s.mu.Lock()
	mode, onDigit := s.keypad.mode, s.keypad.onDigit
	counts := mode != telephony.DTMFInband && mode != telephony.DTMFEvents
	fresh := counts && s.keypad.fresh(digit, asSignal, time.Now())
	if counts {
		s.keypad.info = true
		s.listens.Store(false)
	}
	s.mu.Unlock()
	if !fresh {
		return true
	}
	if onDigit != nil {
		onDigit(digit)
	}
	partner := s.partner.Load()
	return partner != nil && form(partner.takes.Load()) != asSignal && partner.giveDigit(digit, length)
}

// SendDigit sends a digit to this leg's peer, as telephone-event (RFC 4733) or as
// tones, whichever it takes. It reports false where it takes neither, or where too
// many wait.
func (l *Leg) SendDigit(digit byte, length time.Duration) bool {
	s := l.streams[audio].Load()
	if _, ok := dtmf.Code(digit); s == nil || !ok {
		return false
	}
	f := form(s.takes.Load())
	return (f == asEvent || f == asTones) && s.dial(digit, length)
}

// dialling is a digit on its way out.
type dialling struct {
	key    byte
	length time.Duration
}

const (
	// mostDialling bounds the digits that wait.
	mostDialling = 32
	// between is the pause after a digit, in frames.
	between = 3
	// shortestTone is what every receiver hears (ITU-T Q.24 has 40 ms at least).
	shortestTone = 80 * time.Millisecond
)

// dialler sends digits to the peer of a stream, in place of everything else.
type dialler struct {
	to       *stream
	queue    chan dialling
	sender   *dtmf.Sender // nil: tones
	tone     dtmf.Tone
	left     int // samples of it
	mouth    *mouth
	frame    []int16
	rest     int // frames between two digits
	stopped  chan struct{}
	stopOnce sync.Once
}

// dial queues a digit.
func (s *stream) dial(key byte, length time.Duration) bool {
	var m *mouth
	if s.dialler.Load() == nil {
		if m = newMouth(s, SoundRate); m == nil {
			return false
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over {
		return false
	}
	d := s.dialler.Load()
	if d == nil {
		if m == nil {
			return false // it ended just now, which nobody dials so fast for
		}
		d = &dialler{to: s, queue: make(chan dialling, mostDialling), mouth: m, frame: make([]int16, sound.Samples(frameTime, SoundRate)), stopped: make(chan struct{})}
		if m.eventAt.clock != 0 {
			d.sender = dtmf.NewSender(int(m.eventAt.clock))
		}
		s.dialler.Store(d)
		s.transport.keyer.running.Go(func() { pace(d.stopped, d.turn) })
	}
	select {
	case d.queue <- dialling{key, length}:
		return true
	default: // nobody dials so fast
		return false
	}
}

func (d *dialler) stop() { d.stopOnce.Do(func() { close(d.stopped) }) }

// turn sends 20 ms. It ends when there are no more digits.
func (d *dialler) turn(now time.Time) {
	switch {
	case d.busy():
		d.rest = between
	case d.rest > 0:
		d.rest--
	case !d.dequeue():
		d.stop()
		return
	}
	if d.sender == nil {
		n := d.tone.Fill(d.frame)
		clear(d.frame[n:])
		d.left -= n
		d.mouth.speak(d.frame, now)
		return
	}
	if packet, ok := d.sender.Next(); ok {
		d.mouth.tell(packet.Event, packet.Marker, int(d.mouth.eventAt.clock), now)
	}
	d.mouth.pause(len(d.frame))
}

func (d *dialler) busy() bool { return d.left > 0 || d.sender != nil && d.sender.Busy() }

// dequeue begins the next digit. When there is none, none is taken any more.
func (d *dialler) dequeue() bool {
	d.to.mu.Lock()
	defer d.to.mu.Unlock()
	select {
	case next := <-d.queue:
		if d.sender != nil {
			return d.sender.Start(next.key, next.length)
		}
		d.left = sound.Samples(min(max(next.length, shortestTone), time.Second), SoundRate)
		d.tone = dtmf.NewTone(next.key, SoundRate, d.left)
		return true
	default:
		d.to.dialler.CompareAndSwap(d, nil)
		return false
	}
}
