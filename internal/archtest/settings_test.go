package archtest

import (
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"

	"ringfence/internal/telephony"
)

var update = flag.Bool("update", false, "rewrite generated documents")

const settingsIntro = `# Settings

Generated from ` + "`telephony.Settings`" + ` by ` + "`make generate`" + `; do not edit.

The box-wide settings. A refused value is answered with the name in the first column.
In this version the wizard and [first-boot answers](../cloud-init/README.md#settings) set some of them; SIP transports and their digests, addresses and client certificates have pages in the portal, and /api/v1/transports, /addresses and /client-certificates; other ports the portal shows and cannot change yet. Settings of one organisation are those of /api/v1/tenant.

| name | default | |
|---|---|---|
`

// TestSettingsDocumentIsCurrent compares docs/settings.md with the fields of
// telephony.Settings, their comments and their defaults.
func TestSettingsDocumentIsCurrent(t *testing.T) {
	t.Parallel()
	want := settingsIntro + settingRows(t)
	file := filepath.Join(root, "docs/settings.md")
	if *update {
		if err := os.WriteFile(file, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	have, err := os.ReadFile(file)
	if err != nil || string(have) != want {
		t.Errorf("docs/settings.md is not current: run make generate (%v)", err)
	}
}

func settingRows(t *testing.T) string {
	t.Helper()
	f, err := parser.ParseFile(token.NewFileSet(), filepath.Join(root, "internal/telephony/telephony.go"), nil, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	defaults := reflect.ValueOf(telephony.DefaultSettings())
	names := strings.NewReplacer(settingNames(defaults.Type())...)
	for _, field := range f.Scope.Lookup("Settings").Decl.(*ast.TypeSpec).Type.(*ast.StructType).Fields.List {
		if len(field.Names) != 1 || field.Doc == nil {
			t.Errorf("a field of telephony.Settings shares its line or has no comment: %v", field.Names)
			continue
		}
		name := field.Names[0].Name
		text := strings.Join(strings.Fields(field.Doc.Text()), " ")
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", snake(name), shown(defaults.FieldByName(name).Interface()), names.Replace(text))
	}
	return b.String()
}

// settingNames are pairs for a Replacer: Go's name and the one people see.
func settingNames(t reflect.Type) (pairs []string) {
	var names []string
	for i := range t.NumField() {
		name := t.Field(i).Name
		if snake(name) != strings.ToLower(name) { // one word could be any word
			names = append(names, name)
		}
	}
	slices.SortFunc(names, func(a, b string) int { return len(b) - len(a) }) // PublicAddresses before PublicAddress
	for _, name := range names {
		pairs = append(pairs, name, "`"+snake(name)+"`")
	}
	return pairs
}

func snake(name string) string {
	var b strings.Builder
	for i, r := range name {
		if unicode.IsUpper(r) && i > 0 && strings.ToUpper(name) != name {
			b.WriteByte('_')
		}
		b.WriteRune(unicode.ToLower(r))
	}
	return b.String()
}

func shown(v any) string {
	switch v := v.(type) {
	case time.Duration:
		if v%time.Hour == 0 {
			return fmt.Sprintf("%d h", v/time.Hour)
		}
		return fmt.Sprintf("%d min", v/time.Minute)
	case bool:
		return map[bool]string{false: "no", true: "yes"}[v]
	}
	if reflect.ValueOf(v).IsZero() {
		return "none"
	}
	return strings.Trim(fmt.Sprint(v), "[]")
}
