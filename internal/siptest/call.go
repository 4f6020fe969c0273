package siptest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/emiago/sipgo/sip"

	"ringfence/internal/siptest/impair"
)

// State is where a call stands.
type State string

// The states of a call, in their order.
const (
	Calling  State = "calling"  // INVITE sent or received
	Ringing  State = "ringing"  // 180 or 183 sent or received
	Answered State = "answered" // 2xx sent or received
	Ended    State = "ended"
)

func (s State) rank() int {
	return map[State]int{Calling: 0, Ringing: 1, Answered: 2, Ended: 3}[s]
}

// CallOptions change an outgoing INVITE.
type CallOptions struct {
	Headers   []string // further header lines
	LateOffer bool     // no offer in the INVITE; the answer goes into the ACK
	SDP       string   // sent in place of the phone's own offer
	From      string   // URI in place of the phone's own
	URI       string   // Request-URI in place of the target
	// Target is where the INVITE is sent in place of the server.
	Target netip.AddrPort
}

// Call is one call of a phone: one INVITE dialog with its media.
type Call struct {
	phone    *Phone
	outgoing bool
	id       string // Call-ID
	localTag string
	options  CallOptions
	media    atomic.Pointer[media]
	sdpID    uint64
	invited  *sip.Request // the INVITE that was received
	tx       *serverTx    // its transaction
	server   netip.AddrPort

	mu         sync.Mutex
	changed    chan struct{} // closed at every change
	over       chan struct{} // closed at the end
	state      State
	cause      error // why it ended, nil for BYE
	byPeer     bool  // the peer ended it
	status     int   // of the final response to the INVITE
	rang       bool
	early      bool // 183 or 180 with SDP was received
	sdpVersion uint64
	wish       string // direction the person wants
	direction  string // of what we said last
	earlyBody  string // description sent in 183
	remote     Description
	remoteTag  string
	localURI   string
	remoteURI  string
	target     string // remote target
	route      []string
	seq        uint32
	inviting   string            // branch of the INVITE that is pending
	inviteSeq  uint32            // its CSeq
	inviteURI  string            // its Request-URI
	proceeding bool              // it got a provisional response
	cancelling bool              // CANCEL is wanted
	cancelled  bool              // and was sent
	answering  *serverTx         // 2xx to an INVITE that waits for its ACK
	late       bool              // whose ACK brings the answer
	reoffering bool              // our re-INVITE is pending
	refuse     int               // status for the peer's re-INVITEs; 0 accepts
	acks       map[string][]byte // ACKs to 2xx by remote tag
	requests   map[string]int    // methods received in the dialog
	keys       map[string][]byte // SRTP keys of ours, by suite
	newKeys    map[string][]byte // in an offer that was not answered yet
	cert       *certificate      // of DTLS
	newCert    *certificate      // in an offer that was not answered yet
}

func (p *Phone) newCall(outgoing bool) (*Call, error) {
	m, err := p.newMedia()
	if err != nil {
		return nil, err
	}
	c := &Call{
		phone: p, outgoing: outgoing, localTag: token("t"), sdpID: uint64(rand.Uint32()),
		changed: make(chan struct{}), over: make(chan struct{}), state: Calling,
		wish: "sendrecv", direction: "sendrecv", acks: map[string][]byte{}, requests: map[string]int{},
	}
	c.media.Store(m)
	return c, nil
}

// add makes the call known to the phone.
func (c *Call) add() bool {
	p := c.phone
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return false
	}
	p.calls[callKey{c.id, c.localTag}] = c
	return true
}

// set moves the state on, never back.
func (c *Call) set(s State) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.setLocked(s)
}

func (c *Call) setLocked(s State) {
	if s.rank() <= c.state.rank() {
		return
	}
	c.state = s
	c.rang = c.rang || s == Ringing
	c.notify()
}

// notify wakes all waiters; c.mu is held.
func (c *Call) notify() {
	close(c.changed)
	c.changed = make(chan struct{})
}

// end ends the call locally.
func (c *Call) end(cause error) { c.finish(cause, false) }

func (c *Call) finish(cause error, byPeer bool) {
	c.mu.Lock()
	if c.state == Ended {
		c.mu.Unlock()
		return
	}
	c.cause, c.byPeer = cause, byPeer
	c.setLocked(Ended)
	close(c.over)
	c.mu.Unlock()
	c.media.Load().close()
	c.phone.mu.Lock()
	defer c.phone.mu.Unlock()
	delete(c.phone.calls, callKey{c.id, c.localTag})
}

