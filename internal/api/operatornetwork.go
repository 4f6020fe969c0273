package api

import (
	"fmt"
	"net/http"
	"time"

	"ringfence/internal/netcfg"
	"ringfence/internal/opsock"
)

func (s *Server) operatorNetwork(r *http.Request) (any, error) {
	if s.cfg.Network == nil {
		return opsock.Network{}, nil
	}
	state, err := s.cfg.Network.State(r.Context())
	if err != nil {
		return nil, err
	}
	out := opsock.Network{Managed: state.Managed, Error: state.Error, Interfaces: []opsock.Interface{}}
	if p := state.Pending; p != nil {
		out.SecondsLeft = max(1, networkChangeOf(*p).SecondsLeft)
	}
	if t := state.Reverted; t != nil {
		out.Reverted = fmt.Sprintf("%s, at %s", t.Reason, t.At.UTC().Format(time.RFC3339))
	}
	for _, i := range state.Interfaces {
		out.Interfaces = append(out.Interfaces, opsock.Interface{
			Name: i.Name, MAC: i.MAC, State: linkState(i), MTU: i.MTU,
			Addresses: texts(i.Addresses), Gateways: texts(i.Gateways), DHCP: describeLease(i.Lease), Error: i.Error,
		})
	}
	return out, nil
}

func linkState(i netcfg.State) string {
	switch {
	case !i.Up:
		return "down"
	case !i.Carrier:
		return "no cable"
	}
	return "up"
}

func describeLease(l *netcfg.Lease) string {
	if l == nil {
		return ""
	}
	return fmt.Sprintf("of %s, until %s", l.Server, l.Expires.UTC().Format(time.RFC3339))
}

// operatorNetworkConfirm needs no new path: who may open the socket is at the
// machine, and not cut off.
func (s *Server) operatorNetworkConfirm(r *http.Request) (any, error) {
	if s.cfg.Network == nil {
		return nil, ErrNetworkNotManaged
	}
	if err := s.cfg.Network.ConfirmHere(r.Context()); err != nil {
		return nil, err
	}
	return struct{}{}, s.cfg.Store.System().Record(r.Context(), operatorActor(r), "network.confirm", "network", nil)
}

func (s *Server) operatorNetworkRevert(r *http.Request) (any, error) {
	if s.cfg.Network == nil {
		return nil, ErrNetworkNotManaged
	}
	if err := s.cfg.Network.Revert(r.Context()); err != nil {
		return nil, err
	}
	return struct{}{}, s.cfg.Store.System().Record(r.Context(), operatorActor(r), "network.revert", "network", nil)
}
