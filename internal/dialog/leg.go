package dialog

import (
	"errors"
	"strings"
	"time"

	"ringfence/internal/sip"
)

// User is told what the peer of a leg does. Its methods are called in the
// leg's mailbox.
type User interface {
	// Cancelled: the peer gave up its INVITE, which has been answered with 487.
	Cancelled(in *Inbound)
	// Acked: the ACK to our 2xx came, with a session description if it had one.
	Acked(in *Inbound, sdp []byte)
	// Pracked: the peer acknowledged a provisional response with our offer. Its
	// answer is nil if it forgot it.
	Pracked(in *Inbound, sdp []byte)
	// NoAck: no ACK came within 64*T1 (RFC 3261 section 13.3.1.4). The leg is
	// still there; end it.
	NoAck(in *Inbound)
	// Reinvite: the peer wants to change the session; accept or reject it.
	Reinvite(in *Inbound)
	// Update: the peer offers a changed session in an UPDATE, or in the PRACK
	// of a provisional response; accept or reject it.
	Update(u *Update)
	// Refresh: the session is to be refreshed by a re-INVITE of ours, because
	// the peer does not take UPDATE (RFC 4028 section 7.4).
	Refresh(l *Leg)
	// Expired: nobody refreshed the session in time, or our refreshing failed.
	// The leg is still there; end it.
	Expired(l *Leg)
	// Request: any other request; reply to it.
	Request(l *Leg, tx *sip.ServerTx)
	// Bye: the peer hung up; it has been answered and the leg has ended.
	Bye(l *Leg, r *sip.Request)
	// Moved: the leg has a new Flow.
	Moved(l *Leg)
}

// state of a leg.
type state uint8

const (
	early     state = iota // no 2xx yet
	confirmed              // 2xx sent or received
	ending                 // our BYE is on its way
	ended
)

// Params say how a leg presents us to its peer.
type Params struct {
	Mailbox *Mailbox
	User    User
	Contact string       // user part of our Contact
	Headers []sip.Header // in INVITEs and their 2xx, such as Allow
	Routes  []string     // of a leg we call: the proxies before the peer (RFC 3327)
	Session SessionTimer
	// Supported are option tags besides those of this package, such as
	// "replaces".
	Supported string
	// Auth answers challenges of the peer; nil answers none.
	Auth *sip.ClientAuth
	// Edit, if set, changes each INVITE of ours before it is sent.
	Edit func(*sip.Outgoing)
	// Ended, if set, is called in the mailbox once when the leg has ended: after
	// the answer to a BYE, too.
	Ended func()
}

// Leg is our end of one INVITE dialog.
type Leg struct {
	layer     *Layer
	box       *Mailbox
	user      User
	params    Params
	presented []sip.Header // belongs to the mailbox

	callID   string
	localTag string
	alias    string // guarded by the layer
	outgoing bool   // we made it, and own its Call-ID
	// local and remote are the From and To values of our requests, without tags.
	local, remote string

	// What follows belongs to the mailbox.
	state     state
	remoteTag string   // set by know; read by Find too
	target    string   // remote target: Request-URI of our requests
	routes    []string // route set
	localSeq  uint32
	remoteSeq uint32
	flow      sip.Flow
	in        *Inbound  // the latest INVITE of the peer
	out       *Outbound // the latest INVITE of ours
	byeDue    bool      // a BYE waits for the ACK to our 2xx
	byeWith   []sip.Header
	agains    int // requests tried again since the last that was accepted

	fork        *fork     // the early dialog that target and routes are of
	update      *Update   // the peer's offer that has no answer
	updating    *updating // our UPDATE that has none
	takesUpdate bool      // the peer does
	// deniesUpdate: it refused one as unknown, whatever its Allow says.
	deniesUpdate bool
	session      session
}

// Flow is where the peer is; it follows the peer's requests through changes of
// its NAT. Call it in the mailbox.
func (l *Leg) Flow() sip.Flow { return l.flow }

