package b2bua_test

import (
	"log/slog"
	"testing"

	"ringfence/internal/b2bua"
	"ringfence/internal/sip"
	"ringfence/internal/telephony"
	"ringfence/internal/trunk"
)

// TestLimitsHoldFor500CallsAtOnce: exactly as many INVITEs as a trunk may carry
// reach it at once, the rest go to the next one up to the tenant's limit, and all
// others are refused (K08, K09, K10).
func TestLimitsHoldFor500CallsAtOnce(t *testing.T) {
	b2bua.CrowdAtOnce(t, func(e *sip.Endpoint, snap func() *telephony.Snapshot, log *slog.Logger) b2bua.RealTrunks {
		return trunk.New(trunk.Config{Endpoint: e, Snapshot: snap, Logger: log})
	})
}
