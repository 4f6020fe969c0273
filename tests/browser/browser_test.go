package browser

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"ringfence/internal/pbx"
	"ringfence/tests/pbxproc"
)

// drive runs web/e2e with an environment and demands that every check passed.
func drive(t *testing.T, env ...string) {
	t.Helper()
	for _, tool := range []string{"node", "chromium"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("%s is not installed (make deps)", tool)
		}
	}
	if _, err := os.Stat("../../web/dist/index.html"); err != nil {
		t.Skip("the pages are not built (make web)")
	}
	cmd := exec.CommandContext(t.Context(), "npm", "run", "-s", "e2e")
	cmd.Dir = "../../web"
	cmd.Env = append(os.Environ(), env...)
	cmd.WaitDelay = 10 * time.Second
	out, err := cmd.CombinedOutput()
	m := regexp.MustCompile(`(?m)^(\d+) passed, 0 failed$`).FindStringSubmatch(string(out))
	if err != nil || m == nil || m[1] == "0" {
		var failures []string
		for line := range strings.Lines(string(out)) {
			if !strings.HasPrefix(strings.TrimSpace(line), "ok ") {
				failures = append(failures, line)
			}
		}
		t.Fatalf("%v\n%s", err, strings.Join(failures, ""))
	}
	t.Logf("%s checks passed", m[1])
}

// The pages against a stand-in that can show what a quiet PBX does not: live
// calls, errors, empty lists.
func TestPagesOverMock(t *testing.T) {
	t.Parallel()
	drive(t, "RINGFENCE_PART=pages")
}

// What people do on the pages, step by step, against the stand-in.
func TestFlowsOverMock(t *testing.T) {
	t.Parallel()
	drive(t, "RINGFENCE_PART=flows")
}

// The pages against a real PBX.
func TestPagesOverPBX(t *testing.T) {
	t.Parallel()
	p := pbxproc.Start(t, nil, "127.0.0.1", "-instance", "8")
	drive(t, "RINGFENCE_FACTS="+factsFile(t, p.Facts))
}

// The wizard against a real PBX that was never set up, and every page after it.
func TestWizardOverPBX(t *testing.T) {
	t.Parallel()
	p := pbxproc.StartFresh(t, nil, "127.0.0.1", "-instance", "9")
	if p.Facts.Admin.Token == "" || p.Facts.Admin.Password != "" {
		t.Fatalf("a fresh PBX says %+v", p.Facts.Admin)
	}
	drive(t, "RINGFENCE_FACTS="+factsFile(t, p.Facts))
}

func factsFile(t *testing.T, f pbx.Facts) string {
	t.Helper()
	text, err := json.Marshal(f)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "facts.json")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}
