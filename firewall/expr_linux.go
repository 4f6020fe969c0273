package firewall

import (
	"encoding/binary"
	"fmt"
	"net/netip"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// reg is the register that every match loads into; rules use one at a time.
const reg = unix.NFT_REG_1

// Offsets and lengths of header fields: RFC 791 section 3.1, RFC 8200 section
// 3, RFC 9293 section 3.1, RFC 792.
const (
	offSource4, lenSource4 = 12, 4
	offSource6, lenSource6 = 8, 16
	offDest4, offDest6     = 16, 24
	offHopLimit            = 7
	offSourcePort          = 0
	offDestPort            = 2
	offTCPFlags            = 13
	offICMPType            = 0
)

// lowering turns the statements of one rule into the kernel's expressions. A
// match on a header needs a guard that the packet has that header; each guard
// is emitted once.
type lowering struct {
	out    []expr.Any
	family Family
	l4     byte
}

// lower returns the expressions of a rule.
func lower(r Rule) ([]expr.Any, error) {
	var l lowering
	for _, s := range r {
		if err := l.add(s); err != nil {
			return nil, err
		}
	}
	return l.out, nil
}

func (l *lowering) emit(e ...expr.Any) { l.out = append(l.out, e...) }

func (l *lowering) add(s Statement) error {
	switch s := s.(type) {
	case Loopback:
		l.loopback(s.Out)
	case SourceIn:
		l.source(s.Family, s.Host)
		l.emit(&expr.Lookup{SourceRegister: reg, SetName: s.Set, Invert: s.Not})
	case OnLink:
		l.emit(&expr.Meta{Key: expr.MetaKeyIIFNAME, Register: reg}, equal(linkName(s.Name)))
	case LinkIn:
		l.emit(&expr.Meta{Key: expr.MetaKeyIIFNAME, Register: reg}, &expr.Lookup{SourceRegister: reg, SetName: s.Set})
	case LinkLocalSource:
		l.source(V6, false)
		l.emit(mask(append([]byte{0xff, 0xc0}, make([]byte, 14)...)), equal(append([]byte{0xfe, 0x80}, make([]byte, 14)...)))
	case SentBy:
		l.emit(&expr.Meta{Key: expr.MetaKeySKUID, Register: reg}, equal(binaryutil.NativeEndian.PutUint32(s.UID)))
	case To:
		l.destination(s.Addr)
	case PortRange:
		l.port(s.Proto, s.Source)
		l.portRange(s.First, s.Last)
	case PortIn:
		l.port(s.Proto, s.Source)
		l.emit(&expr.Lookup{SourceRegister: reg, SetName: s.Set})
	case NewTCP:
		const fin, syn, rst, ack = 0x01, 0x02, 0x04, 0x10
		l.protocol(unix.IPPROTO_TCP)
		l.emit(transport(offTCPFlags, 1), mask([]byte{fin | syn | rst | ack}), equal([]byte{syn}))
	case Established:
		l.ctState(expr.CtStateBitESTABLISHED | expr.CtStateBitRELATED)
	case Invalid:
		l.ctState(expr.CtStateBitINVALID)
	case Protocol:
		return l.namedProtocol(s.Name)
	case ICMPType:
		return l.icmpType(s)
	case HopLimit255:
		l.guard(V6)
		l.emit(&expr.Payload{DestRegister: reg, Base: expr.PayloadBaseNetworkHeader, Offset: offHopLimit, Len: 1}, equal([]byte{255}))
	case Limit:
		l.emit(limit(s))
	case Meter:
		l.source(s.Family, true)
		l.emit(&expr.Dynset{SrcRegKey: reg, SetName: s.Set, Operation: unix.NFT_DYNSET_OP_UPDATE, Timeout: s.Forget,
			Exprs: []expr.Any{limit(Limit{PerSecond: s.PerSecond, Burst: s.PerSecond, Over: true})}})
	case BanSource:
		l.source(s.Family, true)
		l.emit(&expr.Dynset{SrcRegKey: reg, SetName: s.Set, Operation: unix.NFT_DYNSET_OP_UPDATE, Timeout: s.For,
			Exprs: []expr.Any{&expr.Counter{}}})
	default:
		return l.action(s)
	}
	return nil
}

func (l *lowering) action(s Statement) error {
	switch s := s.(type) {
	case Log:
		l.emit(&expr.Log{Key: 1<<unix.NFTA_LOG_GROUP | 1<<unix.NFTA_LOG_PREFIX | 1<<unix.NFTA_LOG_SNAPLEN,
			Group: s.Group, Snaplen: s.Snaplen, Data: []byte(s.Prefix)})
	case Count:
		l.emit(&expr.Objref{Type: int(nftables.ObjTypeCounter), Name: s.Name})
	case Notrack:
		l.emit(&expr.Notrack{})
	case Accept:
		l.emit(&expr.Verdict{Kind: expr.VerdictAccept})
	case Drop:
		l.emit(&expr.Verdict{Kind: expr.VerdictDrop})
	case Goto:
		l.emit(&expr.Verdict{Kind: expr.VerdictGoto, Chain: s.Chain})
	case Jump:
		l.emit(&expr.Verdict{Kind: expr.VerdictJump, Chain: s.Chain})
	default:
		return fmt.Errorf("no kernel expression for %T", s)
	}
	return nil
}

func (l *lowering) loopback(out bool) {
	key := expr.MetaKeyIIF
	if out {
		key = expr.MetaKeyOIF
	}
	const index = 1 // lo is the first interface of every network namespace
	l.emit(&expr.Meta{Key: key, Register: reg}, equal(binaryutil.NativeEndian.PutUint32(index)))
}

// linkName is a name as the kernel compares it: all of its field.
func linkName(name string) []byte {
	field := make([]byte, unix.IFNAMSIZ)
	copy(field, name)
	return field
}

// source loads the source address of the given family; host cuts IPv6 to /64.
func (l *lowering) source(f Family, host bool) {
	l.guard(f)
	if f == V4 {
		l.emit(network(offSource4, lenSource4))
		return
	}
	l.emit(network(offSource6, lenSource6))
	if host {
		l.emit(mask([]byte{255, 255, 255, 255, 255, 255, 255, 255, 0, 0, 0, 0, 0, 0, 0, 0}))
	}
}

func (l *lowering) destination(a netip.Addr) {
	if a.Is4() {
		l.guard(V4)
		l.emit(network(offDest4, lenSource4), equal(a.AsSlice()))
		return
	}
	l.guard(V6)
	l.emit(network(offDest6, lenSource6), equal(a.AsSlice()))
}

func (l *lowering) guard(f Family) {
	if l.family == f {
		return
	}
	l.family = f
	proto := byte(unix.NFPROTO_IPV4)
	if f == V6 {
		proto = unix.NFPROTO_IPV6
	}
	l.emit(&expr.Meta{Key: expr.MetaKeyNFPROTO, Register: reg}, equal([]byte{proto}))
}

func (l *lowering) protocol(p byte) {
	if l.l4 == p {
		return
	}
	l.l4 = p
	l.emit(&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: reg}, equal([]byte{p}))
}

