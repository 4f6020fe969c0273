package sip

import (
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"
)

// Flood sends registrations without credentials at a rate, and listens to no
// answer.
type Flood struct {
	conn *net.UDPConn
	stop chan struct{}
	wg   sync.WaitGroup
	sent int
}

// NewFlood starts one. Close it.
func NewFlood(server netip.AddrPort, domain string, rate int) (*Flood, error) {
	conn, err := listen()
	if err != nil {
		return nil, err
	}
	f := &Flood{conn: conn, stop: make(chan struct{})}
	f.wg.Go(func() { f.run(server, domain, rate) })
	return f, nil
}

// Close ends the flood and returns how many were sent.
func (f *Flood) Close() int {
	close(f.stop)
	f.wg.Wait()
	f.conn.Close()
	return f.sent
}

func (f *Flood) run(server netip.AddrPort, domain string, rate int) {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	from, start := f.conn.LocalAddr().String(), time.Now()
	for {
		select {
		case <-f.stop:
			return
		case <-tick.C:
		}
		for due := int(time.Since(start).Seconds() * float64(rate)); f.sent < due; f.sent++ {
			m := fmt.Appendf(nil, "REGISTER sip:%[1]s SIP/2.0\r\nVia: SIP/2.0/UDP %[2]s;rport;branch=z9hG4bKf%[3]d\r\nMax-Forwards: 70\r\n"+
				"From: <sip:stranger@%[1]s>;tag=f%[3]d\r\nTo: <sip:stranger@%[1]s>\r\nCall-ID: f%[3]d\r\nCSeq: 1 REGISTER\r\n"+
				"Contact: <sip:stranger@%[2]s>\r\nContent-Length: 0\r\n\r\n", domain, from, f.sent)
			_, _ = f.conn.WriteToUDPAddrPort(m, server)
		}
	}
}
