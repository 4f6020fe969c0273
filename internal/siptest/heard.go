package siptest

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/thesyncim/gopus"
)

// Heard is what was received, by a call or in a file.
type Heard struct {
	Packets, Bytes int
	Lost           int // gaps in the sequence numbers
	SSRCs          []uint32
	PayloadTypes   []uint8
	Sources        []netip.AddrPort
	Reports        int       // RTCP packets
	Forged         int       // packets that did not decrypt
	Forgeries      []string  // what they were
	Digits         string    // telephone-events (RFC 4733)
	First, Last    time.Time // arrival of packets
	Samples        []int16
	Rate           int // samples per second
}

// Share is the share of the energy at a frequency in Hz, 0..1.
func (h Heard) Share(frequency float64) float64 { return Share(h.Samples, h.Rate, frequency) }

// Duration is the length of the audio.
func (h Heard) Duration() time.Duration {
	if h.Rate == 0 {
		return 0
	}
	return time.Duration(len(h.Samples)) * time.Second / time.Duration(h.Rate)
}

// Middle keeps d from the middle of the audio.
func (h Heard) Middle(d time.Duration) Heard {
	n := int(d * time.Duration(h.Rate) / time.Second)
	if n < len(h.Samples) {
		start := (len(h.Samples) - n) / 2
		h.Samples = h.Samples[start : start+n]
	}
	return h
}

// Only checks that wanted is heard (share above 0.9) and no other frequency
// (below 0.01), over at least half a second.
func (h Heard) Only(wanted float64, others ...float64) error {
	if h.Duration() < 500*time.Millisecond {
		return fmt.Errorf("heard only %s of audio in %d packets", h.Duration(), h.Packets)
	}
	if s := h.Share(wanted); s <= 0.9 {
		return fmt.Errorf("share at %g Hz is %.3f: %s", wanted, s, h)
	}
	for _, f := range others {
		if s := h.Share(f); s >= 0.01 {
			return fmt.Errorf("share at %g Hz is %.3f: %s", f, s, h)
		}
	}
	return nil
}

func (h Heard) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d packets, %d lost, %s of audio from %v, SSRCs %x;", h.Packets, h.Lost, h.Duration(), h.Sources, h.SSRCs)
	for _, f := range Tones() {
		fmt.Fprintf(&b, " %g Hz %.3f", f, h.Share(f))
	}
	return b.String()
}

// recorder collects what a call receives.
type recorder struct {
	heard    Heard
	limit    int // samples kept
	highest  uint16
	event    uint32 // timestamp of the last telephone-event
	sequence bool
	opus     uint8 // payload type
	decoder  *gopus.Decoder
}

// HeardRTP is what G.711 packets, in the order of their arrival, carry.
func HeardRTP(packets [][]byte) Heard {
	r := recorder{limit: 160 * len(packets)}
	for _, p := range packets {
		r.packet(p, netip.AddrPort{}, time.Time{})
	}
	return r.snapshot()
}

// listBound bounds the lists of what was seen.
const listBound = 64

func note[T comparable](list *[]T, v T) {
	if len(*list) < listBound && !slices.Contains(*list, v) {
		*list = append(*list, v)
	}
}

// packet takes an RTP packet; anything else is ignored.
func (r *recorder) packet(p []byte, from netip.AddrPort, now time.Time) {
	if len(p) < 12 || p[0]>>6 != 2 {
		return
	}
	h := &r.heard
	h.Packets++
	h.Bytes += len(p)
	if h.First.IsZero() {
		h.First = now
	}
	h.Last = now
	pt, seq := p[1]&0x7f, binary.BigEndian.Uint16(p[2:])
	note(&h.SSRCs, binary.BigEndian.Uint32(p[8:]))
	note(&h.PayloadTypes, pt)
	note(&h.Sources, from)
	if step := int16(seq - r.highest); r.sequence && step > 1 && step < 1000 {
		h.Lost += int(step) - 1
	}
	r.highest, r.sequence = seq, true
	payload := p[min(len(p), 12+4*int(p[0]&0x0f)):]
	switch pt {
	case 0, 8, r.opus:
		r.audio(payload, pt)
	case events:
		r.digit(payload, binary.BigEndian.Uint32(p[4:]))
	}
}

func (r *recorder) audio(payload []byte, pt uint8) {
	if r.limit <= 0 {
		return
	}
	h := &r.heard
	if pt == r.opus && pt != 0 {
		r.hearOpus(payload)
		payload = nil
	}
	for _, b := range payload {
		if pt == 8 {
			h.Samples = append(h.Samples, decodeALaw(b))
		} else {
			h.Samples = append(h.Samples, decodeULaw(b))
		}
	}
	if len(h.Samples) > 2*r.limit {
		h.Samples = slices.Clone(h.Samples[len(h.Samples)-r.limit:])
	}
}

// digit notes the end of an event once; its packets share a timestamp.
func (r *recorder) digit(payload []byte, stamp uint32) {
	if len(payload) < 4 || payload[0] > 15 || payload[1]&0x80 == 0 || stamp == r.event || len(r.heard.Digits) >= listBound {
		return
	}
	r.event = stamp
	r.heard.Digits += string("0123456789*#ABCD"[payload[0]])
}

// snapshot copies what was heard, the last limit samples of it.
func (r *recorder) snapshot() Heard {
	h := r.heard
	h.Rate = 8000
	h.SSRCs, h.PayloadTypes, h.Sources = slices.Clone(h.SSRCs), slices.Clone(h.PayloadTypes), slices.Clone(h.Sources)
	h.Forgeries = slices.Clone(h.Forgeries)
	h.Samples = slices.Clone(h.Samples[max(0, len(h.Samples)-max(r.limit, 0)):])
	return h
}

// forged notes a packet that did not decrypt.
func (r *recorder) forged(p []byte, from netip.AddrPort) {
	r.heard.Forged++
	note(&r.heard.Forgeries, fmt.Sprintf("%d octets %x from %s", len(p), p[:min(len(p), 12)], netip.AddrPortFrom(from.Addr().Unmap(), from.Port())))
}

// ForgedFrom counts the packets of a peer, from the port of its media or the one
// above, that did not decrypt. Others come from whoever still sends to the phone
// that had the port before.
func (h Heard) ForgedFrom(peer netip.AddrPort) (n int) {
	reports := netip.AddrPortFrom(peer.Addr(), peer.Port()+1)
	for _, f := range h.Forgeries {
		if strings.HasSuffix(f, " from "+peer.String()) || strings.HasSuffix(f, " from "+reports.String()) {
			n++
		}
	}
	return n
}
