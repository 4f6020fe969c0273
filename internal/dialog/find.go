package dialog

import (
	"math/rand/v2"
	"strconv"
	"time"

	"ringfence/internal/sip"
)

// Find returns the leg that a Replaces header names (RFC 3891 section 3): its
// Call-ID, to-tag (ours) and from-tag (the peer's; "0" for a peer that has
// none). What becomes of the leg is to be decided in its mailbox, with
// Replaceable.
func (y *Layer) Find(callID, toTag, fromTag string) *Leg {
	y.mu.RLock()
	defer y.mu.RUnlock()
	if callID == toTag && callID == fromTag {
		return y.aliases[callID]
	}
	l := y.legs[toTag]
	if l == nil || l.callID != callID {
		return nil
	}
	if l.remoteTag != fromTag && (l.remoteTag != "" || fromTag != "0") {
		return nil
	}
	return l
}

// Alias is a random word that Find takes for the Call-ID and both tags of a leg.
// It stands for the dialog where those are not to be known. A leg that has ended
// has none.
func (y *Layer) Alias(localTag string) (string, bool) {
	y.mu.Lock()
	defer y.mu.Unlock()
	l := y.legs[localTag]
	if l == nil {
		return "", false
	}
	if l.alias == "" {
		l.alias = sip.NewTag()
		y.aliases[l.alias] = l
	}
	return l.alias, true
}

// know notes the peer's tag, where Find may look for it.
func (l *Leg) know(tag string) {
	l.layer.mu.Lock()
	defer l.layer.mu.Unlock()
	l.remoteTag = tag
}

// Replaceable says whether a leg that Find found may be replaced: 0, or the
// status to refuse with. An early dialog can be replaced only if we made it,
// and a confirmed one not for somebody who wants early ones only (RFC 3891
// section 3). Call it in the mailbox.
func (l *Leg) Replaceable(earlyOnly bool) int {
	switch {
	case l.state >= ending || l.byeDue:
		return 603
	case l.state == early && l.out == nil:
		return 481
	case l.state == confirmed && earlyOnly:
		return 486
	}
	return 0
}

// Early reports whether the INVITE that makes the dialog has no 2xx yet, and
// Confirmed whether it has and nobody has hung up. Call them in the mailbox.
func (l *Leg) Early() bool     { return l.state == early }
func (l *Leg) Confirmed() bool { return l.state == confirmed }

// Unacked reports whether our 2xx waits for its ACK. Call it in the mailbox.
func (l *Leg) Unacked() bool { return l.in != nil && l.in.waits() }

// ReachedAt reports whether a Contact is the peer's, to which our requests go.
// Call it in the mailbox.
func (l *Leg) ReachedAt(contact string) bool {
	a, err1 := sip.ParseURI(contact)
	b, err2 := sip.ParseURI(l.target)
	return err1 == nil && err2 == nil && sip.URIKey(a) == sip.URIKey(b)
}

// Target is the peer's Contact, as it said last.
func (l *Leg) Target() string { return l.target }

// Outgoing reports whether we made the dialog.
func (l *Leg) Outgoing() bool { return l.outgoing }

// Tags are our tag and the peer's, which is empty before its first response.
// Call it in the mailbox.
func (l *Leg) Tags() (local, remote string) { return l.localTag, l.remoteTag }

// Mailbox is where everything of the leg happens.
func (l *Leg) Mailbox() *Mailbox { return l.box }

// User is who is told what the peer does. Call it in the mailbox.
func (l *Leg) User() User { return l.user }

// SetUser hands the leg over. The new user works in the same mailbox: see
// Layer.Join for legs of different ones. Call it in the mailbox.
func (l *Leg) SetUser(u User) {
	l.user = u
	l.layer.owned(l)
}

// maxAgain bounds how often a request that crossed another is tried again.
const maxAgain = 8

// Again reports whether a request of ours was refused only for the moment: with
// 491, or with 500 and a Retry-After of 10 s at most (RFC 3261 section 14). If
// so it calls f in the mailbox when the time has come to try again, unless the
// leg has ended by then. The waits of both sides differ, so that they do not
// meet again: 2.1 to 4 s for the owner of the Call-ID, up to 2 s for the other.
func (l *Leg) Again(r *sip.Response, f func()) bool {
	wait, ok := again(r, l.outgoing)
	if !ok || l.state >= ending || l.agains >= maxAgain {
		return false
	}
	l.agains++
	l.after(wait, func() {
		if l.state < ending {
			f()
		}
	})
	return true
}

// again is when to try again, if at all.
func again(r *sip.Response, owner bool) (wait time.Duration, ok bool) {
	switch {
	case r.Code == 491 && owner:
		return 2100*time.Millisecond + rand.N[time.Duration](191)*10*time.Millisecond, true
	case r.Code == 491:
		return rand.N[time.Duration](201) * 10 * time.Millisecond, true
	case r.Code == 500 && !r.Local:
		n, err := strconv.ParseUint(delta(r.Header("Retry-After")), 10, 8)
		return time.Duration(n) * time.Second, err == nil && n <= 10
	}
	return 0, false
}
