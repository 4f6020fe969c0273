package firewall

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/google/nftables"
	"github.com/mdlayher/netlink"
)

const (
	// netlinkBuffer holds the largest batch and its acknowledgements.
	netlinkBuffer = 32 << 20
	// netlinkTimeout bounds one exchange with the kernel, so that a lost
	// acknowledgement cannot hang the fence.
	netlinkTimeout = 30 * time.Second
)

// session is one netlink socket that is kept open: closing one makes the
// kernel wait for an RCU grace period, 10 ms and more, after every deletion.
// After an error it is reopened, because replies to the rest of the failed
// batch may still be queued.
type session struct {
	netns int

	mu  sync.Mutex
	nft *nftables.Conn
	nl  *netlink.Conn
}

// do runs f with the session's connection to itself.
func (s *session) do(f func(*nftables.Conn) error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.open(); err != nil {
		return fmt.Errorf("opening a netlink socket: %w", err)
	}
	err := s.nl.SetDeadline(time.Now().Add(netlinkTimeout))
	if err == nil {
		err = f(s.nft)
	}
	if err != nil {
		s.close()
	}
	return err
}

func (s *session) open() error {
	if s.nft != nil {
		return nil
	}
	var nl *netlink.Conn
	c, err := nftables.New(nftables.AsLasting(), nftables.WithNetNSFd(s.netns), nftables.WithSockOptions(func(c *netlink.Conn) error {
		nl = c
		return errors.Join(c.SetReadBuffer(netlinkBuffer), c.SetWriteBuffer(netlinkBuffer))
	}))
	if err != nil {
		return err
	}
	s.nft, s.nl = c, nl
	return nil
}

func (s *session) close() {
	if s.nft != nil {
		_ = s.nft.CloseLasting()
	}
	s.nft, s.nl = nil, nil
}

// Close closes the socket; the next do opens a new one.
func (s *session) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.close()
}
