package ice

import (
	"net/netip"
	"strings"
	"sync"
)

// Agent is our end of one component: its credentials, those of the peer, and
// the pair the peer nominated. Its methods may be called at any time.
//
// It holds two sessions while the peer restarts ICE (RFC 8445 section 9): the
// one whose pair is in use, and the one that is to take over as soon as the
// peer nominates a pair in it.
type Agent struct {
	mu       sync.Mutex
	current  *session // what descriptions speak of
	previous *session // in use until current is nominated; nil most of the time
	selected netip.AddrPort
	stats    Stats
	parse    parser
}

// session is one pair of credentials and what the peer did with it.
type session struct {
	local  Credentials
	remote Credentials // zero until the peer described itself
	early  nomination  // it was faster than its answer
	done   bool        // the peer nominated a pair
}

// nomination is a pair the peer chose.
type nomination struct {
	ufrag string // as the check named the peer
	from  netip.AddrPort
}

// Stats counts datagrams by what became of them.
type Stats struct {
	Answered  uint64 // checks that verified
	Refused   uint64 // checks that verified and got an error response
	Strangers uint64 // requests that did not verify, which got nothing
	Malformed uint64 // not STUN, or not a request
}

// NewAgent makes an agent with fresh credentials.
func NewAgent() *Agent { return &Agent{current: &session{local: NewCredentials()}} }

// Local are the credentials to be told to the peer.
func (a *Agent) Local() Credentials {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.current.local
}

// Offered takes the peer's credentials from an offer. New ones restart ICE, and
// then ours are new as well (RFC 8839 section 4.4.1.1.1): tell Local again. It
// reports whether they were new.
func (a *Agent) Offered(remote Credentials) bool { return a.describe(remote, true) }

// Answered takes the peer's credentials from an answer to our offer, which told
// Local. New ones restart ICE: another device took the place of the peer.
func (a *Agent) Answered(remote Credentials) bool { return a.describe(remote, false) }

func (a *Agent) describe(remote Credentials, fresh bool) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	s := a.current
	switch {
	case s.remote == remote:
		return false
	case s.remote == Credentials{}:
		s.remote = remote
		if s.early.ufrag == remote.Ufrag && s.early.from.IsValid() {
			a.nominate(s, s.early.from)
		}
		s.early = nomination{}
		return true
	}
	next := &session{local: s.local, remote: remote}
	if fresh {
		next.local = NewCredentials()
	}
	if s.done || a.previous == nil {
		a.previous = s
	} // else the pair in use is of the session before
	a.current = next
	return true
}

// Rollback forgets a restart that was not nominated yet: the offer or answer it
// came with did not hold.
func (a *Agent) Rollback() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.previous != nil && !a.current.done {
		a.current, a.previous = a.previous, nil
	}
}

// Selected is where the peer is, as it nominated it last; zero before.
func (a *Agent) Selected() netip.AddrPort {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.selected
}

// Stats counts what came in.
func (a *Agent) Stats() Stats {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.stats
}

// Handle takes one datagram whose first byte is 0 to 3 (RFC 7983) and appends
// the reply to out; an empty result is no reply. It reports whether another
// pair was selected.
//
// A request that does not verify gets nothing: RFC 8489 section 9.1.3 has
// errors for it, but whoever does not know the password is not the peer, and an
// answer to a forged source is traffic for somebody else.
func (a *Agent) Handle(datagram []byte, from netip.AddrPort, out []byte) (reply []byte, nominated bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	request, ok := a.parse.request(datagram)
	if !ok {
		a.stats.Malformed++
		return out[:0], false
	}
	s, ufrag := a.find(request.username)
	if s == nil || !a.parse.verify(s.local.Pwd) {
		a.stats.Strangers++
		return out[:0], false
	}
	if request.fault != 0 {
		a.stats.Refused++
		return a.parse.refuse(request, s.local.Pwd, out), false
	}
	a.stats.Answered++
	if request.useCandidate {
		if s.remote.Ufrag == "" {
			s.early = nomination{strings.Clone(ufrag), from}
		} else {
			nominated = a.nominate(s, from)
		}
	}
	return a.parse.accept(from, s.local.Pwd, out), nominated
}

// find picks the session a user name belongs to, which is our ufrag and the
// peer's with a colon between (RFC 8445 section 7.2.2).
func (a *Agent) find(username string) (*session, string) {
	ours, theirs, ok := strings.Cut(username, ":")
	if !ok || len(theirs) > maxCredential {
		return nil, ""
	}
	for _, s := range [...]*session{a.current, a.previous} {
		if s != nil && s.local.Ufrag == ours && (s.remote.Ufrag == "" || s.remote.Ufrag == theirs) {
			return s, theirs
		}
	}
	return nil, ""
}

// nominate selects a pair. The peer is the controlling agent: its last word
// counts, since it renominates when its network changes.
func (a *Agent) nominate(s *session, from netip.AddrPort) bool {
	s.done = true
	if s == a.current {
		a.previous = nil
	}
	if a.selected == from {
		return false
	}
	a.selected = from
	return true
}
