package firewall

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"

	"ringfence/internal/netcfg"
	"ringfence/internal/telephony"
)

const (
	// MediaWait is the longest time a call waits for its ports to open.
	MediaWait = 200 * time.Millisecond
	// CallWait bounds every other request that comes without a deadline.
	CallWait = 30 * time.Second

	redialFirst = 20 * time.Millisecond
	redialLast  = time.Second
)

// ClientOptions are the choices of a Client.
type ClientOptions struct {
	Logger *slog.Logger
	// OnConnect runs after each connection is made, the first included, in a
	// goroutine of its own: the fence may have been restarted, so the caller
	// sends policy, bans and known sources again. Its context ends with the
	// connection. An error makes the client connect anew after a pause.
	OnConnect func(context.Context, *Client) error
}

// Client speaks to the fence. It connects by itself, and again when the
// connection is lost. Every method waits until its context ends at most, and
// never longer than CallWait (media: MediaWait); without an answer it returns
// an error that wraps ErrUnavailable. It is safe for concurrent use.
type Client struct {
	socket string
	o      ClientOptions
	cancel context.CancelFunc
	done   chan struct{}

	mu   sync.Mutex
	link *link
	up   chan struct{} // closed while link is set
}

// Dial returns a client for the fence at socket, at once; it need not be there
// yet.
func Dial(socket string, o ClientOptions) *Client {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	ctx, cancel := context.WithCancel(context.Background())
	c := &Client{socket: socket, o: o, cancel: cancel, done: make(chan struct{}), up: make(chan struct{})}
	go c.run(ctx)
	return c
}

// Close ends the connection and waits for OnConnect to return.
func (c *Client) Close() error {
	c.cancel()
	<-c.done
	return nil
}

// Connected reports whether the fence can be reached.
func (c *Client) Connected() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.link != nil
}

func (c *Client) run(ctx context.Context) {
	defer close(c.done)
	pause := redialFirst
	told := false
	for ctx.Err() == nil {
		lasted, err := c.session(ctx)
		if ctx.Err() != nil {
			return
		}
		if lasted > redialLast {
			pause, told = redialFirst, false
		}
		if !told { // one line for an outage, however long
			c.o.Logger.Warn("no connection to the fence", "err", err)
			told = true
		}
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
		pause = min(2*pause, redialLast)
	}
}

// session connects and serves the connection until it breaks.
func (c *Client) session(ctx context.Context) (lasted time.Duration, err error) {
	var d net.Dialer
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	conn, err := d.DialContext(ctx, "unix", c.socket)
	if err != nil {
		return 0, err
	}
	began := time.Now()
	l := newLink(conn)
	stop := context.AfterFunc(ctx, func() { l.fail(ctx.Err()) })
	defer stop()
	c.set(l)
	defer c.set(nil)
	var hook sync.WaitGroup
	if c.o.OnConnect != nil {
		hook.Go(func() {
			if err := c.o.OnConnect(ctx, c); err != nil && ctx.Err() == nil {
				c.o.Logger.Error("telling the fence what it should do", "err", err)
				l.fail(err)
			}
		})
	}
	err = l.read()
	cancel()
	hook.Wait()
	return time.Since(began), err
}

func (c *Client) set(l *link) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.link == nil && l != nil {
		close(c.up)
	}
	if c.link != nil && l == nil {
		c.up = make(chan struct{})
	}
	c.link = l
}

// await returns the connection, waiting for one if need be.
func (c *Client) await(ctx context.Context) (*link, error) {
	for {
		c.mu.Lock()
		l, up := c.link, c.up
		c.mu.Unlock()
		if l != nil {
			return l, nil
		}
		select {
		case <-up:
		case <-ctx.Done():
			return nil, fmt.Errorf("%w: not connected", ErrUnavailable)
		case <-c.done:
			return nil, fmt.Errorf("%w: client closed", ErrUnavailable)
		}
	}
}

