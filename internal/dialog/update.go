package dialog

import (
	"ringfence/internal/sip"
)

// Update is an offer that the peer makes outside of an INVITE: in an UPDATE
// (RFC 3311), or in the PRACK of a provisional response (RFC 3262 section 5).
type Update struct {
	leg  *Leg
	tx   *sip.ServerTx
	done bool
}

// Leg returns the leg.
func (u *Update) Leg() *Leg { return u.leg }

// Request returns the UPDATE or PRACK.
func (u *Update) Request() *sip.Request { return u.tx.Request() }

// Accept answers the offer.
func (u *Update) Accept(sdp []byte) {
	if u.done {
		return
	}
	u.done = true
	u.tx.Reply(sip.Reply{Code: 200, Headers: []sip.Header{u.leg.contact()}, Body: sdp})
}

// Reject leaves the session as it was.
func (u *Update) Reject(p sip.Reply) {
	if u.done {
		return
	}
	u.done = true
	u.tx.Reply(p)
}
