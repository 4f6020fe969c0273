package packer

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"

	"ringfence/firewall/cloudrules"
	"ringfence/internal/ports"
)

// module is what a file of Terraform declares and what it refers to.
type module struct {
	variables map[string]bool // true: it has a default
	resources map[string]*hclsyntax.Body
	modules   map[string]*hclsyntax.Body
	refers    []string
}

func read(t *testing.T, name string, text []byte) module {
	t.Helper()
	f, problems := hclsyntax.ParseConfig(text, name, hcl.InitialPos)
	if problems.HasErrors() {
		t.Fatal(problems)
	}
	m := module{map[string]bool{}, map[string]*hclsyntax.Body{}, map[string]*hclsyntax.Body{}, nil}
	for _, b := range f.Body.(*hclsyntax.Body).Blocks {
		name := strings.Join(b.Labels, ".")
		switch b.Type {
		case "variable":
			_, m.variables["var."+name] = b.Body.Attributes["default"]
		case "resource":
			if m.resources[name] != nil {
				t.Errorf("%s is declared twice", name)
			}
			m.resources[name] = b.Body
		case "module":
			m.modules[name] = b.Body
		}
	}
	problems = hclsyntax.VisitAll(f.Body.(*hclsyntax.Body), func(n hclsyntax.Node) hcl.Diagnostics {
		if e, ok := n.(*hclsyntax.ScopeTraversalExpr); ok && len(e.Traversal) > 1 {
			if a, ok := e.Traversal[1].(hcl.TraverseAttr); ok {
				m.refers = append(m.refers, e.Traversal.RootName()+"."+a.Name)
			}
		}
		return nil
	})
	if problems.HasErrors() {
		t.Fatal(problems)
	}
	return m
}

// The examples are whole: everything they refer to is there, and what they hand
// to the written rules is what those ask for.
func TestTerraformExamples(t *testing.T) {
	t.Parallel()
	rows, err := ports.Effective(nil, ports.InService)
	if err != nil {
		t.Fatal(err)
	}
	for cloud, want := range map[string]struct {
		format  cloudrules.Format
		address string // the static public address
		machine string
	}{
		"aws":    {cloudrules.AWSTerraform, "aws_eip.ringfence", "aws_instance.ringfence"},
		"azure":  {cloudrules.AzureTerraform, "azurerm_public_ip.ringfence", "azurerm_linux_virtual_machine.ringfence"},
		"google": {cloudrules.GoogleTerraform, "google_compute_address.ringfence", "google_compute_instance.ringfence"},
	} {
		path := filepath.Join("terraform", cloud, "main.tf")
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		m := read(t, path, text)
		for _, r := range m.refers {
			_, declared := m.variables[r]
			if !declared && m.resources[r] == nil {
				t.Errorf("%s: refers to %s, which is not there", path, r)
			}
		}
		for _, r := range []string{want.address, want.machine} {
			if m.resources[r] == nil {
				t.Errorf("%s: no %s", path, r)
			}
		}
		if !slices.Contains(m.refers, want.address) || !slices.Contains(m.refers, "var.user_data") {
			t.Errorf("%s: the address or the answers given beforehand go nowhere", path)
		}
		var b strings.Builder
		if err := cloudrules.Write(&b, want.format, cloudrules.Rules(rows, cloudrules.DefaultSources())); err != nil {
			t.Fatal(err)
		}
		rules := read(t, string(want.format), []byte(b.String()))
		for _, r := range rules.refers {
			if _, ok := rules.variables[r]; !ok {
				t.Errorf("%s: refers to %s", want.format, r)
			}
		}
		call := m.modules["rules"]
		if call == nil {
			t.Errorf("%s: no module of rules", path)
			continue
		}
		given := slices.DeleteFunc(slices.Sorted(maps.Keys(call.Attributes)), func(a string) bool { return a == "source" })
		var asked []string
		for v := range rules.variables {
			asked = append(asked, strings.TrimPrefix(v, "var."))
		}
		if slices.Sort(asked); !slices.Equal(given, asked) {
			t.Errorf("%s hands the rules %v, they ask for %v", path, given, asked)
		}
	}
}
