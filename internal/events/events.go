// Package events is the typed run-time bus: what happened, for whoever shows
// or records it. Events carry no settings; those travel by store.Subscribe.
package events

import (
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"ringfence/internal/telephony"
)

// Event is one of the concrete types of this package.
type Event interface{ event() }

// RegistrationChanged says that the bindings of an AOR changed.
type RegistrationChanged struct {
	AOR      telephony.AOR
	Bindings int // how many are left
}

// CallStarted, CallChanged, CallAlarm and CallEnded follow a call's life.
type (
	// CallStarted says that a call was accepted from its caller.
	CallStarted struct{ Call telephony.LiveCall }
	// CallChanged says that a call's state or parties changed.
	CallChanged struct{ Call telephony.LiveCall }
	// CallAlarm says that the media of a call are bad, once for each call; its
	// Alarm tells how.
	CallAlarm struct{ Call telephony.LiveCall }
	// CallEnded carries the finished call's record.
	CallEnded struct{ Record telephony.CallRecord }
)

// AddressBanned says that somebody decided to ban a source: guard, log-in,
// provisioning, or the packet filter by itself.
type AddressBanned struct {
	Addr   netip.Addr
	Scope  telephony.BanScope
	Reason string
	Until  time.Time
	// Evidence is what guard saw.
	Evidence telephony.Evidence
	// Proven bans also a source that has proved a password: what it did was not
	// forged in its name.
	Proven bool
	// Level is the meter of the packet filter that set the ban, 1 or 2, and Port
	// what it was about, as in telephony.Ban; 0 for all others.
	Level int
	Port  string
}

// SettingApplied says that a subsystem runs revision Rev, or why it does not.
type SettingApplied struct {
	Subsystem string
	Rev       uint64
	Err       string // empty when applied
}

// SettingsTakenBack says that a change of settings which nobody confirmed was
// taken back.
type SettingsTakenBack struct{ Reason string }

// TrunkChanged says that a trunk came up, went down, or was refused.
type TrunkChanged struct{ State telephony.TrunkState }

func (SettingsTakenBack) event()   {}
func (TrunkChanged) event()        {}
func (RegistrationChanged) event() {}
func (CallStarted) event()         {}
func (CallChanged) event()         {}
func (CallAlarm) event()           {}
func (CallEnded) event()           {}
func (AddressBanned) event()       {}
func (SettingApplied) event()      {}

// Bus delivers each published event to every subscription. Publish never
// blocks: a subscription whose buffer is full loses the event and counts it.
// The zero Bus is ready to use.
type Bus struct {
	mu   sync.RWMutex
	subs map[*Subscription]struct{}
}

// Subscription receives events on C until Close.
type Subscription struct {
	C    <-chan Event
	c    chan Event
	bus  *Bus
	lost atomic.Uint64
}

// Subscribe returns a subscription that buffers up to size events.
func (b *Bus) Subscribe(size int) *Subscription {
	c := make(chan Event, size)
	s := &Subscription{C: c, c: c, bus: b}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.subs == nil {
		b.subs = make(map[*Subscription]struct{})
	}
	b.subs[s] = struct{}{}
	return s
}

// Publish hands e to every subscription, in the order of Publish calls of one
// goroutine.
func (b *Bus) Publish(e Event) {
	b.mu.RLock()
	defer b.mu.RUnlock()
	for s := range b.subs {
		select {
		case s.c <- e:
		default:
			s.lost.Add(1)
		}
	}
}

// Lost is how many events this subscription missed because its buffer was full.
func (s *Subscription) Lost() uint64 { return s.lost.Load() }

// Close ends the subscription and closes C.
func (s *Subscription) Close() {
	s.bus.mu.Lock()
	defer s.bus.mu.Unlock()
	if _, ok := s.bus.subs[s]; ok {
		delete(s.bus.subs, s)
		close(s.c)
	}
}
