package httpd

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"path"
	"strings"
)

// noncePlaceholder stands in index.html wherever the nonce belongs.
const noncePlaceholder = "__CSP_NONCE__"

// indexFile answers every path of the single-page application.
const indexFile = "index.html"

// static is the built user interface in memory: a request is a map access, so
// no path of a stranger's reaches a file system.
type static struct {
	files map[string]file
	index []string // index.html, cut at the placeholders; empty when not built
}

type file struct {
	plain, brotli []byte // brotli is nil when there is none
	kind          string
	etag          string
	immutable     bool
}

func newStatic(dist fs.FS, built bool) (*static, error) {
	s := &static{files: make(map[string]file)}
	if !built || dist == nil {
		return s, nil
	}
	err := fs.WalkDir(dist, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if strings.HasPrefix(path.Base(name), ".") && name != "." {
			if d.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		if d.IsDir() || strings.HasSuffix(name, ".br") {
			return nil
		}
		return s.add(dist, name)
	})
	if err != nil {
		return nil, fmt.Errorf("reading the built user interface: %w", err)
	}
	if s.index == nil {
		return nil, errors.New("reading the built user interface: index.html is missing")
	}
	return s, nil
}

func (s *static) add(dist fs.FS, name string) error {
	data, err := fs.ReadFile(dist, name)
	if err != nil {
		return err
	}
	if name == indexFile {
		s.index = strings.Split(string(data), noncePlaceholder)
		return nil
	}
	f := file{plain: data, kind: contentType(name), immutable: strings.HasPrefix(name, "assets/")}
	sum := sha256.Sum256(data)
	f.etag = `"` + hex.EncodeToString(sum[:12]) + `"`
	if br, err := fs.ReadFile(dist, name+".br"); err == nil {
		f.brotli = br
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	s.files["/"+name] = f
	return nil
}

// contentType goes by the name alone; the machine's own tables may differ.
func contentType(name string) string {
	switch path.Ext(name) {
	case ".html":
		return "text/html; charset=utf-8"
	case ".js", ".mjs":
		return "text/javascript; charset=utf-8"
	case ".css":
		return "text/css; charset=utf-8"
	case ".json", ".map":
		return "application/json"
	case ".webmanifest":
		return "application/manifest+json"
	case ".svg":
		return "image/svg+xml"
	case ".png":
		return "image/png"
	case ".ico":
		return "image/x-icon"
	case ".woff2":
		return "font/woff2"
	case ".wasm":
		return "application/wasm"
	case ".ogg":
		return "audio/ogg"
	case ".mp3":
		return "audio/mpeg"
	case ".txt", ".md":
		return "text/plain; charset=utf-8"
	}
	return "application/octet-stream"
}

func (s *static) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		plainError(w, http.StatusMethodNotAllowed, "method not allowed")
		return
	}
	if f, ok := s.files[r.URL.Path]; ok {
		f.serve(w, r)
		return
	}
	// Paths of the application have no dot in their last part; files have.
	if strings.HasPrefix(r.URL.Path, "/assets/") || (strings.Contains(path.Base(r.URL.Path), ".") && r.URL.Path != "/"+indexFile) {
		plainError(w, http.StatusNotFound, "not found")
		return
	}
	s.serveIndex(w, r)
}

func (f file) serve(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Type", f.kind)
	h.Set("Vary", "Accept-Encoding")
	h.Set("Cache-Control", "no-cache")
	if f.immutable {
		h.Set("Cache-Control", "public, max-age=31536000, immutable")
	}
	etag, data := f.etag, f.plain
	if f.brotli != nil && acceptsBrotli(r.Header.Get("Accept-Encoding")) {
		h.Set("Content-Encoding", "br")
		etag, data = strings.TrimSuffix(f.etag, `"`)+`-br"`, f.brotli
	}
	h.Set("ETag", etag)
	if r.Header.Get("If-None-Match") == etag {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	write(w, r, http.StatusOK, data)
}

// acceptsBrotli reads Accept-Encoding (RFC 9110 section 12.5.3) as far as
// needed: br is named and not refused by q=0.
func acceptsBrotli(header string) bool {
	for part := range strings.SplitSeq(header, ",") {
		coding, q, _ := strings.Cut(part, ";")
		if strings.EqualFold(strings.TrimSpace(coding), "br") {
			q = strings.ReplaceAll(strings.TrimSpace(q), " ", "")
			return q != "q=0" && q != "q=0.0" && q != "q=0.00" && q != "q=0.000"
		}
	}
	return false
}

// serveIndex sends index.html with a nonce of its own.
func (s *static) serveIndex(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Cache-Control", "no-cache")
	if s.index == nil {
		h.Set("Content-Security-Policy", bareCSP)
		write(w, r, http.StatusServiceUnavailable, []byte(notBuilt))
		return
	}
	nonce := newNonce()
	h.Set("Cache-Control", "no-store") // a nonce is for one answer
	h.Set("Content-Security-Policy", pageCSP(nonce, r.Host))
	write(w, r, http.StatusOK, []byte(strings.Join(s.index, nonce)))
}

func newNonce() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	return base64.RawURLEncoding.EncodeToString(b[:])
}

const notBuilt = `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Ringfence</title></head>
<body><h1>The portal is not built</h1>
<p>This binary was made without the user interface. Run <code>make web</code> and build it again.
The REST interface under /api/v1 works.</p></body></html>
`
