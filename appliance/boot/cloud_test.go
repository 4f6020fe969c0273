package boot

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"ringfence/appliance/boot/supervise"
	cloudinit "ringfence/cloud-init"
	"ringfence/cloud-init/metadata"
)

const goodKey = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f ada"

// inCloud is a machine of Google Cloud whose metadata service is h; the
// process that asks is the real one.
func inCloud(t *testing.T, h http.HandlerFunc) *machine {
	t.Helper()
	p := Paths{t.TempDir()}
	dmi := p.sys("class/dmi/id")
	if err := os.MkdirAll(dmi, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dmi, "product_name"), []byte("Google Compute Engine\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := makeFolders(p.folders(), func(string, int, int) error { return nil }); err != nil {
		t.Fatal(err)
	}
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	m := newMachine(p)
	m.askCloud = func(ctx context.Context, args ...string) ([]byte, error) {
		self, err := os.Executable()
		if err != nil {
			return nil, err
		}
		args = append(args, "-link", strings.TrimPrefix(s.URL, "http://"))
		return supervise.Exec{Unprivileged: true}.Run(ctx, supervise.Service{
			Name: args[0], Path: self, Args: args, Env: []string{"RINGFENCE_TEST_ROLE=speaker"},
		}, maxAnswer, func(line string) { t.Log(line) })
	}
	t.Cleanup(func() {
		m.sup.Stop()
		m.journal.Close(time.Second)
	})
	return m
}

// booted does what a boot does with what a seed and a cloud say.
func booted(t *testing.T, m *machine) (identity, string) {
	t.Helper()
	id, name, problems := m.bootedQuietly(t)
	for _, p := range problems {
		m.seedProblem(p)
	}
	return id, name
}

func (m *machine) bootedQuietly(t *testing.T) (identity, string, []cloudinit.Problem) {
	t.Helper()
	seed, said, problems := m.cloud(t.Context(), cloudinit.Seed{})
	id, fresh, err := m.paths.ensureIdentity(nil, seed.InstanceID)
	name := m.paths.hostname(seed.Hostname, id)
	_, herr := m.paths.handOver(seed, name, false)
	if err := errors.Join(err, m.paths.remember(&id, seed, said), m.paths.keepSSHKeys(seed.SSHKeys, fresh), herr); err != nil {
		t.Error(err)
	}
	return id, m.paths.hostname(seed.Hostname, id), problems
}

func google(w http.ResponseWriter, id, host, userData string, keys ...string) {
	w.Header().Set("Metadata-Flavor", "Google")
	_ = json.NewEncoder(w).Encode(map[string]any{
		"id": json.Number(id), "hostname": host,
		"attributes":        map[string]string{"user-data": userData, "ssh-keys": strings.Join(keys, "\n")},
		"networkInterfaces": []any{map[string]any{"ip": "10.0.0.5", "accessConfigs": []any{map[string]string{"externalIp": "203.0.113.7"}}}},
	})
}

