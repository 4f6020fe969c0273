package siptest

import (
	"fmt"
	"net/netip"
)

// Remap lets the phone send and receive from new ports from now on, signalling
// and media of all its calls, as if its NAT had forgotten the old ones. The phone
// does not know: what it says of its addresses stays the same. It must be on UDP.
func (p *Phone) Remap() error {
	d, ok := p.wire.(*datagrams)
	if !ok {
		return fmt.Errorf("remapping %s: it is on a connection", p.config.User)
	}
	conn, err := p.config.ListenUDP(netip.AddrPortFrom(p.bound.Addr(), 0))
	if err != nil {
		return fmt.Errorf("remapping %s: %w", p.config.User, err)
	}
	d.conn.Swap(conn).Close()
	p.mu.Lock()
	var calls []*Call
	for _, c := range p.calls {
		calls = append(calls, c)
	}
	p.mu.Unlock()
	for _, c := range calls {
		moved, err := p.newMedia()
		if err != nil {
			return fmt.Errorf("remapping %s: %w", p.config.User, err)
		}
		moved.port = c.media.Load().port // as it is told
		c.mu.Lock()
		c.moveTo(moved)
		c.aim()
		c.mu.Unlock()
	}
	return nil
}