func (l *lowering) namedProtocol(name string) error {
	switch name {
	case "udp":
		l.protocol(unix.IPPROTO_UDP)
	case "tcp":
		l.protocol(unix.IPPROTO_TCP)
	case "icmp":
		l.protocol(unix.IPPROTO_ICMP)
	case "ipv6-icmp":
		l.protocol(unix.IPPROTO_ICMPV6)
	default:
		return fmt.Errorf("no number for protocol %q", name)
	}
	return nil
}

func (l *lowering) port(proto string, source bool) {
	if proto == "tcp" {
		l.protocol(unix.IPPROTO_TCP)
	} else {
		l.protocol(unix.IPPROTO_UDP)
	}
	offset := uint32(offDestPort)
	if source {
		offset = offSourcePort
	}
	l.emit(transport(offset, 2))
}

func (l *lowering) portRange(first, last uint16) {
	from, to := binary.BigEndian.AppendUint16(nil, first), binary.BigEndian.AppendUint16(nil, last)
	if first == last {
		l.emit(equal(from))
		return
	}
	l.emit(&expr.Cmp{Op: expr.CmpOpGte, Register: reg, Data: from}, &expr.Cmp{Op: expr.CmpOpLte, Register: reg, Data: to})
}

func (l *lowering) ctState(bits uint32) {
	l.emit(&expr.Ct{Key: expr.CtKeySTATE, Register: reg},
		mask(binaryutil.NativeEndian.PutUint32(bits)),
		&expr.Cmp{Op: expr.CmpOpNeq, Register: reg, Data: make([]byte, 4)})
}

// icmpType matches by the numbers of RFC 792, RFC 4443, RFC 4861 and RFC 2710.
func (l *lowering) icmpType(s ICMPType) error {
	numbers := map[string]byte{"destination-unreachable": 3, "echo-request": 8, "time-exceeded": 11, "parameter-problem": 12}
	proto := byte(unix.IPPROTO_ICMP)
	if s.Family == V6 {
		numbers = map[string]byte{"destination-unreachable": 1, "packet-too-big": 2, "time-exceeded": 3, "parameter-problem": 4,
			"echo-request": 128, "mld-listener-query": 130, "nd-router-advert": 134, "nd-neighbor-solicit": 135, "nd-neighbor-advert": 136}
		proto = unix.IPPROTO_ICMPV6
	}
	number, ok := numbers[s.Name]
	if !ok {
		return fmt.Errorf("no number for ICMP type %q", s.Name)
	}
	l.protocol(proto)
	l.emit(transport(offICMPType, 1), equal([]byte{number}))
	return nil
}

func limit(s Limit) *expr.Limit {
	return &expr.Limit{Type: expr.LimitTypePkts, Rate: uint64(s.PerSecond), Burst: s.Burst, Over: s.Over, Unit: expr.LimitTimeSecond}
}

func network(offset, length uint32) expr.Any {
	return &expr.Payload{DestRegister: reg, Base: expr.PayloadBaseNetworkHeader, Offset: offset, Len: length}
}

func transport(offset, length uint32) expr.Any {
	return &expr.Payload{DestRegister: reg, Base: expr.PayloadBaseTransportHeader, Offset: offset, Len: length}
}

func mask(m []byte) expr.Any {
	return &expr.Bitwise{SourceRegister: reg, DestRegister: reg, Len: uint32(len(m)), Mask: m, Xor: make([]byte, len(m))}
}

func equal(data []byte) expr.Any {
	return &expr.Cmp{Op: expr.CmpOpEq, Register: reg, Data: data}
}
