package netcfg

import (
	"context"
	"errors"
	"fmt"
	"net"
	"syscall"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/insomniacslk/dhcp/dhcpv4/nclient4"
	"github.com/mdlayher/packet"
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"

	"ringfence/internal/ports"
)

const (
	// answerWait is how long the first try of an exchange waits; the second
	// waits twice as long.
	answerWait  = 2 * time.Second
	answerTries = 2
)

// link4 exchanges DHCPv4 messages on an Ethernet link.
type link4 struct {
	name     string
	mac      net.HardwareAddr
	hostname string
}

// modifiers are what every message of ours says.
func (l link4) modifiers() []dhcpv4.Modifier {
	m := []dhcpv4.Modifier{dhcpv4.WithRequestedOptions(
		dhcpv4.OptionSubnetMask, dhcpv4.OptionRouter, dhcpv4.OptionClasslessStaticRoute, dhcpv4.OptionDomainNameServer,
		dhcpv4.OptionDomainName, dhcpv4.OptionDNSDomainSearchList, dhcpv4.OptionInterfaceMTU, dhcpv4.OptionNTPServers,
		dhcpv4.OptionIPAddressLeaseTime, dhcpv4.OptionRenewTimeValue, dhcpv4.OptionRebindingTimeValue, dhcpv4.OptionServerIdentifier)}
	if l.hostname != "" {
		m = append(m, dhcpv4.WithOption(dhcpv4.OptHostName(l.hostname)))
	}
	return m
}

// acquire works without an address, on a packet socket.
func (l link4) acquire(ctx context.Context) (*dhcpv4.DHCPv4, error) {
	conn, err := l.packetSocket()
	if err != nil {
		return nil, fmt.Errorf("opening a packet socket on %s: %w", l.name, err)
	}
	client, err := nclient4.NewWithConn(nclient4.NewBroadcastUDPConn(conn, &net.UDPAddr{Port: int(ports.DHCPv4Client)}), l.mac,
		nclient4.WithTimeout(answerWait), nclient4.WithRetry(answerTries))
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	defer client.Close()
	lease, err := client.Request(ctx, l.modifiers()...)
	if err != nil {
		return nil, fmt.Errorf("asking for a lease on %s: %w", l.name, err)
	}
	return lease.ACK, nil
}

// packetSocket receives DHCP answers only: it would otherwise get a copy of
// every packet, also of a flood.
func (l link4) packetSocket() (*packet.Conn, error) {
	ifc, err := net.InterfaceByName(l.name)
	if err != nil {
		return nil, err
	}
	filter, err := bpf.Assemble(dhcpFilter())
	if err != nil {
		return nil, err
	}
	return packet.Listen(ifc, packet.Datagram, unix.ETH_P_IP, &packet.Config{Filter: filter})
}

// dhcpFilter passes whole IPv4 UDP datagrams to the DHCP client's port.
func dhcpFilter() []bpf.Instruction {
	const offProtocol, offFragment, offDestPort, wholePacket = 9, 6, 2, 0xffff
	return []bpf.Instruction{
		bpf.LoadAbsolute{Off: offProtocol, Size: 1},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: unix.IPPROTO_UDP, SkipTrue: 6},
		bpf.LoadAbsolute{Off: offFragment, Size: 2},
		bpf.JumpIf{Cond: bpf.JumpBitsSet, Val: 0x1fff, SkipTrue: 4}, // not the first fragment
		bpf.LoadMemShift{Off: 0},                                    // X = length of the IP header
		bpf.LoadIndirect{Off: offDestPort, Size: 2},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: uint32(ports.DHCPv4Client), SkipTrue: 1},
		bpf.RetConstant{Val: wholePacket},
		bpf.RetConstant{Val: 0},
	}
}

// renew works from the leased address, on a plain socket.
func (l link4) renew(ctx context.Context, ack *dhcpv4.DHCPv4, anybody bool) (*dhcpv4.DHCPv4, error) {
	dest := &net.UDPAddr{IP: net.IPv4bcast, Port: int(ports.DHCPv4Server)}
	server := ack.ServerIdentifier()
	if !anybody && server != nil {
		dest.IP = server
	}
	conn, err := l.plainSocket(ctx)
	if err != nil {
		return nil, fmt.Errorf("opening a socket on %s: %w", l.name, err)
	}
	client, err := nclient4.NewWithConn(conn, l.mac, nclient4.WithTimeout(answerWait), nclient4.WithRetry(answerTries), nclient4.WithServerAddr(dest))
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	defer client.Close()
	request, err := dhcpv4.NewRenewFromAck(ack, l.modifiers()...)
	if err != nil {
		return nil, fmt.Errorf("composing a renewal: %w", err)
	}
	answer, err := client.SendAndRead(ctx, dest, request, nclient4.IsMessageType(dhcpv4.MessageTypeAck, dhcpv4.MessageTypeNak))
	switch {
	case err != nil:
		return nil, fmt.Errorf("renewing the lease on %s: %w", l.name, err)
	case answer.MessageType() == dhcpv4.MessageTypeNak:
		return nil, errNak
	}
	if answer.ServerIdentifier() == nil && server != nil { // some servers leave it out
		answer.UpdateOption(dhcpv4.OptServerIdentifier(server))
	}
	return answer, nil
}

// plainSocket is a UDP socket at the client port that uses the link only. It
// is bound to no address, because a refusal is broadcast (RFC 2131 section
// 4.1).
func (l link4) plainSocket(ctx context.Context) (net.PacketConn, error) {
	config := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) error {
		var err error
		return errors.Join(raw.Control(func(fd uintptr) {
			err = errors.Join(
				unix.BindToDevice(int(fd), l.name),
				unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_BROADCAST, 1),
				unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEADDR, 1))
		}), err)
	}}
	return config.ListenPacket(ctx, "udp4", (&net.UDPAddr{IP: net.IPv4zero, Port: int(ports.DHCPv4Client)}).String())
}
