package siptest

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"ringfence/internal/siptest/impair"
)

// frame is what one packet carries.
const frame = 20 * time.Millisecond

// media is the RTP end of a call.
type media struct {
	phone      *Phone
	rtp, rtcp  *net.UDPConn
	port       uint16
	advertised netip.Addr
	done       chan struct{}
	once       sync.Once

	mu       sync.Mutex
	running  bool
	remote   netip.AddrPort
	payload  uint8
	sending  bool
	muted    bool
	ssrc     uint32
	seq      uint16
	stamp    uint32
	sent     int
	digits   []byte
	recorder recorder
	shield   *shield // nil in the clear
	// association makes the shield; nil without DTLS. failed is why there is none.
	association *association
	failed      error
	// network is what happens to packets sent and received; nil is nothing.
	network [2]*impair.Line
}

// newMedia binds an even port and the odd one above it.
func (p *Phone) newMedia() (*media, error) {
	var last error
	for range 50 {
		rtp, err := p.config.ListenUDP(netip.AddrPortFrom(p.bound.Addr(), 0))
		if err != nil {
			return nil, fmt.Errorf("binding media: %w", err)
		}
		port := rtp.LocalAddr().(*net.UDPAddr).AddrPort().Port()
		if port%2 == 1 {
			rtp.Close()
			continue
		}
		rtcp, err := p.config.ListenUDP(netip.AddrPortFrom(p.bound.Addr(), port+1))
		if err != nil {
			rtp.Close()
			last = err
			continue
		}
		m := &media{
			phone: p, rtp: rtp, rtcp: rtcp, port: port, advertised: p.advertised().Addr(), done: make(chan struct{}),
			ssrc: rand.Uint32(), seq: cmp.Or(p.config.FirstSequence, uint16(rand.Uint32())), stamp: rand.Uint32(),
		}
		m.recorder.limit = int(p.config.Keep * 8000 / time.Second)
		if !p.start(m.receive) || !p.start(m.receiveReports) {
			m.close()
			return nil, ErrClosed
		}
		return m, nil
	}
	return nil, fmt.Errorf("binding media: no free port pair: %w", last)
}

func (m *media) close() {
	m.once.Do(func() {
		close(m.done)
		m.mu.Lock()
		if m.association != nil {
			m.association.close()
		}
		m.mu.Unlock()
		m.rtp.Close()
		m.rtcp.Close()
	})
}

// direct sends to remote from now on, or pauses.
func (m *media) direct(remote netip.AddrPort, payload uint8, sending bool) {
	m.mu.Lock()
	m.remote, m.payload = remote, payload
	m.sending = sending && remote.IsValid() && !remote.Addr().IsUnspecified()
	begin := m.sending && !m.running
	m.running = m.running || begin
	m.mu.Unlock()
	if begin {
		m.phone.start(m.send)
	}
}

// send sends a packet every 20 ms, on a timeline of its own: a late one does
// not delay the next.
func (m *media) send() {
	tone := m.phone.tones.second(m.phone.config.Tone, 0)
	buf := make([]byte, 12, 1500)
	next := time.Now()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-m.done:
			return
		case <-timer.C:
		}
		next = next.Add(frame)
		if late := time.Since(next); late > time.Second {
			next = time.Now() // the machine slept
		}
		timer.Reset(time.Until(next))
		m.mu.Lock()
		to, packet := m.packet(buf, tone)
		m.mu.Unlock()
		if to.IsValid() && packet != nil {
			m.travel(0, packet, func(p []byte) {
				_, _ = m.rtp.WriteToUDPAddrPort(p, to) // lost, as on any network
			})
		}
	}
}

// packet builds the next packet; an invalid address means silence. The
// timeline goes on meanwhile.
func (m *media) packet(buf, tone []byte) (netip.AddrPort, []byte) {
	coded := m.payload == m.recorder.opus && m.payload != 0
	if m.stamp += 160; coded {
		m.stamp += 800
	}
	if !m.sending || m.muted || m.association != nil && m.shield == nil {
		return netip.AddrPort{}, nil
	}
	if m.payload == 8 {
		tone = m.phone.tones.second(m.phone.config.Tone, 8)
	}
	m.seq++
	m.sent++
	buf = buf[:12]
	buf[0], buf[1] = 0x80, m.payload
	binary.BigEndian.PutUint16(buf[2:], m.seq)
	binary.BigEndian.PutUint32(buf[4:], m.stamp)
	binary.BigEndian.PutUint32(buf[8:], m.ssrc)
	if coded {
		packets := m.phone.tones.opusSecond(m.phone.config.Tone)
		return m.remote, m.seal(append(buf, packets[m.sent%len(packets)]...))
	}
	at := int(m.stamp % 8000 / 160 * 160)
	return m.remote, m.seal(append(buf, tone[at:at+160]...))
}

func (m *media) receive() {
	buf := make([]byte, 2048)
	for {
		n, from, err := m.rtp.ReadFromUDPAddrPort(buf)
		if err != nil {
			select {
			case <-m.done:
				return
			default:
				time.Sleep(time.Millisecond)
				continue
			}
		}
		if n > 0 && buf[0] >= 20 && buf[0] <= 63 { // DTLS (RFC 7983 section 7)
			m.deliver(buf[:n])
			continue
		}
		m.travel(1, buf[:n], func(p []byte) { m.arrived(p, from) })
	}
}

// deliver takes a datagram of a handshake.
func (m *media) deliver(p []byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.association != nil {
		_, _ = m.association.in.Write(p, nil)
	}
}

// arrived takes a packet of the RTP socket.
func (m *media) arrived(p []byte, from netip.AddrPort) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(p) > 1 && p[1] >= 192 && p[1] <= 223 { // RFC 5761 section 4
		m.report(p, from)
		return
	}
	if opened, ok := m.open(p); ok {
		m.recorder.packet(opened, netip.AddrPortFrom(from.Addr().Unmap(), from.Port()), time.Now())
	} else if m.shield != nil {
		m.recorder.forged(p, from)
	}
}

// travel hands a packet on when it arrives: 0 is the way to the peer, 1 the way
// from it.
func (m *media) travel(way int, p []byte, arrive func([]byte)) {
	m.mu.Lock()
	line, now := m.network[way], time.Now()
	var at []time.Time
	if line != nil {
		at = line.Send(now)
	}
	m.mu.Unlock()
	if line == nil {
		arrive(p)
		return
	}
	for _, at := range at {
		if wait := at.Sub(now); wait > 0 {
			late := slices.Clone(p)
			time.AfterFunc(wait, func() { arrive(late) })
			continue
		}
		arrive(p)
	}
}

// report takes a compound of reports; m.mu is held.
func (m *media) report(p []byte, from netip.AddrPort) {
	if m.association != nil && m.shield == nil {
		return // before there are keys
	}
	if m.openReport(p) {
		m.recorder.heard.Reports++
	} else {
		m.recorder.forged(p, from)
	}
}

func (m *media) receiveReports() {
	buf := make([]byte, 2048)
	for {
		n, from, err := m.rtcp.ReadFromUDPAddrPort(buf)
		if err != nil {
			select {
			case <-m.done:
				return
			default:
				time.Sleep(time.Millisecond)
				continue
			}
		}
		m.mu.Lock()
		m.report(buf[:n], from)
		m.mu.Unlock()
	}
}