// call sends one request and decodes its answer into out.
func (c *Client) call(ctx context.Context, limit time.Duration, method string, in, out any) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	l, err := c.await(ctx)
	if err != nil {
		return fmt.Errorf("%s: %w", method, err)
	}
	body, err := l.call(ctx, method, in)
	if err != nil {
		return fmt.Errorf("%s: %w", method, err)
	}
	if out == nil {
		return nil
	}
	if err := json.Unmarshal(body, out); err != nil {
		return fmt.Errorf("%s: reading the answer: %w", method, err)
	}
	return nil
}

// Apply makes p the policy. With confirm > 0 (at most MaxConfirm) the fence
// returns to the last confirmed policy after that time, unless Confirm comes
// first. An error that wraps ErrRefused says what is wrong with p.
func (c *Client) Apply(ctx context.Context, p Policy, confirm time.Duration) error {
	return c.call(ctx, CallWait, methodApply, applyRequest{p, confirm}, nil)
}

// Confirm keeps the policy with revision rev that waits for it.
func (c *Client) Confirm(ctx context.Context, rev uint64) error {
	return c.call(ctx, CallWait, methodConfirm, confirmRequest{rev}, nil)
}

// Ban shuts sources out, at most 4096 at once, or replaces the time of their
// bans. IPv6 sources are banned by /64.
func (c *Client) Ban(ctx context.Context, bans ...Ban) error {
	return c.call(ctx, CallWait, methodBan, banRequest{bans}, nil)
}

// Unban lifts the bans of sources in one scope, also those the kernel's own
// meters set.
func (c *Client) Unban(ctx context.Context, scope telephony.BanScope, sources ...netip.Prefix) error {
	return c.call(ctx, CallWait, methodUnban, unbanRequest{sources, scope}, nil)
}

// Bans lists the bans in force, at most 10,000, the longest first. The reasons
// are not kept.
func (c *Client) Bans(ctx context.Context) ([]Ban, error) {
	var out []Ban
	return out, c.call(ctx, CallWait, methodBans, nil, &out)
}

// Verdicts are the bans that meters set since the place that an earlier answer
// named; the zero Verdicts asks for all that are remembered.
func (c *Client) Verdicts(ctx context.Context, last Verdicts) (Verdicts, error) {
	var out Verdicts
	return out, c.call(ctx, CallWait, methodVerdicts, verdictsRequest{last.Run, last.Next}, &out)
}

// Explain says what the rules in force do with a packet, and why.
func (c *Client) Explain(ctx context.Context, p Packet) (Explanation, error) {
	var out Explanation
	return out, c.call(ctx, CallWait, methodExplain, p, &out)
}

// Known exempts sources from scoped bans and their meters for a time: trunk
// peers, and sources with a live authenticated binding or session.
func (c *Client) Known(ctx context.Context, ttl time.Duration, sources ...netip.Prefix) error {
	return c.call(ctx, CallWait, methodKnown, knownRequest{sources, ttl}, nil)
}

// Forget ends what Known began.
func (c *Client) Forget(ctx context.Context, sources ...netip.Prefix) error {
	return c.call(ctx, CallWait, methodForget, knownRequest{Prefixes: sources}, nil)
}

// SetHostPorts opens exactly these TCP ports for programs of the host, whoever
// asks for them. It is for root, and refused where the host is ours.
func (c *Client) SetHostPorts(ctx context.Context, open []uint16) error {
	return c.call(ctx, CallWait, methodHostPorts, hostPortsRequest{open}, nil)
}

// MediaOpen lets RTP through to ports for ttl (1 s to 10 min), or renews it.
// Only ports of the policy's RTP rows are possible.
func (c *Client) MediaOpen(ctx context.Context, ports []uint16, ttl time.Duration) error {
	return c.call(ctx, MediaWait, methodMedia, mediaRequest{Open: ports, TTL: ttl}, nil)
}

// MediaClose closes what MediaOpen opened.
func (c *Client) MediaClose(ctx context.Context, ports []uint16) error {
	return c.call(ctx, MediaWait, methodMedia, mediaRequest{Close: ports}, nil)
}

// Counters reads the packet counters.
func (c *Client) Counters(ctx context.Context) (Counters, error) {
	var out Counters
	return out, c.call(ctx, CallWait, methodCounters, nil, &out)
}

// Status reads the state of the fence.
func (c *Client) Status(ctx context.Context) (Status, error) {
	var out Status
	return out, c.call(ctx, CallWait, methodStatus, nil, &out)
}

