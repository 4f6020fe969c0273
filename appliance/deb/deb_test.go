package deb

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

func tool(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Skipf("%s is not installed (make deps)", name)
	}
	return path
}

func output(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), tool(t, name), args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %q: %v\n%s", name, args, err, out)
	}
	return string(out)
}

// small is a package whose programs are scripts, quickly made.
func small(t *testing.T, version string) string {
	t.Helper()
	a := archive{control: control(version), time: time.Unix(1_767_225_600, 0)}
	var err error
	if a.files, err = fixed(); err != nil {
		t.Fatal(err)
	}
	if a.scripts, err = scripts(); err != nil {
		t.Fatal(err)
	}
	for _, place := range programs() {
		a.files = append(a.files, file{path: place, mode: 0o755, data: []byte("#!/bin/sh\nexit 0\n")})
	}
	path := filepath.Join(t.TempDir(), "ringfence.deb")
	if err := publish(path, a); err != nil {
		t.Fatal(err)
	}
	return path
}

// dpkg-deb itself reads what we write.
func TestDpkgReadsThePackage(t *testing.T) {
	t.Parallel()
	deb := small(t, "1.2.3")
	if got := output(t, "dpkg-deb", "--field", deb, "Package", "Version", "Architecture"); got != "Package: ringfence\nVersion: 1.2.3\nArchitecture: amd64\n" {
		t.Errorf("fields %q", got)
	}
	if size, err := strconv.Atoi(strings.TrimSpace(output(t, "dpkg-deb", "--field", deb, "Installed-Size"))); err != nil || size < 5 {
		t.Errorf("installed size %d, %v", size, err)
	}
	list := output(t, "dpkg-deb", "--contents", deb)
	for _, line := range strings.Split(strings.TrimSpace(list), "\n") {
		words := strings.Fields(line)
		if words[1] != "root/root" {
			t.Errorf("not root's: %s", line)
		}
		program := strings.HasPrefix(words[5], "./usr/bin/r") || regexp.MustCompile(`^\./usr/lib/ringfence/.`).MatchString(words[5])
		want := map[bool]string{true: "-rwxr-xr-x", false: "-rw-r--r--"}[program]
		if strings.HasSuffix(words[5], "/") {
			want = "drwxr-xr-x"
		}
		if words[0] != want {
			t.Errorf("mode is not %s: %s", want, line)
		}
	}
	for _, unit := range Units() {
		if !strings.Contains(list, " ./usr/lib/systemd/system/"+unit+"\n") {
			t.Errorf("no %s in it", unit)
		}
	}
	dir := t.TempDir()
	output(t, "dpkg-deb", "--raw-extract", deb, dir)
	if got, err := os.ReadFile(filepath.Join(dir, "DEBIAN/conffiles")); err != nil || string(got) != "/etc/default/ringfence\n" {
		t.Errorf("conffiles %q, %v", got, err)
	}
	cmd := exec.CommandContext(t.Context(), tool(t, "md5sum"), "--check", "--strict", "DEBIAN/md5sums")
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("sums: %v\n%s", err, out)
	}
}

func TestEqualInputsGiveEqualBytes(t *testing.T) {
	t.Parallel()
	a, err := os.ReadFile(small(t, "1.2.3"))
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(small(t, "1.2.3"))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(a, b) {
		t.Error("two packages of the same differ")
	}
}

// TestBuildIsReproducible compiles everything, in two places.
func TestBuildIsReproducible(t *testing.T) {
	if testing.Short() || os.Getenv("RINGFENCE_HEAVY") == "" {
		t.Skip("RINGFENCE_HEAVY is not set")
	}
	t.Parallel()
	var made [][]byte
	for range 2 {
		path, err := Build(t.Context(), Options{Repo: "../..", Out: t.TempDir(), Version: "9.9", Time: time.Unix(1_767_225_600, 0), WithoutWeb: true})
		if err != nil {
			t.Fatal(err)
		}
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		made = append(made, data)
	}
	if !bytes.Equal(made[0], made[1]) {
		t.Error("two builds differ")
	}
}