// Move lets the leg go on at another flow, which is known to be the same peer's.
// Call it in the mailbox.
func (l *Leg) Move(f sip.Flow) {
	if !f.Valid() || f.Remote == l.flow.Remote && f.Token == l.flow.Token && f.Listener == l.flow.Listener && f.Local == l.flow.Local {
		return
	}
	l.flow = f
	if l.state < ending {
		l.user.Moved(l)
	}
}

// CallID is the leg's Call-ID.
func (l *Leg) CallID() string { return l.callID }

// Ended reports whether nothing more can be sent. Call it in the mailbox.
func (l *Leg) Ended() bool { return l.state >= ending }

// errTimer says that an INVITE's wishes for a session timer do not go with ours.
var errTimer = errors.New("no agreement on a session timer")

// Present sets what INVITEs of ours and 2xx to the peer's say besides the
// headers of Params: whom the peer talks with. Call it in the mailbox.
func (l *Leg) Present(headers ...sip.Header) { l.presented = headers }

// Accept makes a leg of a received INVITE without a To tag and begins its
// transaction. Call it in the INVITE's handler. On an error the INVITE has been
// refused.
func (y *Layer) Accept(tx *sip.ServerTx, p Params) (*Inbound, error) {
	r := tx.Request()
	p.Session = p.Session.orDefaults()
	if no := p.Session.refusal(r, true); no != nil {
		tx.Reply(*no)
		return nil, errTimer
	}
	l := &Leg{
		layer: y, box: p.Mailbox, user: p.User, params: p,
		callID: r.CallID, localTag: sip.NewTag(),
		local: r.Header("To"), remote: addressOf(r.From), remoteTag: r.From.Tag(),
		target: targetOf(r, r.From), routes: r.Values("Record-Route"),
		remoteSeq: r.CSeq.Seq, flow: tx.Flow(),
	}
	in := &Inbound{leg: l, tx: tx, initial: true}
	l.in = in
	l.learn(r.Values("Allow"))
	if err := tx.Begin(func() { l.box.Post(func() { l.cancelled(tx) }) }); err != nil {
		return nil, err
	}
	y.add(l)
	return in, nil
}

// Call makes a leg to a peer on a flow. Its first request is to be Invite.
// From and to are whole header values without tags; target is the Request-URI.
func (y *Layer) Call(f sip.Flow, from, to, target string, p Params) *Leg {
	l := &Leg{
		layer: y, box: p.Mailbox, user: p.User, params: p,
		callID: sip.NewCallID(), localTag: sip.NewTag(),
		local: from, remote: to, target: target, routes: p.Routes, flow: f, outgoing: true,
	}
	y.add(l)
	return l
}

// addressOf prints an address without its parameters, which for From and To
// are the tag and extensions of one request.
func addressOf(a sip.NameAddr) string {
	a.Params = nil
	return a.String()
}

// targetOf is the remote target a request or response names in its Contact.
// One of RFC 2543 may name none; then it is the peer's address.
func targetOf(m interface {
	Addresses(string) ([]sip.NameAddr, error)
}, peer sip.NameAddr) string {
	if c, err := m.Addresses("Contact"); err == nil && len(c) > 0 {
		return requestURI(c[0].URI)
	}
	return requestURI(peer.URI)
}

// requestURI prints a URI without what a Request-URI may not have (RFC 3261
// section 19.1.1).
func requestURI(u sip.URI) string {
	u.Headers = nil
	return u.String()
}

