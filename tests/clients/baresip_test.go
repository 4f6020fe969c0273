package clients

import (
	"context"
	"os"
	"testing"
	"time"

	"ringfence/tests/netlab"
)

// Two baresips call each other directly: the driver works before a PBX is
// between them.
func TestBaresipCallsBaresip(t *testing.T) {
	t.Parallel()
	ns, far := netlab.New(t, "bs"), netlab.New(t, "far")
	if err := netlab.Join(ns, "d0", []string{"10.77.0.2/24"}, far, "d0", []string{"10.77.0.1/24"}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 40*time.Second)
	defer cancel()
	start := func(user string, port, tone int) *Baresip {
		dir := t.TempDir()
		b, err := StartBaresip(ctx, BaresipConfig{
			Dir: dir, Command: ns.Command, Dial: ns.DialContext, Interface: "d0", Addr: "10.77.0.2",
			Port: port, RTPFirst: 20000 + port, Ctrl: port + 5, ToneHz: tone,
			URI: "sip:" + user + "@10.77.0.2:" + map[string]string{"a": "6200", "b": "6220"}[user], Account: ";regint=0;answermode=auto",
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(b.Close)
		return b
	}
	a, b := start("a", 6200, 440), start("b", 6220, 880)
	if _, err := a.Do("dial", "sip:b@10.77.0.2:6220"); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Wait(ctx, "CALL_ESTABLISHED"); err != nil {
		t.Fatal(err)
	}
	time.Sleep(2 * time.Second)
	if _, err := a.Do("hangup", ""); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Wait(ctx, "CALL_CLOSED"); err != nil {
		t.Fatal(err)
	}
	a.Close()
	b.Close()
	for _, p := range []*Baresip{a, b} {
		files, err := p.Heard()
		if err != nil || len(files) != 1 {
			t.Fatalf("recordings %v, %v; log:\n%s", files, err, p.Log())
		}
		if info, err := os.Stat(files[0]); err != nil || info.Size() < 8000 {
			t.Errorf("recording %s holds %v bytes, %v", files[0], info.Size(), err)
		}
	}
}
