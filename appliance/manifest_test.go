package appliance

import (
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"ringfence/appliance/rootfs"
)

// checkManifest compares the copy in the image with the one beside it.
func checkManifest(t *testing.T, r Result) {
	var inside, beside Manifest
	text, err := exec.Command("unsquashfs", "-cat", r.Root, "etc/ringfence/manifest.json").Output()
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &inside); err != nil {
		t.Fatal(err)
	}
	text, err = os.ReadFile(r.Manifest)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &beside); err != nil {
		t.Fatal(err)
	}
	if inside.Version != r.Version || beside.Version != r.Version || len(inside.Files) != 0 || beside.Files["ringfence.raw"] != r.SHA256["ringfence.raw"] {
		t.Errorf("inside %+v, beside %+v", inside, beside)
	}
	if len(inside.Programs) != 1 || len(inside.Programs[0].Modules) != 0 || inside.Go == "" || inside.Kernel.Compiler == "" || inside.Kernel.Version == "" {
		t.Errorf("inside %+v", inside)
	}
	for name, version := range inside.Packages {
		if version == "" {
			t.Errorf("package %s has no version", name)
		}
	}
}

func TestWebIsRequired(t *testing.T) {
	t.Parallel()
	pbxd := rootfs.Program{Package: "ringfence/cmd/pbxd"}
	var notices []string
	b := builder{Options: Options{Notice: func(s string) { notices = append(notices, s) }}}
	if err := b.checkWeb([]rootfs.Program{pbxd}); !errors.Is(err, ErrWebNotBuilt) {
		t.Errorf("without user interface: %v", err)
	}
	b.Web = WebOptional
	if err := b.checkWeb([]rootfs.Program{pbxd}); err != nil || len(notices) != 1 {
		t.Errorf("for tests: %v, notices %q", err, notices)
	}
	b.Web, pbxd.HasWeb = WebRequired, true
	if err := b.checkWeb([]rootfs.Program{{Package: "ringfence/cmd/init"}, pbxd}); err != nil {
		t.Errorf("with user interface: %v", err)
	}
}

func TestHashTree(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write := func(name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	var sums []string
	next := func() {
		sum, err := hashTree(dir)
		if err != nil || (sum != "" && slices.Contains(sums, sum)) {
			t.Errorf("%q after %q, %v", sum, sums, err)
		}
		sums = append(sums, sum)
	}
	write(".gitkeep", "")
	next()
	if sums[0] != "" {
		t.Errorf("a folder without files has the sum %s", sums[0])
	}
	write("a", "1")
	next()
	write("a", "2")
	next()
	write("b", "2")
	next()
}

func TestSource(t *testing.T) {
	dir := t.TempDir()
	if s := readSource(t.Context(), dir); s.commit != "" || s.version != "dev" || s.time.Unix() != fallbackTime {
		t.Errorf("without git: %+v", s)
	}
	git := func(args ...string) {
		t.Helper()
		cmd := exec.Command("git", append([]string{"-C", dir, "-c", "user.name=x", "-c", "user.email=x@example.org"}, args...)...)
		cmd.Env = append(os.Environ(), "GIT_COMMITTER_DATE=@1700000000 +0000")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Skipf("git %v: %v %s", args, err, out)
		}
	}
	git("init", "-q")
	if err := os.WriteFile(filepath.Join(dir, "f"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	git("add", "f")
	git("commit", "-q", "-m", "x")
	s := readSource(t.Context(), dir)
	if s.version != "dev-"+s.commit[:12] || s.changed || s.time.Unix() != 1_700_000_000 {
		t.Errorf("clean: %+v", s)
	}
	git("tag", "v1.2.3")
	if s := readSource(t.Context(), dir); s.version != "1.2.3" {
		t.Errorf("tagged: %+v", s)
	}
	if err := os.WriteFile(filepath.Join(dir, "f"), []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	if s := readSource(t.Context(), dir); s.version != "1.2.3+changed" || !s.changed {
		t.Errorf("changed: %+v", s)
	}
	t.Setenv("SOURCE_DATE_EPOCH", "1600000000")
	if s := readSource(t.Context(), dir); s.time.Unix() != 1_600_000_000 {
		t.Errorf("with SOURCE_DATE_EPOCH: %+v", s)
	}
}