// TestCloudDecidesTheFirstBoot: an instance configures itself once, keeps what
// it was told when the service is silent, and a copy of its disk becomes
// another machine.
func TestCloudDecidesTheFirstBoot(t *testing.T) {
	t.Parallel()
	var instance atomic.Int64
	instance.Store(11)
	m := inCloud(t, func(w http.ResponseWriter, r *http.Request) {
		n := instance.Load()
		if n == 0 {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		google(w, fmt.Sprint(n), "pbx.c.project.internal", "#cloud-config\nringfence: {token: abcdefghijklmnopqrstuvwxyz}\n", "ada:"+goodKey, "eve:no key")
	})
	public := []metadata.Address{{Own: netip.MustParseAddr("10.0.0.5"), Public: netip.MustParseAddr("203.0.113.7")}}
	keys := func() string {
		text, err := os.ReadFile(m.paths.Perm(SSHKeysFile))
		if err != nil {
			return ""
		}
		return string(text)
	}
	first, name := booted(t, m)
	answers, err := os.ReadFile(m.paths.Run(SeedFile))
	if name != "pbx" || first.InstanceID != "11" || !reflect.DeepEqual(first.Public, public) || keys() != goodKey+"\n" ||
		err != nil || string(answers) != `{"token":"abcdefghijklmnopqrstuvwxyz"}` {
		t.Errorf("first boot: %q, %+v, keys %q, answers %s %v", name, first, keys(), answers, err)
	}
	if info, err := os.Stat(m.paths.Run(SeedFile)); err != nil || info.Mode() != 0o600 {
		t.Errorf("answers: %v %v", info.Mode(), err)
	}
	if err := os.WriteFile(m.paths.Perm(SSHKeysFile), nil, 0o644); err != nil { // an operator takes the key away
		t.Fatal(err)
	}
	again, name := booted(t, m)
	if !reflect.DeepEqual(again, first) || name != "pbx" || keys() != "" {
		t.Errorf("second boot: %q, %+v, keys %q", name, again, keys())
	}
	instance.Store(0)
	silent, name := booted(t, m)
	if !reflect.DeepEqual(silent, first) || name != "pbx" {
		t.Errorf("boot without an answer: %q, %+v", name, silent)
	}
	if err := os.WriteFile(m.paths.Keeper(HostnameFile), []byte("named-by-people\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	instance.Store(12)
	clone, name := booted(t, m)
	if clone.MachineID == first.MachineID || clone.InstanceID != "12" || name != "pbx" || keys() != goodKey+"\n" {
		t.Errorf("copied disk: %q, %+v, keys %q", name, clone, keys())
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.state.Cloud != metadata.Google || len(m.state.Notices) != 1 || !strings.Contains(m.state.Notices[0], "metadata service: Google Cloud") {
		t.Errorf("state %+v", m.state)
	}
}

// TestWrongUserDataBootsOn: it is told where people look, and everything else
// that the cloud says counts.
func TestWrongUserDataBootsOn(t *testing.T) {
	t.Parallel()
	m := inCloud(t, func(w http.ResponseWriter, r *http.Request) {
		google(w, "7", "pbx", "#cloud-config\nringfence:\n  domian: secret.example\n")
	})
	id, name := booted(t, m)
	if id.InstanceID != "7" || name != "pbx" || len(id.Public) != 1 {
		t.Errorf("%q %+v", name, id)
	}
	state, err := m.paths.LoadState()
	want := "First-boot data: user-data line 3: ringfence.domian: is not a key of this section"
	if err != nil || !slices.Contains(state.Notices, want) {
		t.Errorf("%v %q", err, state.Notices)
	}
	if !slices.Contains(m.screen().Notices, want) {
		t.Errorf("the screen says %q", m.screen().Notices)
	}
}

// TestHostileMetadataDelaysTheBootUnderTenSeconds, and leaves the machine as
// it would be without.
func TestHostileMetadataDelaysTheBootUnderTenSeconds(t *testing.T) {
	t.Parallel()
	var elsewhere atomic.Int64
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		elsewhere.Add(1)
		google(w, "666", "stolen", "")
	}))
	t.Cleanup(other.Close)
	flavor := func(w http.ResponseWriter) { w.Header().Set("Metadata-Flavor", "Google") }
	var all sync.WaitGroup
	for name, h := range map[string]http.HandlerFunc{
		"huge":        func(w http.ResponseWriter, _ *http.Request) { flavor(w); _, _ = io.Copy(w, endless{}) },
		"huge header": func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("X", strings.Repeat("x", 1<<20)) },
		"silent":      func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
		"trickles":    trickle,
		"malformed":   func(w http.ResponseWriter, _ *http.Request) { flavor(w); _, _ = io.WriteString(w, `{"id": [`) },
		"deep": func(w http.ResponseWriter, _ *http.Request) {
			flavor(w)
			_, _ = io.WriteString(w, strings.Repeat("[", 200_000))
		},
		"redirects": func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, other.URL, http.StatusFound) },
		"redirects itself": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, r.URL.String(), http.StatusTemporaryRedirect)
		},
		"of somebody else": func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, `{"id": 1, "hostname": "stolen"}`)
		},
		"refuses":       func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusForbidden) },
		"breaks off":    func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
		"not there yet": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) },
	} {
		m := inCloud(t, h)
		all.Go(func() { // all at once: most of it is waiting
			begin := time.Now()
			id, host, problems := m.bootedQuietly(t)
			if took := time.Since(begin); took > 10*time.Second {
				t.Errorf("%s: the boot was delayed by %s", name, took)
			}
			if id.InstanceID != "" || len(id.Public) != 0 || host != "ringfence-"+id.MachineID[:4] || len(problems) != 1 {
				t.Errorf("%s: %q %+v %v", name, host, id, problems)
			}
		})
	}
	all.Wait()
	if n := elsewhere.Load(); n > 0 {
		t.Errorf("a redirect was followed %d times", n)
	}
}

