package media

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/net/ipv4"
	"golang.org/x/sys/unix"
)

const (
	frame = 20 * time.Millisecond
	// batch packets go to the kernel at once. All calls of a side share a
	// socket, for one of each would measure the generator.
	batch = 32
	// ticks spread the calls over a frame.
	ticks = 20
	// window is how many packets of a stream may be on their way.
	window = 1 << 9

	bucket  = 50 * time.Microsecond
	buckets = 4000
	// sampled: one packet of so many is decrypted and compared.
	sampled = 64
)

// end is one side of a call.
type end struct {
	side   int
	number int // of the call
	to     *net.UDPAddr
	crypt  *cipher // nil on plain RTP
	voice  *voice
	seq    uint16
	sentAt [window]atomic.Int64 // by sequence number, in ns; 0 is not counted
}

// Load is two-way G.711 between two sockets through a relay.
type Load struct {
	conns [2]*net.UDPConn
	stop  chan struct{}
	wg    sync.WaitGroup

	mu    sync.RWMutex
	calls []*[2]end

	converts atomic.Bool // the relay converts: its packets are not those that were sent
	counting atomic.Bool
	sent     [2]atomic.Int64
	got      [2]atomic.Int64 // by the side that received
	wrong    atomic.Int64    // did not decrypt to what was sent, or is of another codec
	strange  atomic.Int64    // of no call
	delays   [2][buckets]atomic.Int32
}

// newLoad sends from two sockets of the given addresses.
func newLoad(open func(netip.AddrPort) (*net.UDPConn, error), a, b netip.Addr) (*Load, error) {
	l := &Load{stop: make(chan struct{})}
	for i, addr := range []netip.Addr{a, b} {
		conn, err := open(netip.AddrPortFrom(addr, 0))
		if err != nil {
			return nil, err
		}
		l.conns[i] = conn
		if err := tune(conn); err != nil {
			return nil, err
		}
	}
	for side := range l.conns {
		l.wg.Go(func() { l.receive(side) })
	}
	l.wg.Go(l.send)
	return l, nil
}

// tune gives a socket room, and has the kernel note when a packet came: what
// the generator is late itself is no delay of the relay.
func tune(conn *net.UDPConn) error {
	raw, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	if err := raw.Control(func(fd uintptr) {
		failed = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1)
		_ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 16<<20) // needs root
		_ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, 16<<20)
	}); err != nil {
		return err
	}
	return failed
}

func (l *Load) close() {
	close(l.stop)
	for _, c := range l.conns {
		c.Close()
	}
	l.wg.Wait()
}

// addr is where a side is.
func (l *Load) addr(side int) netip.AddrPort {
	return l.conns[side].LocalAddr().(*net.UDPAddr).AddrPort()
}

// add starts a call whose sides send to the addresses that the relay named.
func (l *Load) add(to [2]netip.AddrPort, crypt [2]*cipher, voices [2]*voice) {
	l.mu.Lock()
	defer l.mu.Unlock()
	c := &[2]end{}
	for side := range c {
		e := &c[side]
		e.side, e.number, e.to, e.crypt, e.voice = side, len(l.calls), net.UDPAddrFromAddrPort(to[side]), crypt[side], voices[side]
	}
	l.calls = append(l.calls, c)
}

func (l *Load) size() int {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return len(l.calls)
}

// ssrc tells a packet's call and the side that sent it.
func ssrc(number, side int) uint32 { return 0x52460000 + uint32(2*number+side) }

// send sends what is due every millisecond; what is late is made up for.
func (l *Load) send() {
	out := [2]*outgoing{newOutgoing(l.conns[0]), newOutgoing(l.conns[1])}
	start, done := time.Now(), 0
	tick := time.NewTicker(frame / ticks)
	defer tick.Stop()
	for {
		select {
		case <-l.stop:
			return
		case <-tick.C:
		}
		l.mu.RLock()
		calls := l.calls
		l.mu.RUnlock()
		for due := int(time.Since(start) / (frame / ticks)); done < due; done++ {
			for i := done % ticks; i < len(calls); i += ticks {
				for side := range 2 {
					out[side].put(l, &calls[i][side])
				}
			}
			for side := range 2 {
				out[side].flush(l)
			}
		}
	}
}

// outgoing is a batch of packets on the way to the kernel.
type outgoing struct {
	conn     *ipv4.PacketConn
	messages []ipv4.Message
	ends     []*end
	n        int
	plain    [1500]byte
}

func newOutgoing(conn *net.UDPConn) *outgoing {
	o := &outgoing{conn: ipv4.NewPacketConn(conn), messages: make([]ipv4.Message, batch), ends: make([]*end, batch)}
	for i := range o.messages {
		o.messages[i].Buffers = [][]byte{make([]byte, 0, 1600)}
	}
	return o
}

func (o *outgoing) put(l *Load, e *end) {
	m := &o.messages[o.n]
	p := o.plain[:12]
	e.seq++
	p[0], p[1] = 0x80, e.voice.pt
	binary.BigEndian.PutUint16(p[2:], e.seq)
	binary.BigEndian.PutUint32(p[4:], uint32(e.seq)*e.voice.step)
	binary.BigEndian.PutUint32(p[8:], ssrc(e.number, e.side))
	p = append(p, e.voice.payload(e.seq)...)
	if e.crypt != nil {
		m.Buffers[0] = e.crypt.encrypt(m.Buffers[0][:0], p)
	} else {
		m.Buffers[0] = append(m.Buffers[0][:0], p...)
	}
	m.Addr = e.to
	o.ends[o.n] = e
	if o.n++; o.n == batch {
		o.flush(l)
	}
}

