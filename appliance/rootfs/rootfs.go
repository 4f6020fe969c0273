// Package rootfs builds the read-only root file system of the image: our
// programs, compiled and laid out by gok, and nothing else.
//
// gok (the packer of the gokrazy project, pinned as a tool in go.mod) compiles
// the programs and makes the tree. It stamps the present time everywhere and
// copies files of the build host, so the tree is taken out again, cleaned,
// compared with the list of what may be in it, and written by mksquashfs with
// fixed times and owners: equal inputs give equal bytes. There is no shell and
// no interpreter in it, no library and no program that is not ours.
package rootfs

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// Compression is how the squashfs is packed.
type Compression string

// The compressions. The prebuilt kernel reads gzip only.
const (
	Zstd Compression = "zstd"
	Gzip Compression = "gzip"
)

// Options say what to build.
type Options struct {
	Repo     string   // folder with this module's go.mod
	Scratch  string   // empty folder for intermediate files
	Output   string   // path of the squashfs to write
	Init     string   // import path of PID 1; its last element has to be "init"
	Programs []string // import paths of the programs that go to /user
	Version  string   // linked into the programs
	Kernel   string   // path of the kernel; gok looks at its architecture
	Time     time.Time
	// Files are further files by absolute path, such as the build manifest.
	// The function receives what the programs turned out to consist of.
	Files       func([]Program) (map[string][]byte, error)
	Compression Compression
}

// Build writes the root file system and returns what is in it.
func Build(ctx context.Context, o Options) ([]Program, error) {
	packed := filepath.Join(o.Scratch, "gok.squashfs")
	if err := runGok(ctx, o, packed); err != nil {
		return nil, err
	}
	tree := filepath.Join(o.Scratch, "tree")
	if err := unpack(ctx, packed, tree); err != nil {
		return nil, err
	}
	if err := clean(tree); err != nil {
		return nil, err
	}
	programs, err := inspect(tree, o)
	if err != nil {
		return nil, err
	}
	files := map[string][]byte{}
	if o.Files != nil {
		if files, err = o.Files(programs); err != nil {
			return nil, err
		}
	}
	if err := addFiles(tree, files); err != nil {
		return nil, err
	}
	if err := checkTree(tree, o, files); err != nil {
		return nil, err
	}
	return programs, pack(ctx, tree, o)
}

func addFiles(tree string, files map[string][]byte) error {
	for name, content := range files {
		path := filepath.Join(tree, filepath.FromSlash(name))
		// gok leaves folders without write permission.
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return fmt.Errorf("adding %s to the root file system: %w", name, err)
		}
		if err := os.WriteFile(path, content, 0o444); err != nil {
			return fmt.Errorf("adding %s to the root file system: %w", name, err)
		}
	}
	return nil
}
