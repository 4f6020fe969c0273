package firewall

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"ringfence/internal/ports"
)

func ownHost(o *Options) { o.HostPorts, o.hostOwner = true, uint32(os.Geteuid()) }

func admits(k *fakeKernel, t *testing.T, port string) bool {
	return strings.Contains(k.loaded(t), "tcp dport "+port+" counter name \"port_ssh\" accept")
}

// On a host that is not ours sshd stays reachable from the first moment, moves
// when root says so, and is where it was after a restart.
func TestHostPortsFollowRoot(t *testing.T) {
	t.Parallel()
	dir, k := shortDir(t), &fakeKernel{}
	f := newFence(t, dir, k, ownHost)
	if !admits(k, t, "22") {
		t.Fatalf("sshd's port is closed at the start:\n%s", k.loaded(t))
	}
	c := f.dial(t)
	must(t, c.SetHostPorts(t.Context(), []uint16{10210}))
	if admits(k, t, "22") || !admits(k, t, "10210") {
		t.Errorf("not where root said:\n%s", k.loaded(t))
	}
	p := inService(t)
	p.Rev = 7
	must(t, c.Apply(t.Context(), p, 0))
	if !admits(k, t, "10210") {
		t.Error("a new policy has closed it")
	}
	f.stop()
	k = &fakeKernel{}
	newFence(t, dir, k, ownHost)
	if admits(k, t, "22") || !admits(k, t, "10210") {
		t.Errorf("not the same after a restart:\n%s", k.loaded(t))
	}
}

func TestHostPortsAreForRootAndForHostsOnly(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*Options){
		"on the image": func(o *Options) { o.hostOwner = uint32(os.Geteuid()) },
		"for the PBX":  func(o *Options) { o.HostPorts, o.hostOwner = true, uint32(os.Geteuid())+1 },
	} {
		k := &fakeKernel{}
		f := newFence(t, shortDir(t), k, change)
		before := k.loaded(t)
		if err := f.dial(t).SetHostPorts(t.Context(), []uint16{ports.SSHStandard + 1}); err == nil {
			t.Errorf("%s: no refusal", name)
		} else {
			wantErr(t, err, ErrRefused)
		}
		if k.loaded(t) != before {
			t.Errorf("%s: the rules changed", name)
		}
	}
	k := &fakeKernel{}
	c := newFence(t, shortDir(t), k, ownHost).dial(t)
	for _, bad := range [][]uint16{{0}, {1, 1}, {1, 2, 3, 4, 5}} {
		wantErr(t, c.SetHostPorts(t.Context(), bad), ErrRefused)
	}
}

// A record that cannot be read leaves the operator a way in.
func TestDamagedHostPortsOpenTheStandard(t *testing.T) {
	t.Parallel()
	dir := shortDir(t)
	must(t, os.MkdirAll(filepath.Join(dir, "state"), 0o700))
	must(t, os.WriteFile(filepath.Join(dir, "state/host-ports.confirmed.json"), []byte(`{"sha256":"x","value":[1]}`), 0o600))
	k := &fakeKernel{}
	newFence(t, dir, k, ownHost)
	if !admits(k, t, "22") {
		t.Errorf("sshd's port is closed:\n%s", k.loaded(t))
	}
}