// trickle sends a byte now and then, for ever.
func trickle(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Metadata-Flavor", "Google")
	for r.Context().Err() == nil {
		_, _ = io.WriteString(w, " ")
		_ = http.NewResponseController(w).Flush()
		time.Sleep(300 * time.Millisecond)
	}
}

type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }

// TestNobodyIsAskedOutsideClouds: on bare metal, and with a seed on a disk.
func TestNobodyIsAskedOutsideClouds(t *testing.T) {
	t.Parallel()
	m := inCloud(t, func(http.ResponseWriter, *http.Request) { t.Error("the service was asked") })
	if seed, said, problems := m.cloud(t.Context(), cloudinit.Seed{Source: "NoCloud on /dev/vdb", InstanceID: "disk"}); seed.InstanceID != "disk" || said != nil || problems != nil {
		t.Errorf("%+v %+v %v", seed, said, problems)
	}
	if err := os.Remove(m.paths.sys("class/dmi/id/product_name")); err != nil {
		t.Fatal(err)
	}
	if seed, said, problems := m.cloud(t.Context(), cloudinit.Seed{}); seed.Source != "" || said != nil || problems != nil {
		t.Errorf("%+v %+v %v", seed, said, problems)
	}
	if len(m.sup.Status()) != 0 {
		t.Error("fenced was started out of turn")
	}
}

// TestWhatTheSpeakerSaysIsNotBelieved: it reads what strangers say.
func TestWhatTheSpeakerSaysIsNotBelieved(t *testing.T) {
	t.Parallel()
	a, err := decodeAnswer([]byte(`{"InstanceID": "a\nb", "Hostname": "x y", "SSHKeys": ["command=\"x\" ` + goodKey + `", "` + goodKey + `"],
		"Public": [{"public": "127.0.0.1"}, {"own": "fe80::1", "public": "203.0.113.7"}, {"public": "203.0.113.8"}]}`))
	if err != nil || a.InstanceID != "" || a.Hostname != "" || !slices.Equal(a.SSHKeys, []string{goodKey}) || len(a.Public) != 1 {
		t.Errorf("%v %+v", err, a)
	}
	if _, err := decodeAnswer([]byte("x")); err == nil {
		t.Error("no JSON at all was taken")
	}
}

// FuzzDecodeAnswer: PID 1 keeps nothing that is not of a known form.
func FuzzDecodeAnswer(f *testing.F) {
	f.Add([]byte(`{"InstanceID": "i-1", "Hostname": "pbx", "Public": [{"own": "10.0.0.5", "public": "203.0.113.7"}], "SSHKeys": ["` + goodKey + `"], "Answers": {"token": "x"}, "Problems": [{"Document": "d"}], "Took": 5}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		a, err := decodeAnswer(data)
		if err != nil {
			return
		}
		if a.Hostname != "" && !ValidHostname(a.Hostname) || !isPlain(a.InstanceID) || len(a.Public) > maxPublic || len(a.SSHKeys) > cloudinit.MaxSSHKeys || len(a.Problems) > maxNotices {
			t.Errorf("%+v", a)
		}
		for _, k := range a.SSHKeys {
			if strings.ContainsAny(k, "\r\n\x00") {
				t.Errorf("%q", k)
			}
		}
	})
}
