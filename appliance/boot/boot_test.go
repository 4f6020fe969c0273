package boot

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"ringfence/appliance/disk"
	"ringfence/appliance/slot"
	cloudinit "ringfence/cloud-init"
)

func quiet() *slog.Logger { return slog.New(slog.NewTextHandler(io.Discard, nil)) }

func TestParseCommandLine(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		in   string
		want CommandLine
	}{
		{"", CommandLine{HealthTimeout: DefaultHealthTimeout}},
		{"root=PARTLABEL=x console=tty0 console=ttyS0,115200 ringfence.slot=b\n", CommandLine{Slot: slot.B, HealthTimeout: DefaultHealthTimeout, Consoles: []string{"tty0", "ttyS0"}}},
		{"ringfence.health-timeout=12 ringfence.factory-reset=1", CommandLine{HealthTimeout: 12 * time.Second, FactoryReset: true}},
		{"ringfence.health-timeout=1 ringfence.factory-reset=0 ringfence.slot=c console=../../etc", CommandLine{HealthTimeout: DefaultHealthTimeout}},
		{"ringfence.health-timeout=999999 console=a console=b console=c console=d console=e", CommandLine{HealthTimeout: DefaultHealthTimeout, Consoles: []string{"a", "b", "c", "d"}}},
	} {
		if got := ParseCommandLine(c.in); fmt.Sprint(got) != fmt.Sprint(c.want) {
			t.Errorf("%q: got %+v, want %+v", c.in, got, c.want)
		}
	}
}

func TestMakeFolders(t *testing.T) {
	t.Parallel()
	p := Paths{t.TempDir()}
	owners := map[string]string{}
	chown := func(path string, uid, gid int) error {
		owners[path] = fmt.Sprintf("%d:%d", uid, gid)
		return nil
	}
	for range 2 { // the second time they are there already
		if err := makeFolders(p.folders(), chown); err != nil {
			t.Fatal(err)
		}
	}
	for path, want := range map[string]string{
		p.Run(""): "0:1000 dtrwxrwxr-x", p.Perm("pbxd"): "1001:1000 drwx------",
		p.Perm("fenced"): "1002:1000 drwx------", p.Perm("sysd"): "0:0 drwx------", p.Perm("log"): "0:0 drwx------", p.Perm("opsh"): "1004:1000 drwx------",
	} {
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if got := owners[path] + " " + info.Mode().String(); got != want {
			t.Errorf("%s: got %s, want %s", path, got, want)
		}
	}
}

// TestMakeFoldersFollowsNoLinks: a service that was taken over could replace a
// folder by a link to something it may not touch.
func TestMakeFoldersFollowsNoLinks(t *testing.T) {
	t.Parallel()
	p := Paths{t.TempDir()}
	victim := t.TempDir()
	if err := errors.Join(os.Chmod(victim, 0o750), os.MkdirAll(p.Perm(""), 0o755), os.Symlink(victim, p.Perm("pbxd"))); err != nil {
		t.Fatal(err)
	}
	err := makeFolders(p.folders(), func(path string, _, _ int) error {
		if path == p.Perm("pbxd") {
			t.Error("the link was given away")
		}
		return nil
	})
	if err == nil {
		t.Error("no error")
	}
	if info, _ := os.Stat(victim); info.Mode().Perm() != 0o750 {
		t.Error("the link was followed")
	}
}

// TestReplaceFileFollowsNoLinks: the folder of sockets belongs to the services
// as well.
func TestReplaceFileFollowsNoLinks(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	victim, path := filepath.Join(dir, "victim"), filepath.Join(dir, "f")
	if err := errors.Join(os.WriteFile(victim, []byte("untouched"), 0o600), os.Symlink(victim, path+".new"), os.Symlink(victim, path)); err != nil {
		t.Fatal(err)
	}
	if err := replaceFile(path, []byte("new"), 0o644, -1, -1); err != nil {
		t.Fatal(err)
	}
	text, _ := os.ReadFile(victim)
	got, _ := os.ReadFile(path)
	if string(text) != "untouched" || string(got) != "new" {
		t.Errorf("victim %q, file %q", text, got)
	}
}

func TestReplaceFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "f")
	for _, text := range []string{"one", "another one", ""} {
		if err := replaceFile(path, []byte(text), 0o640, os.Getuid(), os.Getgid()); err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(path)
		info, _ := os.Stat(path)
		if err != nil || string(got) != text || info.Mode() != 0o640 {
			t.Errorf("got %q mode %s, %v", got, info.Mode(), err)
		}
	}
	if err := replaceFile(filepath.Join(path, "x"), nil, 0o600, -1, -1); err == nil {
		t.Error("no error below a file")
	}
	if list, _ := os.ReadDir(filepath.Dir(path)); len(list) != 1 {
		t.Errorf("left behind: %v", list)
	}
}

func TestFactoryReset(t *testing.T) {
	t.Parallel()
	p := Paths{t.TempDir()}
	write := func(names ...string) {
		for _, name := range names {
			if err := errors.Join(os.MkdirAll(filepath.Dir(p.Perm(name)), 0o755), os.WriteFile(p.Perm(name), []byte("x"), 0o600)); err != nil {
				t.Fatal(err)
			}
		}
	}
	write("lost+found/x", "pbxd/ringfence.db", "pbxd/recordings/a/b", "sysd/identity.json", "sysd/hostname", "log/ringfence.log", "stray")
	if p.resetPending() {
		t.Fatal("a reset is pending without being asked for")
	}
	if err := p.RequestReset(); err != nil {
		t.Fatal(err)
	}
	if !p.resetPending() {
		t.Fatal("no reset is pending")
	}
	if err := p.factoryReset(); err != nil {
		t.Fatal(err)
	}
	var left []string
	_ = filepath.WalkDir(p.Perm(""), func(path string, d fs.DirEntry, err error) error {
		if !d.IsDir() {
			left = append(left, strings.TrimPrefix(path, p.Perm("")))
		}
		return err
	})
	if !slices.Equal(left, []string{"/lost+found/x"}) || p.resetPending() {
		t.Errorf("left %q, pending %v", left, p.resetPending())
	}
	// Asked for on the command line, on a disk that was never used.
	p = Paths{t.TempDir()}
	if err := errors.Join(os.MkdirAll(p.Perm(""), 0o755), p.factoryReset()); err != nil {
		t.Error(err)
	}
}

// memoryDisk is a large disk in memory of which little is ever touched.
type memoryDisk struct {
	chunks map[int64][]byte // 512 bytes each
	left   int              // sectors until the power goes; -1 is never
}

func (m *memoryDisk) ReadAt(p []byte, off int64) (int, error) {
	for n := 0; n < len(p); n += 512 {
		clear(p[n:min(n+512, len(p))])
		copy(p[n:], m.chunks[(off+int64(n))/512])
	}
	return len(p), nil
}

var errPower = errors.New("power cut")

func (m *memoryDisk) WriteAt(p []byte, off int64) (int, error) {
	for n := 0; n < len(p); n += 512 {
		if m.left == 0 {
			return n, errPower
		}
		if m.left > 0 {
			m.left--
		}
		m.chunks[(off+int64(n))/512] = bytes.Clone(p[n : n+512])
	}
	return len(p), nil
}

func (m *memoryDisk) Sync() error { return nil }

func (m *memoryDisk) clone() *memoryDisk {
	c := &memoryDisk{chunks: make(map[int64][]byte, len(m.chunks)), left: m.left}
	for k, v := range m.chunks {
		c.chunks[k] = v
	}
	return c
}

