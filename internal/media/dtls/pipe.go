package dtls

import (
	"net"
	"time"

	"github.com/pion/transport/v5/packetio"
)

const (
	// maxQueued datagrams wait for the handshake; more are lost, as on any
	// network. A flight has a handful.
	maxQueued      = 32
	maxQueuedBytes = 64 << 10
)

// pipe is the packet connection under an association: datagrams come in by
// Deliver, and go out by a function.
type pipe struct {
	in   *packetio.Buffer
	send func([]byte)
}

func newPipe(send func([]byte)) *pipe {
	p := &pipe{in: packetio.NewBuffer(), send: send}
	p.in.SetLimitCount(maxQueued)
	p.in.SetLimitSize(maxQueuedBytes)
	return p
}

func (p *pipe) ReadFrom(b []byte) (int, net.Addr, error) {
	n, _, err := p.in.Read(b, nil)
	return n, nowhere{}, err
}

func (p *pipe) WriteTo(b []byte, _ net.Addr) (int, error) {
	p.send(b)
	return len(b), nil
}

func (p *pipe) Close() error                      { return p.in.Close() }
func (p *pipe) LocalAddr() net.Addr               { return nowhere{} }
func (p *pipe) SetReadDeadline(t time.Time) error { return p.in.SetReadDeadline(t) }
func (*pipe) SetWriteDeadline(time.Time) error    { return nil } // writing does not block
func (p *pipe) SetDeadline(t time.Time) error     { return p.SetReadDeadline(t) }

// nowhere is the address of a pipe's ends.
type nowhere struct{}

func (nowhere) Network() string { return "pipe" }
func (nowhere) String() string  { return "peer" }
