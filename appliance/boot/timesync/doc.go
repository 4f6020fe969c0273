// Package timesync finds out by SNTP how far the clock is off (RFC 5905, RFC
// 4330), and keeps it right.
//
// Two processes share the work. One without rights asks the servers (Asker);
// PID 1 believes its Answer within bounds, and moves the clock (Keeper).
package timesync

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"time"
)

// Origin says who named a server.
type Origin string

// The origins, in the order in which they are asked.
const (
	FromConfig Origin = "configuration"
	FromDHCP   Origin = "DHCP"
	FromCloud  Origin = "cloud"
)

// Group is a list of servers of one origin. The first group that yields an
// answer counts.
type Group struct {
	Origin  Origin
	Servers []string // addresses or names
}

// Answer is what asking came to.
type Answer struct {
	// Offset is to be added to the clock; it holds if Server is set.
	Offset   time.Duration `json:"offset"`
	Distance time.Duration `json:"distance"` // bound of its error
	Server   netip.Addr    `json:"server,omitzero"`
	Origin   Origin        `json:"origin,omitempty"`
	// NoSource says that no server is known, so that nothing was sent.
	NoSource bool `json:"no_source,omitempty"`
	// Problem says why there is no offset.
	Problem string `json:"problem,omitempty"`
	// Denied are servers that must not be asked again (RFC 5905 section 7.4),
	// and Slower says that one wants to be asked less often.
	Denied []netip.Addr `json:"denied,omitempty"`
	Slower bool         `json:"slower,omitempty"`
}

// Bounds of an answer.
const (
	MaxAnswer  = 16 << 10 // bytes
	maxProblem = 300
	maxDenied  = 32
	// maxOffset is what the era arithmetic of the protocol can tell (RFC 5905
	// section 6).
	maxOffset = 68 * 365 * 24 * time.Hour
)

// ReadAnswer reads what the process that asks handed over, and believes
// nothing that it should have seen to.
func ReadAnswer(data []byte) (a Answer, err error) {
	if err := json.Unmarshal(data, &a); err != nil {
		return Answer{}, fmt.Errorf("reading what the time servers said: %w", err)
	}
	switch a.Origin {
	case FromConfig, FromDHCP, FromCloud, "":
	default:
		return Answer{}, fmt.Errorf("reading what the time servers said: no origin %q", a.Origin)
	}
	if a.Offset.Abs() > maxOffset || a.Distance < 0 || a.Distance > maxDistance {
		return Answer{}, fmt.Errorf("reading what the time servers said: an offset of %s within %s", a.Offset, a.Distance)
	}
	a.Problem = a.Problem[:min(len(a.Problem), maxProblem)]
	a.Denied = a.Denied[:min(len(a.Denied), maxDenied)]
	return a, nil
}

// State is how the clock is, for people.
type State struct {
	Server string        `json:"server,omitempty"` // who answered last
	Origin Origin        `json:"origin,omitempty"`
	Offset time.Duration `json:"offset"` // of that answer, before it was acted on
	At     time.Time     `json:"at,omitzero"`
	// Problem is a sentence for the administrator, once nobody could be asked
	// for long.
	Problem string `json:"problem,omitempty"`
}
