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

// Put returns the overrides with o in place of those of the same service.
func Put(overrides []Override, o Override) []Override {
	out := slices.DeleteFunc(slices.Clone(overrides), func(old Override) bool { return old.ID == o.ID })
	return append(out, o)
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
