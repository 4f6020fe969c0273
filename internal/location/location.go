// Package location keeps which flows an address of record is reachable on
// (RFC 3261 section 10: the location service).
package location

import (
	"time"

	"ringfence/internal/telephony"
)

// Store maps addresses of record to bindings. Implementations are safe for
// concurrent use; the slices they return belong to the caller.
type Store interface {
	// Bindings returns the live bindings of an AOR that requests can be sent
	// to: highest q first, the latest registered first among equals.
	Bindings(aor telephony.AOR) []telephony.Binding
	// All returns the live bindings of a tenant, sorted by AOR, also those that
	// cannot be reached; telephony.System stands for all tenants.
	All(tenant telephony.TenantID) []telephony.Binding
	// Update changes the bindings of one AOR as a whole: change gets the live
	// ones and returns those that shall be there afterwards, or an error, and
	// then nothing changes. No other change of this AOR happens in between.
	// It returns what is there now.
	Update(aor telephony.AOR, change func(live []telephony.Binding) ([]telephony.Binding, error)) ([]telephony.Binding, error)
	// FlowGone removes the bindings of a connection that has ended.
	FlowGone(token string)
}

// Changed is what happened to bindings since the last Take, for a writer that
// stores them behind the registrations.
type Changed struct {
	Put     []telephony.Binding
	Removed []telephony.Binding
}

// Empty reports whether nothing happened.
func (c Changed) Empty() bool { return len(c.Put) == 0 && len(c.Removed) == 0 }

// Config is what a Memory needs; the zero value will do.
type Config struct {
	// Sweep is how often expired bindings are removed; 0 means 1 s.
	Sweep time.Duration
	// OnChange, if set, hears which AOR has how many reachable bindings left,
	// whenever that or a flow of them changed; not for mere refreshes. It must
	// not block.
	OnChange func(tenant telephony.TenantID, aor telephony.AOR, bindings int)
}
