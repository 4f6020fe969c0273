package rootfs

import (
	"bytes"
	"crypto/sha256"
	"debug/buildinfo"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
)

// Module is a Go module that is part of a program.
type Module struct {
	Path    string `json:"path"`
	Version string `json:"version"`
	Sum     string `json:"sum,omitempty"`
}

// Program is a program of the image and what it was made of, read back from
// the program itself.
type Program struct {
	Path    string   `json:"path"` // in the image
	Package string   `json:"package"`
	Go      string   `json:"go"`
	SHA256  string   `json:"sha256"`
	Size    int      `json:"size"`
	Modules []Module `json:"modules"`
	// HasWeb tells whether the built user interface is embedded.
	HasWeb bool `json:"has_web"`
}

// webMark is the name under which the linker keeps a file of the built user
// interface; a program without one cannot contain it.
const webMark = "dist/.vite/manifest.json"

func inspect(tree string, o Options) ([]Program, error) {
	var programs []Program
	for _, importPath := range append([]string{o.Init}, o.Programs...) {
		p, err := inspectProgram(tree, o.programPath(importPath))
		if err != nil {
			return nil, err
		}
		if p.Package != importPath {
			return nil, fmt.Errorf("program %s is %s, not %s", p.Path, p.Package, importPath)
		}
		programs = append(programs, p)
	}
	return programs, nil
}

func inspectProgram(tree, name string) (Program, error) {
	data, err := os.ReadFile(filepath.Join(tree, filepath.FromSlash(name)))
	if err != nil {
		return Program{}, fmt.Errorf("reading program %s: %w", name, err)
	}
	info, err := buildinfo.Read(bytes.NewReader(data))
	if err != nil {
		return Program{}, fmt.Errorf("reading what program %s was built from: %w", name, err)
	}
	digest := sha256.Sum256(data)
	p := Program{
		Path: name, Package: info.Path, Go: info.GoVersion, Size: len(data),
		SHA256: hex.EncodeToString(digest[:]), HasWeb: bytes.Contains(data, []byte(webMark)),
	}
	for _, dep := range info.Deps {
		if dep.Replace != nil {
			return Program{}, fmt.Errorf("program %s contains module %s replaced by %s", name, dep.Path, dep.Replace.Path)
		}
		p.Modules = append(p.Modules, Module{Path: dep.Path, Version: dep.Version, Sum: dep.Sum})
	}
	return p, nil
}
