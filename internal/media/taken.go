package media

import "time"

const (
	// maxTaken bounds the packets that wait to be recorded: some 20 s of two
	// voices, if the disk stands still.
	maxTaken = 2048
	// maxTakenOctets bounds their payloads.
	maxTakenOctets = 384 << 10
)

// packet is one that waits to be recorded.
type packet struct {
	header
	stream *stream // whose peer sent it
	voice  int
	codec  codec
	at     time.Time
	from   int // its payload
	to     int
}

// taken is a queue of packets. Its memory is used again.
type taken struct {
	packets []packet
	octets  []byte
}

// put copies a packet; it reports false when there is no room.
func (t *taken) put(p packet, payload []byte) bool {
	if len(t.packets) >= maxTaken || len(t.octets)+len(payload) > maxTakenOctets {
		return false
	}
	p.from, p.to = len(t.octets), len(t.octets)+len(payload)
	t.octets = append(t.octets, payload...)
	t.packets = append(t.packets, p)
	return true
}

func (t *taken) payload(p *packet) []byte { return t.octets[p.from:p.to] }

func (t *taken) clear() { t.packets, t.octets = t.packets[:0], t.octets[:0] }

// put takes a packet from the reader of a socket. It waits for nothing but
// other readers.
func (r *Recording) put(voice int, s *stream, h header, payload []byte, c codec, now time.Time) {
	if r.paused.Load() {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.filling.put(packet{header: h, stream: s, voice: voice, codec: c, at: now}, payload) {
		r.dropped++
	}
}
