package appliance

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// TestSameImageFromTwoClones builds what ships from two clones in different
// folders, the second one without anything that the first one compiled.
func TestSameImageFromTwoClones(t *testing.T) {
	if os.Getenv("RINGFENCE_HEAVY") == "" {
		t.Skip("compiles everything twice, which takes minutes; set RINGFENCE_HEAVY=1")
	}
	needTools(t)
	cachedKernel(t)
	var sums [2]map[string]string
	for i, name := range []string{"one", "another/one"} {
		dir := filepath.Join(t.TempDir(), name)
		if out, err := exec.Command("git", "clone", "-q", "--no-hardlinks", "..", dir).CombinedOutput(); err != nil {
			t.Skipf("this is not a git checkout: %v %s", err, out)
		}
		if i > 0 {
			t.Setenv("GOCACHE", t.TempDir())
		}
		r, err := Build(t.Context(), Options{Repo: dir, Out: filepath.Join(t.TempDir(), "out"), Web: WebOptional, Formats: Formats()})
		if err != nil {
			t.Fatal(err)
		}
		sums[i] = r.SHA256
	}
	for name, sum := range sums[0] {
		if sums[1][name] != sum {
			t.Errorf("%s: %s and %s", name, sum, sums[1][name])
		}
	}
	t.Logf("sums: %v", sums[0])
}