func factoryDisk(t *testing.T) *memoryDisk {
	t.Helper()
	table, err := disk.Layout(disk.MinSize)
	if err != nil {
		t.Fatal(err)
	}
	m := &memoryDisk{chunks: map[int64][]byte{}, left: -1}
	if err := errors.Join(table.WriteProtectiveMBR(m, []byte("boot")), table.Write(m)); err != nil {
		t.Fatal(err)
	}
	return m
}

// record is the loaders' record, which can lose power too.
type record struct {
	state   slot.State
	power   *memoryDisk
	writes  int
	commits int
}

func (r *record) Load() (slot.State, error) { return r.state, nil }
func (r *record) write(f func()) error {
	if r.power != nil && r.power.left >= 0 {
		if r.power.left == 0 {
			return errPower
		}
		r.power.left--
	}
	r.writes++
	f()
	return nil
}
func (r *record) Commit(n slot.Name) error {
	return r.write(func() { r.commits++; r.state.Committed, r.state.Trial, r.state.Tries = n, "", 0 })
}
func (r *record) GiveUp(slot.Name) error { return r.write(func() { r.state.Tries = 0 }) }
func (r *record) SetRoots(a, b string) error {
	return r.write(func() { r.state.A.Root, r.state.B.Root = a, b })
}

// bootable reports which partition root= leads to, as the kernel finds it.
func bootable(t *testing.T, m *memoryDisk, size int64, root string) string {
	t.Helper()
	table, err := disk.Read(m, size)
	if err != nil {
		return "no table: " + err.Error()
	}
	for _, p := range table.Parts {
		if root == "PARTLABEL="+p.Name || root == "PARTUUID="+p.ID.String() {
			return p.Name
		}
	}
	return "nothing is " + root
}

// TestArrangeSurvivesPowerCuts cuts the power at every write of arranging a
// disk: the root is found at every instant, and the next boot completes it.
func TestArrangeSurvivesPowerCuts(t *testing.T) {
	t.Parallel()
	const size = disk.MinSize + 512*disk.MiB
	factory := factoryDisk(t)
	table, err := disk.Read(factory, disk.MinSize)
	if err != nil {
		t.Fatal(err)
	}
	id, err := newIdentity(bytes.NewReader(bytes.Repeat([]byte("0123456789abcdefghij"), 20)), table, "")
	if err != nil {
		t.Fatal(err)
	}
	other := id // a copy of the machine gets another identity later
	other.Disk = "11111111-1111-4111-8111-111111111111"
	other.Partitions = map[int]string{}
	for n := range id.Partitions {
		other.Partitions[n] = fmt.Sprintf("22222222-2222-4222-8222-%012d", n)
	}
	done := 0
	for cut := range 120 {
		m := factory.clone()
		r := &record{state: slot.Factory("1"), power: m}
		for _, who := range []identity{id, other} {
			m.left = cut
			_, err := arrange(m, size, who, r)
			m.left = -1
			if got := bootable(t, m, size, r.state.A.Root); got != slot.A.RootLabel() {
				t.Fatalf("cut after %d writes (%v): %s", cut, err, got)
			}
			if err != nil && !errors.Is(err, errPower) {
				t.Fatal(err)
			}
			if err == nil {
				done++
			}
			a, err := arrange(m, size, who, r) // the next boot
			if err != nil {
				t.Fatalf("cut after %d writes: the next boot: %v", cut, err)
			}
			if r.state.A.Root != "PARTUUID="+who.Partitions[disk.RootA] || a.perm.ID.String() != who.Partitions[disk.Perm] || a.perm.Size() < 512*disk.MiB {
				t.Fatalf("cut after %d writes: in the end %+v, %+v", cut, r.state, a)
			}
			writes := r.writes
			m.left = 0
			if a, err := arrange(m, size, who, r); err != nil || a.grown || a.renews || r.writes != writes {
				t.Fatalf("arranged again: %+v, %v", a, err)
			}
		}
	}
	if done == 0 || done == 240 {
		t.Errorf("%d of 240 were not cut", done)
	}
}

