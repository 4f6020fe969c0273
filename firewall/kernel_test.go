package firewall

import (
	"os"
	"path/filepath"
	"testing"

	"ringfence/firewall/nstest"
)

func mustCompile(t testing.TB, p Policy) Ruleset {
	t.Helper()
	r, err := Compile(p)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func load(t testing.TB, n *nstest.NS, p Policy) *Kernel {
	t.Helper()
	k := NewKernel(n.FD())
	if err := k.Apply(mustCompile(t, p)); err != nil {
		t.Fatal(err)
	}
	return k
}

// The text of a ruleset is not a second description that may drift: nft(8)
// loads it into one namespace, we load the data into another, and both list
// alike.
func TestKernelHoldsWhatTheTextSays(t *testing.T) {
	t.Parallel()
	for name, p := range goldenPolicies(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ours, theirs := nstest.New(t), nstest.New(t)
			load(t, ours, p)
			file := filepath.Join(t.TempDir(), "ruleset.nft")
			if err := os.WriteFile(file, []byte(mustCompile(t, p).String()), 0o644); err != nil {
				t.Fatal(err)
			}
			theirs.Run("nft", "-f", file)
			got, want := ours.Run("nft", "list", "ruleset"), theirs.Run("nft", "list", "ruleset")
			if got != want {
				t.Errorf("the kernel lists\n%s\nnft made\n%s", got, want)
			}
		})
	}
}
