package boot_test

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"ringfence/appliance"
	"ringfence/appliance/boot"
	"ringfence/appliance/qemu"
	"ringfence/appliance/slot"
	cloudinit "ringfence/cloud-init"
)

// image is built once: the real init, and stand-ins for the services.
type image struct {
	once sync.Once
	dir  string
	r    appliance.Result
	err  error
}

var built image

func TestMain(m *testing.M) {
	if os.Getenv("RINGFENCE_TEST_ROLE") == "speaker" {
		if err := boot.SpeakWithCloud(context.Background(), os.Args[1:], os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	code := m.Run()
	if built.dir != "" {
		_ = os.RemoveAll(built.dir)
	}
	os.Exit(code)
}

func needImage(t *testing.T) appliance.Result {
	t.Helper()
	if os.Getenv("RINGFENCE_QEMU") == "" {
		t.Skip("boots machines in QEMU, which takes minutes; set RINGFENCE_QEMU=1")
	}
	if _, err := exec.LookPath("qemu-system-x86_64"); err != nil {
		t.Skip("qemu-system-x86_64 is not installed (make deps)")
	}
	built.once.Do(func() {
		if built.dir, built.err = os.MkdirTemp("", "boot-image"); built.err != nil {
			return
		}
		const fakes = "ringfence/appliance/boot/testdata/"
		built.r, built.err = appliance.Build(context.Background(), appliance.Options{
			Out: built.dir, Init: "ringfence/cmd/init", Programs: []string{fakes + "pbxd", fakes + "fenced", fakes + "sysd"},
			Version: "0.0.1-test", Web: appliance.WebOptional,
		})
	})
	if built.err != nil {
		t.Fatal(built.err)
	}
	return built.r
}

// guest is a disk and how to boot it.
type guest struct {
	disk   string
	seed   string
	cdrom  bool   // the seed is a CD, as hypervisors attach it
	kernel string // boots it directly; empty goes through the boot loader
	words  string // for the kernel's command line
	fw     qemu.Firmware
	args   []string
}

func newGuest(t *testing.T, r appliance.Result, size int64) guest {
	t.Helper()
	g := guest{disk: filepath.Join(t.TempDir(), "disk.raw"), kernel: r.Kernel, fw: qemu.BIOS}
	if out, err := exec.Command("cp", "--sparse=always", r.Raw, g.disk).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if size > 0 {
		if err := os.Truncate(g.disk, size); err != nil {
			t.Fatal(err)
		}
	}
	return g
}

func (g *guest) addSeed(t *testing.T, docs cloudinit.Documents) {
	t.Helper()
	var b bytes.Buffer
	if err := cloudinit.WriteSeedISO(&b, docs); err != nil {
		t.Fatal(err)
	}
	g.seed = filepath.Join(t.TempDir(), "seed.iso")
	if err := os.WriteFile(g.seed, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
}

func (g guest) start(t *testing.T) *qemu.Machine {
	t.Helper()
	o := qemu.Options{
		Dir: t.TempDir(), Accel: "tcg", Firmware: g.fw, Memory: 512, CPUs: 2,
		Disks: []qemu.Disk{{Path: g.disk, Format: "raw", Bus: qemu.Virtio}}, Args: g.args,
	}
	if g.seed != "" && g.cdrom {
		o.Args = append(o.Args, "-drive", "if=none,id=cd,format=raw,readonly=on,file="+g.seed, "-device", "ide-cd,bus=ide.1,drive=cd")
	} else if g.seed != "" {
		o.Disks = append(o.Disks, qemu.Disk{Path: g.seed, Format: "raw", Bus: qemu.Virtio, ReadOnly: true})
	}
	if g.kernel != "" {
		o.Args = append(o.Args, "-kernel", g.kernel, "-append",
			"root=PARTLABEL=ringfence-root-a rootfstype=squashfs rootwait=30 ro init=/gokrazy/init panic=10 no_timer_check quiet console=ttyS0,115200 ringfence.slot=a "+g.words)
	}
	if os.Getenv("RINGFENCE_VERBOSE") != "" {
		o.Tee = os.Stdout
	}
	m, err := qemu.Start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.Kill)
	return m
}

func wait(t *testing.T, m *qemu.Machine, pattern string) []string {
	t.Helper()
	return waitAfter(t, m, 0, pattern)
}

func waitAfter(t *testing.T, m *qemu.Machine, mark int, pattern string) []string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	got, err := m.Console.WaitAfter(ctx, mark, pattern)
	if err != nil {
		t.Fatalf("waiting for %q: %v; the console's end:\n%s", pattern, err, m.Console.Tail(60))
	}
	return got
}

// powerDown presses the power button and waits for the end.
func powerDown(t *testing.T, m *qemu.Machine) {
	t.Helper()
	if _, err := m.QMP("system_powerdown", nil); err != nil {
		t.Fatal(err)
	}
	wait(t, m, `ringfence: power off`)
	select {
	case <-m.Ended():
	case <-time.After(time.Minute):
		t.Fatalf("the machine did not switch itself off:\n%s", m.Console.Tail(40))
	}
}

// TestBoot is a whole first boot on a disk larger than the image, with a seed,
// then a second one: privileges, folders, growth, identity, order of the end.
func TestBoot(t *testing.T) {
	r := needImage(t)
	g := newGuest(t, r, 3<<30)
	g.words = "fake.pbxd=running"
	g.addSeed(t, cloudinit.Documents{
		MetaData:      []byte("instance-id: boot-test\nlocal-hostname: first\n"),
		UserData:      []byte("#cloud-config\nringfence: {token: abcdefghijklmnopqrstuvwxyz}\n"),
		NetworkConfig: []byte("version: 2\nethernets: {eth0: {addresses: [192.0.2.5/24]}}\n"),
	})
	m := g.start(t)
	begin := m.Started
	wait(t, m, `ringfence: running url=https://192.0.2.5:8887/ fingerprint=(abab)+ extensions=4\r?\n`)
	t.Logf("running %.1f s after power-on", time.Since(begin).Seconds())
	wait(t, m, `storage grown`)
	wait(t, m, `seed-gone=true zombies=0`)
	wait(t, m, `slot committed`)
	for _, want := range []string{
		`fenced: level=WARN fake uid=1002 gid=1000 Groups=1000 CapEff=0000000000003400 CapBnd=0000000000003400 NoNewPrivs=1`,
		`sysd: level=WARN fake uid=0 gid=1000 Groups=1000 CapEff=000000000260002b CapBnd=000000000260002b NoNewPrivs=1`,
		`pbxd: level=WARN fake uid=1001 gid=1000 Groups=1000 CapEff=0000000000000000 CapBnd=0000000000000000 NoNewPrivs=1`,
		`pbxd: level=WARN fake files=131072 core=0 oom=200 hostname=first run=`,
		`pbxd: level=WARN fake boots=1 err=<nil>`,
		`pbxd: level=WARN fake others=open /perm/sysd: permission denied own-folder=<nil>`,
		`pbxd: level=WARN fake seed={"token":"abcdefghijklmnopqrstuvwxyz"} err=<nil>`,
		`fenced: level=WARN fake network={"hostname":"first","interfaces":[{"name":"eth0","addresses":["192.0.2.5/24"]}]} err=<nil>`,
		`sysd: level=WARN fake listening=[]`,
	} {
		if !strings.Contains(m.Console.String(), want) {
			t.Errorf("the console does not say %q", want)
		}
	}
	if root := wait(t, m, `grubenv root_a=(\S+)`)[1]; !strings.HasPrefix(root, "PARTUUID=") {
		t.Errorf("root_a=%s", root)
	}
	powerDown(t, m)
	order := regexp.MustCompile(`fake (\w+) terminated`).FindAllStringSubmatch(m.Console.String(), -1)
	if fmt.Sprint(order) != "[[fake pbxd terminated pbxd] [fake sysd terminated sysd] [fake fenced terminated fenced]]" {
		t.Errorf("order of the end: %v", order)
	}
	checkDisk(t, g.disk)

	g.words = ""
	m = g.start(t)
	wait(t, m, `ringfence: ready url=https://192.0.2.5:8887/setup token=abcdefghijklmnopqrstuvwxyz fingerprint=(abab)+\r?\n`)
	wait(t, m, `fake boots=2 err=<nil>`)
	if mib := wait(t, m, `perm-mib=(\d+)`)[1]; mib < "1600" || len(mib) != 4 {
		t.Errorf("/perm has %s MiB", mib)
	}
	if strings.Contains(m.Console.String(), "storage grown") || strings.Contains(m.Console.String(), "new machine") {
		t.Error("the second boot did the first one's work again")
	}
	powerDown(t, m)
}

// checkDisk asks other programs about the disk after the first boot.
func checkDisk(t *testing.T, path string) {
	t.Helper()
	out, err := exec.Command("sgdisk", "-v", "-p", path).CombinedOutput()
	if err != nil || !strings.Contains(string(out), "No problems found") {
		t.Errorf("sgdisk: %v\n%s", err, out)
	}
	start := regexp.MustCompile(`(?m)^ +5 +(\d+)`).FindSubmatch(out)
	if start == nil {
		t.Fatalf("no partition 5:\n%s", out)
	}
	perm := path + ".perm"
	if out, err := exec.Command("dd", "if="+path, "of="+perm, "bs=512", "skip="+string(start[1]), "conv=sparse", "status=none").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	defer os.Remove(perm)
	if out, err := exec.Command("e2fsck", "-f", "-n", perm).CombinedOutput(); err != nil {
		t.Errorf("e2fsck: %v\n%s", err, out)
	}
}

// TestSilentServiceOnTheCommittedSlot: nothing better to go back to, so the
// machine stays up, says what is wrong, and goes on trying.
func TestSilentServiceOnTheCommittedSlot(t *testing.T) {
	r := needImage(t)
	g := newGuest(t, r, 0)
	g.words = "fake.pbxd=silent ringfence.health-timeout=10"
	m := g.start(t)
	wait(t, m, `boot is not healthy in time`)
	mark := m.Console.Mark()
	wait(t, m, `Not everything works\. What fails is started again and again\.`)
	time.Sleep(15 * time.Second)
	if text := m.Console.String()[mark:]; strings.Contains(text, "Restarting ...") || strings.Contains(text, "Linux version") {
		t.Errorf("the machine restarted:\n%s", text)
	}
	powerDown(t, m)
}

// TestServiceThatEndsIsStartedAgain, whatever its status, and soon.
func TestServiceThatEndsIsStartedAgain(t *testing.T) {
	r := needImage(t)
	g := newGuest(t, r, 0)
	g.words = "fake.pbxd=ends"
	m := g.start(t)
	for range 3 {
		wait(t, m, `msg="service ended, starting it again" service=pbxd exit="exit status 0"`)
	}
	wait(t, m, `pbxd: level=WARN fake boots=4 err=<nil>`)
	m.Kill()
}

// TestRestartAndFactoryReset: sysd's signal restarts in order; a reset leaves
// nothing of the services' data, and gives the machine a new identity.
func TestRestartAndFactoryReset(t *testing.T) {
	r := needImage(t)
	g := newGuest(t, r, 0)
	g.words, g.cdrom = "fake.sysd=reset", true
	g.addSeed(t, cloudinit.Documents{MetaData: []byte("local-hostname: from-cd\n"), UserData: []byte("#cloud-config\nringfence: {colour: red}\n")})
	m := g.start(t)
	first := wait(t, m, `msg="new machine" id=(\w{32})`)[1]
	mark := m.Console.Mark()
	waitAfter(t, m, mark, `ringfence: reboot`)
	mark = m.Console.Mark()
	waitAfter(t, m, mark, `msg="factory reset"`)
	if second := waitAfter(t, m, mark, `msg="new machine" id=(\w{32})`)[1]; second == first {
		t.Errorf("the identity %s outlived the reset", first)
	}
	waitAfter(t, m, mark, `hostname=from-cd `)
	waitAfter(t, m, mark, `msg="First-boot data: user-data line 2: ringfence\.colour: is not a key of this section"`)
	waitAfter(t, m, mark, `pbxd: level=WARN fake boots=1 err=<nil>`)
	m.Kill()
}

// TestTrialFallsBack goes through the boot loaders: a slot on trial whose
// services are never ready is left for the committed one, which says so.
func TestTrialFallsBack(t *testing.T) {
	r := needImage(t)
	const fakes = "ringfence/appliance/boot/testdata/"
	silent, err := appliance.Build(t.Context(), appliance.Options{
		Out: t.TempDir(), Init: "ringfence/cmd/init", Programs: []string{fakes + "pbxd", fakes + "fenced", fakes + "sysd"},
		Version: "silent-2", Web: appliance.WebOptional,
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, fw := range []qemu.Firmware{qemu.BIOS, qemu.UEFI} {
		t.Run(string(fw), func(t *testing.T) {
			g := newGuest(t, r, 0)
			g.kernel, g.fw = "", fw
			firmware := slot.BIOS
			if fw == qemu.UEFI {
				firmware = slot.UEFI
			}
			// First a boot of its own, so that roots go by GUID and the
			// partition table has been rewritten.
			m := g.start(t)
			wait(t, m, `slot committed`)
			powerDown(t, m)
			if err := appliance.WriteSlot(t.Context(), g.disk, appliance.SlotContent{
				Name: slot.B, Root: silent.Root, Kernel: silent.Kernel, Version: silent.Version, Tries: slot.DefaultTries, Firmware: firmware,
			}); err != nil {
				t.Fatal(err)
			}
			m = g.start(t)
			wait(t, m, `fake pbxd stays silent`)
			begin := time.Now()
			wait(t, m, `this version does not start properly, going back to the other slot`)
			wait(t, m, `Version silent-2 in slot b did not start properly; slot a with version 0\.0\.1-test was started instead\.`)
			t.Logf("back on the committed slot %.0f s after the silence began", time.Since(begin).Seconds())
			wait(t, m, `boot is healthy, slot committed" slot=a`)
			powerDown(t, m)
			state, err := appliance.ReadState(t.Context(), g.disk, firmware)
			if err != nil || state.Committed != slot.A || state.GivenUp(slot.A) != slot.B || !strings.HasPrefix(state.A.Root, "PARTUUID=") {
				t.Errorf("state %+v, %v", state, err)
			}
		})
	}
}

// TestFirstBootSurvivesPowerCuts pulls the plug at random moments of the first
// boot on a larger disk; whatever is left must boot and complete.
func TestFirstBootSurvivesPowerCuts(t *testing.T) {
	r := needImage(t)
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	for i := range 6 {
		g := newGuest(t, r, 3<<30)
		m := g.start(t)
		// From the first line of init to the first line of a service.
		wait(t, m, `init: level=INFO msg=starting`)
		time.Sleep(time.Duration(rnd.IntN(1500)) * time.Millisecond)
		m.Kill()
		g.kernel = "" // and through the loader, which reads the table too
		m = g.start(t)
		wait(t, m, `slot committed`)
		wait(t, m, `grubenv root_a=PARTUUID=`)
		powerDown(t, m)
		checkDisk(t, g.disk)
		t.Logf("cut %d survived", i)
	}
}
