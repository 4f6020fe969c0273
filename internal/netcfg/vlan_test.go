package netcfg

import (
	"os/exec"
	"slices"
	"strings"
	"testing"

	"ringfence/firewall/nstest"
)

// pings reports whether the peer reaches an address from one of its
// interfaces.
func (m *managed) pings(from, to string) bool {
	m.t.Helper()
	err := m.peer.Command("ping", "-c", "1", "-W", "1", "-I", from, to).Run()
	if _, failed := err.(*exec.ExitError); err != nil && !failed {
		m.t.Fatal(err)
	}
	return err == nil
}

// needVLANs skips where the kernel knows none; tests/qemu proves the same with
// ours.
func needVLANs(m *managed) {
	m.t.Helper()
	if out, err := m.peer.Command("ip", "link", "add", "link", nstest.PeerLink, "name", "probe", "type", "vlan", "id", "4000").CombinedOutput(); err != nil {
		m.t.Skipf("this kernel has no VLANs: %s", out)
	}
	m.peer.Run("ip", "link", "del", "probe")
}

// N01: the VLAN's address answers tagged frames only, and the interface below
// has no address of its own, not even a link-local one.
func TestManagerMakesAVLANThatAnswersTaggedFramesOnly(t *testing.T) {
	t.Parallel()
	m := manage(t)
	needVLANs(m)
	m.peer.Run("ip", "link", "add", "link", nstest.PeerLink, "name", "tag20", "type", "vlan", "id", "20")
	for link, addr := range map[string]string{nstest.PeerLink: "10.88.0.3/24", "tag20": "10.88.0.2/24"} {
		m.peer.Run("ip", "link", "set", link, "up")
		m.peer.Run("ip", "addr", "add", addr, "dev", link)
	}
	states := m.all(`{"interfaces":[{"vlan":20,"link":"eth0","addresses":["10.88.0.1/24"],"mtu":1400}]}`)
	vlan := slices.IndexFunc(states, func(s State) bool { return s.Name == "eth0.20" })
	if vlan < 0 || !states[vlan].Managed || !has(states[vlan], "10.88.0.1/24") || states[vlan].VLAN != 20 || states[vlan].Link != nstest.HostLink || states[vlan].MTU != 1400 {
		t.Fatalf("states %+v", states)
	}
	m.eventually("the tagged ping is answered", func(State) bool { return m.pings("tag20", "10.88.0.1") })
	if m.pings(nstest.PeerLink, "10.88.0.1") {
		t.Error("an untagged frame was answered")
	}
	if below := m.say(""); len(below.Addresses) > 0 || !below.Up {
		t.Errorf("the interface below: %+v", below)
	}
	// Back to the untagged network: the VLAN goes.
	states = m.all(`{"interfaces":[{"name":"eth0","addresses":["10.88.0.1/24"]}]}`)
	if slices.ContainsFunc(states, func(s State) bool { return s.VLAN != 0 }) {
		t.Errorf("states %+v", states)
	}
	m.peer.Run("ip", "link", "del", "tag20")
	m.eventually("the untagged ping is answered", func(State) bool { return m.pings(nstest.PeerLink, "10.88.0.1") })
}

// A VLAN that somebody else made is configured, but not removed; of ours the
// name may change, and the MAC address below says where it stands.
func TestManagerLeavesVLANsOfOthers(t *testing.T) {
	t.Parallel()
	m := manage(t)
	needVLANs(m)
	m.host.Run("ip", "link", "set", nstest.HostLink, "address", "52:54:00:00:00:07")
	m.host.Run("ip", "link", "add", "link", nstest.HostLink, "name", "theirs", "type", "vlan", "id", "30")
	names := func(list []State) string {
		var out []string
		for _, s := range list {
			out = append(out, s.Name)
		}
		slices.Sort(out)
		return strings.Join(out, " ")
	}
	const below = `{"vlan":20,"link":"52:54:00:00:00:07","addresses":["10.88.0.1/24"]`
	if got := names(m.all(`{"interfaces":[` + below + `}]}`)); got != "eth0 eth0.20 theirs" {
		t.Errorf("interfaces %s", got)
	}
	if got := names(m.all(`{"interfaces":[` + below + `,"name":"voice"}]}`)); got != "eth0 theirs voice" {
		t.Errorf("interfaces %s", got)
	}
	m.stop()
	m.run() // a new process knows its own
	if got := names(m.all(`{"interfaces":[{"vlan":30,"link":"eth0","addresses":["10.89.0.1/24"]}]}`)); got != "eth0 theirs" {
		t.Errorf("interfaces %s", got)
	}
}

// A static address goes at once when the interface is to ask for one by DHCP:
// it must not let somebody confirm a configuration without it. An interface
// that is in no entry any more is left without addresses, and the MTU returns.
func TestManagerLeavesNothingOfAnEarlierConfiguration(t *testing.T) {
	t.Parallel()
	m := manage(t)
	m.host.Run("ip", "link", "add", "eth1", "type", "veth", "peer", "name", "eth1", "netns", m.peer.Name)
	m.peer.Run("ip", "link", "set", nstest.PeerLink, "up")
	s := m.say(`{"interfaces":[{"name":"eth0","addresses":["10.77.0.1/24"],"mtu":1400},{"name":"eth1","addresses":["10.78.0.1/24"]}]}`)
	if !has(s, "10.77.0.1/24") || s.MTU != 1400 {
		t.Fatalf("state %+v", s)
	}
	states := m.all(`{"interfaces":[{"name":"eth0","dhcp4":true}]}`)
	for _, s := range states {
		if has(s, "10.77.0.1/24") || has(s, "10.78.0.1/24") || s.Name == "eth1" && (s.Up || s.Managed) || s.MTU != 1500 {
			t.Errorf("state %+v", s)
		}
	}
}