func (o *outgoing) flush(l *Load) {
	now, counting := time.Now().UnixNano(), l.counting.Load()
	if !counting {
		now = 0
	}
	for _, e := range o.ends[:o.n] {
		e.sentAt[e.seq%window].Store(now)
	}
	for from := 0; from < o.n; {
		n, err := o.conn.WriteBatch(o.messages[from:o.n], 0)
		if err != nil || n <= 0 {
			break
		}
		from += n
	}
	if o.n > 0 && counting {
		l.sent[o.ends[0].side].Add(int64(o.n))
	}
	o.n = 0
}

func (l *Load) receive(side int) {
	conn := ipv4.NewPacketConn(l.conns[side])
	messages := make([]ipv4.Message, batch)
	for i := range messages {
		messages[i].Buffers, messages[i].OOB = [][]byte{make([]byte, 2000)}, make([]byte, 64)
	}
	for {
		n, err := conn.ReadBatch(messages, 0)
		if err != nil {
			return
		}
		l.mu.RLock()
		calls := l.calls
		l.mu.RUnlock()
		for i := range messages[:n] {
			m := &messages[i]
			l.packet(side, calls, m.Buffers[0][:m.N], stamp(m.OOB[:m.NN]))
		}
	}
}

// stamp is when the kernel took a packet in, of SCM_TIMESTAMPNS.
func stamp(oob []byte) int64 {
	const header = 16 // struct cmsghdr on 64 bits
	if len(oob) < header+16 || binary.NativeEndian.Uint32(oob[12:]) != unix.SCM_TIMESTAMPNS {
		return time.Now().UnixNano()
	}
	return int64(binary.NativeEndian.Uint64(oob[header:]))*1e9 + int64(binary.NativeEndian.Uint64(oob[header+8:]))
}

// packet is one packet that a side got.
func (l *Load) packet(side int, calls []*[2]end, p []byte, at int64) {
	if len(p) < 12 || p[0] != 0x80 || p[1] >= 192 && p[1] <= 223 {
		return // RTCP of the relay
	}
	if l.converts.Load() { // packets are the relay's own: they are counted
		if pt := calls[0][side].voice.pt; p[1]&0x7f != pt {
			l.wrong.Add(1)
		}
		if l.counting.Load() {
			l.got[side].Add(1)
		}
		return
	}
	n := int(binary.BigEndian.Uint32(p[8:]) - ssrc(0, 0))
	if n < 0 || n/2 >= len(calls) || n%2 == side {
		l.strange.Add(1)
		return
	}
	from, own := &calls[n/2][n%2], &calls[n/2][side]
	seq := binary.BigEndian.Uint16(p[2:])
	if seq%sampled == 0 && !own.same(p, from.voice.payload(seq)) {
		l.wrong.Add(1)
	}
	sent := from.sentAt[seq%window].Swap(0)
	if sent == 0 {
		return // not counted, or the second one
	}
	l.got[side].Add(1)
	delay := time.Duration(at - sent)
	l.delays[side][max(0, min(buckets-1, int(delay/bucket)))].Add(1)
}

// same reports whether a packet holds what was sent, decrypted if need be.
func (e *end) same(p, want []byte) bool {
	if e.crypt != nil {
		var err error
		if p, err = e.crypt.decrypt(p); err != nil {
			return false
		}
	}
	return slices.Equal(p[12:], want)
}

// Figures is what came of a stretch of time.
type Figures struct {
	Calls, Sent, Lost int
	Wrong, Strange    int
	Spread            time.Duration // delay, 99th percentile less minimum, of the worse side
	Median            time.Duration
}

// Holds is the criterion of docs/performance.md.
func (f Figures) Holds() bool {
	return float64(f.Lost) <= 0.001*float64(f.Sent) && f.Spread <= 5*time.Millisecond && f.Wrong == 0 && f.Sent > 0
}

func (f Figures) String() string {
	return fmt.Sprintf("%d calls: %d of %d lost (%.3f %%), delay %s, p99 - min %s, %d wrong, %d strange",
		f.Calls, f.Lost, f.Sent, 100*float64(f.Lost)/float64(max(f.Sent, 1)), f.Median, f.Spread, f.Wrong, f.Strange)
}

// measure takes figures for a while; during runs in the middle of it.
func (l *Load) measure(d time.Duration, during func()) Figures {
	for side := range 2 {
		l.sent[side].Store(0)
		l.got[side].Store(0)
		for i := range l.delays[side] {
			l.delays[side][i].Store(0)
		}
	}
	l.wrong.Store(0)
	l.strange.Store(0)
	l.counting.Store(true)
	start := time.Now()
	if during != nil {
		during()
	}
	time.Sleep(d - time.Since(start))
	l.counting.Store(false)
	time.Sleep(300 * time.Millisecond) // what is on its way
	f := Figures{Calls: l.size(), Wrong: int(l.wrong.Load()), Strange: int(l.strange.Load())}
	for side := range 2 {
		sent, got := int(l.sent[side].Load()), int(l.got[1-side].Load())
		f.Sent += sent
		f.Lost += max(0, sent-got)
		low, median, high := quantiles(&l.delays[side])
		f.Spread, f.Median = max(f.Spread, high-low), max(f.Median, median)
	}
	return f
}

func quantiles(b *[buckets]atomic.Int32) (low, median, high time.Duration) {
	all := 0
	for i := range b {
		all += int(b[i].Load())
	}
	sum := 0
	for i := range b {
		before := sum
		sum += int(b[i].Load())
		d := time.Duration(i) * bucket
		if before == 0 && sum > 0 {
			low = d
		}
		if before*2 < all && sum*2 >= all {
			median = d
		}
		if float64(before) < 0.99*float64(all) && float64(sum) >= 0.99*float64(all) {
			high = d
		}
	}
	return low, median, high
}
