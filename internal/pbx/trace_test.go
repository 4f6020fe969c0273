package pbx_test

import (
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"ringfence/internal/pbxtest"
	"ringfence/internal/ports"
	"ringfence/tests/apiclient"
)

type ladder struct {
	Lanes []string
	Steps []struct{ From, To, Transport, Summary, Text string }
}

// TestTraceOfACall: a call's messages over both legs, live and when it has
// ended, without secrets, also as a capture that tshark reads.
func TestTraceOfACall(t *testing.T) {
	t.Parallel()
	p := pbxtest.New(t)
	a, b := p.Phone("101", 440), p.Phone("102", 880)
	ctx := within(t, 40*time.Second)
	admin := p.Admin()
	out, _ := connect(t, a, b, "102")
	var calls struct{ Items []struct{ ID string } }
	if err := admin.Do(ctx, http.MethodGet, "/calls", nil, &calls); err != nil || len(calls.Items) != 1 {
		t.Fatalf("%v, %+v", err, calls)
	}
	id := calls.Items[0].ID
	var live ladder
	if err := admin.Do(ctx, http.MethodGet, "/calls/"+id+"/trace", nil, &live); err != nil {
		t.Fatal(err)
	}
	if err := out.HangUp(); err != nil {
		t.Fatal(err)
	}
	records(t, p, 1)
	var l ladder
	if err := admin.Do(ctx, http.MethodGet, "/calls/"+id+"/trace", nil, &l); err != nil {
		t.Fatal(err)
	}
	if len(live.Steps) == 0 || len(l.Steps) <= len(live.Steps) {
		t.Errorf("%d steps live, %d at the end", len(live.Steps), len(l.Steps))
	}
	if len(l.Lanes) != 3 || l.Lanes[0] != "pbx" || l.Lanes[1] != a.Addr().String() || l.Lanes[2] != b.Addr().String() {
		t.Errorf("lanes %q", l.Lanes)
	}
	seen := map[string]bool{}
	for _, s := range l.Steps {
		first, _, _ := strings.Cut(s.Summary, " ")
		seen[s.From+" "+s.To+" "+first] = true
		for _, secret := range []string{`response="`, `nonce="`} {
			if _, v, ok := strings.Cut(s.Text, secret); ok && !strings.HasPrefix(v, "****") {
				t.Errorf("a secret: %s", s.Text)
			}
		}
		if s.Transport != "UDP" {
			t.Errorf("transport %q", s.Transport)
		}
	}
	for _, want := range []string{
		a.Addr().String() + " pbx INVITE", "pbx " + a.Addr().String() + " 407", "pbx " + b.Addr().String() + " INVITE",
		b.Addr().String() + " pbx 180", "pbx " + a.Addr().String() + " 200", a.Addr().String() + " pbx BYE", "pbx " + b.Addr().String() + " BYE",
	} {
		if !seen[want] {
			t.Errorf("no %q among %v", want, seen)
		}
	}
	code, capture, err := admin.Get(ctx, "/api/v1/calls/"+id+"/trace.pcap")
	if err != nil || code != http.StatusOK {
		t.Fatalf("capture: %d, %v", code, err)
	}
	checkCapture(t, capture, len(l.Steps))
	for _, other := range []string{"nosuchcall", id + "x"} {
		for _, kind := range []string{"/trace", "/trace.pcap"} {
			if err := admin.Do(ctx, http.MethodGet, "/calls/"+other+kind, nil, nil); apiclient.Status(err) != http.StatusNotFound {
				t.Errorf("%s%s: %v", other, kind, err)
			}
		}
	}

	// Switched off, nothing is kept.
	var set map[string]bool
	if err := admin.Do(ctx, http.MethodPut, "/trace", map[string]bool{"calls": false, "messages": false}, &set); err != nil {
		t.Fatal(err)
	}
	for err = nil; err == nil && ctx.Err() == nil; time.Sleep(20 * time.Millisecond) {
		err = admin.Do(ctx, http.MethodGet, "/calls/"+id+"/trace", nil, nil)
	}
	if apiclient.Status(err) != http.StatusNotFound {
		t.Errorf("after it was switched off: %v", err)
	}
}

