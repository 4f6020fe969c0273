package api

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"ringfence/internal/httpd"
	"ringfence/internal/netcfg"
	"ringfence/internal/telephony"
)

// MachineNetwork is the network of the machine.
type MachineNetwork interface {
	State(context.Context) (NetworkState, error)
	// Change begins a change that returns unless it is confirmed in time.
	Change(ctx context.Context, c netcfg.Config, confirm time.Duration, by string) (NetworkPending, error)
	// Confirm keeps the change with an id that waits, and says whose it was.
	Confirm(ctx context.Context, id string, path NetworkPath) (by string, err error)
	// ConfirmHere is Confirm by an operator at the machine.
	ConfirmHere(context.Context) error
	// Revert takes the change that waits back.
	Revert(context.Context) error
}

// NetworkState is the network as it is.
type NetworkState struct {
	Managed    bool
	Standard   bool // nobody ever changed what first boot said
	Config     netcfg.Config
	Interfaces []netcfg.State
	Pending    *NetworkPending
	Reverted   *NetworkReverted
	Error      string
}

// NetworkPending is a change that waits for its confirmation.
type NetworkPending struct {
	ID   string
	Left time.Duration
}

// NetworkReverted is a change that was taken back.
type NetworkReverted struct {
	Reason string
	At     time.Time
}

// NetworkPath is how a request came.
type NetworkPath struct {
	Local  netip.Addr // the address it was sent to
	Opened time.Time  // when its connection was accepted
}

// What MachineNetwork and Trials answer.
var (
	ErrNetworkNotManaged = errors.New("the network of this machine is managed by its operating system")
	ErrNoChange          = errors.New("no such change waits for confirmation")
	ErrOldPath           = errors.New("this connection does not show that the machine can be reached after the change; connect anew, to an address it has now")
)

func (s *Server) registerNetwork() {
	handle(s, operation{id: "get-network", method: http.MethodGet, path: "/network", tag: "box", summary: "The network interfaces of the machine, and how they are set", access: systemOnly}, s.getNetwork)
	handle(s, operation{id: "put-network", method: http.MethodPut, path: "/network", tag: "box", access: systemOnly, errors: []int{http.StatusConflict},
		summary: "Change the network of the machine, a second after the answer; it returns to what it was unless the change is confirmed in time"}, s.putNetwork)
	handle(s, operation{id: "confirm-network", method: http.MethodPost, path: "/network/confirm", tag: "box", access: anyone, status: http.StatusNoContent, errors: []int{http.StatusConflict},
		summary: "Keep the change of the network, by a connection made after it to an address the machine has now; the id is all it takes, since the session belongs to the old address"}, s.confirmNetwork)
	handle(s, operation{id: "revert-network", method: http.MethodPost, path: "/network/revert", tag: "box", summary: "Take the change of the network back now", access: systemOnly, status: http.StatusNoContent, errors: []int{http.StatusConflict}}, s.revertNetwork)
}

func (s *Server) getNetwork(ctx context.Context, _ *noInput) (*body[Network], error) {
	out := Network{Interfaces: []NetworkPort{}, Settings: []NetworkInterface{}, NTP: []string{}}
	if s.cfg.Network == nil {
		return &body[Network]{out}, nil
	}
	state, err := s.cfg.Network.State(ctx)
	if err != nil {
		return nil, err
	}
	out.Managed, out.Standard, out.Error = state.Managed, state.Standard, state.Error
	for _, i := range state.Interfaces {
		out.Interfaces = append(out.Interfaces, networkPortOf(i))
	}
	for _, i := range state.Config.Interfaces {
		out.Settings = append(out.Settings, networkInterfaceOf(i))
	}
	out.NTP = append(out.NTP, state.Config.NTP...)
	if state.Pending != nil {
		p := networkChangeOf(*state.Pending)
		out.Pending = &p
	}
	if r := state.Reverted; r != nil {
		out.Reverted = &NetworkTakenBack{Reason: r.Reason, At: r.At.UTC()}
	}
	return &body[Network]{out}, nil
}

func networkChangeOf(p NetworkPending) NetworkChange {
	return NetworkChange{ID: p.ID, SecondsLeft: secondsOf(p.Left)}
}

