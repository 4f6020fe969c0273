package media

import (
	"fmt"
	"slices"

	"ringfence/internal/media/srtp"
	"ringfence/internal/ports"
)

// Offer builds an offer towards this leg's peer out of what from's peer
// described last: its codecs, at our address. With from nil the offer is our
// own: PCMA, PCMU, G.722, Opus and telephone-event. Errors: ErrNoDescription,
// ErrNoPorts, ErrClosed.
func (l *Leg) Offer(from *Leg) ([]byte, error) {
	var source [kinds]*mediaLine
	l.mu.Lock()
	known, sparing, spared := l.remote, l.sparing, false
	l.mu.Unlock()
	if from == nil {
		source[audio] = ownLine(ownPayloads(), direction{true, true})
		if eventless(l.params.DTMF) {
			source[audio] = ownLine(withoutDigits(ownPayloads()), direction{true, true})
		}
	} else {
		remote, wishes := from.described(l)
		if remote == nil {
			return nil, fmt.Errorf("building offer: %w", ErrNoDescription)
		}
		for k := range kinds {
			if m := remote.stream(k); m != nil {
				line := *m
				line.direction = wishes[k]
				if k == audio && l.params.Music && line.direction == (direction{}) {
					line.direction.send = true // we do
				}
				if l.beyondEdge(from) {
					line.hide()
				}
				if k == audio {
					spared = line.widen(remote, known.stream(audio), sparing)
					if eventless(l.params.DTMF) {
						line.payloads = withoutDigits(line.payloads)
					}
				}
				source[k] = &line
			}
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil, ErrClosed
	}
	lines := l.offerLines(source)
	if !slices.ContainsFunc(lines, func(line ourLine) bool { return line.port != 0 }) {
		return nil, fmt.Errorf("building offer: %w", ErrNoPorts)
	}
	if l.exchange != offered {
		l.toldThen = l.told
	}
	l.exchange, l.offerer, l.spared = offered, true, spared
	l.offeredKeys, l.offeredShake, l.offeredMux = [kinds][]srtp.Crypto{}, [kinds]bool{}, [kinds]bool{}
	for i := range lines {
		if line := &lines[i]; line.used() {
			l.offeredKeys[line.kind], l.offeredShake[line.kind] = line.cryptos, line.setup != ""
			l.offeredMux[line.kind] = line.mux
		}
	}
	return l.tell(lines), nil
}

// Spare makes the first offer to this leg's peer leave out the codecs that would
// cost us much to convert: peers that have a favourite choose it whatever the order
// of an offer is, and what we need not convert sounds better, too. Spared then
// reports whether there were any. A peer that refuses may be asked without. Browsers
// go by the order of an offer (RFC 8829 section 5.3.1) and are offered all.
func (l *Leg) Spare() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sparing = !l.params.Browser
}

// Spared reports whether the last offer left codecs out; see Spare.
func (l *Leg) Spared() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.spared
}

// beyondEdge reports whether this leg's peer and from's are on different sides,
// or both outside: then neither learns more of the other than its codecs.
func (l *Leg) beyondEdge(from *Leg) bool {
	return from != nil && (l.params.Side == ports.Edge || from.params.Side == ports.Edge)
}

// offerLines keeps every m= line this session has had, in its place, and
// appends the streams that are new (RFC 3264 section 8.1).
func (l *Leg) offerLines(source [kinds]*mediaLine) []ourLine {
	var lines []ourLine
	var placed [kinds]bool
	for _, s := range l.session.slots {
		if s.kind == kinds || placed[s.kind] || source[s.kind] == nil {
			lines = append(lines, leaveOut(s))
			continue
		}
		placed[s.kind] = true
		lines = append(lines, l.offerLine(source[s.kind], s))
	}
	for k := range kinds {
		if m := source[k]; m != nil && !placed[k] {
			// Feedback matters to pictures (RFC 4585).
			proto, _, _ := l.wares(k == video && withFeedback(m.proto))
			if k == fax {
				proto = m.proto
			}
			s := slot{kind: k, media: m.media, proto: proto}
			if overDTLS(proto) && l.params.Browser {
				s.mid = l.session.freshMid(len(lines))
			}
			if line := l.offerLine(m, s); line.used() {
				lines = append(lines, line)
			}
		}
	}
	return lines
}

