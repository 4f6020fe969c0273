package archtest

import (
	"bufio"
	"go/ast"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestRequirementsNameTheirTests reads docs/requirements.tsv: id, state, tests
// (comma separated, "package.TestName" or the path of a script), note. A row
// that claims to be proven names tests that exist.
func TestRequirementsNameTheirTests(t *testing.T) {
	t.Parallel()
	tests := map[string]bool{}
	for _, s := range sources(t) {
		if !s.test {
			continue
		}
		for _, d := range s.file.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv == nil && strings.HasPrefix(fn.Name.Name, "Test") {
				tests[s.pkg()+"."+fn.Name.Name] = true
			}
		}
	}
	f, err := os.Open(filepath.Join(root, "docs/requirements.tsv"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	id := regexp.MustCompile(`^([A-Z]\d\d|B\d\d)$`)
	seen := map[string]bool{}
	in := bufio.NewScanner(f)
	for n := 1; in.Scan(); n++ {
		line := in.Text()
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		cols := strings.Split(line, "\t")
		if len(cols) != 4 || !id.MatchString(cols[0]) {
			t.Errorf("requirements.tsv:%d: want id, state, tests, note", n)
			continue
		}
		if seen[cols[0]] {
			t.Errorf("requirements.tsv:%d: %s stands twice", n, cols[0])
		}
		seen[cols[0]] = true
		checkRow(t, n, cols, tests)
	}
	if len(seen) < 100 {
		t.Errorf("requirements.tsv has %d rows; some are missing", len(seen))
	}
}

func checkRow(t *testing.T, n int, cols []string, tests map[string]bool) {
	t.Helper()
	switch cols[1] {
	case "open":
		if cols[2] != "" {
			t.Errorf("requirements.tsv:%d: %s is open but names tests; say partly or proven", n, cols[0])
		}
		return
	case "partly", "proven":
	default:
		t.Errorf("requirements.tsv:%d: state %q is none of open, partly, proven", n, cols[1])
	}
	if cols[2] == "" {
		t.Errorf("requirements.tsv:%d: %s is %s by no test", n, cols[0], cols[1])
	}
	for _, name := range strings.Split(cols[2], ",") {
		name = strings.TrimSpace(name)
		if name == "" || tests[name] {
			continue
		}
		if strings.Contains(name, "/") && !strings.Contains(filepath.Base(name), ".Test") {
			if _, err := os.Stat(filepath.Join(root, name)); err == nil {
				continue
			}
		}
		t.Errorf("requirements.tsv:%d: %s names %q, which does not exist", n, cols[0], name)
	}
}
