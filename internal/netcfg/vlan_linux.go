package netcfg

import (
	"errors"
	"fmt"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// vlanMark is the alias of VLANs that we made: those alone we take away.
const vlanMark = "ringfence"

// rank puts VLANs after the interfaces they stand on.
func rank(l netlink.Link) int {
	if _, is := l.(*netlink.Vlan); is {
		return 1
	}
	return 0
}

// stands reports whether a VLAN entry is for a VLAN on top of the link.
func (i Interface) stands(on netlink.Link) bool {
	a := on.Attrs()
	return i.VLAN != 0 && isEthernet(on) && (i.Link == a.Name || i.Link == a.HardwareAddr.String())
}

// carriesVLAN reports whether a VLAN of c stands on the link.
func (c Config) carriesVLAN(l netlink.Link) bool {
	return slices.ContainsFunc(c.Interfaces, func(i Interface) bool { return i.stands(l) })
}

// vlanEntry finds the entry of a VLAN that is there, whoever made it.
func (m *Manager) vlanEntry(v *netlink.Vlan, all []netlink.Link) (Interface, bool) {
	below := slices.IndexFunc(all, func(l netlink.Link) bool { return l.Attrs().Index == v.ParentIndex })
	if below < 0 || v.VlanProtocol != netlink.VLAN_PROTOCOL_8021Q && v.VlanProtocol != netlink.VLAN_PROTOCOL_UNKNOWN {
		return Interface{}, false
	}
	n := slices.IndexFunc(m.config.Interfaces, func(i Interface) bool { return i.VLAN == v.VlanId && i.stands(all[below]) })
	if n < 0 {
		return Interface{}, false
	}
	return m.config.Interfaces[n], true
}

// reconcileVLANs makes the VLANs of the configuration and removes those of an
// earlier one.
func (m *Manager) reconcileVLANs() error {
	links, err := netlink.LinkList()
	if err != nil {
		return fmt.Errorf("listing interfaces: %w", err)
	}
	var failed []error
	have := map[[2]int]bool{} // by index below and id
	for _, l := range links {
		v, is := l.(*netlink.Vlan)
		if !is {
			continue
		}
		entry, ok := m.vlanEntry(v, links)
		ours := v.Alias == vlanMark
		if ours && (!ok || entry.Name != "" && entry.Name != v.Name) {
			if err := netlink.LinkDel(l); err != nil && !errors.Is(err, unix.ENODEV) {
				failed = append(failed, fmt.Errorf("removing VLAN %s: %w", v.Name, err))
			}
			m.log.Info("VLAN removed", "interface", v.Name)
			continue
		}
		have[[2]int{v.ParentIndex, v.VlanId}] = true
	}
	for _, i := range m.config.Interfaces {
		for _, l := range links {
			if i.stands(l) && !have[[2]int{l.Attrs().Index, i.VLAN}] {
				failed = append(failed, m.addVLAN(i, l))
				break
			}
		}
	}
	return errors.Join(failed...)
}

func (m *Manager) addVLAN(i Interface, below netlink.Link) error {
	name := i.Name
	if name == "" {
		name = vlanName(below.Attrs().Name, i.VLAN)
	}
	if len(name) > maxName {
		return fmt.Errorf("making VLAN %d on %s: the name %s is too long, give it another", i.VLAN, below.Attrs().Name, name)
	}
	// Protective settings of an interface come from "default" until the link
	// is configured: it is down, so nothing arrives meanwhile.
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.ParentIndex = name, below.Attrs().Index
	v := &netlink.Vlan{LinkAttrs: attrs, VlanId: i.VLAN, VlanProtocol: netlink.VLAN_PROTOCOL_8021Q}
	if err := netlink.LinkAdd(v); err != nil {
		return fmt.Errorf("making VLAN %d on %s: %w", i.VLAN, below.Attrs().Name, err)
	}
	made, err := netlink.LinkByName(name)
	if err == nil {
		err = netlink.LinkSetAlias(made, vlanMark)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("marking VLAN %s: %w", name, err), netlink.LinkDel(v))
	}
	m.log.Info("VLAN made", "interface", name, "id", i.VLAN, "link", below.Attrs().Name)
	return nil
}
