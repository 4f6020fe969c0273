package siptest

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"time"

	"github.com/emiago/sipgo/sip"
)

// patience bounds requests of methods without a context.
const patience = 10 * time.Second

// HangUp ends the call as a person would: BYE, or CANCEL or 486 before the
// answer. After BYE it waits for the response.
func (c *Call) HangUp() error {
	switch s := c.State(); {
	case s == Ended:
		return nil
	case s == Answered:
		return c.bye()
	case c.outgoing:
		return c.Cancel()
	}
	return c.Reject(486)
}

// bye ends the dialog.
func (c *Call) bye() error {
	ctx, cancel := context.WithTimeout(c.phone.ctx, patience)
	defer cancel()
	res, err := c.Do(ctx, "BYE", nil, "")
	c.end(nil)
	if err != nil {
		return fmt.Errorf("hanging up: %w", err)
	}
	if res.StatusCode >= 300 {
		return fmt.Errorf("hanging up: %w", &StatusError{res.StatusCode, res.Reason})
	}
	return nil
}

// Do sends a request inside the dialog, INVITE apart, answers one challenge
// and returns the final response.
func (c *Call) Do(ctx context.Context, method string, headers []string, body string) (*sip.Response, error) {
	auth := ""
	for try := 0; ; try++ {
		c.mu.Lock()
		c.seq++
		b := branch()
		m := c.request(method, b, c.seq)
		uri, to := c.target, c.next()
		c.mu.Unlock()
		m.headers = append(m.headers, headers...)
		if auth != "" {
			m.headers = append(m.headers, auth)
		}
		m.body = body
		tx, err := c.phone.begin(method, b, to, m.bytes())
		if err != nil {
			return nil, err
		}
		res, err := c.phone.final(ctx, tx)
		c.phone.forget(tx)
		if err != nil || res.StatusCode != 401 && res.StatusCode != 407 || try > 0 {
			return res, err
		}
		line, ch := c.phone.authorize(res, method, uri)
		if ch == nil {
			return res, nil
		}
		auth = line
	}
}

// Offer describes a re-INVITE.
type Offer struct {
	Direction string // sendrecv, sendonly, recvonly, inactive; empty keeps it
	Null      bool   // the old hold: c=0.0.0.0
	Late      bool   // no offer: the peer's comes in the 2xx
	Move      bool   // receive media at a new port from now on
	Rekey     bool   // new SRTP keys
	NewStream bool   // another SSRC, and its sequence numbers and timestamps
	SDP       string // sent in place of the phone's own
}

// Hold sends a re-INVITE with sendonly and waits for its answer.
func (c *Call) Hold(ctx context.Context) error { return c.ReInvite(ctx, Offer{Direction: "sendonly"}) }

// Resume sends a re-INVITE with sendrecv and waits for its answer.
func (c *Call) Resume(ctx context.Context) error {
	return c.ReInvite(ctx, Offer{Direction: "sendrecv"})
}

// ReInvite sends a new offer, waits for the answer and acknowledges it. A
// refusal is a *StatusError and leaves the session as it was.
func (c *Call) ReInvite(ctx context.Context, o Offer) error {
	wish, direction, err := c.prepare(o)
	if err != nil {
		return fmt.Errorf("offering: %w", err)
	}
	res, err := c.reinvite(ctx, o)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.reoffering, c.newKeys, c.newCert = false, nil, nil
	if err == nil && res.StatusCode >= 300 {
		err = &StatusError{res.StatusCode, res.Reason}
	}
	if err != nil {
		c.wish, c.direction = wish, direction
		c.aim()
		return fmt.Errorf("offering: %w", err)
	}
	return nil
}

