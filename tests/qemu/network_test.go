package qemu

import (
	"context"
	"net"
	"net/netip"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"ringfence/internal/ports"
	"ringfence/tests/apiclient"
)

// Where the guest moves to, and the tests' addresses there.
const (
	moved4, movedTester4 = "10.78.0.1", "10.78.0.2"
	vlan4, vlanTester4   = "10.88.0.1", "10.88.0.2"
	nowhere4             = "10.99.0.1"
)

// TestNetworkChange is what an administrator may do to the box's network from
// afar: what cuts him off returns by itself, also by a power cut; what he
// confirms from the new address stays. So it is with a VLAN, which answers
// tagged frames only, and those only what is for its zone.
func TestNetworkChange(t *testing.T) {
	t.Parallel()
	vm := Start(t, tagged(t, vlanTester4+"/24"))
	if err := vm.NS.IP("addr", "add", movedTester4+"/24", "dev", tap); err != nil {
		t.Fatal(err)
	}
	vm.WaitReady(0)
	vm.Setup()
	n := &netTest{t: t, vm: vm}

	n.put(vm.API, n.at(nowhere4), 10)
	n.gone(guest4)
	n.back("a change that nobody confirmed", guest4, 60*time.Second)
	n.wantReverted(vm.API)

	id := n.put(vm.API, n.at(moved4), 300)
	if err := n.confirm(guest4, id); apiclient.Status(err) != 409 {
		t.Errorf("confirmed before the change, by the old path: %v", err)
	}
	n.back("moved", moved4, 30*time.Second)
	n.gone(guest4)
	if err := n.confirm(moved4, "guess"); apiclient.Status(err) != 409 {
		t.Errorf("confirmed by a guess: %v", err)
	}
	if err := n.confirm(moved4, id); err != nil {
		t.Fatalf("confirming from the new address: %v", err)
	}

	// A power cut while two changes wait, one of the network and one of who may
	// reach the portal: what was there before both is in force.
	n.put(n.login(moved4), n.vlan(""), 300)
	n.back("the VLAN", vlan4, 30*time.Second)
	n.gone(moved4)
	if n.answersBy(tap, vlan4) {
		t.Error("the portal of the VLAN answered an untagged frame")
	}
	n.onlyFrom(n.login(vlan4), "192.0.2.0/24")
	n.gone(vlan4)
	vm.Kill()
	start := time.Now()
	vm.StartAgain()
	n.back("after the power cut", moved4, bootTimeout)
	t.Logf("back %.1f s after the power cut", time.Since(start).Seconds())
	if n.answersBy(tap20, vlan4) {
		t.Error("the unconfirmed VLAN is there after a power cut")
	}

	// In a VLAN for telephones, telephones are answered and the portal is not: the
	// administrator who put himself there comes back.
	if !n.callsBy(moved4) {
		t.Error("SIP is not answered without zones")
	}
	n.put(n.login(moved4), n.vlan("voice"), 20)
	n.gone(moved4)
	n.until("SIP is not answered in the VLAN for telephones", func() bool { return n.callsBy(vlan4) })
	if n.answersBy("", vlan4) {
		t.Error("the portal answers in the VLAN for telephones")
	}
	n.back("a VLAN that nobody confirmed", moved4, 60*time.Second)

	id = n.put(n.login(moved4), n.vlan("management"), 60)
	n.back("the VLAN", vlan4, 30*time.Second)
	if n.callsBy(vlan4) {
		t.Error("SIP is answered in the VLAN for management")
	}
	if err := n.confirm(vlan4, id); err != nil {
		t.Fatalf("confirming from the VLAN: %v", err)
	}
	var now struct{ Pending *struct{} }
	n.do(n.login(vlan4), "GET", "/network", nil, &now)
	if now.Pending != nil {
		t.Error("a confirmed change still waits")
	}
}

type netTest struct {
	t  *testing.T
	vm *VM
}

// networkInterface is an entry of the API; what is not said is off.
type networkInterface struct {
	Name           string   `json:"name"`
	MAC            string   `json:"mac"`
	VLAN           int      `json:"vlan"`
	Link           string   `json:"link"`
	Zone           string   `json:"zone"`
	DHCP4          bool     `json:"dhcp4"`
	DHCP6          bool     `json:"dhcp6"`
	AcceptRA       bool     `json:"accept_ra"`
	NoDefaultRoute bool     `json:"no_default_route"`
	Metric         int      `json:"metric"`
	Addresses      []string `json:"addresses"`
	Routes         []string `json:"routes"`
	Nameservers    []string `json:"nameservers"`
	Search         []string `json:"search"`
	MTU            int      `json:"mtu"`
}

func (n *netTest) at(addr string) networkInterface {
	return networkInterface{MAC: guestMAC, Addresses: []string{addr + "/24"}, Routes: []string{}, Nameservers: []string{}, Search: []string{}}
}

// vlan is a guest that is in VLAN 20 and nowhere else.
func (n *netTest) vlan(zone string) networkInterface {
	i := n.at(vlan4)
	i.MAC, i.VLAN, i.Link, i.Zone = "", vlanID, guestMAC, zone
	return i
}

