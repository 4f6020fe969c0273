package media

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"sync"
	"time"

	"ringfence/internal/media/quality"
)

// reportSize has room for the reports about all sources of a stream.
const reportSize = 512

// desk is what our reports to one peer share. They are our own: nothing a peer
// says about itself (RFC 3550 section 6.5) reaches the other.
type desk struct {
	clock quality.Clock
	cname string // names nobody (RFC 7022 section 4.2)
	ssrc  uint32 // of reports while nothing is sent

	mu   sync.Mutex
	wall quality.Wall // the peer's clock
}

func newDesk(clock quality.Clock) *desk {
	var b [16]byte
	rand.Read(b[:])
	return &desk{clock: clock, cname: base64.RawStdEncoding.EncodeToString(b[:12]), ssrc: binary.BigEndian.Uint32(b[12:])}
}

// link is what is measured on one of the peer's sources; the caller holds s.mu.
// Those of audio come one after the other and are one.
func (s *stream) link(ssrc uint32) *quality.Link {
	if s.kind == audio {
		s.linked = 1
		return &s.links[0]
	}
	for i := range s.links[:s.linked] {
		if known, _ := s.links[i].In.SSRC(); known == ssrc {
			return &s.links[i]
		}
	}
	if s.linked < maxLines {
		s.linked++
	}
	return &s.links[s.linked-1]
}

// outgoing is a copy of what is sent: the lines, and packets and codec of all.
func (s *stream) outgoing() sender {
	s.transport.sending.Lock()
	defer s.transport.sending.Unlock()
	return s.sender
}

// report sends our report about the stream: for each source of ours what we
// sent, for each source of the peer how it arrives.
func (s *stream) report(buf []byte, now time.Time, bye bool) {
	out := s.outgoing()
	p, d := s.blocks(buf, &out, now), s.desk
	if len(p) == 0 {
		return
	}
	if bye {
		for i := range out.lines[:out.n] {
			p = quality.AppendBYE(p, out.lines[i].ssrc)
		}
		if out.n == 0 {
			p = quality.AppendBYE(p, d.ssrc)
		}
	}
	s.transport.sendRTCP(p)
}

func (s *stream) blocks(p []byte, out *sender, now time.Time) []byte {
	var sent [maxLines]quality.Sent
	for i := range sent {
		sent[i].SSRC = s.ourSSRC(out)
		if i < out.n {
			l := &out.lines[i]
			sent[i] = quality.Sent{SSRC: l.ssrc, RTP: l.timeAt(now), Packets: l.packets, Octets: l.octets}
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.described {
		return nil
	}
	for i := range max(out.n, s.linked) {
		p = s.links[i].AppendReport(p, sent[i], s.desk.clock, now)
		p = quality.AppendSDES(p, sent[i].SSRC, s.desk.cname)
	}
	return p
}

// ourSSRC is who we are to the peer.
func (s *stream) ourSSRC(out *sender) uint32 {
	if out.n > 0 {
		return out.lines[0].ssrc
	}
	return s.desk.ssrc
}

// timeAt is the timestamp of a line at a moment: by the reports of its source,
// else counted on from the last packet.
func (l *line) timeAt(now time.Time) uint32 {
	if l.feed != nil {
		if t, ok := l.feed.timeOf(l.source, l.clock, now); ok {
			return t + l.timeBy
		}
	}
	return l.stamp + uint32(max(now.Sub(l.at), 0)*time.Duration(l.clock)/time.Second)
}

// timeOf is the timestamp of a source of the peer at a moment, as its reports
// tell.
func (s *stream) timeOf(source, clock uint32, now time.Time) (uint32, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.desk.mu.Lock()
	defer s.desk.mu.Unlock()
	for i := range s.links[:s.linked] {
		if t, ok := s.links[i].Line.At(&s.desk.wall, source, clock, s.desk.clock.NTP(now)); ok {
			return t, true
		}
	}
	return 0, false
}

// takeReports reads a compound of the peer. What it asks of whom it hears is
// passed on, in the numbers of that one; everything else is for us.
func (s *stream) takeReports(p []byte, now time.Time) {
	out := s.outgoing()
	partner := s.partner.Load()
	var asked []byte
	for len(p) > 0 {
		var one quality.Packet
		one, p = quality.Next(p)
		s.note(one, &out, now)
		for i := range out.lines[:out.n] {
			if l := &out.lines[i]; partner != nil && l.feed == partner {
				asked = quality.Mapping{Ours: l.ssrc, Source: l.source, Sequence: l.seqBy, Sender: partner.desk.ssrc}.AppendFeedback(asked, one)
			}
		}
	}
	if len(asked) > 0 {
		partner.ask(asked)
	}
}

// note keeps what a packet says about this stream.
func (s *stream) note(p quality.Packet, out *sender, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.desk.mu.Lock()
	defer s.desk.mu.Unlock()
	s.heard = now
	for i := range max(out.n, s.linked) {
		s.links[i].Take(p, out.lines[i].ssrc, &s.desk.wall, s.desk.clock, now)
	}
}

// ask sends feedback to the peer, in a compound that begins with a report
// (RFC 4585 section 3.1).
func (s *stream) ask(feedback []byte) {
	p := make([]byte, 0, 64+len(feedback))
	p = quality.AppendRR(p, s.desk.ssrc)
	p = quality.AppendSDES(p, s.desk.ssrc, s.desk.cname)
	s.transport.sendRTCP(append(p, feedback...))
}
