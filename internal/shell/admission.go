package shell

import (
	"net"
	"net/netip"
	"slices"
	"sync"

	"ringfence/internal/tries"
)

// Limits of connections.
type limits struct {
	handshakes   int // at the same time, of strangers
	perSource    int // of one of them
	sessions     int // log-ins at the same time
	perKey       int // of one key
	channels     int // of one log-in
	refusalLines int // of the log, a minute
}

func standardLimits() limits {
	return limits{handshakes: 16, perSource: 4, sessions: 8, perKey: 4, channels: 4, refusalLines: 20}
}

// admission counts connections. Strangers never take places of those who are
// logged in, and a crowd of strangers cannot keep an operator out: who comes
// when all places are taken gets that of the stranger who waited longest.
type admission struct {
	limits limits

	mu        sync.Mutex
	closed    bool
	strangers []*stranger // the longest waiting first
	people    map[*person]struct{}
}

// stranger is a connection before its log-in.
type stranger struct {
	conn   net.Conn
	source netip.Addr
}

// person is a connection after its log-in.
type person struct {
	keyID string
	conn  net.Conn
}

func newAdmission(l limits) *admission {
	return &admission{limits: l, people: make(map[*person]struct{})}
}

// enter admits a connection from a, or returns nil.
func (d *admission) enter(conn net.Conn, a netip.Addr) *stranger {
	s := &stranger{conn, tries.Source(a)}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return nil
	}
	same := 0
	for _, o := range d.strangers {
		if o.source == s.source {
			same++
		}
	}
	if same >= d.limits.perSource {
		return nil
	}
	if len(d.strangers) >= d.limits.handshakes {
		_ = d.strangers[0].conn.Close()
		d.strangers = d.strangers[1:]
	}
	d.strangers = append(d.strangers, s)
	return s
}

// leave ends the handshake of s, whatever came of it.
func (d *admission) leave(s *stranger) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.strangers = slices.DeleteFunc(d.strangers, func(o *stranger) bool { return o == s })
}

// welcome admits somebody who has logged in with a key that is still
// authorized, or returns nil.
func (d *admission) welcome(conn net.Conn, keyID string, authorized func(keyID string) bool) *person {
	d.mu.Lock()
	defer d.mu.Unlock()
	same := 0
	for p := range d.people {
		if p.keyID == keyID {
			same++
		}
	}
	// Under the lock: whoever takes keys away closes connections after it.
	if d.closed || same >= d.limits.perKey || len(d.people) >= d.limits.sessions || !authorized(keyID) {
		return nil
	}
	p := &person{keyID, conn}
	d.people[p] = struct{}{}
	return p
}

func (d *admission) bye(p *person) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.people, p)
}

// closeUnless ends the connections of those whose key may not stay.
func (d *admission) closeUnless(stays func(keyID string) bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for p := range d.people {
		if !stays(p.keyID) {
			_ = p.conn.Close()
		}
	}
}

// shut ends everybody's connection and lets nobody in until reopen.
func (d *admission) shut() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.closed = true
	for p := range d.people {
		_ = p.conn.Close()
	}
	for _, s := range d.strangers {
		_ = s.conn.Close()
	}
}

func (d *admission) reopen() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.closed = false
}

func (d *admission) sessions() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.people)
}