// request prepares a request within the dialog (RFC 3261 section 12.2.1.1).
func (l *Leg) request(method string, seq uint32) sip.Outgoing {
	o := sip.Outgoing{
		Method: method, URI: l.target, CallID: l.callID, CSeq: seq,
		From: l.local + ";tag=" + l.localTag, To: l.remote,
	}
	if l.remoteTag != "" {
		o.To += ";tag=" + l.remoteTag
	}
	routes := l.routes
	if len(routes) > 0 {
		if first, loose := looseRoute(routes[0]); !loose {
			// A strict router is the Request-URI itself.
			routes = append(append([]string(nil), routes[1:]...), "<"+l.target+">")
			o.URI = first
		}
	}
	for _, r := range routes {
		o.Headers = append(o.Headers, sip.Header{Name: "Route", Value: r})
	}
	if p := l.layer.ep.Product(); p != "" {
		o.Headers = append(o.Headers, sip.Header{Name: "User-Agent", Value: p})
	}
	return o
}

// contact is our Contact towards this peer.
func (l *Leg) contact() sip.Header { return l.layer.ep.Contact(l.flow, l.params.Contact) }

func (l *Leg) inviteHeaders() []sip.Header {
	return append([]sip.Header{l.contact(), l.supported(sip.INVITE)}, append(l.params.Headers[:len(l.params.Headers):len(l.params.Headers)], l.presented...)...)
}

// supported lists our extensions.
func (l *Leg) supported(method string) sip.Header {
	tags := make([]string, 0, 3)
	if method == sip.INVITE {
		tags = append(tags, "100rel")
	}
	if !l.params.Session.Refuse {
		tags = append(tags, "timer")
	}
	if l.params.Supported != "" {
		tags = append(tags, l.params.Supported)
	}
	return sip.Header{Name: "Supported", Value: strings.Join(tags, ", ")}
}

// Do sends a request other than INVITE and BYE within the dialog. done is
// called in the mailbox with the final response, which may be local.
func (l *Leg) Do(o sip.Outgoing, done func(*sip.Response)) {
	l.localSeq++
	req := l.request(o.Method, l.localSeq)
	req.Headers = append(req.Headers, o.Headers...)
	req.ContentType, req.Body, req.MaxForwards = o.ContentType, o.Body, o.MaxForwards
	l.exchange(req, done)
}

// Bye ends the dialog. If our 2xx is not acknowledged yet, the BYE waits for
// that (RFC 3261 section 15); an unacknowledged 2xx of the peer is
// acknowledged first. A leg that is not confirmed is rejected or cancelled
// instead.
func (l *Leg) Bye(headers ...sip.Header) {
	switch {
	case l.state >= ending:
		return
	case l.state == early && l.out != nil:
		l.out.Cancel(headers...)
		return
	case l.state == early:
		l.in.Reject(sip.Reply{Code: 487, Headers: headers})
		return
	case l.in != nil && l.in.waits():
		l.byeDue, l.byeWith = true, headers
		return
	}
	l.dropReinvite()
	l.session.stop()
	if l.out != nil && l.out.answered && l.out.ack == nil {
		l.out.Ack(nil)
	}
	l.state = ending
	l.localSeq++
	o := l.request(sip.BYE, l.localSeq)
	o.Headers = append(o.Headers, headers...)
	// Whatever the answer, the dialog is over (section 15.1.1).
	l.exchange(o, func(*sip.Response) { l.end() })
}

// dropReinvite refuses the peer's re-INVITE or UPDATE that nobody has answered
// yet (RFC 3261 section 15.1.2).
func (l *Leg) dropReinvite() {
	if l.update != nil {
		l.update.Reject(sip.Reply{Code: 487})
	}
	if l.in != nil && !l.in.final {
		l.in.Reject(sip.Reply{Code: 487})
	}
}

// end forgets the leg.
func (l *Leg) end() {
	if l.state == ended {
		return
	}
	l.state = ended
	l.session.stop()
	if l.update != nil {
		l.update.Reject(sip.Reply{Code: 481})
	}
	if l.in != nil {
		l.in.stop()
	}
	if l.out != nil {
		l.out.forget()
	}
	l.layer.remove(l)
	if l.params.Ended != nil {
		l.params.Ended()
	}
}

