package interop

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"

	"net/netip"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"ringfence/internal/ports"
	"ringfence/internal/siptest"
)

// phone starts a scripted phone beside the real ones.
func (b *bench) phone(t *testing.T, number string, tone float64) *siptest.Phone {
	t.Helper()
	return b.phoneOver(t, ports.SIPUDP, number, tone)
}

// phoneOver is phone on one of the transports.
func (b *bench) phoneOver(t *testing.T, over ports.ID, number string, tone float64, change ...func(*siptest.Config)) *siptest.Phone {
	t.Helper()
	e := b.pbx.Extension(number)
	proto := strings.ToUpper(transport(over))
	if over == ports.EdgeWSS {
		proto = "WSS"
	}
	c := siptest.Config{
		Transport: proto, Dial: from(b.phones, "10.77.0.3"),
		Server: b.pbx.Addr(over), User: e.SIPUser, Password: e.SIPPassword, Domain: e.Domain, Tone: tone,
		Listen: netip.MustParseAddrPort("10.77.0.3:0"), ListenUDP: b.phones.ListenUDP,
	}
	for _, f := range change {
		f(&c)
	}
	return siptest.NewPhone(t, c)
}

// connect has a call b and waits until both say it is answered.
func connect(ctx context.Context, t *testing.T, a, b *siptest.Phone, number string) (*siptest.Call, *siptest.Call) {
	t.Helper()
	out, err := a.Call(ctx, number)
	if err != nil {
		t.Fatal(err)
	}
	in, err := b.WaitCall(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := in.Ring(); err != nil {
		t.Fatal(err)
	}
	if err := in.Answer(); err != nil {
		t.Fatal(err)
	}
	for _, c := range []*siptest.Call{out, in} {
		if err := c.Wait(ctx, siptest.Answered); err != nil {
			t.Fatal(err)
		}
	}
	return out, in
}

// A killed pbxd comes back with its registrations: UDP phones call each other
// without registering again.
func TestKilledPBXKeepsRegistrations(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	a, c := b.phone(t, "101", 440), b.phone(t, "102", 880)
	for _, p := range []*siptest.Phone{a, c} {
		if err := p.Register(ctx); err != nil {
			t.Fatal(err)
		}
	}
	time.Sleep(1500 * time.Millisecond) // bindings are written behind, within a second
	b.pbx.Stop(syscall.SIGKILL)
	start := time.Now()
	b.pbx.Restart(t)
	t.Logf("everything listens %v after the start", time.Since(start))
	out, in := connect(ctx, t, a, c, "102")
	time.Sleep(time.Second)
	if err := out.HangUp(); err != nil {
		t.Fatal(err)
	}
	if err := in.Wait(ctx, siptest.Ended); err != nil {
		t.Fatal(err)
	}
}

// 100,000 datagrams of junk, REGISTERs from 60,000 sources and 100,000 requests
// of every method without credentials leave memory flat and the service
// answering.
func TestFloodsLeaveMemoryFlat(t *testing.T) {
	b := newBench(t).undetected(t)
	const prefix = "10.78.0.0/16"
	if err := b.phones.IP("route", "add", "local", prefix, "dev", "lo"); err != nil {
		t.Fatal(err)
	}
	if err := b.host.IP("route", "add", prefix, "via", "10.77.0.2"); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	server := b.pbx.Addr(ports.SIPUDP)
	before := rss(t, b.pbx.PID())
	junk(t, b, server, 100_000)
	for i := range 60_000 {
		src := netip.AddrFrom4([4]byte{10, 78, byte(i >> 8), byte(i)})
		c, err := b.phones.ListenUDP(netip.AddrPortFrom(src, 0))
		if err != nil {
			t.Fatal(err)
		}
		_, err = c.WriteToUDPAddrPort(register(src, i), server)
		c.Close()
		if err != nil {
			t.Fatal(err)
		}
	}
	requests(t, b, server, 100_000)
	a, c := b.phone(t, "101", 440), b.phone(t, "102", 880)
	for _, p := range []*siptest.Phone{a, c} {
		if err := p.Register(ctx); err != nil {
			t.Fatal(err)
		}
	}
	out, _ := connect(ctx, t, a, c, "102")
	if err := out.HangUp(); err != nil {
		t.Fatal(err)
	}
	after := rss(t, b.pbx.PID())
	t.Logf("resident memory %d KiB before, %d KiB after", before, after)
	if after > before*3/2+64<<10 {
		t.Errorf("resident memory grew from %d to %d KiB", before, after)
	}
}

func junk(t *testing.T, b *bench, server netip.AddrPort, n int) {
	t.Helper()
	c, err := b.phones.ListenUDP(netip.MustParseAddrPort("10.77.0.3:0"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	rnd := rand.New(rand.NewPCG(1, 2))
	buf := make([]byte, 1400)
	for i := range n {
		size := 1 + rnd.IntN(len(buf)-1)
		for j := range size {
			buf[j] = byte(rnd.Uint32())
		}
		if i%2 == 0 {
			copy(buf, "INVITE sip:")
		}
		if _, err := c.WriteToUDPAddrPort(buf[:size], server); err != nil && !isFull(err) {
			t.Fatal(err)
		}
	}
}

// requests sends well-formed requests of all methods, from nobody: new ones to
// real and missing extensions, and some that pretend to be within a dialog.
func requests(t *testing.T, b *bench, server netip.AddrPort, n int) {
	t.Helper()
	c, err := b.phones.ListenUDP(netip.MustParseAddrPort("10.77.0.3:0"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	me := c.LocalAddr().String()
	methods := []string{"INVITE", "SUBSCRIBE", "PUBLISH", "MESSAGE", "REFER", "NOTIFY", "BYE", "CANCEL", "ACK", "PRACK", "UPDATE", "INFO", "OPTIONS"}
	for i := range n {
		if _, err := c.WriteToUDPAddrPort(stranger(me, methods[i%len(methods)], i), server); err != nil && !isFull(err) {
			t.Fatal(err)
		}
		if i%100 == 0 { // 30,000 a second or so: most are read, not lost
			time.Sleep(3 * time.Millisecond)
		}
	}
}

// stranger is a request of nobody; every third claims a dialog.
func stranger(me, method string, i int) []byte {
	tag, extra, body := "", "", ""
	if i%3 == 0 {
		tag = fmt.Sprintf(";tag=d%d", i)
	}
	switch method {
	case "INVITE":
		body = "v=0\r\no=- 1 1 IN IP4 10.77.0.3\r\ns=-\r\nc=IN IP4 10.77.0.3\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\n"
		extra = "Content-Type: application/sdp\r\n"
	case "SUBSCRIBE":
		extra = []string{"Event: dialog\r\nExpires: 3600\r\n", "Event: presence\r\nExpires: 3600\r\n", "Event: message-summary\r\n"}[i%3]
	case "PUBLISH":
		body = `<?xml version="1.0"?><presence xmlns="urn:ietf:params:xml:ns:pidf" entity="sip:101@dev.ringfence.test"><tuple id="t"><status><basic>open</basic></status></tuple></presence>`
		extra = "Event: presence\r\nExpires: 3600\r\nContent-Type: application/pidf+xml\r\n"
	case "NOTIFY":
		extra = "Event: dialog\r\nSubscription-State: active\r\n"
	case "REFER":
		extra = "Refer-To: <sip:102@dev.ringfence.test>\r\n"
	case "PRACK":
		extra = "RAck: 1 1 INVITE\r\n"
	}
	uri := fmt.Sprintf("sip:%d@dev.ringfence.test", 101+i%8) // 105 to 108 do not exist
	return fmt.Appendf(nil, "%s %s SIP/2.0\r\nVia: SIP/2.0/UDP %s;rport;branch=z9hG4bKs%d\r\nMax-Forwards: 70\r\n"+
		"From: <sip:%d@dev.ringfence.test>;tag=s%d\r\nTo: <%s>%s\r\nCall-ID: stranger-%d\r\nCSeq: 1 %s\r\nContact: <sip:x@%s>\r\n%sContent-Length: %d\r\n\r\n%s",
		method, uri, me, i, 101+i%4, i, uri, tag, i, method, me, extra, len(body), body)
}

func isFull(err error) bool { return errors.Is(err, syscall.ENOBUFS) }

func register(src netip.Addr, i int) []byte {
	return fmt.Appendf(nil, "REGISTER sip:flood.example SIP/2.0\r\nVia: SIP/2.0/UDP %s:5062;rport;branch=z9hG4bKf%d\r\nMax-Forwards: 70\r\n"+
		"From: <sip:%d@flood.example>;tag=f\r\nTo: <sip:%d@flood.example>\r\nCall-ID: flood-%d\r\nCSeq: 1 REGISTER\r\nContact: <sip:x@%s:5062>\r\nContent-Length: 0\r\n\r\n", src, i, i, i, i, src)
}

// rss is a process's resident memory in KiB.
func rss(t *testing.T, pid int) int {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			n, err := strconv.Atoi(strings.Fields(rest)[0])
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
	}
	t.Fatal("no VmRSS")
	return 0
}