func TestIdentity(t *testing.T) {
	t.Parallel()
	p := Paths{t.TempDir()}
	if err := os.MkdirAll(p.Keeper(""), 0o755); err != nil {
		t.Fatal(err)
	}
	table, err := disk.Read(factoryDisk(t), disk.MinSize)
	if err != nil {
		t.Fatal(err)
	}
	first, fresh, err := p.ensureIdentity(table, "")
	if err != nil || !fresh || len(first.MachineID) != 32 || len(first.Partitions) != 5 {
		t.Fatalf("first boot: %+v, %v, %v", first, fresh, err)
	}
	again, fresh, err := p.ensureIdentity(table, "")
	if err != nil || fresh || fmt.Sprint(again) != fmt.Sprint(first) {
		t.Errorf("second boot: %+v, %v, %v", again, fresh, err)
	}
	// A seed that comes later makes no new machine of it, a copy does.
	seeded, fresh, err := p.ensureIdentity(table, "one")
	if err != nil || fresh || seeded.MachineID != first.MachineID {
		t.Errorf("with a seed: %+v, %v, %v", seeded, fresh, err)
	}
	if err := os.WriteFile(p.Keeper(HostnameFile), []byte("given\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := p.hostname("seed", seeded); got != "given" {
		t.Errorf("host name %q", got)
	}
	copied, fresh, err := p.ensureIdentity(table, "two")
	if err != nil || !fresh || copied.MachineID == first.MachineID || copied.Disk == first.Disk {
		t.Errorf("copied: %+v, %v, %v", copied, fresh, err)
	}
	if got := p.hostname("seed", copied); got != "seed" {
		t.Errorf("host name of the copy %q", got)
	}
	if got := p.hostname("-bad-", copied); got != "ringfence-"+copied.MachineID[:4] {
		t.Errorf("default host name %q", got)
	}
	if same, fresh, err := p.ensureIdentity(table, ""); err != nil || fresh || same.MachineID != copied.MachineID {
		t.Errorf("the seed was taken away: %+v, %v, %v", same, fresh, err)
	}
	for _, damage := range []string{"", "{", `{"machine_id":"xyz"}`, `{"machine_id":"` + strings.Repeat("0", 32) + `","disk":"x"}`} {
		if err := os.WriteFile(p.Keeper(identityFile), []byte(damage), 0o600); err != nil {
			t.Fatal(err)
		}
		if id, fresh, err := p.ensureIdentity(table, ""); err != nil || !fresh || !id.valid(table) {
			t.Errorf("after damage %q: %+v, %v, %v", damage, id, fresh, err)
		}
	}
}

func TestHandOver(t *testing.T) {
	t.Parallel()
	p := Paths{t.TempDir()}
	if err := os.MkdirAll(p.Run(""), 0o755); err != nil {
		t.Fatal(err)
	}
	seed, problems := cloudinit.Parse(cloudinit.Documents{
		UserData:      []byte("#cloud-config\nringfence: {token: abcdefghijklmnopqrstuvwxyz}\n"),
		NetworkConfig: []byte("version: 2\nethernets: {eth0: {dhcp4: true}, x: {match: {driver: ena}}}\n"),
	})
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	problems, err := p.handOver(seed, "box", false)
	if err != nil || len(problems) != 1 {
		t.Errorf("got %v, %v", problems, err)
	}
	for name, want := range map[string]string{
		NetworkFile: `{"hostname":"box","interfaces":[{"name":"eth0","dhcp4":true}]}`,
		SeedFile:    `{"token":"abcdefghijklmnopqrstuvwxyz"}`,
	} {
		got, err := os.ReadFile(p.Run(name))
		info, _ := os.Stat(p.Run(name))
		if err != nil || string(got) != want || info.Mode() != 0o600 {
			t.Errorf("%s: %s, %v", name, got, err)
		}
	}
	for range 2 {
		if err := p.forgetSeed(); err != nil {
			t.Error(err)
		}
	}
	if _, err := os.Stat(p.Run(SeedFile)); err == nil {
		t.Error("the preset answers are still there")
	}
	if problems, err := p.handOver(cloudinit.Seed{}, "box", false); err != nil || problems != nil {
		t.Errorf("without a seed: %v, %v", problems, err)
	}
}

// TestVerdict goes through the ways a boot can end.
// TestVerdictEndsWithItsTime: services that are ready at every look, but not
// steadily, and a machine that goes down meanwhile.
func TestVerdictEndsWithItsTime(t *testing.T) {
	t.Parallel()
	for name, limit := range map[string]time.Duration{"limit": time.Hour, "going down": 12 * time.Second} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(context.Background(), limit)
				defer cancel()
				begin, restarts := time.Now(), 0
				got := judge{
					running: slot.A, slots: &record{state: slot.Factory("1")}, limit: DefaultHealthTimeout, logger: quiet(),
					ready:    func(context.Context) error { return nil },
					restarts: func() int { restarts++; return restarts },
				}.verdict(ctx)
				if want := min(limit, DefaultHealthTimeout); got != Retry || time.Since(begin) != want {
					t.Errorf("verdict %d after %s, want it after %s", got, time.Since(begin), want)
				}
			})
		})
	}
}

