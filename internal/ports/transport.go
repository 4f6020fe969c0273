package ports

import (
	"fmt"
	"slices"
)

// Protocol is what people call the transport of a SIP service: udp, tcp, tls
// or wss.
func (s Service) Protocol() string {
	switch s.Wrap {
	case SIPS:
		return "tls"
	case SIPWSS:
		return "wss"
	}
	return string(s.Proto)
}

// Signalling finds the row of a side's SIP transport.
func Signalling(side Side, protocol string) (Service, bool) {
	all := Table()
	i := slices.IndexFunc(all, func(s Service) bool {
		return s.IsSignalling() && s.Side == side && s.Protocol() == protocol
	})
	if i < 0 {
		return Service{}, false
	}
	return all[i], true
}

// Change returns the overrides with that of service id changed.
func Change(overrides []Override, id ID, change func(*Override)) []Override {
	out := slices.Clone(overrides)
	i := slices.IndexFunc(out, func(o Override) bool { return o.ID == id })
	if i < 0 {
		i = len(out)
		out = append(out, Override{ID: id})
	}
	change(&out[i])
	return out
}

// Row is service id as the overrides have it, be it on or off; DefaultOn says
// which.
func Row(overrides []Override, id ID) (Service, bool) {
	row, ok := Lookup(Table(), id)
	for _, o := range overrides {
		if ok && o.ID == id {
			_ = apply(&row, o) // stored ones were checked
		}
	}
	return row, ok
}

// Taken says why service id cannot have a port: it belongs to the system, or
// to another row of the table, be that switched on or off, at its present
// place. Nil means nothing of ours is in the way.
func Taken(overrides []Override, id ID, port uint16) error {
	if port < 1024 {
		return fmt.Errorf("port %d is below 1024, which the PBX has no right to open", port)
	}
	all := Table()
	for _, o := range overrides {
		if i := slices.IndexFunc(all, func(s Service) bool { return s.ID == o.ID }); i >= 0 {
			_ = apply(&all[i], Override{ID: o.ID, First: o.First, Last: o.Last})
		}
	}
	me, ok := Lookup(all, id)
	if !ok {
		return fmt.Errorf("port table has no service %q", id)
	}
	for _, s := range all {
		if s.ID != id && s.Proto == me.Proto && s.Contains(port) {
			return fmt.Errorf("%s port %d belongs to %s (%s)", s.Proto, port, s.Name, s.Ports())
		}
	}
	return nil
}