// Wait waits until the call has reached state s. A call that ends before is a
// *StatusError where a response ended it.
func (c *Call) Wait(ctx context.Context, s State) error {
	return c.until(ctx, string(s), func() (bool, error) {
		switch {
		case s == Ended:
			return c.state == Ended, nil
		case s == Ringing && c.rang:
			return true, nil
		case c.state == Ended && c.cause != nil:
			return false, c.cause
		case c.state == Ended:
			return false, fmt.Errorf("call ended")
		}
		return c.state.rank() >= s.rank(), nil
	})
}

// until waits for a condition; it is asked with c.mu held.
func (c *Call) until(ctx context.Context, what string, ready func() (bool, error)) error {
	for {
		c.mu.Lock()
		ok, err := ready()
		changed, state := c.changed, c.state
		c.mu.Unlock()
		if ok {
			return nil
		}
		if err != nil {
			return fmt.Errorf("waiting for %s: %w", what, err)
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("waiting for %s, call is %s: %w", what, state, ctx.Err())
		}
	}
}

// WaitDirection waits until the peer's last description has the given direction,
// such as "sendonly" when it holds.
func (c *Call) WaitDirection(ctx context.Context, direction string) error {
	return c.until(ctx, direction, func() (bool, error) {
		if c.state == Ended {
			return false, fmt.Errorf("call ended")
		}
		return c.remote.Direction == direction, nil
	})
}

// State is the call's state now.
func (c *Call) State() State {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.state
}

// Status is the final status code of the INVITE, 0 before it came.
func (c *Call) Status() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.status
}

// EndedByPeer reports whether the peer's request or response ended the call.
func (c *Call) EndedByPeer() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.byPeer
}

// Tags are those of the dialog, the phone's own and the peer's, empty before
// the peer's is known.
func (c *Call) Tags() (local, remote string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.localTag, c.remoteTag
}

// ID is the Call-ID.
func (c *Call) ID() string { return c.id }

// Invite is the INVITE that was received, nil for an outgoing call.
func (c *Call) Invite() *sip.Request { return c.invited }

// From is the caller's number as an incoming INVITE gives it.
func (c *Call) From() string {
	if c.invited == nil {
		return c.phone.config.User
	}
	return c.invited.From().Address.User
}

// Remote is the peer's last session description.
func (c *Call) Remote() Description {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.remote
}

// EarlyMedia reports whether a provisional response described media.
func (c *Call) EarlyMedia() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.early
}

// Requests is how many requests of a method came inside the dialog.
func (c *Call) Requests(method string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.requests[method]
}

// MediaAddr is where the phone receives RTP.
func (c *Call) MediaAddr() netip.AddrPort {
	return netip.AddrPortFrom(c.phone.bound.Addr(), c.media.Load().port)
}

// SSRC is that of the packets the phone sends.
func (c *Call) SSRC() uint32 { return c.media.Load().ssrc }

// Sent is how many RTP packets the phone sent.
func (c *Call) Sent() int {
	c.media.Load().mu.Lock()
	defer c.media.Load().mu.Unlock()
	return c.media.Load().sent
}

// Heard is what was received since the start or the last Forget.
func (c *Call) Heard() Heard {
	c.media.Load().mu.Lock()
	defer c.media.Load().mu.Unlock()
	return c.media.Load().recorder.snapshot()
}

// Forget starts listening anew, after a hold or a transfer.
func (c *Call) Forget() {
	c.media.Load().mu.Lock()
	defer c.media.Load().mu.Unlock()
	r := &c.media.Load().recorder
	*r = recorder{limit: r.limit, opus: r.opus, decoder: r.decoder}
}

// Hear waits until d of audio was received since the last Forget, and returns
// what was heard.
func (c *Call) Hear(ctx context.Context, d time.Duration) (Heard, error) {
	ticker := time.NewTicker(frame)
	defer ticker.Stop()
	for {
		if h := c.Heard(); h.Duration() >= d {
			return h, nil
		}
		select {
		case <-ctx.Done():
			h := c.Heard()
			return h, fmt.Errorf("waiting for %s of audio, heard %s: %w", d, h, ctx.Err())
		case <-ticker.C:
		}
	}
}

// Mute stops sending, as a phone with silence suppression does; the session
// is not told.
func (c *Call) Mute(on bool) {
	c.media.Load().mu.Lock()
	defer c.media.Load().mu.Unlock()
	c.media.Load().muted = on
}

// Suite is the SRTP suite that protects the call's media, empty in the clear.
func (c *Call) Suite() string {
	m := c.media.Load()
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.shield == nil {
		return ""
	}
	return m.shield.suite
}