func TestVersionsAreOrdered(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	list := []string{
		PackageVersion("dev", at), PackageVersion("dev-0123456789ab+changed", at.Add(time.Hour)),
		PackageVersion("1.0", at), PackageVersion("1.0.1", at), PackageVersion("1.10", at),
	}
	for i := range list[1:] {
		cmd := exec.CommandContext(t.Context(), tool(t, "dpkg"), "--compare-versions", list[i], "lt", list[i+1])
		if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
			t.Errorf("%s is not before %s: %v %s", list[i], list[i+1], err, out)
		}
	}
	for _, odd := range []string{"", "1.0 rc/1", "-", "x_y"} {
		v := PackageVersion(odd, at)
		if out, err := exec.CommandContext(t.Context(), tool(t, "dpkg"), "--validate-version", v).CombinedOutput(); err != nil {
			t.Errorf("%q becomes %q: %s", odd, v, out)
		}
	}
}

// unitTree is a root in which the units and what they start are installed.
func unitTree(t *testing.T) string {
	t.Helper()
	root := t.TempDir()
	output(t, "dpkg-deb", "--extract", small(t, "1"), root)
	return root
}

// exposure is the most that systemd-analyze security may say of each service,
// of 10. What is left is the network, for the fence also binding the port of a
// certificate challenge, and, for sysd, root.
func exposure() map[string]float64 {
	return map[string]float64{
		"ringfence-fenced.service": 1.8, "ringfence-pbxd.service": 1.1, "ringfence-sysd.service": 0.9, "ringfence-seed.service": 1.0,
	}
}

func TestServicesAreConfined(t *testing.T) {
	t.Parallel()
	root := unitTree(t)
	bound := exposure()
	for _, unit := range Units() {
		if !strings.HasSuffix(unit, ".service") {
			continue
		}
		limit, ok := bound[unit]
		if !ok {
			t.Errorf("no figure for %s", unit)
			continue
		}
		out := output(t, "systemd-analyze", "security", "--offline=true", "--root="+root, "--no-pager", unit)
		m := regexp.MustCompile(`Overall exposure level for \S+: ([0-9.]+)`).FindStringSubmatch(out)
		if m == nil {
			t.Fatalf("no figure in\n%s", out)
		}
		got, err := strconv.ParseFloat(m[1], 64)
		if err != nil || got > limit {
			t.Errorf("%s: exposure %s, want at most %.1f\n%s", unit, m[1], limit, out)
		}
	}
}

// systemd itself finds nothing wrong with the units.
func TestUnitsAreValid(t *testing.T) {
	t.Parallel()
	root := unitTree(t)
	for _, unit := range Units() {
		cmd := exec.CommandContext(t.Context(), tool(t, "systemd-analyze"), "verify", "--man=no", "--recursive-errors=no", "--root="+root, unit)
		out, _ := cmd.CombinedOutput() // its status also tells of units of others that are not in this root
		for _, line := range strings.Split(string(out), "\n") {
			if strings.Contains(line, "ringfence-") && !strings.Contains(line, "not found") {
				t.Errorf("%s: %s", unit, line)
			}
		}
	}
}

// What the services may do is what the image's own init gives them.
func TestUnitsGiveTheRightsOfTheImage(t *testing.T) {
	t.Parallel()
	want := map[string][]string{
		"ringfence-fenced.service": {"User=ringfence-fence", "CapabilityBoundingSet=CAP_NET_ADMIN CAP_NET_BIND_SERVICE", "Type=notify", "WatchdogSec=30s", "LimitNOFILE=1024", "OOMScoreAdjust=-800", "Before=network-pre.target"},
		"ringfence-pbxd.service":   {"User=ringfence-pbx", "CapabilityBoundingSet=", "Type=notify", "WatchdogSec=30s", "LimitNOFILE=131072", "OOMScoreAdjust=200"},
		"ringfence-sysd.service":   {"User=root", "CapabilityBoundingSet=", "Type=notify", "WatchdogSec=30s", "LimitNOFILE=256", "PrivateNetwork=yes"},
	}
	for unit, lines := range want {
		data, err := embedded.ReadFile("files/units/" + unit)
		if err != nil {
			t.Fatal(err)
		}
		have := strings.Split(string(data), "\n")
		for _, line := range lines {
			if !slices.ContainsFunc(have, func(h string) bool { return h == line || strings.HasPrefix(h, line+" ") }) {
				t.Errorf("%s has no line %s", unit, line)
			}
		}
	}
}

