package interop

import (
	"context"
	"fmt"
	"os/exec"
	"testing"
	"time"

	"ringfence/internal/ports"
	"ringfence/internal/siptest"
	"ringfence/tests/apiclient"
	"ringfence/tests/clients"
	"ringfence/tests/netlab"
	"ringfence/tests/pbxproc"
)

// bench is a PBX and a place for phones, joined by a cable.
type bench struct {
	host   *netlab.Namespace
	pbx    *pbxproc.Process
	phones *netlab.Namespace
}

func newBench(t *testing.T, args ...string) *bench {
	t.Helper()
	need(t, "baresip", "sipp")
	host, phones := netlab.New(t, "pbx"), netlab.New(t, "ph")
	if err := netlab.Join(host, "ph0", []string{"10.77.0.1/24"}, phones, "pbx0", []string{"10.77.0.2/24", "10.77.0.3/24"}); err != nil {
		t.Fatal(err)
	}
	// linphone takes a host without a default route for one without network.
	if err := phones.IP("route", "add", "default", "via", "10.77.0.1"); err != nil {
		t.Fatal(err)
	}
	return &bench{host: host, pbx: pbxproc.Start(t, host, "10.77.0.1", args...), phones: phones}
}

// need skips a test, saying why, without its programs.
func need(t *testing.T, tools ...string) {
	t.Helper()
	for _, tool := range tools {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("%s is not installed (make deps)", tool)
		}
	}
}

// baresip starts one as an extension over UDP and waits until it is registered.
func (b *bench) baresip(t *testing.T, number string, slot, tone int, more string, change ...func(*clients.BaresipConfig)) *clients.Baresip {
	t.Helper()
	return b.baresipOver(t, ports.SIPUDP, number, slot, tone, more, change...)
}

// baresipOver is baresip on one of the transports.
func (b *bench) baresipOver(t *testing.T, over ports.ID, number string, slot, tone int, more string, change ...func(*clients.BaresipConfig)) *clients.Baresip {
	t.Helper()
	e := b.pbx.Extension(number)
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	t.Cleanup(cancel)
	c := clients.BaresipConfig{
		Dir: t.TempDir(), Command: b.phones.Command, Dial: b.phones.DialContext,
		Interface: "pbx0", Addr: "10.77.0.2", Port: 6200 + 20*slot, RTPFirst: 21000 + 100*slot, Ctrl: 16200 + slot, ToneHz: tone, Trace: true,
		URI:     fmt.Sprintf("sip:%s@%s", e.SIPUser, e.Domain),
		Account: fmt.Sprintf(";auth_pass=%s;outbound=\"sip:%s;transport=%s\";regint=60%s", e.SIPPassword, b.pbx.Addr(over), transport(over), more),
	}
	for _, f := range change {
		f(&c)
	}
	p, err := clients.StartBaresip(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	if err := p.Registered(ctx); err != nil {
		t.Fatal(err)
	}
	return p
}

// transport is the URI parameter of a listener.
func transport(over ports.ID) string {
	switch over {
	case ports.SIPTCP, ports.EdgeTCP:
		return "tcp"
	case ports.SIPTLS:
		return "tls"
	case ports.EdgeWSS:
		return "ws"
	}
	return "udp"
}

type record struct {
	Caller   party  `json:"caller"`
	Callee   party  `json:"callee"`
	Reason   string `json:"end_reason"`
	Status   int    `json:"status_code"`
	Answered string `json:"answered_at"`
}

type party struct {
	Number string `json:"number"`
}

// records waits until n call records are there.
func records(t *testing.T, c *apiclient.Client, n int) []record {
	t.Helper()
	var list struct {
		Items []record `json:"items"`
	}
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(100 * time.Millisecond) {
		if err := c.Do(t.Context(), "GET", "/cdrs", nil, &list); err != nil {
			t.Fatal(err)
		}
		if len(list.Items) >= n || time.Now().After(deadline) {
			return list.Items
		}
	}
}

// Two baresips call each other through the PBX: each hears the other's tone
// and not its own, and either side can end the call.
func TestBaresipPair(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	a := b.baresip(t, "101", 0, 440, "")
	c := b.baresip(t, "102", 1, 880, ";answermode=auto")
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	for i, ends := range []*clients.Baresip{a, c} {
		if _, err := a.Do("dial", "102"); err != nil {
			t.Fatal(err)
		}
		for _, p := range []*clients.Baresip{a, c} {
			if _, err := p.Wait(ctx, "CALL_ESTABLISHED"); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(3 * time.Second)
		if _, err := ends.Do("hangup", ""); err != nil {
			t.Fatal(err)
		}
		for _, p := range []*clients.Baresip{a, c} {
			if _, err := p.Wait(ctx, "CALL_CLOSED"); err != nil {
				t.Fatalf("call %d: %v", i, err)
			}
		}
	}
	a.Close()
	c.Close()
	heard(t, a, 880, 440)
	heard(t, c, 440, 880)
	list := records(t, b.pbx.Admin(t), 2)
	if len(list) != 2 || list[0].Reason != "callee_hung_up" || list[1].Reason != "caller_hung_up" {
		t.Fatalf("call records %+v", list)
	}
	for _, r := range list {
		if r.Caller.Number != "101" || r.Callee.Number != "102" || r.Status != 200 || r.Answered == "" {
			t.Errorf("call record %+v", r)
		}
	}
}

// heard demands, of every recording, the wanted tone and none of the other.
func heard(t *testing.T, b *clients.Baresip, want, never float64) {
	t.Helper()
	files, err := b.Heard()
	if err != nil || len(files) == 0 {
		t.Fatalf("recordings: %v, %v; log:\n%s", files, err, b.Log())
	}
	for _, f := range files {
		h, err := siptest.HeardWAV(f)
		if err != nil {
			t.Fatal(err)
		}
		if h.Share(want) < 0.9 || h.Share(never) > 0.01 {
			t.Errorf("%s: %.0f Hz has %.3f of the energy, %.0f Hz %.3f", f, want, h.Share(want), never, h.Share(never))
		}
	}
}
