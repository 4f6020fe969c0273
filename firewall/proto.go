package firewall

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"time"

	"ringfence/internal/netcfg"
	"ringfence/internal/ports"
	"ringfence/internal/telephony"
)

// The protocol of the fence's socket: frames of a 32-bit length in network
// byte order and that many bytes of JSON. The client sends requests with ids
// of its choice; responses carry the id and may come in any order. Media
// requests of one connection are carried out in the order they were sent.

const (
	// maxFrame bounds one message: a policy with full lists fits.
	maxFrame = 16 << 20
	// maxMediaPorts bounds one media request.
	maxMediaPorts = 65536
	// maxHosts bounds one ban, unban or known request.
	maxHosts = 4096
	// maxListedBans bounds what Bans returns.
	maxListedBans = 10_000
)

// The methods.
const (
	methodApply          = "apply"
	methodConfirm        = "confirm"
	methodBan            = "ban"
	methodUnban          = "unban"
	methodBans           = "bans"
	methodVerdicts       = "verdicts"
	methodExplain        = "explain"
	methodKnown          = "known"
	methodForget         = "forget"
	methodMedia          = "media"
	methodCounters       = "counters"
	methodStatus         = "status"
	methodInterfaces     = "interfaces"
	methodSetAddresses   = "set_addresses"
	methodConfirmAddress = "confirm_addresses"
	methodRevertAddress  = "revert_addresses"
	methodNetwork        = "network"
	methodHostPorts      = "host_ports"
	methodChallenge      = "challenge"
)

type request struct {
	ID     uint64          `json:"id"`
	Method string          `json:"method"`
	Body   json.RawMessage `json:"body,omitempty"`

	from uint32 // the client's user id
}

type response struct {
	ID      uint64          `json:"id"`
	Error   string          `json:"error,omitempty"`
	Refused bool            `json:"refused,omitempty"` // the error wraps ErrRefused
	Body    json.RawMessage `json:"body,omitempty"`
}

type applyRequest struct {
	Policy  Policy        `json:"policy"`
	Confirm time.Duration `json:"confirm"`
}

type confirmRequest struct {
	Rev uint64 `json:"rev"`
}

type banRequest struct {
	Bans []Ban `json:"bans"`
}

type unbanRequest struct {
	Prefixes []netip.Prefix     `json:"prefixes"`
	Scope    telephony.BanScope `json:"scope"`
}

type knownRequest struct {
	Prefixes []netip.Prefix `json:"prefixes"`
	TTL      time.Duration  `json:"ttl"`
}

type mediaRequest struct {
	Open  []uint16      `json:"open,omitempty"`
	Close []uint16      `json:"close,omitempty"`
	TTL   time.Duration `json:"ttl,omitempty"`
}

type setAddressesRequest struct {
	Config  netcfg.Config `json:"config"`
	Confirm time.Duration `json:"confirm"`
}

// NetworkStatus is the network configuration in effect.
type NetworkStatus struct {
	// Managed says that the fence gives the host its addresses; on other hosts
	// somebody else does, and the rest is empty.
	Managed bool `json:"managed"`
	// Standard says that no configuration was ever confirmed: what first boot
	// or nobody said.
	Standard bool          `json:"standard"`
	Config   netcfg.Config `json:"config"`
	// ConfirmUntil is when Config is taken back; zero if it was confirmed.
	ConfirmUntil time.Time `json:"confirm_until,omitzero"`
	// Confirmed is what it then returns to.
	Confirmed netcfg.Config `json:"confirmed"`
	Reverted  *Reverted     `json:"reverted,omitempty"`
	Error     string        `json:"error,omitempty"`
}

type hostPortsRequest struct {
	Ports []uint16 `json:"ports"`
}

