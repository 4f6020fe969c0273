package interop

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"ringfence/internal/ports"
	"ringfence/internal/siptest"
)

// tortureRounds is how often each message is sent over each transport.
const tortureRounds = 20

// The messages of RFC 4475 and RFC 5118, over every transport again and again,
// neither end pbxd nor its memory's peace, and a call beside them goes on. What
// each is answered with is told by TestTorture in internal/b2bua.
func TestTortureLeavesPBXDWell(t *testing.T) {
	t.Parallel()
	all := siptest.Torture(t, "../..")
	b := newBench(t).undetected(t)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	a, c := b.phone(t, "101", 440), b.phone(t, "102", 880)
	for _, p := range []*siptest.Phone{a, c} {
		if err := p.Register(ctx); err != nil {
			t.Fatal(err)
		}
	}
	out, in := connect(ctx, t, a, c, "102")
	pid := b.pbx.PID()
	send := func() {
		for _, over := range []ports.ID{ports.SIPUDP, ports.SIPTCP, ports.SIPTLS, ports.EdgeWSS} {
			for name, raw := range all {
				if err := b.sendOver(ctx, over, raw); err != nil {
					t.Fatalf("%s over %s: %v", name, over, err)
				}
			}
		}
	}
	send()
	before := rss(t, pid)
	for range tortureRounds {
		send()
	}
	after := rss(t, pid)
	t.Logf("%d messages over 4 transports, %d times: resident memory %d KiB before, %d KiB after", len(all), tortureRounds, before, after)
	if after > before+16<<10 {
		t.Errorf("resident memory grew from %d to %d KiB", before, after)
	}
	if err := out.HangUp(); err != nil {
		t.Error(err)
	}
	if err := in.Wait(ctx, siptest.Ended); err != nil {
		t.Errorf("the call beside them: %v", err)
	}
	for _, over := range []ports.ID{ports.SIPUDP, ports.SIPTCP, ports.SIPTLS, ports.EdgeWSS} {
		if err := b.phoneOver(t, over, "103", 660).Register(ctx); err != nil {
			t.Errorf("registering over %s afterwards: %v", over, err)
		}
	}
	if b.pbx.PID() != pid || strings.Contains(b.pbx.Log(t), "panic") {
		t.Error("pbxd panicked")
	}
}

// sendOver sends one message on a connection of its own and waits a moment for
// an answer, whatever it is.
func (b *bench) sendOver(ctx context.Context, over ports.ID, raw []byte) error {
	const moment = 5 * time.Millisecond
	dial, to := from(b.phones, "10.77.0.3"), b.pbx.Addr(over).String()
	insecure := &tls.Config{InsecureSkipVerify: true}
	if over == ports.EdgeWSS {
		client := &http.Client{Transport: &http.Transport{TLSClientConfig: insecure, DialContext: dial}}
		ws, _, err := websocket.Dial(ctx, "wss://"+to, &websocket.DialOptions{HTTPClient: client, Subprotocols: []string{"sip"}})
		if err != nil {
			return err
		}
		defer client.CloseIdleConnections()
		defer ws.CloseNow()
		if err := ws.Write(ctx, websocket.MessageBinary, raw); err != nil {
			return err
		}
		wait, cancel := context.WithTimeout(ctx, moment)
		defer cancel()
		_, _, _ = ws.Read(wait)
		return nil
	}
	var c net.Conn
	var err error
	switch over {
	case ports.SIPUDP:
		c, err = b.udp(to)
	default:
		c, err = dial(ctx, "tcp", to)
	}
	if err != nil {
		return err
	}
	defer c.Close()
	if over == ports.SIPTLS {
		c = tls.Client(c, insecure)
	}
	if _, err := c.Write(raw); err != nil {
		return err
	}
	_ = c.SetReadDeadline(time.Now().Add(moment))
	_, _ = c.Read(make([]byte, 4096))
	return nil
}

// udp is a connected UDP socket of the phones' namespace.
func (b *bench) udp(to string) (c net.Conn, err error) {
	err = b.phones.Do(func() error {
		c, err = net.DialUDP("udp", net.UDPAddrFromAddrPort(netip.MustParseAddrPort("10.77.0.3:0")), net.UDPAddrFromAddrPort(netip.MustParseAddrPort(to)))
		return err
	})
	return c, err
}
