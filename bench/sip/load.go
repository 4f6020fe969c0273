package sip

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// t1, t2 and giveUp of the generator: one that repeats early or too often
	// would measure its own impatience.
	t1     = 500 * time.Millisecond
	t2     = 4 * time.Second
	giveUp = 5 * time.Second
)

// Result is what came of a load.
type Result struct {
	OK, Failed, Repeated int
	Took                 time.Duration
	Waits                []time.Duration // to 200 of a REGISTER, to 180 of a call
	Refusals             map[int]int     // by status code
}

// Rate is successes per second.
func (r Result) Rate() float64 { return float64(r.OK) / r.Took.Seconds() }

// Bad is the share of failed and repeated requests.
func (r Result) Bad() float64 {
	return float64(r.Failed+r.Repeated) / float64(max(r.OK, 1))
}

// Wait is a quantile of the waits.
func (r Result) Wait(q float64) time.Duration {
	if len(r.Waits) == 0 {
		return 0
	}
	slices.Sort(r.Waits)
	return r.Waits[min(len(r.Waits)-1, int(q*float64(len(r.Waits))))]
}

func (r Result) String() string {
	return fmt.Sprintf("%d ok, %d failed %v, %d repeated in %.1f s", r.OK, r.Failed, r.Refusals, r.Repeated, r.Took.Seconds())
}

// exchange is one registration or call on its way.
type exchange struct {
	n     int
	user  User
	phase int
	began time.Time
	sent  time.Time
	again time.Duration // after sent it is repeated
	rang  bool
	heard bool // a provisional response stops repeating an INVITE

	last []byte
	done bool
}

// Load sends exchanges to a server, at a rate or so many at once.
type Load struct {
	Server   netip.AddrPort
	Users    []User
	Count    int
	Rate     float64 // a second; 0 keeps InFlight going
	InFlight int
	Progress func(done int)
	// Through sends from the callee's socket: calls go where registrations
	// come from.
	Through *Callee

	step func(l *Load, x *exchange, m []byte) // handles a response
	id   string
	conn *net.UDPConn
	from string // our address as text

	mu     sync.Mutex
	live   map[int]*exchange
	result Result
	ended  int
	room   chan struct{}
}

// run drives the exchanges from first to last.
func (l *Load) run(ctx context.Context, first func(*exchange)) (Result, error) {
	l.id = strconv.FormatInt(time.Now().UnixNano(), 36)
	l.live, l.result = map[int]*exchange{}, Result{Refusals: map[int]int{}}
	l.room = make(chan struct{}, 1)
	end, err := l.open()
	if err != nil {
		return Result{}, err
	}
	start := time.Now()
	err = l.drive(ctx, start, first)
	end()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.result.Took = time.Since(start)
	return l.result, err
}

// open starts reading responses; end stops it.
func (l *Load) open() (end func(), err error) {
	if l.Through != nil {
		l.conn, l.from = l.Through.conn, l.Through.Contact()
		f := l.receive
		l.Through.responses.Store(&f)
		return func() { l.Through.responses.Store(nil) }, nil
	}
	if l.conn, err = listen(); err != nil {
		return nil, err
	}
	l.from = l.conn.LocalAddr().String()
	var wg sync.WaitGroup
	wg.Go(func() { read(l.conn, l.receive) })
	return func() {
		l.conn.Close()
		wg.Wait()
	}, nil
}

func (l *Load) drive(ctx context.Context, start time.Time, first func(*exchange)) error {
	next := 0
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	swept := start
	for {
		l.mu.Lock()
		for next < l.Count && l.due(next, time.Since(start)) {
			x := &exchange{n: next, user: l.Users[next%len(l.Users)], began: time.Now()}
			l.live[next] = x
			first(x)
			next++
		}
		now := time.Now()
		if now.Sub(swept) > 50*time.Millisecond {
			l.sweep(now)
			swept = now
		}
		ended := l.ended
		l.mu.Unlock()
		if l.Progress != nil {
			l.Progress(ended)
		}
		if ended >= l.Count {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-l.room:
		case <-tick.C:
		}
	}
}

func (l *Load) due(n int, since time.Duration) bool {
	if l.Rate > 0 {
		return float64(n) <= l.Rate*since.Seconds()
	}
	return len(l.live) < l.InFlight
}

// sweep repeats what was not answered, and gives up on what never will be.
func (l *Load) sweep(now time.Time) {
	for _, x := range l.live {
		switch {
		case x.phase == held || x.last == nil:
		case now.Sub(x.began) > giveUp:
			l.finish(x, false)
		case now.Sub(x.sent) > x.again && !x.heard:
			// Timers A and E of RFC 3261 section 17.1 double.
			l.result.Repeated++
			x.sent, x.again = now, min(2*x.again, t2)
			l.write(x.last)
		}
	}
}

// send sends a request that wants an answer.
func (l *Load) send(x *exchange, m []byte) {
	x.last, x.sent, x.again, x.heard = m, time.Now(), t1, false
	l.write(m)
}

// write loses what a full socket does not take, as a network would.
func (l *Load) write(m []byte) { _, _ = l.conn.WriteToUDPAddrPort(m, l.Server) }

func (l *Load) finish(x *exchange, ok bool) {
	if x.done {
		return
	}
	x.done = true
	delete(l.live, x.n)
	l.ended++
	if ok {
		l.result.OK++
	} else {
		l.result.Failed++
	}
	select {
	case l.room <- struct{}{}:
	default:
	}
}

func (l *Load) refused(x *exchange, code int) {
	l.result.Refusals[code]++
	l.finish(x, false)
}

// receive gives a response to its exchange.
func (l *Load) receive(m []byte, _ netip.AddrPort) {
	text, id, _ := strings.Cut(header(m, "Call-ID"), "-")
	n, err := strconv.Atoi(text)
	if err != nil || id != l.id {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if x := l.live[n]; x != nil && status(m) != 0 {
		l.step(l, x, m)
	}
}

// read hands every datagram to f until the socket is closed.
func read(conn *net.UDPConn, f func(m []byte, from netip.AddrPort)) {
	buf := make([]byte, 65536)
	for {
		n, from, err := conn.ReadFromUDPAddrPort(buf)
		if err != nil {
			return
		}
		f(buf[:n], from)
	}
}

// listen opens a socket on loopback whose buffer does not lose what is
// measured.
func listen() (*net.UDPConn, error) {
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return nil, err
	}
	raw, err := conn.SyscallConn()
	if err == nil {
		err = raw.Control(func(fd uintptr) {
			_ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 8<<20)
		})
	}
	if err != nil {
		conn.Close()
		return nil, err
	}
	return conn, nil
}
