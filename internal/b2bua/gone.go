package b2bua

import (
	"ringfence/internal/sip"
	"ringfence/internal/telephony"
)

// Reconcile ends the calls of tenants that are not there any more. It does not
// wait for their ends.
func (s *Service) Reconcile(snap *telephony.Snapshot) {
	for _, c := range s.all() {
		if _, ok := snap.Tenant(c.tenant.ID); !ok {
			c.box.Post(func() { c.end(telephony.EndAdmin, sip.Reply{Code: 480}) })
		}
	}
}
