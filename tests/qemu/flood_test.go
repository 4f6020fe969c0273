package qemu

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"ringfence/internal/ports"
	"ringfence/internal/siptest"
)

const (
	floodJunk     = 100_000
	floodRegister = 60_000
	// floodBatch datagrams go out every floodPause, about what an emulated
	// guest takes: what its queue drops tests nothing.
	floodBatch = 20
	floodPause = 4 * time.Millisecond
	// floodGrowth is how much less memory may be available after the flood, in
	// bytes: garbage not collected yet, and pages the kernel keeps for packets.
	floodGrowth = 64 << 20
)

// Junk and REGISTERs from sources by the thousand leave a guest of 512 MiB
// with the memory it had, answering the phones that are registered.
func TestFloodInSmallGuest(t *testing.T) {
	vm := Boot(t, Memory(512))
	vm.Setup()
	if err := vm.NS.IP("route", "add", "local", "10.78.0.0/16", "dev", "lo"); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	a, b := vm.Phone("101", 440), vm.Phone("102", 660)
	for _, p := range []*siptest.Phone{a, b} {
		if err := p.Register(ctx); err != nil {
			t.Fatal(err)
		}
	}
	before, err := vm.MemoryAvailable()
	if err != nil {
		t.Fatal(err)
	}
	start, taken := time.Now(), vm.taken(t)
	vm.flood(t)
	took, taken := time.Since(start), vm.taken(t)-taken
	if err := vm.untilOPTIONS(5 * time.Second); err != nil {
		t.Error(err)
	}
	out, in := connect(ctx, t, a, b, "102")
	listen(ctx, t, out, 660)
	listen(ctx, t, in, 440)
	if err := out.HangUp(); err != nil {
		t.Fatal(err)
	}
	after, err := vm.MemoryAvailable()
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("the guest took %d of %d datagrams in %.0f s; %d MiB available before, %d after", taken, floodJunk+floodRegister, took.Seconds(), before.Available>>20, after.Available>>20)
	if taken < (floodJunk+floodRegister)/2 {
		t.Errorf("the guest took only %d datagrams, that is no flood", taken)
	}
	if before.Available-after.Available > floodGrowth {
		t.Errorf("available memory went from %d to %d MiB", before.Available>>20, after.Available>>20)
	}
	t.Run("meters", func(t *testing.T) { checkMeters(t, vm) })
}

// flood sends the junk and the REGISTERs to the SIP port.
func (vm *VM) flood(t *testing.T) {
	t.Helper()
	udp, _ := ports.Lookup(ports.Table(), ports.SIPUDP)
	server := netip.AddrPortFrom(netip.MustParseAddr(guest4), udp.First)
	c, err := vm.NS.ListenUDP(netip.MustParseAddrPort("0.0.0.0:5062"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	rnd := rand.New(rand.NewPCG(1, 2))
	tick := time.NewTicker(floodPause)
	defer tick.Stop()
	buf := make([]byte, 1400)
	for i := range floodJunk + floodRegister {
		if i%floodBatch == 0 {
			<-tick.C
		}
		src := netip.AddrFrom4([4]byte{10, 78, byte(i >> 8), byte(i)})
		datagram := forged(src, i)
		if i >= floodRegister {
			datagram = junk(buf, rnd)
		}
		if err := sendFrom(c, src, server, datagram); err != nil {
			t.Fatal(err)
		}
	}
}

func junk(buf []byte, rnd *rand.Rand) []byte {
	buf = buf[:1+rnd.IntN(len(buf)-1)]
	for j := range buf {
		buf[j] = byte(rnd.Uint32())
	}
	if rnd.IntN(2) == 0 {
		copy(buf, "INVITE sip:")
	}
	return buf
}

func forged(src netip.Addr, i int) []byte {
	return fmt.Appendf(nil, "REGISTER sip:lab.example SIP/2.0\r\nVia: SIP/2.0/UDP %s:5062;rport;branch=z9hG4bKf%d\r\nMax-Forwards: 70\r\n"+
		"From: <sip:%d@lab.example>;tag=f\r\nTo: <sip:%d@lab.example>\r\nCall-ID: flood-%d\r\nCSeq: 1 REGISTER\r\nContact: <sip:x@%s:5062>\r\nContent-Length: 0\r\n\r\n", src, i, i, i, i, src)
}

// sendFrom sends with a source address of its own; a full queue loses it.
func sendFrom(c *net.UDPConn, src netip.Addr, to netip.AddrPort, datagram []byte) error {
	_, _, err := c.WriteMsgUDPAddrPort(datagram, unix.PktInfo4(&unix.Inet4Pktinfo{Spec_dst: src.As4()}), to)
	if errors.Is(err, syscall.ENOBUFS) || errors.Is(err, syscall.EAGAIN) {
		return nil
	}
	return err
}

// taken is how many packets went into the guest.
func (vm *VM) taken(t *testing.T) int {
	t.Helper()
	out, err := vm.NS.Command(t.Context(), "cat", filepath.Join("/sys/class/net", tap, "statistics/tx_packets")).Output()
	if err != nil {
		t.Fatal(err)
	}
	n, err := strconv.Atoi(strings.TrimSpace(string(out)))
	if err != nil {
		t.Fatal(err)
	}
	return n
}
