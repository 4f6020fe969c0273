package sip

import (
	"net/netip"
	"strconv"
	"testing"

	"ringfence/bench/host"
	"ringfence/internal/ports"
	"ringfence/tests/pbxproc"
)

// server is what is measured: its processes sit on one core, the load on
// another.
type server struct {
	host.Server
	name  string
	addr  netip.AddrPort
	users []User
}

// ourAddress keeps clear of a PBX that somebody runs on 127.0.0.1.
const ourAddress = "127.0.5.1"

// ringfence starts pbxd with so many extensions.
func ringfence(t *testing.T, extensions int) *server {
	t.Helper()
	var p *pbxproc.Process
	host.OnCore(t, host.ServerCore, func() { p = pbxproc.Start(t, nil, ourAddress, "-alone", "-extensions", strconv.Itoa(extensions)) })
	s := &server{Server: host.Server{PID: p.PID()}, name: "ringfence", addr: p.Addr(ports.SIPUDP)}
	for _, e := range p.Facts.Extensions {
		s.users = append(s.users, User{e.SIPUser, e.SIPPassword, e.Domain})
	}
	return s
}
