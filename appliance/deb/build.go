package deb

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

// Options say what to build.
type Options struct {
	Repo    string // folder with this module's go.mod
	Out     string // folder for the package, made when absent
	Version string // linked into the programs
	Time    time.Time
	// WithoutWeb makes a package of a PBX without its user interface, for tests.
	WithoutWeb bool
}

// ErrWebNotBuilt says that the user interface has to be built first.
var ErrWebNotBuilt = errors.New("the user interface is not built: run `make web`")

// webMark is in a pbxd that has the user interface.
const webMark = "dist/.vite/manifest.json"

// Build compiles the programs, writes the package and returns its path.
func Build(ctx context.Context, o Options) (string, error) {
	if err := os.MkdirAll(o.Out, 0o755); err != nil {
		return "", fmt.Errorf("making the package's folder: %w", err)
	}
	scratch, err := os.MkdirTemp(o.Out, ".deb-")
	if err != nil {
		return "", fmt.Errorf("making the package's folder: %w", err)
	}
	defer os.RemoveAll(scratch)
	a := archive{control: control(PackageVersion(o.Version, o.Time)), time: o.Time}
	if a.files, err = fixed(); err != nil {
		return "", err
	}
	if a.scripts, err = scripts(); err != nil {
		return "", err
	}
	for pkg, place := range programs() {
		data, err := compile(ctx, o, scratch, pkg)
		if err != nil {
			return "", err
		}
		if pkg == "ringfence/cmd/pbxd" && !o.WithoutWeb && !bytes.Contains(data, []byte(webMark)) {
			return "", ErrWebNotBuilt
		}
		a.files = append(a.files, file{path: place, mode: 0o755, data: data})
	}
	path := filepath.Join(o.Out, fmt.Sprintf("ringfence_%s_amd64.deb", PackageVersion(o.Version, o.Time)))
	return path, publish(path, a)
}

// publish writes the package so that it is there whole, or not at all.
func publish(path string, a archive) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".deb-")
	if err != nil {
		return fmt.Errorf("writing the package: %w", err)
	}
	defer os.Remove(f.Name())
	err = errors.Join(a.write(f), f.Chmod(0o644), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return fmt.Errorf("writing the package: %w", err)
	}
	return nil
}

// compile builds a program the way the image has it, without paths of this
// machine in it.
func compile(ctx context.Context, o Options, scratch, pkg string) ([]byte, error) {
	out := filepath.Join(scratch, filepath.Base(pkg))
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=false",
		"-ldflags=-s -w -buildid= -X ringfence/internal/version.number="+o.Version, "-o", out, pkg)
	cmd.Dir = o.Repo
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH=amd64", "GOFLAGS=")
	if text, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("compiling %s: %w\n%s", pkg, err, text)
	}
	return os.ReadFile(out)
}

// PackageVersion is a version as dpkg orders them (deb-version(7)): a build
// without a number comes before every numbered one, and a later after an
// earlier one.
func PackageVersion(version string, at time.Time) string {
	clean := regexp.MustCompile(`[^A-Za-z0-9.+~]`).ReplaceAllString(version, ".")
	if clean != "" && clean[0] >= '0' && clean[0] <= '9' {
		return clean
	}
	return fmt.Sprintf("0~%s.%s", at.UTC().Format("20060102150405"), strings.Trim(clean, "."))
}

func control(version string) string {
	return `Package: ringfence
Version: ` + version + `
Architecture: amd64
Maintainer: Ringfence <packages@ringfence.invalid>
Section: comm
Priority: optional
Depends: systemd (>= 252), init-system-helpers (>= 1.60)
Recommends: dbus, libpam-systemd
Description: PBX and SBC with a packet filter of its own
 A telephone system for one or many organisations: SIP for desk phones and
 browsers, media relay, a web portal, and a packet filter that opens exactly
 the documented ports. It is the host's only packet filter: firewalld and ufw
 are stopped and masked while it is installed, and sshd moves to a port of the
 table.
`
}