func (l *Leg) offerLine(m *mediaLine, s slot) ourLine {
	stream := l.ensure(s.kind)
	if stream == nil {
		return leaveOut(s)
	}
	line := relayLine(m, s, m.payloads, stream.transport.pair.port, m.direction)
	l.offerProtection(&line)
	return line
}

// leaveOut leaves a stream out of an offer; its place may be used again for
// the same kind.
func leaveOut(s slot) ourLine { return ourLine{slot: s} }

// Answer builds the answer to the offer that SetRemote took from this leg's
// peer, out of what from's peer described last. With from nil we answer
// ourselves. It may be called again for the same offer, for 183 and 200.
// Errors: ErrNotAcceptable when no codec is common, ErrNoDescription,
// ErrClosed.
func (l *Leg) Answer(from *Leg) ([]byte, error) {
	var source *description
	if from != nil {
		if source, _ = from.described(nil); source == nil {
			return nil, fmt.Errorf("building answer: %w", ErrNoDescription)
		}
	}
	hidden := l.beyondEdge(from)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil, ErrClosed
	}
	if l.remote == nil {
		return nil, fmt.Errorf("building answer: %w", ErrNoDescription)
	}
	lines := make([]ourLine, len(l.remote.media))
	for i := range l.remote.media {
		lines[i] = l.answerLine(i, source, from == nil, hidden)
	}
	if !slices.ContainsFunc(lines, carries) {
		return nil, fmt.Errorf("building answer: no common codec: %w", ErrNotAcceptable)
	}
	l.exchange, l.before, l.offerer = stable, nil, false
	var keys [kinds]protection
	for i := range lines {
		if line := &lines[i]; line.used() {
			keys[line.kind] = line.protection
			l.streams[line.kind].Load().transport.setMux(line.mux)
		}
	}
	if err := l.protect(keys); err != nil {
		return nil, fmt.Errorf("building answer: %w", err)
	}
	return l.tell(lines), nil
}

// answerLine answers the i-th m= line of the peer's offer: number and order of
// lines are the offer's (RFC 3264 section 6).
func (l *Leg) answerLine(i int, source *description, own, hidden bool) ourLine {
	offer := &l.remote.media[i]
	s := slot{kind: offer.kind, media: offer.media, proto: offer.proto, formats: offer.formats}
	if overDTLS(offer.proto) {
		s.mid = offer.mid
	}
	if offer.kind == kinds || l.remote.by[offer.kind] != i {
		return refuse(s)
	}
	m := source.stream(offer.kind)
	var list []payload
	switch {
	case own && offer.kind == audio:
		list = common(offer.payloads, ownPayloads())
		m = ownLine(list, direction{true, true})
	case m == nil:
		return refuse(s)
	default:
		if hidden {
			line := *m
			line.hide()
			m = &line
		}
		list = common(m.payloads, offer.payloads)
		if offer.kind == audio && !audible(list) {
			list = converted(offer.payloads, m.payloads)
			m = ownLine(list, m.flow())
		}
		if offer.kind == audio {
			m, list = withDigits(m, list, offer.payloads)
		}
	}
	if eventless(l.params.DTMF) {
		list = withoutDigits(list)
	}
	if len(list) == 0 && offer.kind != fax {
		return refuse(s)
	}
	stream := l.ensure(offer.kind)
	if stream == nil {
		return refuse(s)
	}
	line := relayLine(m, s, list, stream.transport.pair.port, m.flow().and(offer.flow().reverse()))
	l.answerProtection(&line, offer)
	return line
}

// tell writes the description and lets the streams know it.
func (l *Leg) tell(lines []ourLine) []byte {
	var told grants
	for i := range lines {
		if line := &lines[i]; line.used() {
			told[line.kind] = &grant{line.payloads, line.direction}
		}
	}
	l.grant(told)
	return l.session.render(l.params.Advertised, lines)
}
