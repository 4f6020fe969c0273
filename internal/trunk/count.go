package trunk

import (
	"errors"
	"fmt"
	"sync"

	"ringfence/internal/telephony"
)

// Why a trunk takes no call.
var (
	ErrDown = errors.New("trunk is not in service")
	ErrFull = errors.New("limit of concurrent calls is reached")
)

// key names a trunk of a tenant.
type key struct {
	tenant telephony.TenantID
	trunk  telephony.TrunkID
}

// counts are the calls on trunks now. Checking and counting are one step, so the
// limits are exact however many calls come at once.
type counts struct {
	mu      sync.Mutex
	trunks  map[key]int
	tenants map[telephony.TenantID]int
}

func newCounts() counts {
	return counts{trunks: make(map[key]int), tenants: make(map[telephony.TenantID]int)}
}

// take counts a call until release; limits of 0 are none. One that is exempt is
// counted too, and taken in any case.
func (c *counts) take(k key, trunk, tenant int, exempt bool) (release func(), err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case exempt:
	case trunk > 0 && c.trunks[k] >= trunk:
		return nil, fmt.Errorf("%w: %d on the trunk", ErrFull, trunk)
	case tenant > 0 && c.tenants[k.tenant] >= tenant:
		return nil, fmt.Errorf("%w: %d of the tenant", ErrFull, tenant)
	}
	c.trunks[k]++
	c.tenants[k.tenant]++
	return sync.OnceFunc(func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.trunks[k]--; c.trunks[k] <= 0 {
			delete(c.trunks, k)
		}
		if c.tenants[k.tenant]--; c.tenants[k.tenant] <= 0 {
			delete(c.tenants, k.tenant)
		}
	}), nil
}

func (c *counts) calls(k key) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.trunks[k]
}