func TestScriptsParse(t *testing.T) {
	t.Parallel()
	list, err := scripts()
	if err != nil || len(list) != 3 {
		t.Fatalf("%d scripts, %v", len(list), err)
	}
	for _, s := range list {
		cmd := exec.CommandContext(t.Context(), "sh", "-n")
		cmd.Stdin = bytes.NewReader(s.data)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", s.path, err, out)
		}
		for _, unit := range Units() {
			if s.path != "prerm" && !bytes.Contains(s.data, []byte(unit)) {
				t.Errorf("%s forgets %s", s.path, unit)
			}
		}
	}
}

// TestLifeOfThePackage installs, upgrades, removes and purges with dpkg in a
// folder: what the administrator and the PBX wrote stays until the purge.
func TestLifeOfThePackage(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	for _, dir := range []string{"var/lib/dpkg/info", "var/lib/dpkg/updates", "var/log", "var/lib/ringfence/pbxd", "etc/default"} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(root, "var/lib/dpkg/status"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	dpkg := func(args ...string) {
		t.Helper()
		// The scripts need a root of their own to run in; tests/qemu has one.
		args = append([]string{"--root=" + root, "--force-not-root", "--force-depends", "--force-script-chrootless", "--no-triggers", "--log=" + filepath.Join(root, "log")}, args...)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if out, err := exec.CommandContext(ctx, tool(t, "dpkg"), args...).CombinedOutput(); err != nil {
			t.Fatalf("dpkg %q: %v\n%s", args, err, out)
		}
	}
	settings, conffile := filepath.Join(root, "var/lib/ringfence/pbxd/pbx.db"), filepath.Join(root, "etc/default/ringfence")
	has := func(path, want string) {
		t.Helper()
		if got, err := os.ReadFile(path); err != nil || (want != "" && string(got) != want) {
			t.Errorf("%s: %q, %v", path, got, err)
		}
	}
	dpkg("--install", bare(t, "1.0"))
	if err := os.WriteFile(settings, []byte("settings"), 0o600); err != nil {
		t.Fatal(err)
	}
	const own = "PBXD_OPTIONS=\"-debug\"\n"
	if err := os.WriteFile(conffile, []byte(own), 0o644); err != nil {
		t.Fatal(err)
	}
	dpkg("--install", bare(t, "1.1"))
	has(settings, "settings")
	has(conffile, own)
	has(filepath.Join(root, "usr/lib/ringfence/pbxd"), "")
	dpkg("--remove", "ringfence")
	has(settings, "settings")
	has(conffile, own)
	if _, err := os.Stat(filepath.Join(root, "usr/lib/ringfence/pbxd")); !os.IsNotExist(err) {
		t.Errorf("the program is still there: %v", err)
	}
	dpkg("--purge", "ringfence")
	if _, err := os.Stat(conffile); !os.IsNotExist(err) {
		t.Errorf("the conffile outlives the purge: %v", err)
	}
}

// bare is small without scripts.
func bare(t *testing.T, version string) string {
	t.Helper()
	a := archive{control: control(version), time: time.Unix(1_767_225_600, 0)}
	var err error
	if a.files, err = fixed(); err != nil {
		t.Fatal(err)
	}
	for _, place := range programs() {
		a.files = append(a.files, file{path: place, mode: 0o755, data: fmt.Appendf(nil, "#!/bin/sh\necho %s\n", version)})
	}
	path := filepath.Join(t.TempDir(), "ringfence.deb")
	if err := publish(path, a); err != nil {
		t.Fatal(err)
	}
	return path
}
