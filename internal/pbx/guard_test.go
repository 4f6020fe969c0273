package pbx_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"

	"ringfence/internal/pbx"
	"ringfence/internal/pbxtest"
	"ringfence/internal/ports"
	"ringfence/internal/siptest"
	"ringfence/tests/apiclient"
)

// stranger is a socket of an address that is not the PBX's own.
func stranger(t *testing.T, addr string) *net.UDPConn {
	t.Helper()
	c, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(addr), 0)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// asks sends a request and returns the status line, or "" if nobody answers.
func asks(t *testing.T, c *net.UDPConn, to netip.AddrPort, text string) string {
	t.Helper()
	if _, err := c.WriteToUDPAddrPort([]byte(text), to); err != nil {
		t.Fatal(err)
	}
	_ = c.SetReadDeadline(time.Now().Add(300 * time.Millisecond))
	buf := make([]byte, 4096)
	n, err := c.Read(buf)
	if err != nil {
		return ""
	}
	line, _, _ := strings.Cut(string(buf[:n]), "\r\n")
	return line
}

// options asks whether anybody is there.
func options(c *net.UDPConn, n int, agent string) string {
	return fmt.Sprintf("OPTIONS sip:x@pbx SIP/2.0\r\nVia: SIP/2.0/UDP %s;branch=z9hG4bKo%d\r\nFrom: <sip:a@b>;tag=1\r\nTo: <sip:x@pbx>\r\nCall-ID: o%d\r\nCSeq: 1 OPTIONS\r\nMax-Forwards: 70\r\nUser-Agent: %s\r\nContent-Length: 0\r\n\r\n", c.LocalAddr(), n, n, agent)
}

type banList struct {
	Items []struct {
		Source    string `json:"source"`
		Scope     string `json:"scope"`
		Reason    string `json:"reason"`
		UserAgent string `json:"user_agent"`
		Target    string `json:"target"`
		Count     int    `json:"count"`
		Until     time.Time
	} `json:"items"`
}

func bansOf(t *testing.T, admin *apiclient.Client) banList {
	t.Helper()
	var all banList
	if err := admin.Do(t.Context(), "GET", "/security/bans", nil, &all); err != nil {
		t.Fatal(err)
	}
	return all
}

// guess registers with wrong passwords, n times, from an address.
func guess(t *testing.T, p *pbxtest.PBX, addr string, n int) (answered int) {
	t.Helper()
	e := p.Extension("101")
	phone := siptest.NewPhone(t, siptest.Config{
		Server: p.Addr(ports.SIPUDP), User: e.SIPUser, Password: "wrong", Domain: e.Domain, T1: 20 * time.Millisecond,
		Listen: netip.AddrPortFrom(netip.MustParseAddr(addr), 0),
	})
	for range n {
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		err := phone.Register(ctx)
		cancel()
		if err == nil {
			t.Fatal("a wrong password is accepted")
		}
		if errors.Is(err, siptest.ErrTimeout) || errors.Is(err, context.DeadlineExceeded) {
			return answered
		}
		answered++
	}
	return answered
}