// receive handles a request within the dialog.
func (l *Leg) receive(tx *sip.ServerTx) {
	r := tx.Request()
	if l.state == ended || r.From.Tag() != l.remoteTag && !l.ofFork(r.From.Tag()) {
		tx.Reply(sip.Reply{Code: 481})
		return
	}
	if r.CSeq.Seq <= l.remoteSeq && l.remoteSeq != 0 {
		// RFC 3261 section 12.2.2: out of order.
		tx.Reply(sip.Reply{Code: 500, Reason: "Out of Order"})
		return
	}
	l.remoteSeq = r.CSeq.Seq
	l.Move(r.Flow) // the peer's NAT may have given it a new address
	switch r.Method {
	case sip.BYE:
		l.byed(tx)
	case sip.INVITE:
		l.reinvited(tx)
	case sip.PRACK:
		l.pracked(tx)
	case sip.UPDATE:
		l.updated(tx)
	case sip.OPTIONS:
		tx.Reply(sip.Capabilities())
	default:
		if l.state >= ending {
			tx.Reply(sip.Reply{Code: 481})
			return
		}
		l.user.Request(l, tx)
	}
}

// ofFork reports whether a tag is that of another early dialog of our INVITE;
// that is then the one we talk to.
func (l *Leg) ofFork(tag string) bool {
	if l.state != early || l.out == nil || l.out.forks[tag] == nil {
		return false
	}
	l.follow(l.out.forks[tag])
	return true
}

// byed handles the peer's BYE.
func (l *Leg) byed(tx *sip.ServerTx) {
	tx.Reply(sip.Reply{Code: 200})
	switch l.state {
	case ending: // both hung up at once
		return
	case early:
		if l.out == nil {
			// A caller may end an early dialog by BYE (section 15).
			l.cancelled(l.in.tx)
			return
		}
		// It may not (section 15), unless its 2xx were all lost.
		l.out.Cancel()
		return
	case confirmed:
		l.dropReinvite()
		if l.out != nil {
			l.out.Cancel()
		}
	}
	l.end()
	l.user.Bye(l, tx.Request())
}

// reinvited handles an INVITE within the dialog (RFC 3261 section 14.2).
func (l *Leg) reinvited(tx *sip.ServerTx) {
	switch {
	case l.state != confirmed || l.byeDue:
		tx.Reply(sip.Reply{Code: 481})
		return
	case l.out != nil && l.out.pending(), l.updating != nil && l.updating.offer:
		tx.Reply(sip.Reply{Code: 491})
		return
	case l.in != nil && !l.in.final, l.update != nil:
		tx.Reply(refusal(500))
		return
	}
	if p := l.params.Session.refusal(tx.Request(), false); p != nil {
		tx.Reply(*p)
		return
	}
	if l.in != nil && l.in.waits() {
		// Its ACK was lost, but the peer goes on: it has our answer.
		l.in.acked(nil)
		if l.state != confirmed {
			tx.Reply(sip.Reply{Code: 481})
			return
		}
	}
	r := tx.Request()
	l.refreshTarget(r)
	l.learn(r.Values("Allow"))
	l.in = &Inbound{leg: l, tx: tx}
	l.user.Reinvite(l.in)
}

// acknowledged handles an ACK within the dialog.
func (l *Leg) acknowledged(r *sip.Request) {
	if l.in == nil || !l.in.waits() || r.CSeq.Seq != l.in.tx.Request().CSeq.Seq || r.From.Tag() != l.remoteTag {
		return
	}
	l.Move(r.Flow)
	l.in.acked(r.SDP())
}

// cancelled handles a CANCEL of the peer's INVITE.
func (l *Leg) cancelled(tx *sip.ServerTx) {
	in := l.in
	if in == nil || in.tx != tx || in.final {
		return
	}
	in.Reject(sip.Reply{Code: 487})
	l.user.Cancelled(in)
}

// after runs f in the mailbox when d has passed.
func (l *Leg) after(d time.Duration, f func()) *time.Timer {
	return time.AfterFunc(d, func() { l.box.Post(f) })
}
