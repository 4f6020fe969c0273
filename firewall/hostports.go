package firewall

import (
	"fmt"
	"slices"

	"ringfence/internal/ports"
)

// maxHostPorts bounds the ports of the host's own programs.
const maxHostPorts = 4

func (s *Server) hostPortFiles() files[[]uint16] { return files[[]uint16]{s.o.Dir, "host-ports"} }

// loadHostPorts takes what was set last. Until root has said where sshd is, and
// when that cannot be read, it is where it is everywhere: a host whose operator
// is locked out is lost.
func (s *Server) loadHostPorts() {
	if !s.o.HostPorts {
		return
	}
	list, found, err := s.hostPortFiles().confirmed()
	if err == nil && found {
		err = checkHostPorts(list)
	}
	if err != nil {
		s.log.Error("the host's own ports cannot be read, taking the standard", "err", err)
	}
	if err != nil || !found {
		list = []uint16{ports.SSHStandard}
	}
	s.enacting.Lock()
	s.open = list
	s.enacting.Unlock()
}

func checkHostPorts(list []uint16) error {
	if len(list) > maxHostPorts {
		return fmt.Errorf("%w: %d ports of the host, at most %d are possible", ErrRefused, len(list), maxHostPorts)
	}
	for i, p := range list {
		if p == 0 || slices.Contains(list[:i], p) {
			return fmt.Errorf("%w: port %d of the host is 0 or there twice", ErrRefused, p)
		}
	}
	return nil
}

// setHostPorts opens exactly list. Only root may: what the PBX may open is
// bounded by the port table.
func (s *Server) setHostPorts(from uint32, list []uint16) error {
	if !s.o.HostPorts {
		return fmt.Errorf("%w: there are no ports of a host here", ErrRefused)
	}
	if from != s.o.hostOwner {
		return fmt.Errorf("%w: ports of the host are for root to open", ErrRefused)
	}
	if err := checkHostPorts(list); err != nil {
		return err
	}
	s.enacting.Lock()
	same := slices.Equal(list, s.open)
	before := s.open
	s.open = slices.Clone(list)
	s.enacting.Unlock()
	if same {
		return nil
	}
	err := s.policy.again()
	if err == nil {
		err = s.hostPortFiles().putConfirmed(list)
	}
	if err != nil {
		s.enacting.Lock()
		s.open = before
		s.enacting.Unlock()
		return fmt.Errorf("opening ports of the host: %w", err)
	}
	s.log.Info("ports of the host", "open", list)
	return nil
}

// admit lets TCP in to ports, before the last rule, which drops. Lists and bans
// of all ports come first as for every row.
func (r *Ruleset) admit(open []uint16) {
	for i, c := range r.Chains {
		if c.Name != chainIn && c.Name != zoneChain(ports.Management) || len(c.Rules) == 0 {
			continue
		}
		last := len(c.Rules) - 1
		rules := slices.Clone(c.Rules[:last])
		for _, p := range open {
			rules = append(rules, Rule{PortRange{Proto: string(ports.TCP), First: p, Last: p}, Count{portCounter + string(ports.SSH)}, Accept{}})
		}
		r.Chains[i].Rules = append(rules, c.Rules[last])
	}
}
