package pbx_test

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"ringfence/internal/pbx"
	"ringfence/internal/pbxtest"
	"ringfence/internal/ports"
	"ringfence/internal/siptest"
	"ringfence/tests/apiclient"
)

// Every transport registers, and calls every other with audio both ways.
func TestCallsAcrossTransports(t *testing.T) {
	t.Parallel()
	rows := []ports.ID{ports.SIPUDP, ports.SIPTCP, ports.SIPTLS, ports.EdgeUDP, ports.EdgeTCP, ports.EdgeWSS}
	p := pbxtest.Open(t, pbx.Options{DataDir: t.TempDir(), Extensions: 2 * len(rows)})
	tone := func(i int) float64 { return 300 + 100*float64(i) }
	number := func(i int) string { return fmt.Sprint(101 + i) }
	var phones []*siptest.Phone
	for i := range 2 * len(rows) { // two on each listener
		phones = append(phones, p.PhoneOn(rows[i%len(rows)], number(i), tone(i)))
	}
	for shift := range rows { // all callers at once, each round with other callees
		var round sync.WaitGroup
		for a := range rows {
			b := (a + shift) % len(rows)
			// Not by t.Parallel: they wait more than they work, and would take
			// turns with every other test.
			round.Go(func() {
				t.Run(fmt.Sprintf("%s calls %s", rows[a], rows[b]), func(t *testing.T) {
					callee := len(rows) + b
					out, in := connect(t, phones[a], phones[callee], number(callee))
					inPool(t, rows[a], out)
					inPool(t, rows[b], in)
					talk(t, out, in, (a+b)%2 == 1, tone(a), tone(callee))
				})
			})
		}
		round.Wait()
	}
}

// inPool checks that a phone was given a media port of its own side (P09, P10).
func inPool(t *testing.T, id ports.ID, c *siptest.Call) {
	t.Helper()
	pool := ports.RTPCore
	if row, _ := ports.Lookup(ports.Table(), id); row.Side == ports.Edge {
		pool = ports.RTPEdge
	}
	row, _ := ports.Lookup(ports.Table(), pool)
	if got := c.Remote().Addr.Port(); got < row.First || got > row.Last {
		t.Errorf("a phone on %s was told media port %d, not one of %d-%d", id, got, row.First, row.Last)
	}
}

// talk lets both speak for a while, has one hang up, and checks what was heard.
func talk(t *testing.T, out, in *siptest.Call, calleeEnds bool, caller, callee float64) {
	t.Helper()
	time.Sleep(1200 * time.Millisecond)
	ends, other := out, in
	if calleeEnds {
		ends, other = in, out
	}
	if err := ends.HangUp(); err != nil {
		t.Fatal(err)
	}
	if err := other.Wait(within(t, 10*time.Second), siptest.Ended); err != nil {
		t.Fatal(err)
	}
	if h := out.Heard(); h.Share(callee) < 0.9 || h.Share(caller) > 0.01 {
		t.Errorf("the caller heard the callee's tone with %.3f, its own with %.3f", h.Share(callee), h.Share(caller))
	}
	if h := in.Heard(); h.Share(caller) < 0.9 || h.Share(callee) > 0.01 {
		t.Errorf("the callee heard the caller's tone with %.3f, its own with %.3f", h.Share(caller), h.Share(callee))
	}
}

// A phone whose connection is lost is not registered any more, and its
// bindings on other transports stay.
func TestBindingEndsWithItsConnection(t *testing.T) {
	t.Parallel()
	p := pbxtest.New(t)
	p.Phone("101", 440)
	for _, id := range []ports.ID{ports.SIPTCP, ports.SIPTLS, ports.EdgeWSS} {
		phone := p.PhoneOn(id, "101", 440)
		if n := p.Registered(); n != 2 {
			t.Fatalf("%s: %d registrations, want 2", id, n)
		}
		phone.Close()
		for deadline := time.Now().Add(5 * time.Second); p.Registered() != 1; time.Sleep(10 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("%s: %d registrations without the connection, want 1", id, p.Registered())
			}
		}
	}
}

