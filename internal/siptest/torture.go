package siptest

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// SkipTB is a test that may skip.
type SkipTB interface {
	TB
	Skip(args ...any)
}

// Torture returns the messages of RFC 4475, from the module of the SIP library,
// and those of RFC 5118 from SIP_TORTURE_DIR or the folder shared/torture beside
// the repository, whose root is given, by the names the RFCs have for them. It
// skips the test if there are none.
func Torture(t SkipTB, root string) map[string][]byte {
	t.Helper()
	var files []string
	if out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/emiago/sipgo").Output(); err == nil {
		files, _ = filepath.Glob(filepath.Join(strings.TrimSpace(string(out)), "sip", "testdata", "torture", "*", "*.dat"))
	}
	more := os.Getenv("SIP_TORTURE_DIR")
	if more == "" {
		more = filepath.Join(root, "..", "shared", "torture")
	}
	others, _ := filepath.Glob(filepath.Join(more, "*", "*.dat"))
	all := make(map[string][]byte)
	for _, f := range append(files, others...) {
		if raw, err := os.ReadFile(f); err == nil {
			all[strings.TrimSuffix(filepath.Base(f), ".dat")] = raw
		}
	}
	if len(all) == 0 {
		t.Skip("the module of the SIP library, which has the messages of RFC 4475, is not in the module cache")
	}
	return all
}
