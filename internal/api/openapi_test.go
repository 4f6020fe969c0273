package api

import (
	"bytes"
	"flag"
	"os"
	"testing"
)

var update = flag.Bool("update", false, "rewrite web/openapi.json")

func TestOpenAPIDocumentIsCurrent(t *testing.T) {
	t.Parallel()
	const file = "../../web/openapi.json"
	doc, err := Document()
	if err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile(file, doc, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	have, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(have, doc) {
		t.Error("web/openapi.json is not what the Go types say; run: go test ./internal/api -run OpenAPI -update")
	}
}
