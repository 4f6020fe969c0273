// Package web holds the built user interface, ready to be served.
package web

import (
	"embed"
	"io/fs"
)

// The folder always exists, holding at least .gitkeep, so that the Go parts
// build without the front end's tools.
//
//go:embed all:dist
var dist embed.FS

// Dist is the built user interface: index.html, hashed files under assets/,
// and next to each compressible file the same with .br appended. built is
// false when the binary was made without `make web`; then fs holds nothing to
// serve, and the server should say so.
func Dist() (files fs.FS, built bool) {
	files, err := fs.Sub(dist, "dist")
	if err != nil { // the path is a constant and valid
		return dist, false
	}
	_, err = fs.Stat(files, ".vite/manifest.json")
	return files, err == nil
}