// WaitKeys waits until the media can be protected, where DTLS is to make the keys.
func (c *Call) WaitKeys(ctx context.Context) error {
	ticker := time.NewTicker(frame)
	defer ticker.Stop()
	for {
		m := c.media.Load()
		m.mu.Lock()
		ready, failed := m.association == nil || m.shield != nil, m.failed
		m.mu.Unlock()
		if ready || c.State() == Ended {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting for keys: %w, %w", failed, ctx.Err())
		case <-ticker.C:
		}
	}
}

// MediaError is why the media could not be protected, nil if it was.
func (c *Call) MediaError() error {
	m := c.media.Load()
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.failed
}

// Impair puts an impaired network between the phone and its peer's media from
// now on: to the peer and from it.
func (c *Call) Impair(to, from impair.Profile, seed uint64) {
	m := c.media.Load()
	m.mu.Lock()
	defer m.mu.Unlock()
	m.network = [2]*impair.Line{impair.NewLine(to, seed), impair.NewLine(from, seed+1)}
}

// Impaired is what the network did so far to packets to the peer and from it.
func (c *Call) Impaired() (to, from impair.Counts) {
	m := c.media.Load()
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.network[0] == nil {
		return to, from
	}
	return m.network[0].Counts, m.network[1].Counts
}

// RawRTP sends bytes from the call's RTP socket to any address.
func (c *Call) RawRTP(to netip.AddrPort, datagram []byte) error {
	_, err := c.media.Load().rtp.WriteToUDPAddrPort(datagram, to)
	return err
}

// hear takes the peer's description; c.mu is held.
func (c *Call) hear(body []byte) {
	if len(body) == 0 {
		return
	}
	d, err := ParseSDP(string(body))
	if err != nil {
		c.phone.logf("%s: %v", c.phone.config.User, err)
		return
	}
	c.remote = d
	if len(c.newKeys) > 0 {
		c.keys, c.newKeys = c.newKeys, nil // answered
	}
	if c.newCert != nil {
		c.cert, c.newCert = c.newCert, nil
	}
	c.notify()
	c.aim()
}

// aim sends media where and when both descriptions allow; c.mu is held.
func (c *Call) aim() {
	send, _ := flows(c.direction)
	_, recv := flows(c.remote.Direction)
	var payload uint8
	usable := false
	for _, pt := range c.shared() {
		if pt != events {
			payload, usable = pt, true
			break
		}
	}
	c.protect(c.media.Load())
	m := c.media.Load()
	m.mu.Lock()
	m.recorder.opus = c.opusType()
	m.mu.Unlock()
	m.direct(c.remote.Addr, payload, send && recv && usable)
}

// request begins a request of the call's dialog; c.mu is held.
func (c *Call) request(method, branch string, seq uint32) *message {
	m := &message{start: method + " " + c.target + " SIP/2.0"}
	c.phone.head(m, branch)
	for _, r := range c.route {
		m.add("Route: %s", r)
	}
	m.add("From: <%s>;tag=%s", c.localURI, c.localTag)
	if c.remoteTag == "" {
		m.add("To: <%s>", c.remoteURI)
	} else {
		m.add("To: <%s>;tag=%s", c.remoteURI, c.remoteTag)
	}
	m.add("Call-ID: %s", c.id)
	m.add("CSeq: %d %s", seq, method)
	return m
}

// next is where a request of the dialog is sent: the first route or the
// remote target (RFC 3261 section 12.2.1.1).
func (c *Call) next() netip.AddrPort {
	uri := c.target
	if len(c.route) > 0 {
		uri = c.route[0]
	}
	if c.phone.config.ViaServer {
		return c.phone.config.Server
	}
	return addressOf(uri, c.phone.config.Server)
}

// addressOf reads the address in a URI; a name or a missing port means the
// fallback's.
func addressOf(uri string, fallback netip.AddrPort) netip.AddrPort {
	uri = strings.Trim(uri, "<> ")
	_, rest, _ := strings.Cut(uri, ":")
	if i := strings.LastIndex(rest, "@"); i >= 0 {
		rest = rest[i+1:]
	}
	if i := strings.IndexAny(rest, ";?>"); i >= 0 {
		rest = rest[:i]
	}
	if a, err := netip.ParseAddrPort(rest); err == nil {
		return a
	}
	if a, err := netip.ParseAddr(strings.Trim(rest, "[]")); err == nil {
		return netip.AddrPortFrom(a, fallback.Port())
	}
	return fallback
}
