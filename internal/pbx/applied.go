package pbx

import (
	"cmp"
	"slices"
	"sync"

	"ringfence/internal/events"
)

// applied remembers which revision of the settings each part runs.
type applied struct {
	bus *events.Bus

	mu    sync.Mutex
	parts map[string]events.SettingApplied
}

func newApplied(bus *events.Bus) *applied {
	return &applied{bus: bus, parts: make(map[string]events.SettingApplied)}
}

// set notes that a part runs revision rev, or why it does not.
func (a *applied) set(part string, rev uint64, err error) {
	e := events.SettingApplied{Subsystem: part, Rev: rev}
	if err != nil {
		e.Err = err.Error()
	}
	a.mu.Lock()
	before, known := a.parts[part]
	a.parts[part] = e
	a.mu.Unlock()
	if !known || before != e {
		a.bus.Publish(e)
	}
}

// list is every part, by name.
func (a *applied) list() []events.SettingApplied {
	a.mu.Lock()
	defer a.mu.Unlock()
	all := make([]events.SettingApplied, 0, len(a.parts))
	for _, e := range a.parts {
		all = append(all, e)
	}
	slices.SortFunc(all, func(x, y events.SettingApplied) int { return cmp.Compare(x.Subsystem, y.Subsystem) })
	return all
}

// failed is the first part that does not run the settings as they are.
func (a *applied) failed() (events.SettingApplied, bool) {
	for _, e := range a.list() {
		if e.Err != "" {
			return e, true
		}
	}
	return events.SettingApplied{}, false
}
