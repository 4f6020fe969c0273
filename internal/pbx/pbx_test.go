package pbx_test

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"

	cloudinit "ringfence/cloud-init"
	"ringfence/internal/pbx"
	"ringfence/internal/pbxtest"
	"ringfence/internal/setup"
	"ringfence/internal/siptest"
	"ringfence/internal/telephony"
)

func within(t *testing.T, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

// connect has a call number, b answer, and waits for both.
func connect(t *testing.T, a, b *siptest.Phone, number string) (out, in *siptest.Call) {
	t.Helper()
	ctx := within(t, 15*time.Second)
	out, err := a.Call(ctx, number)
	if err != nil {
		t.Fatal(err)
	}
	if in, err = b.WaitCall(ctx); err != nil {
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

type record struct {
	Caller, Callee struct{ Number string }
	Reason         string `json:"end_reason"`
	StatusCode     int    `json:"status_code"`
}

// records waits for n call records, newest first.
func records(t *testing.T, p *pbxtest.PBX, n int) []record {
	t.Helper()
	admin := p.Admin()
	var list struct{ Items []record }
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		if err := admin.Do(t.Context(), "GET", "/cdrs", nil, &list); err != nil {
			t.Fatal(err)
		}
		if len(list.Items) >= n || time.Now().After(deadline) {
			return list.Items
		}
	}
}

// A call with audio both ways, ended by either side, and its records.
func TestCall(t *testing.T) {
	t.Parallel()
	p := pbxtest.New(t)
	a, b := p.Phone("101", 440), p.Phone("102", 880)
	ctx := within(t, 30*time.Second)
	for i := range 2 {
		out, in := connect(t, a, b, "102")
		time.Sleep(1500 * time.Millisecond)
		ends, other := out, in
		if i == 1 {
			ends, other = in, out
		}
		if err := ends.HangUp(); err != nil {
			t.Fatal(err)
		}
		if err := other.Wait(ctx, siptest.Ended); err != nil {
			t.Fatal(err)
		}
		if h := out.Heard(); h.Share(880) < 0.9 || h.Share(440) > 0.01 {
			t.Errorf("the caller heard 880 Hz %.3f, its own 440 Hz %.3f", h.Share(880), h.Share(440))
		}
		if h := in.Heard(); h.Share(440) < 0.9 || h.Share(880) > 0.01 {
			t.Errorf("the callee heard 440 Hz %.3f, its own 880 Hz %.3f", h.Share(440), h.Share(880))
		}
	}
	list := records(t, p, 2)
	if len(list) != 2 || list[0].Reason != string(telephony.EndCalleeHungUp) || list[1].Reason != string(telephony.EndCallerHungUp) {
		t.Fatalf("records %+v", list)
	}
	for _, r := range list {
		if r.Caller.Number != "101" || r.Callee.Number != "102" || r.StatusCode != 200 {
			t.Errorf("record %+v", r)
		}
	}
}

// Bindings live through a restart: nobody registers again.
func TestRestartKeepsRegistrations(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	first := pbxtest.Open(t, pbx.Options{DataDir: dir, Extensions: 2})
	first.Phone("101", 440)
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	second := pbxtest.Open(t, pbx.Options{DataDir: dir, Extensions: 2})
	if n := second.Registered(); n != 1 {
		t.Errorf("%d registrations after the restart, want 1", n)
	}
}

// What cloud-init writes is what the wizard reads: two packages that must not
// know each other share one document.
func TestSeedDocumentIsShared(t *testing.T) {
	t.Parallel()
	seed, problems := cloudinit.Parse(cloudinit.Documents{UserData: []byte(`#cloud-config
ringfence:
  token: abcdefghijklmnopqrstuvwxyz234567
  administrator: {name: boss, password: "Wolkig mit 9 Zitronen", email: b@pbx.example}
  name: Acme
  domain: pbx.example
  extension_first: "101"
  extension_last: "199"
  extensions: [{number: "101", display_name: Reception}]
  public_address: 203.0.113.7
  advertise_always: true
  ports: {sip-udp: 5080, rtp-core: 45000-45039}
`)})
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	text, err := json.Marshal(seed.Answers)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "seed.json")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := setup.LoadSeed(file)
	if err != nil {
		t.Fatal(err)
	}
	again, err := json.Marshal(got)
	if err != nil {
		t.Fatal(err)
	}
	if string(again) != string(text) {
		t.Errorf("the wizard reads\n%s\nof\n%s", again, text)
	}
}

// An extension that is deleted is gone from the registrations at once.
func TestDeletedExtensionLosesItsBinding(t *testing.T) {
	t.Parallel()
	p := pbxtest.New(t)
	p.Phone("101", 440)
	if n := p.Registered(); n != 1 {
		t.Fatalf("%d registrations", n)
	}
	if err := p.Admin().Do(t.Context(), "DELETE", "/extensions/101", nil, nil); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(5 * time.Second); p.Registered() != 0; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the binding is still there")
		}
	}
}

// A damaged database never turns into a fresh one: the PBX goes back to a
// snapshot, says so and keeps the bad file, or it does not start.
func TestDamagedDatabaseIsNoFreshSystem(t *testing.T) {
	t.Parallel()
	for name, damage := range map[string]func(string) error{
		"truncated": func(f string) error { return os.Truncate(f, 5000) },
		"emptied":   func(f string) error { return os.Truncate(f, 0) },
		"removed":   os.Remove,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			first := pbxtest.Open(t, pbx.Options{DataDir: dir, Extensions: 4})
			if err := first.Close(); err != nil {
				t.Fatal(err)
			}
			if err := damage(filepath.Join(dir, "ringfence.db")); err != nil {
				t.Fatal(err)
			}
			again, err := pbx.Start(t.Context(), pbx.Options{DataDir: dir, Dev: true, Ephemeral: true, Extensions: 4})
			if err != nil {
				t.Logf("refused to start: %v", err)
				return
			}
			defer again.Close()
			f := again.Facts()
			if f.Admin.Password != "" || len(f.Extensions) != 4 {
				t.Errorf("a new system was seeded: %d extensions", len(f.Extensions))
			}
			if len(again.Warnings()) == 0 {
				t.Error("nobody is told")
			}
			kept, err := filepath.Glob(filepath.Join(dir, "*corrupt*"))
			if name != "removed" && (err != nil || len(kept) == 0) {
				t.Errorf("the bad file was not kept: %v, %v", kept, err)
			}
		})
	}
}