// networkAnswer makes the browser connect anew: the old connection confirms
// nothing.
type networkAnswer struct {
	Connection string `header:"Connection"`
	Body       NetworkChange
}

func (s *Server) putNetwork(ctx context.Context, in *body[NetworkUpdate]) (*networkAnswer, error) {
	c, err := in.Body.config()
	if err != nil {
		return nil, err
	}
	if s.cfg.Network == nil {
		return nil, pendingProblem(ErrNetworkNotManaged)
	}
	who := callerOf(ctx)
	pending, err := s.cfg.Network.Change(ctx, c, time.Duration(in.Body.ConfirmSeconds)*time.Second, who.session.User.Name)
	if err != nil {
		return nil, pendingProblem(err)
	}
	details := map[string]string{"confirm_seconds": strconv.Itoa(in.Body.ConfirmSeconds)}
	for n, i := range c.Interfaces {
		details[fmt.Sprintf("interface_%d", n+1)] = describeInterface(i)
	}
	if len(c.NTP) > 0 {
		details["ntp"] = cut(strings.Join(c.NTP, " "), 200)
	}
	if err := s.cfg.Store.System().Record(ctx, who.actor(), "network.change", "network", details); err != nil {
		return nil, err
	}
	return &networkAnswer{"close", networkChangeOf(pending)}, nil
}

// describeInterface is one line for the audit log.
func describeInterface(i netcfg.Interface) string {
	words := []string{strings.TrimSpace(i.Name + " " + i.MAC)}
	if i.VLAN != 0 {
		words = append(words, fmt.Sprintf("VLAN %d on %s", i.VLAN, i.Link))
	}
	if i.DHCP4 {
		words = append(words, "DHCP")
	}
	if i.DHCP6 {
		words = append(words, "DHCPv6")
	}
	for _, a := range i.Addresses {
		words = append(words, a.String())
	}
	return cut(strings.TrimSpace(strings.Join(words, " ")), 200)
}

// pendingProblem answers what concerns a change that waits for its confirmation.
func pendingProblem(err error) error {
	if errors.Is(err, ErrNetworkNotManaged) || errors.Is(err, ErrNoChange) {
		return problem(http.StatusConflict, err.Error())
	}
	if errors.Is(err, ErrOldPath) {
		// Whoever asks again does so by a new connection.
		return huma.ErrorWithHeaders(problem(http.StatusConflict, err.Error()), http.Header{"Connection": {"close"}})
	}
	return err
}

// localOf is the address that a request was sent to; invalid if it is not known.
func localOf(ctx context.Context) netip.Addr {
	if local, ok := ctx.Value(http.LocalAddrContextKey).(net.Addr); ok {
		if at, err := netip.ParseAddrPort(local.String()); err == nil {
			return at.Addr()
		}
	}
	return netip.Addr{}
}

// pathOf is how a request came.
func pathOf(ctx context.Context) NetworkPath {
	return NetworkPath{Opened: httpd.Opened(ctx), Local: localOf(ctx)}
}

func (s *Server) confirmNetwork(ctx context.Context, in *body[NetworkConfirm]) (*struct{}, error) {
	if s.cfg.Network == nil {
		return nil, pendingProblem(ErrNoChange)
	}
	path := pathOf(ctx)
	by, err := s.cfg.Network.Confirm(ctx, in.Body.ID, path)
	if err != nil {
		return nil, pendingProblem(err)
	}
	actor := telephony.Actor{Kind: telephony.ActorUser, Name: by, Addr: callerOf(ctx).addr}
	return nil, s.cfg.Store.System().Record(ctx, actor, "network.confirm", "network", map[string]string{"reached_at": path.Local.Unmap().String()})
}

func (s *Server) revertNetwork(ctx context.Context, _ *noInput) (*struct{}, error) {
	if s.cfg.Network == nil {
		return nil, pendingProblem(ErrNoChange)
	}
	if err := s.cfg.Network.Revert(ctx); err != nil {
		return nil, pendingProblem(err)
	}
	return nil, s.cfg.Store.System().Record(ctx, callerOf(ctx).actor(), "network.revert", "network", nil)
}