// prepare claims the dialog for our offer and applies it to the media. It
// returns what to go back to.
func (c *Call) prepare(o Offer) (wish, direction string, err error) {
	var moved *media
	if o.Move {
		if moved, err = c.phone.newMedia(); err != nil {
			return "", "", err
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.state != Answered || c.reoffering {
		if moved != nil {
			moved.close()
		}
		return "", "", fmt.Errorf("call is %s", c.state)
	}
	c.reoffering = true
	wish, direction = c.wish, c.direction
	if o.Direction != "" {
		c.wish = o.Direction
	}
	c.direction = c.wish
	if o.Rekey {
		c.newKeys = map[string][]byte{}
		if c.cert != nil {
			c.newCert, _ = newCertificate()
		}
	}
	if o.NewStream {
		m := c.media.Load()
		m.mu.Lock()
		m.ssrc, m.seq, m.stamp = rand.Uint32(), uint16(rand.Uint32()), rand.Uint32()
		m.mu.Unlock()
	}
	if moved != nil {
		c.moveTo(moved)
	}
	c.aim()
	return wish, direction, nil
}

// moveTo lets the call's media go on at other sockets.
func (c *Call) moveTo(moved *media) {
	before := c.media.Load()
	before.mu.Lock()
	if before.association == nil { // another transport is another association (RFC 8842 section 4)
		moved.shield, before.shield = before.shield, nil
	}
	before.sending, moved.network = false, before.network
	moved.ssrc, moved.seq, moved.stamp, moved.recorder, moved.sent = before.ssrc, before.seq, before.stamp, before.recorder, before.sent
	before.mu.Unlock()
	before.close()
	c.media.Store(moved)
}

// reinvite runs the INVITE transaction and sends the ACK.
func (c *Call) reinvite(ctx context.Context, o Offer) (*sip.Response, error) {
	c.mu.Lock()
	c.seq++
	seq, b := c.seq, branch()
	m := c.request("INVITE", b, seq)
	m.add("Contact: <%s>", c.phone.contactURI())
	switch {
	case o.SDP != "":
		m.sdp(o.SDP)
	case !o.Late:
		m.sdp(c.describe(c.direction, c.ownPayloads(), o.Null, false))
	}
	to, uri := c.next(), c.target
	c.mu.Unlock()
	tx, err := c.phone.begin("INVITE", b, to, m.bytes())
	if err != nil {
		return nil, err
	}
	c.phone.forgetLater(tx)
	res, err := c.phone.final(ctx, tx)
	if err != nil {
		return nil, err
	}
	ack := c.ackReInvite(res, b, seq, uri, o.Late)
	if res.StatusCode < 300 {
		c.mu.Lock()
		to = c.next()
		c.mu.Unlock()
	}
	repeat := func() { _ = c.phone.transmit(to, ack) }
	repeat()
	c.phone.start(func() { c.repeatAck(tx, repeat) })
	return res, nil
}

// ackReInvite takes the answer and writes the ACK.
func (c *Call) ackReInvite(res *sip.Response, b string, seq uint32, uri string, late bool) []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	if res.StatusCode >= 300 {
		m := c.request("ACK", b, seq)
		m.start = "ACK " + uri + " SIP/2.0"
		return m.bytes()
	}
	if contact := res.Contact(); contact != nil {
		c.target = contact.Address.String()
	}
	c.hear(res.Body())
	m := c.request("ACK", branch(), seq)
	if late && len(res.Body()) > 0 {
		c.direction = answerTo(c.remote.Direction, c.wish)
		m.sdp(c.describe(c.direction, c.shared(), false, true))
		c.aim()
	}
	return m.bytes()
}

// repeatAck answers retransmitted final responses.
func (c *Call) repeatAck(tx *clientTx, repeat func()) {
	limit := time.NewTimer(64 * c.phone.config.T1)
	defer limit.Stop()
	for {
		select {
		case <-limit.C:
			return
		case <-c.phone.ctx.Done():
			return
		case <-c.over:
			return
		case res := <-tx.responses:
			if res.StatusCode >= 200 {
				repeat()
			}
		}
	}
}

// SendDigits sends telephone-events (RFC 4733) of 100 ms each, on the audio's
// timeline.
func (c *Call) SendDigits(ctx context.Context, digits string) error {
	for _, d := range digits {
		code := strings.IndexRune("0123456789*#ABCD", d)
		if code < 0 {
			return fmt.Errorf("sending digits: %q is none", d)
		}
		if err := c.sendDigit(ctx, byte(code)); err != nil {
			return err
		}
	}
	return nil
}

func (c *Call) sendDigit(ctx context.Context, code byte) error {
	m := c.media.Load()
	c.Mute(true)
	defer c.Mute(false)
	m.mu.Lock()
	start := m.stamp + 160
	m.mu.Unlock()
	const packets = 5
	for i := 1; i <= packets+2; i++ {
		m.mu.Lock()
		m.seq++
		b := make([]byte, 16)
		b[0], b[1] = 0x80, events
		if i == 1 {
			b[1] |= 0x80
		}
		binary.BigEndian.PutUint16(b[2:], m.seq)
		binary.BigEndian.PutUint32(b[4:], start)
		binary.BigEndian.PutUint32(b[8:], m.ssrc)
		b[12], b[13] = code, 10
		if i >= packets {
			b[13] |= 0x80 // the end, sent three times
		}
		binary.BigEndian.PutUint16(b[14:], uint16(160*min(i, packets)))
		to := m.remote
		b = m.seal(b)
		m.mu.Unlock()
		if to == (netip.AddrPort{}) {
			return fmt.Errorf("sending digits: no media")
		}
		if err := c.RawRTP(to, b); err != nil {
			return fmt.Errorf("sending digits: %w", err)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(frame):
		}
	}
	return nil
}

// Replaces names the call's dialog for a Replaces header of somebody who is to
// take this phone's place at the peer (RFC 3891 section 6.1).
func (c *Call) Replaces() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.id + ";to-tag=" + c.remoteTag + ";from-tag=" + c.localTag
}

// Refer asks the peer to call somebody else: the whole Refer-To value.
func (c *Call) Refer(ctx context.Context, to string) error {
	res, err := c.Do(ctx, "REFER", []string{"Refer-To: " + to, "Contact: <" + c.phone.contactURI() + ">"}, "")
	if err == nil && res.StatusCode >= 300 {
		err = &StatusError{res.StatusCode, res.Reason}
	}
	if err != nil {
		return fmt.Errorf("referring: %w", err)
	}
	return nil
}
