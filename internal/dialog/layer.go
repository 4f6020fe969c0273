// Package dialog keeps INVITE dialogs (RFC 3261 sections 12 to 15): who the
// two ends are, the sequence numbers, the reliability of 2xx, ACK and provisional
// responses (RFC 3262), which of two crossing offers wins (RFC 3311), the session
// timers (RFC 4028), and where requests to the peer go.
//
// A Leg is our end of one dialog. Everything about it, including the calls to
// its User, happens in the Mailbox it was made with, so that neither needs
// locks; legs that belong together share a mailbox.
package dialog

import (
	"log/slog"
	"sync"

	"ringfence/internal/sip"
)

// Layer finds the leg that a request within a dialog is for.
type Layer struct {
	ep  *sip.Endpoint
	log *slog.Logger

	// Owned, if set before the first leg, is told whose leg a Call-ID is: when
	// it is made, and when it is handed over. It must not block.
	Owned func(callID string, u User)

	joining sync.Mutex // one Join at a time, so that none goes in a circle

	mu   sync.RWMutex
	legs map[string]*Leg // by local tag
	// aliases are the legs that have one.
	aliases map[string]*Leg
}

// NewLayer returns a layer without legs.
func NewLayer(ep *sip.Endpoint, log *slog.Logger) *Layer {
	return &Layer{ep: ep, log: log, legs: make(map[string]*Leg), aliases: make(map[string]*Leg)}
}

// Len is how many legs there are, including those that wait for the answer to
// their BYE or CANCEL.
func (l *Layer) Len() int {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return len(l.legs)
}

func (l *Layer) add(leg *Leg) {
	l.mu.Lock()
	l.legs[leg.localTag] = leg
	l.mu.Unlock()
	l.owned(leg)
}

func (l *Layer) owned(leg *Leg) {
	if l.Owned != nil {
		l.Owned(leg.callID, leg.user)
	}
}

func (l *Layer) remove(leg *Leg) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.legs, leg.localTag)
	delete(l.aliases, leg.alias)
}

// find looks a request's dialog up (RFC 3261 section 12.2.2). Local tags are
// unique and random; the remote tag is checked in the mailbox, where it is
// known for certain.
func (l *Layer) find(r *sip.Request) *Leg {
	l.mu.RLock()
	leg := l.legs[r.To.Tag()]
	l.mu.RUnlock()
	if leg == nil || leg.callID != r.CallID {
		return nil
	}
	return leg
}

// ServeSIP handles a request with a To tag. It runs on a worker of the
// endpoint, which keeps the order of one Call-ID.
func (l *Layer) ServeSIP(tx *sip.ServerTx) {
	r := tx.Request()
	leg := l.find(r)
	switch {
	case leg == nil:
		if r.Method != sip.ACK {
			tx.Reply(sip.Reply{Code: 481})
		}
	case r.Method == sip.ACK:
		leg.box.Offer(func() { leg.acknowledged(r) })
	default:
		cancel := func() { leg.box.Post(func() { leg.cancelled(tx) }) }
		if tx.Begin(cancel) != nil {
			return
		}
		if !leg.box.Offer(func() { leg.receive(tx) }) {
			tx.Reply(*sip.Busy())
		}
	}
}
