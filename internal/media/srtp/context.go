package srtp

import (
	"errors"
	"fmt"

	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	pion "github.com/pion/srtp/v3"
)

const (
	// Overhead is the most bytes that protection appends to a packet, without MKI.
	Overhead = 4 + 16

	maxPacket = 2048

	// window is how far back a packet may come late, and is known when it comes
	// again (RFC 3711 section 3.3.2 asks for 64 at least).
	window = 256
	// maxSources bounds the SSRCs one key is used with: the memory a peer can
	// make us keep. With more, all but the newest are forgotten.
	maxSources = 64
	// trials bounds the packets for which a second context is tried.
	trials = 256
)

// Why a packet is refused. The errors come wrapped.
var (
	ErrForged    = errors.New("packet is not authentic")
	ErrReplayed  = errors.New("packet came before, or far too late")
	ErrTruncated = errors.New("packet is truncated")
)

// Inbound takes the protection off packets of a peer. It is not for use by
// several goroutines at once; what RTP and RTCP return holds until the next
// packet of that kind.
type Inbound struct {
	key     Key
	context *pion.Context
	sources map[uint32]struct{}
	header  rtp.Header
	report  rtcp.Header

	// before is the context of the last key: a peer that was told a new one goes
	// on with the old until it has read that.
	before *Inbound
	// rollovers are those the last context had counted, by SSRC.
	rollovers map[uint32]uint32
	tries     int

	rtp, rtcp [maxPacket]byte // what came out; a failed try must leave the packet whole
}

// NewInbound makes a context for a peer's key.
func NewInbound(k Key) (*Inbound, error) {
	in := &Inbound{key: k, sources: make(map[uint32]struct{})}
	return in, in.reset()
}

func (in *Inbound) reset() error {
	options := []pion.ContextOption{pion.SRTPReplayProtection(window), pion.SRTCPReplayProtection(window)}
	if len(in.key.MKI) > 0 {
		options = append(options, pion.MasterKeyIndicator(in.key.MKI))
	}
	c, err := pion.CreateContext(in.key.Master, in.key.Salt, in.key.Suite.facts().profile, options...)
	if err != nil {
		return fmt.Errorf("making inbound SRTP context: %w", err)
	}
	in.context = c
	clear(in.sources)
	return nil
}

// Key is the peer's key.
func (in *Inbound) Key() Key { return in.key }

// Renew is the context for a peer's next key. Packets under the last one are
// accepted until the first under the new one.
//
// Whether the rollover counter of a source goes on or begins again with a new
// key is read differently: RFC 3711 section 3.3.1 counts for the life of the
// source, RFC 4568 section 6.4 begins at zero. Both are understood.
func (in *Inbound) Renew(k Key) (*Inbound, error) {
	next, err := NewInbound(k)
	if err != nil {
		return nil, err
	}
	next.rollovers = make(map[uint32]uint32)
	for ssrc := range in.sources {
		if roc, ok := in.context.ROC(ssrc); ok && roc > 0 {
			next.rollovers[ssrc] = roc
		}
	}
	in.before, next.before, next.tries = nil, in, trials
	return next, nil
}

// Restart lets a source that is known begin again at a rollover count of zero,
// with the key it has: phones do so that came to another address.
func (in *Inbound) Restart() (*Inbound, error) { return in.Renew(in.key) }

// RTP unprotects a packet.
func (in *Inbound) RTP(p []byte) ([]byte, error) {
	if len(p) < 12+in.key.Suite.facts().tag || len(p) > maxPacket {
		return nil, fmt.Errorf("unprotecting RTP: %w", ErrTruncated)
	}
	ssrc := uint32(p[8])<<24 | uint32(p[9])<<16 | uint32(p[10])<<8 | uint32(p[11])
	_, known := in.sources[ssrc]
	out, err := in.context.DecryptRTP(in.rtp[:0], p, &in.header)
	if err != nil && in.tries > 0 {
		out, err = in.retry(p, ssrc, known, err)
	}
	if err != nil {
		return nil, reason("RTP", err)
	}
	if !known && len(in.sources) >= maxSources {
		_ = in.reset() // it succeeded before with the same key
		out, err = in.context.DecryptRTP(in.rtp[:0], p, &in.header)
	}
	if !known {
		in.sources[ssrc] = struct{}{}
	}
	return out, err
}

// retry tries a packet with what went before. It is bounded, so that a flood of
// forgeries is not worth double its price.
func (in *Inbound) retry(p []byte, ssrc uint32, known bool, err error) ([]byte, error) {
	if in.tries--; in.tries == 0 {
		in.before = nil
	}
	if roc, ok := in.rollovers[ssrc]; ok && !known {
		in.context.SetROC(ssrc, roc)
		out, again := in.context.DecryptRTP(in.rtp[:0], p, &in.header)
		if again == nil {
			return out, nil
		}
		in.context.SetROC(ssrc, 0)
	}
	if in.before != nil {
		return in.before.context.DecryptRTP(in.rtp[:0], p, &in.header)
	}
	return nil, err
}

// RTCP unprotects a compound of reports.
func (in *Inbound) RTCP(p []byte) ([]byte, error) {
	if len(p) < 12+in.key.Suite.facts().tag || len(p) > maxPacket {
		return nil, fmt.Errorf("unprotecting RTCP: %w", ErrTruncated)
	}
	out, err := in.context.DecryptRTCP(in.rtcp[:0], p, &in.report)
	if err != nil && in.before != nil && in.tries > 0 {
		in.tries--
		out, err = in.before.context.DecryptRTCP(in.rtcp[:0], p, &in.report)
	}
	if err != nil {
		return nil, reason("RTCP", err)
	}
	return out, nil
}

func reason(what string, err error) error {
	if errors.Is(err, pion.ErrFailedToVerifyAuthTag) || errors.Is(err, pion.ErrMKINotFound) {
		return fmt.Errorf("unprotecting %s: %w", what, ErrForged)
	}
	return fmt.Errorf("unprotecting %s: %w", what, ErrReplayed) // lengths were checked before
}

// Outbound protects the packets to a peer. It is not for use by several
// goroutines at once.
type Outbound struct {
	key     Key
	context *pion.Context
	header  rtp.Header
}

// NewOutbound makes a context for a key of ours. The same key must never be
// given to a second context: packets would be protected with the same keystream.
func NewOutbound(k Key) (*Outbound, error) {
	var options []pion.ContextOption
	if len(k.MKI) > 0 {
		options = append(options, pion.MasterKeyIndicator(k.MKI))
	}
	c, err := pion.CreateContext(k.Master, k.Salt, k.Suite.facts().profile, options...)
	if err != nil {
		return nil, fmt.Errorf("making outbound SRTP context: %w", err)
	}
	return &Outbound{key: k, context: c}, nil
}

// Key is our key.
func (o *Outbound) Key() Key { return o.key }

// RTP protects a packet into dst, which must have room for Overhead more and
// must not overlap it.
func (o *Outbound) RTP(dst, p []byte) ([]byte, error) {
	out, err := o.context.EncryptRTP(dst, p, &o.header)
	if err != nil {
		return nil, fmt.Errorf("protecting RTP: %w", err)
	}
	return out, nil
}

// RTCP protects a compound of reports into dst, like RTP.
func (o *Outbound) RTCP(dst, p []byte) ([]byte, error) {
	out, err := o.context.EncryptRTCP(dst, p, nil)
	if err != nil {
		return nil, fmt.Errorf("protecting RTCP: %w", err)
	}
	return out, nil
}
