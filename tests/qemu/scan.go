package qemu

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"ringfence/internal/ports"
)

var openPort = regexp.MustCompile(`(\d+)/open/tcp`)

// TCPScan lists the open TCP ports of the guest, of all 65,535, seen from the
// laboratory.
func (vm *VM) TCPScan(addr string) ([]uint16, error) {
	if _, err := exec.LookPath("nmap"); err != nil {
		vm.t.Skip("nmap is not installed (make deps)")
	}
	ctx, cancel := context.WithTimeout(vm.t.Context(), 5*time.Minute)
	defer cancel()
	args := []string{"-n", "-Pn", "-sS", "-p1-65535", "-T4", "--min-rate", "6000", "--max-retries", "1", "-oG", "-"}
	if netip.MustParseAddr(addr).Is6() {
		args = append(args, "-6")
	}
	out, err := vm.NS.Command(ctx, "nmap", append(args, addr)...).CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("nmap: %w: %s", err, out)
	}
	if !strings.Contains(string(out), "1 host up") {
		return nil, fmt.Errorf("nmap scanned nothing: %s", out)
	}
	var open []uint16
	for _, m := range openPort.FindAllStringSubmatch(string(out), -1) {
		p, err := strconv.ParseUint(m[1], 10, 16)
		if err != nil {
			return nil, err
		}
		open = append(open, uint16(p))
	}
	slices.Sort(open)
	return open, nil
}

// TCPPorts are the ports that services open.
func TCPPorts(services []ports.Service) (open []uint16) {
	for _, s := range services {
		if s.Proto == ports.TCP {
			open = append(open, s.First)
		}
	}
	slices.Sort(open)
	return open
}

// UDPVerdict is what a datagram to a port met.
type UDPVerdict string

// The verdicts.
const (
	Answered UDPVerdict = "answered" // a listener answered
	Refused  UDPVerdict = "refused"  // passed the filter; the kernel said that nobody listens
	Silent   UDPVerdict = "silent"
)

// UDPProbe sends OPTIONS to one UDP port and waits for what comes back.
func (vm *VM) UDPProbe(from string, to netip.AddrPort) (UDPVerdict, error) {
	var c *net.UDPConn
	err := vm.NS.Do(func() (err error) {
		c, err = net.DialUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(from), 0)), net.UDPAddrFromAddrPort(to))
		return err
	})
	if err != nil {
		return "", err
	}
	defer c.Close()
	const wait = 700 * time.Millisecond
	if _, err := c.Write(optionsRequest(c.LocalAddr().(*net.UDPAddr).AddrPort(), to)); err != nil {
		return "", err
	}
	if err := c.SetReadDeadline(time.Now().Add(wait)); err != nil {
		return "", err
	}
	_, err = c.Read(make([]byte, 2048))
	switch {
	case err == nil:
		return Answered, nil
	case errors.Is(err, syscall.ECONNREFUSED):
		return Refused, nil
	default:
		return Silent, nil
	}
}

// CheckUDP probes every UDP row of the table and some ports beside them: rows
// of SIP that are on answer, everything else is silent. RTP ports are silent
// while no call holds them.
func (vm *VM) CheckUDP(from, guest string, on []ports.Service) {
	vm.t.Helper()
	probe := map[uint16]bool{53: true, 67: true, 123: true, 161: true, 500: true, 1900: true, 5353: true}
	for _, s := range ports.Table() {
		if s.Proto != ports.UDP {
			continue
		}
		probe[s.First], probe[s.Last], probe[s.First-1] = true, true, true
		probe[s.First+(s.Last-s.First)/2] = true
	}
	for p := range probe {
		want := Silent
		for _, s := range on {
			if s.Proto == ports.UDP && s.IsSignalling() && s.Contains(p) {
				want = Answered
			}
		}
		got, err := vm.UDPProbe(from, netip.AddrPortFrom(netip.MustParseAddr(guest), p))
		if err != nil {
			vm.t.Fatal(err)
		}
		if got != want {
			vm.t.Errorf("udp port %d of %s: %s, want %s", p, guest, got, want)
		}
	}
}
