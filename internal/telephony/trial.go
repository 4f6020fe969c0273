package telephony

import (
	"encoding/json"
	"maps"
	"net/netip"
	"slices"
	"time"

	"ringfence/internal/ports"
)

// The window in which a trial is to be confirmed.
const (
	MinTrial = 10 * time.Second
	MaxTrial = 10 * time.Minute
)

// Trial is a change of settings that is in effect and is taken back unless
// somebody confirms it in time, since it could have shut him out.
type Trial struct {
	ID     string // what the confirmation has to say
	By     string // who made the change
	Rev    uint64 // the revision that it made
	Began  time.Time
	Window time.Duration
	Undo   Undo
}

// Undo is what a trial changed, as it was before. Nothing else is touched when it
// is taken back.
type Undo struct {
	// Settings are the values of fields, by the store's names, as JSON.
	Settings map[string]json.RawMessage `json:"settings,omitempty"`
	// Ports are the overrides of rows of the port table; nil if there was none.
	Ports map[ports.ID]*ports.Override `json:"ports,omitempty"`
	// Rules are those of the list of addresses; nil if there was none.
	Rules map[netip.Prefix]*AddressRule `json:"rules,omitempty"`
}

// maxNames bounds what Names lists.
const maxNames = 20

// Names says what was changed, for people.
func (u Undo) Names() []string {
	out := slices.Sorted(maps.Keys(u.Settings))
	for _, id := range slices.Sorted(maps.Keys(u.Ports)) {
		out = append(out, string(id))
	}
	for _, p := range slices.SortedFunc(maps.Keys(u.Rules), netip.Prefix.Compare) {
		if out = append(out, p.String()); len(out) > maxNames {
			break
		}
	}
	return out[:min(len(out), maxNames)]
}

// Common is something that both change, or empty.
func (u Undo) Common(o Undo) string {
	for name := range u.Settings {
		if _, both := o.Settings[name]; both {
			return name
		}
	}
	for id := range u.Ports {
		if _, both := o.Ports[id]; both {
			return string(id)
		}
	}
	for p := range u.Rules {
		if _, both := o.Rules[p]; both {
			return p.String()
		}
	}
	return ""
}