// onlyFrom lets nobody but a network reach the portal, until that is confirmed
// or taken back.
func (n *netTest) onlyFrom(c *apiclient.Client, network string) {
	n.t.Helper()
	portal, _ := ports.Lookup(ports.Table(), ports.Portal)
	var answer struct{ Trial struct{ ID string } }
	n.do(c, "PUT", "/ports/portal?confirm_seconds=300", map[string]any{
		"enabled": true, "port": portal.First, "zones": portal.Zones, "sources": []string{network}, "anyway": true,
	}, &answer)
	if answer.Trial.ID == "" {
		n.t.Error("what shuts the administrator out is not on trial")
	}
}

// callsBy reports whether SIP over UDP answers at an address.
func (n *netTest) callsBy(addr string) bool {
	n.t.Helper()
	udp, _ := ports.Lookup(ports.Table(), ports.SIPUDP)
	from := map[string]string{moved4: movedTester4, vlan4: vlanTester4}[addr]
	c, err := n.vm.NS.ListenUDP(netip.AddrPortFrom(netip.MustParseAddr(from), 0))
	if err != nil {
		n.t.Fatal(err)
	}
	defer c.Close()
	for range 3 {
		if probeSIP(c, netip.AddrPortFrom(netip.MustParseAddr(addr), udp.First), time.Second) {
			return true
		}
	}
	return false
}

// until waits for what must be so within some seconds.
func (n *netTest) until(otherwise string, so func() bool) {
	n.t.Helper()
	for end := time.Now().Add(10 * time.Second); !so(); {
		if time.Now().After(end) {
			n.t.Error(otherwise)
			return
		}
	}
}

func (n *netTest) do(c *apiclient.Client, method, path string, in, out any) {
	n.t.Helper()
	ctx, cancel := context.WithTimeout(n.t.Context(), 30*time.Second)
	defer cancel()
	if err := c.Do(ctx, method, path, in, out); err != nil {
		n.t.Fatalf("%s %s: %v", method, path, err)
	}
}

// put changes the network and returns the id to confirm it with.
func (n *netTest) put(c *apiclient.Client, i networkInterface, seconds int) string {
	n.t.Helper()
	var change struct{ ID string }
	n.do(c, "PUT", "/network", map[string]any{"interfaces": []networkInterface{i}, "confirm_seconds": seconds}, &change)
	return change.ID
}

func (n *netTest) client(addr string) *apiclient.Client {
	portal, _ := ports.Lookup(ports.Table(), ports.Portal)
	return apiclient.New("https://"+net.JoinHostPort(addr, portal.Ports()), n.vm.Fingerprint, n.vm.NS.DialContext)
}

func (n *netTest) login(addr string) *apiclient.Client {
	n.t.Helper()
	c, who := n.client(addr), apiclient.DefaultSetup()
	ctx, cancel := context.WithTimeout(n.t.Context(), 30*time.Second)
	defer cancel()
	if err := c.Login(ctx, who.Name, who.Password); err != nil {
		n.t.Fatalf("logging in at %s: %v", addr, err)
	}
	return c
}

// confirm needs no session.
func (n *netTest) confirm(addr, id string) error {
	ctx, cancel := context.WithTimeout(n.t.Context(), 30*time.Second)
	defer cancel()
	return n.client(addr).Do(ctx, "POST", "/network/confirm", map[string]string{"id": id}, nil)
}

func (n *netTest) wantReverted(c *apiclient.Client) {
	n.t.Helper()
	var now struct{ Reverted *struct{ Reason string } }
	n.do(c, "GET", "/network", nil, &now)
	if now.Reverted == nil || now.Reverted.Reason == "" {
		n.t.Error("nobody is told that the change was taken back")
	}
}

// answersBy reports whether the portal accepts a connection that leaves by a
// link, or by whichever.
func (n *netTest) answersBy(link, addr string) bool {
	portal, _ := ports.Lookup(ports.Table(), ports.Portal)
	ctx, cancel := context.WithTimeout(n.t.Context(), time.Second)
	defer cancel()
	var c net.Conn
	err := n.vm.NS.Do(func() (err error) {
		d := net.Dialer{Control: func(_, _ string, raw syscall.RawConn) (err error) {
			if link == "" {
				return nil
			}
			cerr := raw.Control(func(fd uintptr) { err = unix.BindToDevice(int(fd), link) })
			if cerr != nil {
				return cerr
			}
			return err
		}}
		d.SetMultipathTCP(false)
		c, err = d.DialContext(ctx, "tcp", net.JoinHostPort(addr, portal.Ports()))
		return err
	})
	if err != nil {
		return false
	}
	c.Close()
	return true
}

// gone waits until an address does not answer any more.
func (n *netTest) gone(addr string) {
	n.t.Helper()
	for end := time.Now().Add(20 * time.Second); n.answersBy("", addr); time.Sleep(200 * time.Millisecond) {
		if time.Now().After(end) {
			n.t.Fatalf("%s still answers", addr)
		}
	}
}

// back waits until an address answers.
func (n *netTest) back(what, addr string, limit time.Duration) {
	n.t.Helper()
	start := time.Now()
	for !n.answersBy("", addr) {
		if time.Since(start) > limit {
			n.t.Fatalf("%s: %s does not answer within %s", what, addr, limit)
		}
		time.Sleep(200 * time.Millisecond)
	}
	n.t.Logf("%s: %s answers after %.1f s", what, addr, time.Since(start).Seconds())
}