// A transport is deleted and made anew on another port at run time: the old
// port closes and the new one opens within a second, a call on another
// transport goes on, with its media.
func TestTransportMovesAtRunTime(t *testing.T) {
	t.Parallel()
	p := pbxtest.New(t)
	admin := p.Admin()
	a, b := p.PhoneOn(ports.SIPTLS, "101", 440), p.PhoneOn(ports.EdgeWSS, "102", 880)
	out, in := connect(t, a, b, "102")
	type transport struct {
		ID, State, Side, Protocol string
		Port                      int
	}
	for _, id := range []ports.ID{ports.SIPTCP, ports.SIPUDP} {
		row, _ := ports.Lookup(ports.Table(), id)
		before := p.Addr(id)
		if err := admin.Do(t.Context(), "DELETE", "/transports/"+string(id), nil, nil); err != nil {
			t.Fatal(err)
		}
		follows(t, string(id)+" is closed", func() bool { return !answers(row.Proto, before) })
		var made transport
		wish := map[string]any{"side": row.Side, "protocol": row.Protocol(), "port": freePort(t, row.Proto)}
		if err := admin.Do(t.Context(), "POST", "/transports", wish, &made); err != nil {
			t.Fatal(err)
		}
		if made.Port != wish["port"] || made.ID != string(id) {
			t.Errorf("asked for %v, got %+v", wish, made)
		}
		after := netip.AddrPortFrom(before.Addr(), uint16(made.Port))
		follows(t, string(id)+" is open on its new port", func() bool { return answers(row.Proto, after) })
		if answers(row.Proto, before) {
			t.Errorf("%s still answers on its old port", id)
		}
		var list struct{ Items []transport }
		if err := admin.Do(t.Context(), "GET", "/transports", nil, &list); err != nil {
			t.Fatal(err)
		}
		if !slices.ContainsFunc(list.Items, func(x transport) bool {
			return x.ID == string(id) && x.State == "listening" && x.Port == made.Port
		}) {
			t.Errorf("transports %+v", list.Items)
		}
	}
	err := admin.Do(t.Context(), "POST", "/transports", map[string]any{"side": "core", "protocol": "tcp"}, nil)
	if apiclient.Status(err) != http.StatusConflict {
		t.Errorf("creating what exists: %v", err)
	}
	talk(t, out, in, false, 440, 880)
}

// A port that another program holds is refused with the reason.
func TestTransportRefusesABusyPort(t *testing.T) {
	t.Parallel()
	p := pbxtest.New(t)
	admin := p.Admin()
	other, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	if err := admin.Do(t.Context(), "DELETE", "/transports/sip-tcp", nil, nil); err != nil {
		t.Fatal(err)
	}
	wish := map[string]any{"side": "core", "protocol": "tcp", "port": other.Addr().(*net.TCPAddr).Port}
	err = admin.Do(t.Context(), "POST", "/transports", wish, nil)
	if apiclient.Status(err) != http.StatusConflict || !strings.Contains(err.Error(), "in use") {
		t.Errorf("got %v", err)
	}
}

// follows waits a second at most.
func follows(t *testing.T, what string, f func() bool) {
	t.Helper()
	start := time.Now()
	for !f() {
		if time.Since(start) > time.Second {
			t.Fatalf("not within a second: %s", what)
		}
		time.Sleep(5 * time.Millisecond)
	}
	t.Logf("%s after %v", what, time.Since(start))
}

// answers reports whether an OPTIONS to an address is answered.
func answers(proto ports.Proto, to netip.AddrPort) bool {
	c, err := net.DialTimeout(string(proto), to.String(), time.Second)
	if err != nil {
		return false
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(200 * time.Millisecond))
	fmt.Fprintf(c, "OPTIONS sip:x SIP/2.0\r\nVia: SIP/2.0/%s h;rport;branch=z9hG4bK%d\r\nFrom: <sip:x@x>;tag=1\r\nTo: <sip:x>\r\nCall-ID: %d\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n", strings.ToUpper(string(proto)), time.Now().UnixNano(), time.Now().UnixNano())
	n, err := c.Read(make([]byte, 4096))
	return err == nil && n > 0
}

// freePort is one that nobody has just now, and that no row of the table owns.
func freePort(t *testing.T, proto ports.Proto) int {
	t.Helper()
	for {
		port := 20000 + rand.IntN(4000)
		var c io.Closer
		var err error
		if proto == ports.UDP {
			c, err = net.ListenPacket("udp", fmt.Sprintf("127.0.0.1:%d", port))
		} else {
			c, err = net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		}
		if err == nil {
			c.Close()
			return port
		}
	}
}

// A row is moved in place: SIP, and the portal with the session that asked.
func TestRowMovesAtRunTime(t *testing.T) {
	t.Parallel()
	p := pbxtest.New(t)
	admin := p.Admin()
	type row struct {
		ID             string
		First          int
		Enabled        bool
		Zones, Sources []string
	}
	for _, id := range []ports.ID{ports.SIPUDP, ports.Portal} {
		var list struct{ Items []row }
		if err := admin.Do(t.Context(), "GET", "/ports", nil, &list); err != nil {
			t.Fatal(err)
		}
		now := list.Items[slices.IndexFunc(list.Items, func(r row) bool { return r.ID == string(id) })]
		table, _ := ports.Lookup(ports.Table(), id)
		before := p.Addr(id)
		port := freePort(t, table.Proto)
		var made row
		err := admin.Do(t.Context(), "PUT", "/ports/"+string(id), map[string]any{"enabled": true, "port": port, "zones": now.Zones, "sources": []string{"127.0.0.0/255.0.0.0"}}, &made)
		if err != nil {
			t.Fatal(err)
		}
		if made.First != port || !slices.Equal(made.Sources, []string{"127.0.0.0/8"}) || !slices.Equal(made.Zones, now.Zones) {
			t.Errorf("asked for port %d, got %+v", port, made)
		}
		after := netip.AddrPortFrom(before.Addr(), uint16(port))
		follows(t, string(id)+" is open on its new port", func() bool { return answers(table.Proto, after) })
		follows(t, string(id)+" is closed on its old port", func() bool { return !answers(table.Proto, before) })
	}
}
