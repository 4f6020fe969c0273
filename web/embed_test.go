package web

import (
	"bytes"
	"io/fs"
	"strings"
	"testing"
)

// TestDistKeepsTheServersPromises checks what the Go server relies on: the
// nonce placeholder, no script text in the page, and a .br beside every asset.
// Without a build it checks only that Dist says so.
func TestDistKeepsTheServersPromises(t *testing.T) {
	t.Parallel()
	files, built := Dist()
	if !built {
		if _, err := fs.Stat(files, "index.html"); err == nil {
			t.Fatal("index.html is embedded, yet Dist says the front end was not built")
		}
		t.Skip("the front end is not built: make web")
	}
	page, err := fs.ReadFile(files, "index.html")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(page, []byte(`<meta name="csp-nonce" content="__CSP_NONCE__"`)) {
		t.Error("index.html lacks the nonce placeholder")
	}
	for rest := string(page); ; {
		_, after, found := strings.Cut(rest, "<script")
		if !found {
			break
		}
		attributes, after, _ := strings.Cut(after, ">")
		body, after, _ := strings.Cut(after, "</script>")
		if !strings.Contains(attributes, "src=") || strings.TrimSpace(body) != "" {
			t.Errorf("index.html holds an inline script: <script%s>%s", attributes, body)
		}
		rest = after
	}
	err = fs.WalkDir(files, "assets", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		if strings.HasSuffix(path, ".js") || strings.HasSuffix(path, ".css") {
			if _, err := fs.Stat(files, path+".br"); err != nil {
				t.Errorf("%s has no compressed twin: %v", path, err)
			}
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}
