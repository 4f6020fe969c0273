package firewall

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// Numbers of nfnetlink_log (linux/netfilter/nfnetlink_log.h).
const (
	ulogPacket   = unix.NFNL_SUBSYS_ULOG << 8
	ulogConfig   = ulogPacket | 1
	ulogCommand  = 1 // NFULA_CFG_CMD
	ulogMode     = 2 // NFULA_CFG_MODE
	ulogQueue    = 5 // NFULA_CFG_QTHRESH
	ulogBind     = 1
	ulogCopy     = 2 // copy the packet's beginning
	ulogPayload  = 9
	ulogPrefix   = 10
	nfgenmsgSize = 4
	// ulogBuffer is the socket's: what does not fit is lost, and found in the
	// sets later.
	ulogBuffer = 1 << 20
)

// follow hands the bans that meters set to told until ctx ends.
func (k *Kernel) follow(ctx context.Context, told func(logged)) error {
	c, err := netlink.Dial(unix.NETLINK_NETFILTER, &netlink.Config{NetNS: k.rules.netns})
	if err != nil {
		return fmt.Errorf("opening the packet log: %w", err)
	}
	stop := context.AfterFunc(ctx, func() { _ = c.Close() })
	defer func() {
		if stop() {
			_ = c.Close()
		}
	}()
	if err := bindLog(c); err != nil {
		return fmt.Errorf("opening the packet log: %w", err)
	}
	for {
		messages, err := c.Receive()
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, unix.ENOBUFS): // more than the buffer held
			continue
		case err != nil:
			return fmt.Errorf("reading the packet log: %w", err)
		}
		for _, m := range messages {
			if m.Header.Type != ulogPacket || len(m.Data) < nfgenmsgSize {
				continue
			}
			if l, err := decodeLogged(m.Data[nfgenmsgSize:]); err == nil {
				told(l)
			}
		}
	}
}

// bindLog asks for the packets of our group, each at once.
func bindLog(c *netlink.Conn) error {
	if err := c.SetReadBuffer(ulogBuffer); err != nil {
		return err
	}
	mode := append(binary.BigEndian.AppendUint32(nil, logSnaplen), ulogCopy, 0)
	body, err := netlink.MarshalAttributes([]netlink.Attribute{
		{Type: ulogCommand, Data: []byte{ulogBind}},
		{Type: ulogMode, Data: mode},
		{Type: ulogQueue, Data: binary.BigEndian.AppendUint32(nil, 1)},
	})
	if err != nil {
		return err
	}
	head := binary.BigEndian.AppendUint16([]byte{unix.AF_UNSPEC, unix.NFNETLINK_V0}, logGroup)
	_, err = c.Execute(netlink.Message{
		Header: netlink.Header{Type: ulogConfig, Flags: netlink.Request | netlink.Acknowledge},
		Data:   append(head, body...),
	})
	return err
}

func decodeLogged(attributes []byte) (logged, error) {
	d, err := netlink.NewAttributeDecoder(attributes)
	if err != nil {
		return logged{}, err
	}
	var prefix string
	var packet []byte
	for d.Next() {
		switch d.Type() {
		case ulogPrefix:
			prefix = d.String()
		case ulogPayload:
			packet = d.Bytes()
		}
	}
	if err := d.Err(); err != nil {
		return logged{}, err
	}
	return parseLogged(prefix, packet)
}
