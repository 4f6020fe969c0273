package qemu

import (
	"fmt"
	"net"
	"net/netip"
	"time"
)

func optionsRequest(local, server netip.AddrPort) []byte {
	id := time.Now().UnixNano()
	return fmt.Appendf(nil, "OPTIONS sip:%s SIP/2.0\r\nVia: SIP/2.0/UDP %s;rport;branch=z9hG4bK%d\r\nMax-Forwards: 70\r\n"+
		"From: <sip:probe@%s>;tag=p\r\nTo: <sip:%s>\r\nCall-ID: probe-%d\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n",
		server, local, id, host(local.Addr()), server, id)
}

func host(a netip.Addr) string {
	if a.Is6() {
		return "[" + a.String() + "]"
	}
	return a.String()
}

// probeSIP sends OPTIONS to a server and reports whether anything came back
// within the wait.
func probeSIP(c *net.UDPConn, server netip.AddrPort, wait time.Duration) bool {
	local := c.LocalAddr().(*net.UDPAddr).AddrPort()
	if _, err := c.WriteToUDPAddrPort(optionsRequest(local, server), server); err != nil {
		return false
	}
	if err := c.SetReadDeadline(time.Now().Add(wait)); err != nil {
		return false
	}
	n, _, err := c.ReadFromUDPAddrPort(make([]byte, 2048))
	return err == nil && n > 0
}