// Interfaces lists the network interfaces.
func (c *Client) Interfaces(ctx context.Context) ([]netcfg.State, error) {
	var out []netcfg.State
	return out, c.call(ctx, CallWait, methodInterfaces, nil, &out)
}

// SetAddresses makes n the network configuration; confirm is as in Apply.
func (c *Client) SetAddresses(ctx context.Context, n netcfg.Config, confirm time.Duration) error {
	return c.call(ctx, CallWait, methodSetAddresses, setAddressesRequest{n, confirm}, nil)
}

// ConfirmAddresses keeps the network configuration with revision rev.
func (c *Client) ConfirmAddresses(ctx context.Context, rev uint64) error {
	return c.call(ctx, CallWait, methodConfirmAddress, confirmRequest{rev}, nil)
}

// RevertAddresses takes back the network configuration with revision rev that
// waits to be confirmed.
func (c *Client) RevertAddresses(ctx context.Context, rev uint64) error {
	return c.call(ctx, CallWait, methodRevertAddress, confirmRequest{rev}, nil)
}

// Network reads the network configuration.
func (c *Client) Network(ctx context.Context) (NetworkStatus, error) {
	var out NetworkStatus
	return out, c.call(ctx, CallWait, methodNetwork, nil, &out)
}

// link is one connection to the fence.
type link struct {
	conn net.Conn

	mu      sync.Mutex
	err     error // why it is broken
	next    uint64
	waiting map[uint64]chan response

	writing sync.Mutex
}

func newLink(c net.Conn) *link { return &link{conn: c, waiting: map[uint64]chan response{}} }

// read hands out answers until the connection breaks.
func (l *link) read() error {
	for {
		var r response
		if err := readFrame(l.conn, &r, func() {}); err != nil {
			l.fail(err)
			return err
		}
		l.mu.Lock()
		answer := l.waiting[r.ID]
		delete(l.waiting, r.ID)
		l.mu.Unlock()
		if answer != nil {
			answer <- r
		}
	}
}

// fail breaks the connection; whoever waits is told.
func (l *link) fail(err error) {
	_ = l.conn.Close()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err == nil {
		l.err = err
	}
	for id, answer := range l.waiting {
		close(answer)
		delete(l.waiting, id)
	}
}

func (l *link) register() (uint64, chan response, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err != nil {
		return 0, nil, fmt.Errorf("%w: %w", ErrUnavailable, l.err)
	}
	l.next++
	answer := make(chan response, 1)
	l.waiting[l.next] = answer
	return l.next, answer, nil
}

func (l *link) call(ctx context.Context, method string, in any) (json.RawMessage, error) {
	r := request{Method: method}
	if in != nil {
		body, err := json.Marshal(in)
		if err != nil {
			return nil, fmt.Errorf("encoding the request: %w", err)
		}
		r.Body = body
	}
	id, answer, err := l.register()
	if err != nil {
		return nil, err
	}
	r.ID = id
	if err := l.send(ctx, r); err != nil {
		if errors.Is(err, ErrRefused) { // too large: nothing was sent
			l.forget(id)
			return nil, err
		}
		l.fail(err) // half a message may be out
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	select {
	case resp, ok := <-answer:
		if !ok {
			return nil, fmt.Errorf("%w: connection lost", ErrUnavailable)
		}
		return resp.Body, resp.err()
	case <-ctx.Done():
		l.forget(id)
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, ctx.Err())
	}
}

func (l *link) send(ctx context.Context, r request) error {
	l.writing.Lock()
	defer l.writing.Unlock()
	deadline, _ := ctx.Deadline() // call always sets one
	_ = l.conn.SetWriteDeadline(deadline)
	return writeFrame(l.conn, r)
}

func (l *link) forget(id uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.waiting, id)
}

func (r response) err() error {
	switch {
	case r.Error == "":
		return nil
	case r.Refused:
		return refusal(r.Error)
	}
	return errors.New(r.Error)
}

// refusal is an error of the fence that wraps ErrRefused; its text holds that
// error's already.
type refusal string

func (r refusal) Error() string { return string(r) }
func (r refusal) Unwrap() error { return ErrRefused }
