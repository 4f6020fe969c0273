package netcfg

import (
	"net"

	"golang.org/x/net/ipv6"

	"ringfence/firewall/nstest"
)

func sendRA(packet []byte) error {
	conn, err := net.ListenPacket("ip6:ipv6-icmp", "::")
	if err != nil {
		return err
	}
	defer conn.Close()
	link, err := net.InterfaceByName(nstest.PeerLink)
	if err != nil {
		return err
	}
	p := ipv6.NewPacketConn(conn)
	if err := p.SetMulticastHopLimit(255); err != nil {
		return err
	}
	_, err = p.WriteTo(packet, &ipv6.ControlMessage{IfIndex: link.Index, HopLimit: 255}, &net.IPAddr{IP: net.ParseIP("ff02::1"), Zone: nstest.PeerLink})
	return err
}