// S02, S04, S05, S12, S13: the 50th wrong password is answered, the next is not;
// the ban is seen with its evidence, survives a restart, and is taken back.
func TestGuessingPasswordsIsBanned(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	p := pbxtest.Open(t, pbx.Options{DataDir: dir, Extensions: 2})
	admin := p.Admin()
	if n := guess(t, p, "127.0.0.66", 49); n != 49 || len(bansOf(t, admin).Items) != 0 {
		t.Fatalf("%d of 49 answered, %+v", n, bansOf(t, admin))
	}
	if n := guess(t, p, "127.0.0.66", 2); n != 1 {
		t.Errorf("%d of the last two answered", n)
	}
	all := bansOf(t, admin).Items
	if len(all) != 1 || all[0].Source != "127.0.0.66" || all[0].Scope != "sip" || all[0].Reason != "wrong passwords" || all[0].Count != 50 || all[0].Target != "101" {
		t.Fatalf("%+v", all)
	}
	if left := time.Until(all[0].Until); left < 59*time.Minute || left > time.Hour {
		t.Errorf("banned for %s", left)
	}
	c, other := stranger(t, "127.0.0.66"), stranger(t, "127.0.0.67")
	if got := asks(t, c, p.Addr(ports.SIPUDP), options(c, 1, "x")); got != "" {
		t.Errorf("the banned source is told %q", got)
	}
	if got := asks(t, other, p.Addr(ports.SIPUDP), options(other, 2, "x")); got != "SIP/2.0 200 OK" {
		t.Errorf("its neighbour is told %q", got)
	}
	p.Phone("102", 440) // phones elsewhere register

	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	before := p.Facts().Admin
	p = pbxtest.Open(t, pbx.Options{DataDir: dir, Extensions: 2})
	admin = apiclient.New(p.Facts().Admin.URL, "", nil)
	if err := admin.Login(t.Context(), before.User, before.Password); err != nil {
		t.Fatal(err)
	}
	again := bansOf(t, admin).Items
	if len(again) != 1 || again[0].Until.Sub(all[0].Until).Abs() > time.Millisecond {
		t.Fatalf("after a restart: %+v", again)
	}
	if got := asks(t, c, p.Addr(ports.SIPUDP), options(c, 3, "x")); got != "" {
		t.Errorf("after a restart the banned source is told %q", got)
	}
	if err := admin.Do(t.Context(), "DELETE", "/security/bans?scope=sip&source="+url.QueryEscape("127.0.0.66"), nil, nil); err != nil {
		t.Fatal(err)
	}
	if got := asks(t, c, p.Addr(ports.SIPUDP), options(c, 4, "x")); got != "SIP/2.0 200 OK" {
		t.Errorf("after the ban was taken back: %q", got)
	}
}

// I01: an allowed address is not banned, and still needs a password.
func TestAllowedAddressIsNotBanned(t *testing.T) {
	t.Parallel()
	p := pbxtest.New(t)
	in := map[string]any{"network": "127.0.0.64/26", "action": "allow"}
	if err := p.Admin().Do(t.Context(), "POST", "/security/addresses", in, nil); err != nil {
		t.Fatal(err)
	}
	n, bans := guess(t, p, "127.0.0.70", 60), bansOf(t, p.Admin()).Items
	if n != 60 || len(bans) != 0 {
		t.Errorf("%d of 60 answered, %+v", n, bans)
	}
}

// S14, S15.
func TestAttackToolsGetNoAnswer(t *testing.T) {
	t.Parallel()
	p := pbxtest.New(t)
	c := stranger(t, "127.0.0.68")
	at := p.Addr(ports.SIPUDP)
	if got := asks(t, c, at, options(c, 1, "friendly-scanner")); got != "" {
		t.Errorf("svmap is told %q", got)
	}
	if got := asks(t, c, at, options(c, 2, "Yealink SIP-T46U")); got != "SIP/2.0 200 OK" {
		t.Errorf("a phone is told %q", got)
	}
	var now map[string]any
	if err := p.Admin().Do(t.Context(), "GET", "/security/protection", nil, &now); err != nil {
		t.Fatal(err)
	}
	delete(now, "$schema")
	now["user_agents"], now["silent_invite"] = []string{"yeal*46"}, true
	if err := p.Admin().Do(t.Context(), "PUT", "/security/protection", now, nil); err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(5 * time.Second)
	for i := 10; asks(t, c, at, options(c, i, "Yealink SIP-T46U")) != ""; i++ {
		if time.Now().After(deadline) {
			t.Fatal("a new list has no effect")
		}
	}
	if got := asks(t, c, at, options(c, 3, "friendly-scanner")); got != "SIP/2.0 200 OK" {
		t.Errorf("what was taken off the list is told %q", got)
	}
	invite := strings.ReplaceAll(options(c, 4, "x"), "OPTIONS", "INVITE")
	invite = strings.Replace(invite, "Max-Forwards", "Contact: <sip:a@127.0.0.68>\r\nMax-Forwards", 1)
	if got := asks(t, c, at, invite); got != "" {
		t.Errorf("a call of a stranger is told %q", got)
	}
	a, b := p.Phone("101", 440), p.Phone("102", 880)
	connect(t, a, b, "102") // who registered may call
}