func TestVerdict(t *testing.T) {
	t.Parallel()
	const crashing = 2 * time.Second
	trial := slot.State{Committed: slot.A, Trial: slot.B, Tries: 2, A: slot.Image{Version: "1", Root: "r=a"}, B: slot.Image{Version: "2", Root: "r=b"}}
	for _, c := range []struct {
		name    string
		running slot.Name
		ready   time.Duration
		state   slot.State
		want    Verdict
		after   time.Duration
		end     slot.State
	}{
		{"healthy", slot.A, time.Second, trial, Healthy, time.Second + steady, slot.State{Committed: slot.A}},
		{"trial succeeds", slot.B, time.Second, trial, Healthy, time.Second + steady, slot.State{Committed: slot.B}},
		{"trial is ready, then ends again and again", slot.B, crashing, trial, Return, 90 * time.Second, slot.State{Committed: slot.A, Trial: slot.B, Tries: 0}},
		{"trial fails", slot.B, time.Hour, trial, Return, 90 * time.Second, slot.State{Committed: slot.A, Trial: slot.B, Tries: 0}},
		{"committed slot fails", slot.A, time.Hour, trial, Retry, 90 * time.Second, slot.State{Committed: slot.A, Trial: slot.B, Tries: 2}},
		{"no slots", "", time.Hour, trial, Retry, 90 * time.Second, trial},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := &record{state: c.state}
				begin := time.Now()
				restarts := 0
				got := judge{running: c.running, slots: r, limit: DefaultHealthTimeout, logger: quiet(), ready: func(ctx context.Context) error {
					select {
					case <-time.After(c.ready):
						return nil
					case <-ctx.Done():
						return ctx.Err()
					}
				}, restarts: func() int {
					if c.ready == crashing {
						restarts++
					}
					return restarts
				}}.verdict(context.Background())
				if got != c.want || time.Since(begin) != c.after {
					t.Errorf("verdict %d after %s", got, time.Since(begin))
				}
				if r.state.Committed != c.end.Committed || r.state.Trial != c.end.Trial || r.state.Tries != c.end.Tries {
					t.Errorf("state %+v", r.state)
				}
			})
		})
	}
	v, notice := undone(slot.State{Committed: slot.A, Trial: slot.B, A: slot.Image{Version: "1"}, B: slot.Image{Version: "2"}}, slot.A)
	if v != "2" || !strings.Contains(notice, "Version 2 in slot b did not start properly; slot a with version 1") {
		t.Errorf("%q %q", v, notice)
	}
	if v, _ := undone(trial, slot.B); v != "" {
		t.Errorf("a trial that runs counts as undone: %q", v)
	}
}
