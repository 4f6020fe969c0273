package appliance

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"ringfence/appliance/kernel"
	"ringfence/appliance/rootfs"
)

// Manifest lists everything that shaped an image. One copy is in the image as
// /etc/ringfence/manifest.json, one lies beside it.
type Manifest struct {
	Version  string            `json:"version"`
	Commit   string            `json:"commit,omitempty"`
	Changed  bool              `json:"changed,omitempty"` // built from a changed work tree
	Time     time.Time         `json:"time"`              // stamped on every file
	Go       string            `json:"go"`
	Kernel   kernel.Kernel     `json:"kernel"`
	Packages map[string]string `json:"packages"` // Debian packages whose files or programs were used
	Web      WebManifest       `json:"web"`
	Programs []rootfs.Program  `json:"programs"`
	// Files are the SHA-256 sums of the results; only beside the image.
	Files map[string]string `json:"files,omitempty"`
}

// WebManifest identifies the user interface.
type WebManifest struct {
	Lock string `json:"lock_sha256"` // of package-lock.json, which pins every module
	Dist string `json:"dist_sha256"` // of the built files, empty when not built
}

// debianPackages are the ones that put bytes into an image.
func debianPackages() []string {
	return []string{"binutils", "dosfstools", "e2fsprogs", "grub-common", "grub-pc-bin", "mtools", "qemu-utils", "squashfs-tools", "systemd-boot-efi"}
}

func (m Manifest) encode() ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "\t")
	if err := e.Encode(m); err != nil {
		return nil, fmt.Errorf("writing build manifest: %w", err)
	}
	return b.Bytes(), nil
}

func (b *builder) startManifest(ctx context.Context) (Manifest, error) {
	m := Manifest{
		Version: b.Version, Commit: b.source.commit, Changed: b.source.changed, Time: b.source.time,
		Go: runtime.Version(), Kernel: b.kernel, Packages: map[string]string{},
	}
	for _, name := range debianPackages() {
		m.Packages[name] = packageVersion(ctx, name)
	}
	m.Kernel.Lines = 0
	if b.Web == WebBuild {
		if err := b.buildWeb(ctx); err != nil {
			return m, err
		}
	}
	var err error
	m.Web.Dist, err = hashTree(filepath.Join(b.Repo, "web/dist"))
	if err == nil {
		m.Web.Lock, err = hashFile(filepath.Join(b.Repo, "web/package-lock.json"))
	}
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return m, err
}

// packageVersion is empty on systems without dpkg.
func packageVersion(ctx context.Context, name string) string {
	out, err := exec.CommandContext(ctx, "dpkg-query", "-W", "-f", "${Version}", name).Output()
	if err != nil {
		return ""
	}
	return string(out)
}

// buildWeb builds the user interface with npm, from the lock file and without
// running anybody's install scripts.
func (b *builder) buildWeb(ctx context.Context) error {
	const step = "building the user interface"
	commands := [][]string{{"npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"}, {"npm", "run", "build"}}
	for i, args := range commands {
		b.Progress(step, i, len(commands))
		cmd := exec.CommandContext(ctx, args[0], args[1:]...)
		cmd.Dir = filepath.Join(b.Repo, "web")
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("%s: %s: %w\n%s", step, strings.Join(args, " "), err, lastBytes(out, 2048))
		}
	}
	b.Progress(step, len(commands), len(commands))
	return nil
}

func hashFile(path string) (string, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:]), nil
}

// hashTree is one sum over names and contents of a folder; empty for a folder
// that holds nothing but hidden files.
func hashTree(dir string) (string, error) {
	h := sha256.New()
	visible := false
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		sum, err := hashFile(path)
		visible = visible || !strings.HasPrefix(d.Name(), ".")
		fmt.Fprintf(h, "%s %s\n", sum, filepath.ToSlash(strings.TrimPrefix(path, dir)))
		return err
	})
	if err != nil || !visible {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}
