package setup

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"

	cloudinit "ringfence/cloud-init"
	"ringfence/internal/ports"
	"ringfence/internal/store"
	"ringfence/internal/telephony"
)

// passwords accepts everything but "weak".
type passwords struct{}

func (passwords) Check(p string, _ ...string) error {
	if p == "weak" {
		return &telephony.FieldError{Field: "password", Reason: "is weak"}
	}
	return nil
}
func (passwords) Hash(_ context.Context, p string) (string, error) { return "hash of " + p, nil }
func (passwords) Generate() string                                 { return draw() }

func newWizard(t *testing.T, seed *Seed) *Wizard {
	t.Helper()
	s, err := store.Open(t.Context(), t.TempDir(), store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	w, err := New(Config{Store: s, Passwords: passwords{}, Seed: seed, Hostname: "box"})
	if err != nil {
		t.Fatal(err)
	}
	return w
}

var addr = netip.MustParseAddr("192.0.2.1")

func actor() telephony.Actor { return telephony.Actor{Kind: telephony.ActorSetup, Addr: addr} }

func TestTokensAreOfThisBoot(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for range 100 {
		tok, err := newToken(nil)
		if err != nil || len(tok.plain) != 26 || strings.Trim(tok.plain, "abcdefghijklmnopqrstuvwxyz234567") != "" || seen[tok.plain] {
			t.Fatalf("%v %q", err, tok.plain)
		}
		seen[tok.plain] = true
	}
}

func TestSeededTokens(t *testing.T) {
	t.Parallel()
	const plain = "abcdefghijklmnopqrstuvwxyz"
	sum := sha256.Sum256([]byte(plain))
	hashed := newWizard(t, &Seed{TokenSHA256: hex.EncodeToString(sum[:])})
	if hashed.Token() != "" || !hashed.Admit(addr, plain) || hashed.Admit(addr, plain+"x") || hashed.Admit(addr, "") {
		t.Error("token by hash")
	}
	if w := newWizard(t, &Seed{Token: plain}); w.Token() != plain || !w.Admit(addr, plain) {
		t.Error("token in plain")
	}
	if _, err := New(Config{Seed: &Seed{TokenSHA256: "00"}}); err == nil {
		t.Error("half a hash was accepted")
	}
}

// What first boot writes is what the wizard reads, field by field.
func TestSeedIsWhatFirstBootWrites(t *testing.T) {
	t.Parallel()
	on := true
	written := cloudinit.Answers{
		Token: "t", TokenSHA256: "h",
		Administrator: &cloudinit.Administrator{Name: "n", Password: "p", FirstName: "f", LastName: "l", Email: "e"},
		Tenant:        &cloudinit.Tenant{Name: "n", Domain: "d", ExtensionFirst: "101", ExtensionLast: "199"},
		Extensions:    []cloudinit.Extension{{Number: "101", DisplayName: "d", SIPPassword: "s"}}, ExtensionCount: 3,
		PublicAddress: addr, AdvertiseAlways: true, CloudMode: true,
		Ports: []cloudinit.Port{{ID: ports.SIPUDP, Enabled: &on, First: 1, Last: 2}},
	}
	v := reflect.ValueOf(written)
	for i := range v.NumField() {
		if v.Field(i).IsZero() {
			t.Errorf("this test leaves %s out", v.Type().Field(i).Name)
		}
	}
	text, err := json.Marshal(written)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "seed.json")
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	read, err := LoadSeed(path)
	if err != nil {
		t.Fatal(err)
	}
	again, err := json.Marshal(read)
	if err != nil || string(again) != string(text) {
		t.Errorf("%v\n%s\n%s", err, text, again)
	}
	if none, err := LoadSeed(path + "x"); none != nil || err != nil {
		t.Errorf("without a file: %v %v", none, err)
	}
	if err := os.WriteFile(path, []byte(`{"administrator":{"password":"s3cret"`), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadSeed(path); err == nil || strings.Contains(err.Error(), "s3cret") {
		t.Errorf("%v", err)
	}
}

// A refused answer does not keep the others from being saved.
func TestSeedWithARefusedAnswer(t *testing.T) {
	t.Parallel()
	w := newWizard(t, &Seed{
		Administrator: &Administrator{Name: "boss", Password: "weak"},
		Tenant:        &Tenant{Name: "Acme", Domain: "pbx.example", ExtensionFirst: "101", ExtensionLast: "199"}, ExtensionCount: 2,
	})
	if err := w.ApplySeed(t.Context()); err == nil || !strings.Contains(err.Error(), "is weak") {
		t.Errorf("%v", err)
	}
	st, err := w.State(t.Context())
	if err != nil || st.Administrator || !st.Tenant || !st.Extensions || w.Finished() {
		t.Errorf("%v %+v", err, st)
	}
	s, err := w.Suggestion(t.Context())
	if err != nil || s.Administrator.Name != "boss" || s.Administrator.Password != "" {
		t.Errorf("%v %+v", err, s)
	}
}

// Two browsers at once make one administrator and one tenant.
func TestStepsDoNotRace(t *testing.T) {
	t.Parallel()
	w := newWizard(t, nil)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			name := string(rune('a'+i)) + "dmin"
			if err := w.SaveAdministrator(t.Context(), actor(), Administrator{Name: name, Password: "p"}); err != nil {
				t.Error(err)
			}
			if err := w.SaveTenant(t.Context(), actor(), Tenant{Name: name, Domain: name + ".example", ExtensionFirst: "101", ExtensionLast: "199"}); err != nil {
				t.Error(err)
			}
			if _, err := w.SaveExtensions(t.Context(), actor(), []Extension{{Number: "101"}, {Number: "102"}}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	users, err := w.cfg.Store.System().Users(t.Context())
	snap := w.cfg.Store.Snapshot()
	if err != nil || len(users) != 1 || len(snap.Tenants()) != 1 || len(snap.Extensions(snap.Tenants()[0].ID)) != 2 {
		t.Errorf("%v %+v %+v", err, users, snap.Tenants())
	}
	finished := 0
	for range 4 {
		wg.Go(func() {
			_, err := w.Finish(t.Context(), actor(), "192.0.2.1:8887")
			switch {
			case err == nil:
				w.mu.Lock()
				finished++
				w.mu.Unlock()
			case !errors.Is(err, ErrFinished):
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if finished != 1 || len(w.cfg.Store.Snapshot().Settings.WebNames) != 0 {
		t.Errorf("finished %d times; names %v", finished, w.cfg.Store.Snapshot().Settings.WebNames)
	}
	// Nothing goes any more.
	if err := w.SaveAdministrator(t.Context(), actor(), Administrator{Name: "late", Password: "p"}); !errors.Is(err, ErrFinished) {
		t.Errorf("%v", err)
	}
	if err := w.SaveTenant(t.Context(), actor(), Tenant{Name: "x", Domain: "x.example", ExtensionFirst: "101", ExtensionLast: "199"}); !errors.Is(err, ErrFinished) {
		t.Errorf("%v", err)
	}
	if _, err := w.SaveExtensions(t.Context(), actor(), []Extension{{Number: "150"}}); !errors.Is(err, ErrFinished) {
		t.Errorf("%v", err)
	}
	if _, err := w.Renew(); !errors.Is(err, ErrFinished) || w.Token() != "" {
		t.Errorf("%v", err)
	}
}

func TestCountRespectsTheRange(t *testing.T) {
	t.Parallel()
	w := newWizard(t, nil)
	if _, err := w.Count(1); !errors.Is(err, ErrOrder) {
		t.Errorf("%v", err)
	}
	if err := w.SaveTenant(t.Context(), actor(), Tenant{Name: "A", Domain: "a.example", ExtensionFirst: "0098", ExtensionLast: "0101"}); err != nil {
		t.Fatal(err)
	}
	list, err := w.Count(4)
	if err != nil || len(list) != 4 || list[0].Number != "0098" || list[3].Number != "0101" {
		t.Errorf("%v %v", err, list)
	}
	for _, n := range []int{-1, 0, 5, MaxExtensions + 1} {
		if _, err := w.Count(n); err == nil {
			t.Errorf("%d extensions fit", n)
		}
	}
}

func TestDNSNames(t *testing.T) {
	t.Parallel()
	for host, want := range map[string]string{
		"pbx.example:8887": "pbx.example", "PBX.example.": "pbx.example", "box": "box",
		"192.0.2.1:8887": "", "192.0.2.1": "", "[2001:db8::1]:8887": "", "2001:db8::1": "", "": "", "a_b": "", "x;y": "",
	} {
		if got := dnsName(host); got != want {
			t.Errorf("%q: %q, want %q", host, got, want)
		}
	}
}
