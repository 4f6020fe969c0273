package wsi

import (
	"flag"
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "rewrite generated documents")

// TestDocumentIsCurrent compares the tables of docs/wsi.md with the types.
func TestDocumentIsCurrent(t *testing.T) {
	t.Parallel()
	const file, begin, end = "../../docs/wsi.md", "<!-- generated from internal/wsi -->\n", "<!-- end -->\n"
	have, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	head, rest, _ := strings.Cut(string(have), begin)
	_, tail, ok := strings.Cut(rest, end)
	if !ok {
		t.Fatalf("%s has no generated part", file)
	}
	want := head + begin + tables() + end + tail
	if *update {
		if err := os.WriteFile(file, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	} else if string(have) != want {
		t.Error("docs/wsi.md is not current: run make generate")
	}
	for _, topic := range Topics() {
		if !strings.Contains(head+tail, "`"+string(topic)+"`") {
			t.Errorf("docs/wsi.md says nothing of the topic %s", topic)
		}
	}
	for _, code := range []string{codeBad, codeAuth, codeForbidden, codeUnavailable, codeTooMany, codeEnded, codeSlow, codeClosing} {
		if !strings.Contains(head+tail, "`"+code+"`") {
			t.Errorf("docs/wsi.md says nothing of the code %s", code)
		}
	}
}

func tables() string {
	var b strings.Builder
	for _, v := range []any{Request{}, Message{}, Item{}, Extension{}, Registered{}, Phone{}, Trunk{}} {
		of := reflect.TypeOf(v)
		fmt.Fprintf(&b, "\n### %s\n\n| field | JSON | |\n|---|---|---|\n", of.Name())
		for f := range of.Fields() {
			name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
			fmt.Fprintf(&b, "| `%s` | %s | %s |\n", name, kindOf(f.Type), f.Tag.Get("doc"))
		}
	}
	return b.String() + "\n"
}

// kindOf is what JSON makes of a type.
func kindOf(t reflect.Type) string {
	switch {
	case t.Name() == "RawMessage":
		return "object"
	case t.Kind() == reflect.Slice:
		return "list of " + kindOf(t.Elem())
	case t.Kind() == reflect.Struct:
		return t.Name()
	case t.Kind() == reflect.String:
		return "string"
	case t.Kind() == reflect.Bool:
		return "boolean"
	}
	return "number"
}