// Ban is a source that is shut out of the ports of a scope until a time.
type Ban struct {
	// Prefix is an IPv4 address or an IPv6 network of at most 64 host bits;
	// IPv6 is banned by /64.
	Prefix netip.Prefix       `json:"prefix"`
	Scope  telephony.BanScope `json:"scope"`
	Until  time.Time          `json:"until"`
	Reason string             `json:"reason,omitempty"` // for the log
	// Packets is how many the ban dropped, where a meter set it; only in lists.
	Packets uint64 `json:"packets,omitempty"`
}

// Counter is what a named counter holds.
type Counter struct {
	Packets uint64 `json:"packets"`
	Bytes   uint64 `json:"bytes"`
}

// Counters are the numbers of the packet filter since its table was made.
type Counters struct {
	// Ports counts per row of the port table: UDP rows every packet, TCP rows
	// new connections.
	Ports map[ports.ID]Counter `json:"ports"`
	// Drops counts discarded packets by cause: block, ban_all, known (excess
	// of known sources), ban_S, level1_S, level2_S and flood_S of each ban
	// scope S, invalid, icmp, and rest (no row matched).
	Drops map[string]Counter `json:"drops"`
}

// Status is the state of the fence.
type Status struct {
	// Active says that rules are in force.
	Active bool   `json:"active"`
	Rev    uint64 `json:"rev"`
	Mode   Mode   `json:"mode"`
	// Standard says that nothing was ever confirmed: the built-in policy.
	Standard bool `json:"standard"`
	// ConfirmUntil is when the change that waits for its confirmation is taken
	// back; zero if none waits.
	ConfirmUntil time.Time `json:"confirm_until,omitzero"`
	Reverted     *Reverted `json:"reverted,omitempty"`
	// Error says why the rules in force are not the wanted ones.
	Error string `json:"error,omitempty"`
	// Foreign names nftables tables of other programs: their drops win over
	// our accepts.
	Foreign []string `json:"foreign,omitempty"`
	// Repaired counts how often another program removed our rules.
	Repaired int       `json:"repaired,omitempty"`
	Started  time.Time `json:"started"`
	// AddressesConfirmUntil is ConfirmUntil of the network configuration.
	AddressesConfirmUntil time.Time `json:"addresses_confirm_until,omitzero"`
	AddressesReverted     *Reverted `json:"addresses_reverted,omitempty"`
	// ChallengeUntil is when the open challenge window closes; zero if none is
	// open.
	ChallengeUntil time.Time `json:"challenge_until,omitzero"`
}

// writeFrame sends one message.
func writeFrame(w io.Writer, v any) error {
	frame, err := frameOf(v)
	if err != nil {
		return err
	}
	_, err = w.Write(frame)
	return err
}

// frameOf is a message as it goes over the wire.
func frameOf(v any) ([]byte, error) {
	body, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("encoding a message: %w", err)
	}
	if len(body) > maxFrame {
		return nil, fmt.Errorf("%w: message of %d bytes, at most %d are possible", ErrRefused, len(body), maxFrame)
	}
	frame := binary.BigEndian.AppendUint32(make([]byte, 0, 4+len(body)), uint32(len(body)))
	return append(frame, body...), nil
}

var errFrame = errors.New("message is not as the protocol demands")

// readFrame receives one message. Memory grows with what arrives, not with
// what the length announces. begun is called when the length is there.
func readFrame(r io.Reader, v any, begun func()) error {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return err
	}
	begun()
	size := binary.BigEndian.Uint32(head[:])
	if size == 0 || size > maxFrame {
		return fmt.Errorf("%w: length %d", errFrame, size)
	}
	var body bytes.Buffer
	if _, err := io.CopyN(&body, r, int64(size)); err != nil {
		return fmt.Errorf("reading a message of %d bytes: %w", size, err)
	}
	return decode(body.Bytes(), v)
}

// decode refuses fields it does not know: a filter that ignores half of what
// it is asked for is worse than one that refuses.
func decode(body []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return fmt.Errorf("%w: %w", errFrame, err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return fmt.Errorf("%w: more than one value", errFrame)
	}
	return nil
}