func checkCapture(t *testing.T, capture []byte, n int) {
	t.Helper()
	tshark, err := exec.LookPath("tshark")
	if err != nil {
		t.Log("tshark is not installed")
		return
	}
	path := filepath.Join(t.TempDir(), "call.pcap")
	if err := os.WriteFile(path, capture, 0o600); err != nil {
		t.Fatal(err)
	}
	text, err := exec.CommandContext(t.Context(), tshark, "-n", "-r", path, "-T", "json", "-e", "sip.CSeq.method", "-e", "_ws.malformed").Output()
	if err != nil {
		t.Fatalf("tshark: %v", err)
	}
	var packets []struct {
		Source struct {
			Layers map[string][]string `json:"layers"`
		} `json:"_source"`
	}
	if err := json.Unmarshal(text, &packets); err != nil {
		t.Fatal(err)
	}
	methods := map[string]int{}
	for _, x := range packets {
		if len(x.Source.Layers["sip.CSeq.method"]) != 1 || len(x.Source.Layers["_ws.malformed"]) != 0 {
			t.Errorf("tshark reads %+v", x)
			continue
		}
		methods[x.Source.Layers["sip.CSeq.method"][0]]++
	}
	if len(packets) != n || methods["INVITE"] < 6 || methods["ACK"] < 3 || methods["BYE"] < 4 {
		t.Errorf("tshark counts %d packets, %v; want %d", len(packets), methods, n)
	}
}

// TestTraceSeesIntoTLS: what travels in TLS and in a WebSocket is as readable
// as a datagram, and a lamp on a connection works like any.
func TestTraceSeesIntoTLS(t *testing.T) {
	t.Parallel()
	p := pbxtest.New(t)
	a, b := p.PhoneOn(ports.SIPTLS, "101", 440), p.PhoneOn(ports.EdgeWSS, "102", 880)
	ctx := within(t, 40*time.Second)
	lamp, err := a.Subscribe(ctx, "dialog", "102", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	admin := p.Admin()
	out, _ := connect(t, a, b, "102")
	if _, err := lamp.Wait(ctx, "<state>confirmed</state>"); err != nil {
		t.Fatal(err)
	}
	var calls struct{ Items []struct{ ID string } }
	if err := admin.Do(ctx, http.MethodGet, "/calls", nil, &calls); err != nil || len(calls.Items) != 1 {
		t.Fatalf("%v, %+v", err, calls)
	}
	if err := out.HangUp(); err != nil {
		t.Fatal(err)
	}
	if _, err := lamp.Wait(ctx, "<state>terminated</state>"); err != nil {
		t.Fatal(err)
	}
	records(t, p, 1)
	var l ladder
	if err := admin.Do(ctx, http.MethodGet, "/calls/"+calls.Items[0].ID+"/trace", nil, &l); err != nil {
		t.Fatal(err)
	}
	seen := map[string]int{}
	for _, s := range l.Steps {
		seen[s.Transport]++
	}
	if seen["TLS"] < 6 || seen["WSS"] < 5 || len(seen) != 2 {
		t.Errorf("transports %v", seen)
	}
	code, capture, err := admin.Get(ctx, "/api/v1/calls/"+calls.Items[0].ID+"/trace.pcap")
	if err != nil || code != http.StatusOK {
		t.Fatalf("capture: %d, %v", code, err)
	}
	checkCapture(t, capture, len(l.Steps))

	// The connection will not outlive the end: its lamp is told to come again.
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	for {
		last, err := lamp.Next(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if last.GetHeader("Subscription-State").Value() == "terminated;reason=deactivated" {
			return
		}
	}
}
