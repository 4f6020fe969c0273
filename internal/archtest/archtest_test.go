// Package archtest holds the rules of the tree as tests: import directions,
// port literals, sizes of files and functions, machine paths, and the map from
// requirements to tests.
package archtest

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"ringfence/internal/ports"
)

const (
	root         = "../.."
	module       = "ringfence"
	maxFileLines = 600
	maxFuncLines = 120
)

type source struct {
	path string // slash separated, below the root
	test bool
	file *ast.File
	fset *token.FileSet
}

func (s source) pkg() string { return filepath.ToSlash(filepath.Dir(s.path)) }

// sources parses every Go file of the tree once.
func sources(t *testing.T) []source {
	t.Helper()
	var all []source
	err := filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(root, p)
		rel = filepath.ToSlash(rel)
		if d.IsDir() {
			if rel != "." && strings.HasPrefix(d.Name(), ".") || d.Name() == "node_modules" || d.Name() == "out" || d.Name() == "bin" {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(p, ".go") {
			return nil
		}
		fset := token.NewFileSet()
		f, err := parser.ParseFile(fset, p, nil, parser.ParseComments)
		if err != nil {
			return err
		}
		all = append(all, source{rel, strings.HasSuffix(p, "_test.go"), f, fset})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(all) < 10 {
		t.Fatalf("found %d Go files; looking in the wrong place", len(all))
	}
	return all
}

func testdata(path string) bool { return strings.Contains(path, "/testdata/") }

func under(pkg string, prefixes ...string) bool {
	for _, p := range prefixes {
		if pkg == p || strings.HasPrefix(pkg, p+"/") {
			return true
		}
	}
	return false
}

// may says why package from must not import package to, or "".
func may(from, to string) string {
	switch {
	case under(to, "cmd"):
		return "nothing imports a command"
	case to == "internal/pbx" && !under(from, "cmd/pbxd", "internal/pbxtest", "tests", "bench"):
		return "only cmd/pbxd and test harnesses import the composition root"
	case under(to, "internal/api", "internal/wsi", "internal/wallboard") && !under(from, "internal/pbx", to):
		return "only pbx imports the HTTP side"
	case under(from, "internal/guard", "internal/sip") && under(to, "firewall"):
		return "guard and sip decide; pbx asks the fence"
	case under(from, "firewall") && under(to, "internal/store"):
		return "fenced never opens the database"
	case under(from, "firewall") && under(to, "internal") && !under(to, "internal/ports", "internal/telephony", "internal/netcfg"):
		return "firewall knows the port table and the words of the domain only"
	case from == "internal/ports":
		return "ports imports the standard library only"
	case from == "internal/telephony" && to != "internal/ports":
		return "telephony imports the standard library and ports only"
	case from == "internal/events" && to != "internal/telephony":
		return "events imports telephony only"
	case from == "internal/dialplan" && to != "internal/telephony":
		return "dialplan imports telephony only"
	case from == "internal/store" && !under(to, "internal/telephony", "internal/ports", "internal/events"):
		return "store stands below the subsystems"
	case under(to, "internal/siptest", "internal/pbxtest") && !under(from, "internal/siptest", "internal/pbxtest", "tests", "bench"):
		return "test phones are for tests"
	case under(from, "internal") && under(to, "appliance", "cloud-init", "packer") && from != "internal/pbx":
		return "the PBX does not know the image it runs on"
	case under(from, "internal/sip", "internal/dialog", "internal/registrar", "internal/location", "internal/media") && under(to, "internal/b2bua"):
		return "the layers below calls do not know calls"
	}
	return ""
}

func TestImportDirections(t *testing.T) {
	t.Parallel()
	for _, s := range sources(t) {
		if s.test {
			continue
		}
		for _, imp := range s.file.Imports {
			path, _ := strconv.Unquote(imp.Path.Value)
			to, ours := strings.CutPrefix(path, module+"/")
			if !ours || to == s.pkg() {
				continue
			}
			if why := may(s.pkg(), to); why != "" {
				t.Errorf("%s imports %s: %s", s.path, to, why)
			}
		}
	}
}

func TestPortLiteralsLiveInTheTable(t *testing.T) {
	t.Parallel()
	numbers := map[string]bool{}
	for _, s := range ports.Table() {
		if s.Window { // 80 is the number of too many things
			continue
		}
		numbers[fmt.Sprint(s.First)] = true
		numbers[fmt.Sprint(s.Last)] = true
	}
	inText := regexp.MustCompile(`:(\d{4,5})\b`)
	for _, s := range sources(t) {
		// Programs in testdata imitate what goes over the wire, ports and all;
		// like tests, they are not part of the product.
		if s.test || testdata(s.path) || under(s.pkg(), "internal/ports", "tests", "bench") {
			continue
		}
		ast.Inspect(s.file, func(n ast.Node) bool {
			lit, ok := n.(*ast.BasicLit)
			if !ok {
				return true
			}
			found := lit.Kind == token.INT && numbers[lit.Value]
			if lit.Kind == token.STRING {
				for _, m := range inText.FindAllStringSubmatch(lit.Value, -1) {
					found = found || numbers[m[1]]
				}
			}
			if found {
				t.Errorf("%s: port literal %s; take it from internal/ports", s.fset.Position(lit.Pos()), lit.Value)
			}
			return true
		})
	}
}

func TestSizes(t *testing.T) {
	t.Parallel()
	for _, s := range sources(t) {
		lines := s.fset.File(s.file.Pos()).LineCount()
		if lines > maxFileLines && !generated(s.file) {
			t.Errorf("%s has %d lines, more than %d", s.path, lines, maxFileLines)
		}
		for _, d := range s.file.Decls {
			fn, ok := d.(*ast.FuncDecl)
			if !ok || fn.Body == nil || s.test {
				continue
			}
			n := s.fset.Position(fn.End()).Line - s.fset.Position(fn.Pos()).Line + 1
			if n > maxFuncLines {
				t.Errorf("%s: %s has %d lines, more than %d", s.fset.Position(fn.Pos()), fn.Name.Name, n, maxFuncLines)
			}
		}
	}
}

func generated(f *ast.File) bool { return ast.IsGenerated(f) }

func TestEveryPackageSaysItsJob(t *testing.T) {
	t.Parallel()
	documented, seen := map[string]bool{}, map[string]bool{}
	for _, s := range sources(t) {
		if s.test {
			continue
		}
		seen[s.pkg()] = true
		if s.file.Doc != nil && len(s.file.Doc.Text()) > 20 {
			documented[s.pkg()] = true
		}
	}
	for p := range seen {
		if !documented[p] {
			t.Errorf("package %s has no doc comment", p)
		}
	}
}

func TestNoGrabBagsAndNoPackageState(t *testing.T) {
	t.Parallel()
	banned := []string{"util", "utils", "helper", "helpers", "common", "misc", "base"}
	for _, s := range sources(t) {
		if slices.Contains(banned, s.file.Name.Name) {
			t.Errorf("%s: package %s is a grab-bag name", s.path, s.file.Name.Name)
		}
		if s.test || under(s.pkg(), "tests", "bench") {
			continue
		}
		for _, d := range s.file.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv == nil && fn.Name.Name == "init" {
				t.Errorf("%s: func init; build it in the constructor", s.fset.Position(fn.Pos()))
			}
		}
	}
}

// suspect saves most lines the regular expression.
func suspect(line []byte) bool {
	for _, word := range []string{"/work/", "/farm/", "/root/", "proxy.", "registry.", "deb."} {
		if bytes.Contains(line, []byte(word)) {
			return true
		}
	}
	return false
}

// TestNoMachinePaths keeps the paths of build machines, and hosts of package
// registries, out of every text file git tracks.
func TestNoMachinePaths(t *testing.T) {
	t.Parallel()
	bad := regexp.MustCompile(`(^|[^a-z.])/(work|farm)/|/root/|(proxy|registry|deb)\.[a-z]+\.(org|com)`)
	err := filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			switch d.Name() {
			case ".git", "node_modules", "out", "bin", "dist":
				return filepath.SkipDir
			}
			return nil
		}
		if d.Name() == ".git" || d.Name() == "go.sum" || d.Name() == "archtest_test.go" || !d.Type().IsRegular() {
			return nil
		}
		text, err := os.ReadFile(p)
		if err != nil {
			return err
		}
		for n, line := range bytes.Split(text, []byte("\n")) {
			if suspect(line) && bad.Match(line) {
				t.Errorf("%s:%d names a machine path or a registry host", p, n+1)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
