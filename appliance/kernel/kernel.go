// Package kernel builds the kernel of the image from Debian's source package
// and keeps it in a cache outside the work tree.
package kernel

import (
	"context"
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

//go:embed ringfence.config
var fragment string

// recipe changes when the way of building changes, so that older results are
// not taken for equal.
const recipe = "2"

// Source is the Debian package that holds the kernel's source.
const Source = "linux-source-6.12"

// Fragment returns the options that are set over allnoconfig.
func Fragment() string { return fragment }

// Kernel is a kernel in the cache, ready to be put into an image.
type Kernel struct {
	Path string `json:"-"` // of the bootable file
	// Key names the inputs: package version and fragment.
	Key      string `json:"key"`
	Release  string `json:"release"` // what uname -r says
	Package  string `json:"package"` // source package or Go module
	Version  string `json:"version"` // of that package
	Fragment string `json:"fragment_sha256,omitempty"`
	Compiler string `json:"compiler,omitempty"`
	Linker   string `json:"linker,omitempty"`
	SHA256   string `json:"sha256"`
	// Missing tells what the image cannot do with this kernel.
	Missing string `json:"missing,omitempty"`
	// Lines is how many lines the build printed, for the next progress bar.
	Lines int `json:"lines,omitempty"`
}

// Options say how to build.
type Options struct {
	// Cache is the folder that holds finished kernels. It is made when absent.
	Cache string
	// Jobs is how many compilers run at once; at least 1.
	Jobs int
	// Progress is called with a part done of a whole, in steps. It may be nil.
	Progress func(step string, done, total int)
}

func (o Options) progress(step string, done, total int) {
	if o.Progress != nil {
		o.Progress(step, done, total)
	}
}

// Key names what shapes a kernel: the version of the source package and the
// fragment.
func Key(sourceVersion, fragment string) string {
	sum := sha256.Sum256([]byte(recipe + "\n" + fragment))
	return sourceVersion + "-" + hex.EncodeToString(sum[:6])
}

// Build returns the kernel for the installed source package and the fragment:
// from the cache when it is there, else by building it, which takes some
// 10 minutes. Two builds at once wait for each other.
func Build(ctx context.Context, o Options) (Kernel, error) {
	version, err := sourceVersion(ctx)
	if err != nil {
		return Kernel{}, err
	}
	key := Key(version, fragment)
	dir := filepath.Join(o.Cache, "kernel", key)
	if k, err := load(dir); err == nil {
		return k, nil
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return Kernel{}, fmt.Errorf("making kernel cache: %w", err)
	}
	unlock, err := lock(ctx, dir+".lock", func() { o.progress("waiting for another build of the kernel", 0, 1) })
	if err != nil {
		return Kernel{}, err
	}
	defer unlock()
	if k, err := load(dir); err == nil {
		return k, nil
	}
	work := dir + ".work"
	if err := os.RemoveAll(work); err != nil {
		return Kernel{}, fmt.Errorf("clearing kernel build folder: %w", err)
	}
	t := tree{dir: work, jobs: max(1, o.Jobs), progress: o.progress}
	lines, err := t.build(ctx)
	if err != nil {
		return Kernel{}, err
	}
	k, err := adopt(ctx, t, Kernel{Key: key, Version: version, Lines: lines}, dir)
	if err != nil {
		return Kernel{}, err
	}
	return k, os.RemoveAll(work)
}

// Cached returns the kernel that Build would return, without building it.
func Cached(ctx context.Context, o Options) (Kernel, error) {
	version, err := sourceVersion(ctx)
	if err != nil {
		return Kernel{}, err
	}
	return load(filepath.Join(o.Cache, "kernel", Key(version, fragment)))
}

// Adopt puts a tree in which the kernel has already been built into the cache.
// It refuses a tree whose configuration or version is not the one that Build
// would have made.
func Adopt(ctx context.Context, o Options, dir string) (Kernel, error) {
	version, err := sourceVersion(ctx)
	if err != nil {
		return Kernel{}, err
	}
	key := Key(version, fragment)
	return adopt(ctx, tree{dir: dir}, Kernel{Key: key, Version: version}, filepath.Join(o.Cache, "kernel", key))
}

// adopt copies the results of a built tree to dir.
func adopt(ctx context.Context, t tree, k Kernel, dir string) (Kernel, error) {
	if err := t.check(); err != nil {
		return Kernel{}, err
	}
	release, err := os.ReadFile(t.path("include/config/kernel.release"))
	if err != nil {
		return Kernel{}, fmt.Errorf("reading release of built kernel: %w", err)
	}
	k.Release = strings.TrimSpace(string(release))
	upstream, _, _ := strings.Cut(k.Version, "-")
	if k.Release != upstream+"-ringfence" {
		return Kernel{}, fmt.Errorf("built kernel is %s, the source package is %s", k.Release, k.Version)
	}
	k.Package, k.Fragment = Source, sum([]byte(fragment))
	k.Compiler, k.Linker = firstLine(ctx, "gcc", "--version"), firstLine(ctx, "ld", "--version")
	image, err := os.ReadFile(t.path("arch/x86/boot/bzImage"))
	if err != nil {
		return Kernel{}, fmt.Errorf("reading built kernel: %w", err)
	}
	config, err := os.ReadFile(t.path(".config"))
	if err != nil {
		return Kernel{}, fmt.Errorf("reading configuration of built kernel: %w", err)
	}
	k.SHA256 = sum(image)
	return k, store(dir, k, map[string][]byte{"vmlinuz": image, "config": config})
}

// store writes a kernel to the cache; kernel.json, which makes it valid, last.
func store(dir string, k Kernel, files map[string][]byte) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("storing kernel: %w", err)
	}
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o644); err != nil {
			return fmt.Errorf("storing kernel: %w", err)
		}
	}
	text, err := json.MarshalIndent(k, "", "\t")
	if err != nil {
		return fmt.Errorf("storing kernel: %w", err)
	}
	next := filepath.Join(dir, "kernel.json.new")
	if err := os.WriteFile(next, append(text, '\n'), 0o644); err != nil {
		return fmt.Errorf("storing kernel: %w", err)
	}
	return os.Rename(next, filepath.Join(dir, "kernel.json"))
}

var errNotCached = errors.New("kernel is not in the cache")

// load returns the kernel in dir when it is complete and unchanged.
func load(dir string) (Kernel, error) {
	text, err := os.ReadFile(filepath.Join(dir, "kernel.json"))
	if err != nil {
		return Kernel{}, errNotCached
	}
	k := Kernel{}
	if err := json.Unmarshal(text, &k); err != nil {
		return Kernel{}, errNotCached
	}
	k.Path = filepath.Join(dir, "vmlinuz")
	f, err := os.Open(k.Path)
	if err != nil {
		return Kernel{}, errNotCached
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil || hex.EncodeToString(h.Sum(nil)) != k.SHA256 {
		return Kernel{}, errNotCached
	}
	return k, nil
}

func sum(data []byte) string {
	s := sha256.Sum256(data)
	return hex.EncodeToString(s[:])
}
