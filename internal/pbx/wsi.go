package pbx

import (
	"net"
	"slices"
	"strconv"

	"ringfence/internal/api"
	"ringfence/internal/events"
	"ringfence/internal/login"
	"ringfence/internal/ports"
	"ringfence/internal/telephony"
	"ringfence/internal/wsi"
)

// webSocketInterface shows things as the REST API does.
func (p *PBX) webSocketInterface(tickets *login.Tickets) *wsi.Server {
	return wsi.New(wsi.Config{
		Store: p.store, Login: p.logins, Tickets: tickets, Live: live{p}, Bus: &p.bus, CookieName: api.CookieName,
		Logger: p.log.With("part", "wsi"),
		Views: wsi.Views{
			Call:   func(c telephony.LiveCall) any { return api.ShowCall(c) },
			Record: func(r telephony.CallRecord) any { return api.ShowRecord(r) },
			Attack: func(e events.AddressBanned) any { return api.ShowAttack(e) },
		},
		OwnPort: p.webPort,
	})
}

// webPort reports whether pages of ours come from a port.
func (p *PBX) webPort(port string) bool {
	on, err := p.services()
	return err == nil && slices.ContainsFunc(on, func(s ports.Service) bool {
		a, ok := p.web.Addr(s.ID).(*net.TCPAddr)
		return ok && s.Wrap == ports.HTTPS && strconv.Itoa(a.Port) == port
	})
}

// Bindings are those of one AOR that can be rung.
func (l live) Bindings(aor telephony.AOR) []telephony.Binding {
	return l.p.telephone.location.Bindings(aor)
}
