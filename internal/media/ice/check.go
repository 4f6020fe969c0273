package ice

import (
	"encoding/binary"
	"net"
	"net/netip"

	"github.com/pion/stun/v4"
)

const (
	header     = 20
	maxMessage = 1280 // a check fits into any path (RFC 8489 section 6.1)
	// maxAttributes bounds the work on one message; a check has about ten.
	maxAttributes = 32
)

// check is one Binding request, as far as we look at it.
type check struct {
	username     string
	useCandidate bool
	fault        stun.ErrorCode // what an error response is due for, once verified
	unknown      []stun.AttrType
}

// parser reads checks and writes responses; its buffers are used again.
type parser struct {
	message, response stun.Message
}

// request reads a Binding request. What is malformed, no request, or lacks what
// every check carries is not ok.
func (p *parser) request(b []byte) (check, bool) {
	if len(b) < header || len(b) > maxMessage || int(binary.BigEndian.Uint16(b[2:])) != len(b)-header || len(b)%4 != 0 {
		return check{}, false
	}
	if binary.BigEndian.Uint16(b) != stun.BindingRequest.Value() || attributes(b[header:]) > maxAttributes {
		return check{}, false
	}
	m := &p.message
	if stun.Decode(b, m) != nil || !p.fingerprinted() {
		return check{}, false
	}
	user, ok := m.Attributes.Get(stun.AttrUsername)
	if !ok || !m.Contains(stun.AttrMessageIntegrity) {
		return check{}, false
	}
	c := check{username: string(user.Value)}
	c.examine(m.Attributes)
	return c, true
}

// attributes counts the attributes of a message body.
func attributes(b []byte) (n int) {
	for ; len(b) >= 4; n++ {
		b = b[min(len(b), 4+(int(binary.BigEndian.Uint16(b[2:]))+3)&^3):]
	}
	return n
}

// fingerprinted wants the FINGERPRINT to be the last attribute, as it must be
// (RFC 8489 section 14.7), present (RFC 8445 section 7.1) and right.
func (p *parser) fingerprinted() bool {
	list := p.message.Attributes
	return len(list) > 0 && list[len(list)-1].Type == stun.AttrFingerprint &&
		binary.BigEndian.Uint16(p.message.Raw[len(p.message.Raw)-8:]) == uint16(stun.AttrFingerprint) &&
		stun.Fingerprint.Check(&p.message) == nil
}

// examine notes what the check asks for and what is wrong with it.
func (c *check) examine(list stun.Attributes) {
	var priority bool
	for _, a := range list {
		switch a.Type {
		case stun.AttrUseCandidate:
			c.useCandidate = true
		case stun.AttrPriority:
			priority = len(a.Value) == 4
		case stun.AttrICEControlled:
			// We are lite, so the peer has to control, also when both are
			// (RFC 8445 sections 6.1.1 and 7.3.1.1).
			c.fault = stun.CodeRoleConflict
		case stun.AttrUsername, stun.AttrMessageIntegrity, stun.AttrMessageIntegritySHA256:
		default:
			if a.Type.Required() {
				c.unknown = append(c.unknown, a.Type)
			}
		}
	}
	switch {
	case len(c.unknown) > 0: // RFC 8489 section 6.3.1
		c.fault = stun.CodeUnknownAttribute
	case c.fault == 0 && !priority: // RFC 8445 section 7.1.1
		c.fault = stun.CodeBadRequest
	}
}

// verify checks MESSAGE-INTEGRITY of the request read last. Its user name was
// found to be right before: a stranger, who cannot know it, costs no hash.
func (p *parser) verify(pwd string) bool {
	return stun.MessageIntegrity(pwd).Check(&p.message) == nil
}

// accept writes the success response (RFC 8445 section 7.3.1.2).
func (p *parser) accept(to netip.AddrPort, pwd string, out []byte) []byte {
	ip := to.Addr().Unmap()
	return p.write(stun.BindingSuccess, pwd, out, stun.XORMappedAddress{IP: net.IP(ip.AsSlice()), Port: int(to.Port())})
}

// refuse writes the error response that is due.
func (p *parser) refuse(c check, pwd string, out []byte) []byte {
	if len(c.unknown) > 0 {
		return p.write(stun.BindingError, pwd, out, c.fault, stun.UnknownAttributes(c.unknown))
	}
	return p.write(stun.BindingError, pwd, out, c.fault)
}

func (p *parser) write(kind stun.MessageType, pwd string, out []byte, more ...stun.Setter) []byte {
	r := &p.response
	r.Reset()
	r.TransactionID = p.message.TransactionID
	r.Type = kind
	r.WriteHeader()
	more = append(more, stun.MessageIntegrity(pwd), stun.Fingerprint)
	for _, s := range more {
		if s.AddTo(r) != nil {
			return out[:0] // an address of no known family
		}
	}
	return append(out[:0], r.Raw...)
}
