package rootfs

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// instance is the name that gok gives to a set of settings.
const instance = "ringfence"

// kernelModule is a module path that exists in the build folder only: gok
// wants the kernel as a Go package.
const kernelModule = "ringfence.invalid/kernel"

// gokConfig is the part of gok's config.json that we use.
type gokConfig struct {
	Hostname        string
	Environment     []string
	Packages        []string
	PackageConfig   map[string]gokPackage
	GokrazyPackages []string
	KernelPackage   string
	// Empty strings, not absent: else firmware of another machine is fetched.
	FirmwarePackage string
	EEPROMPackage   string
	SerialConsole   string
	// NoPassword keeps gokrazy's own web interface closed.
	Update                     gokUpdate
	InternalCompatibilityFlags struct{ InitPkg, Sudo string }
}

type gokUpdate struct {
	NoPassword bool
	UseTLS     string
}

type gokPackage struct{ GoBuildFlags []string }

func (o Options) gokConfig() gokConfig {
	c := gokConfig{
		Hostname:        "ringfence",
		Environment:     []string{"GOOS=linux", "GOARCH=amd64"},
		Packages:        o.Programs,
		PackageConfig:   map[string]gokPackage{},
		GokrazyPackages: []string{},
		KernelPackage:   kernelModule,
		SerialConsole:   "disabled",
		Update:          gokUpdate{NoPassword: true, UseTLS: "off"},
	}
	c.InternalCompatibilityFlags.InitPkg, c.InternalCompatibilityFlags.Sudo = o.Init, "never"
	flags := []string{"-ldflags=-s -w -X ringfence/internal/version.number=" + o.Version}
	for _, p := range append([]string{o.Init}, o.Programs...) {
		c.PackageConfig[p] = gokPackage{GoBuildFlags: flags}
	}
	return c
}

// runGok lets gok compile everything and write its squashfs to packed. It runs
// as a process of its own because it changes the working directory and ends
// the process when something fails.
func runGok(ctx context.Context, o Options, packed string) error {
	dir := filepath.Join(o.Scratch, instance)
	modFile, err := o.prepareGok(dir)
	if err != nil {
		return fmt.Errorf("preparing gok: %w", err)
	}
	cmd := exec.CommandContext(ctx, "go", "tool", "-modfile="+filepath.Join(o.Repo, "go.mod"), "gok",
		"--parent_dir", o.Scratch, "--instance", instance, "overwrite", "--root", packed, "--sudo", "never")
	cmd.Dir = o.Repo
	cmd.Env = append(cleanEnv(os.Environ()),
		"GOFLAGS='-modfile="+modFile+"' -trimpath -buildvcs=false",
		"GOTOOLCHAIN=local", "GOWORK=off", "CGO_ENABLED=0", "TMPDIR="+o.Scratch)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
	cmd.WaitDelay = 10 * time.Second
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("building the root file system with gok: %w\n%s", err, tail(out, 4096))
	}
	return nil
}

// cleanEnv drops what could shape the programs from outside.
func cleanEnv(env []string) []string {
	var kept []string
	for _, kv := range env {
		name, _, _ := strings.Cut(kv, "=")
		switch {
		case strings.HasPrefix(name, "GOKR"), strings.HasPrefix(name, "CGO_"):
		case name == "GOFLAGS", name == "GOOS", name == "GOARCH", name == "GOAMD64", name == "GOEXPERIMENT", name == "GODEBUG", name == "GOFIPS140":
		default:
			kept = append(kept, kv)
		}
	}
	return kept
}

// prepareGok makes gok's instance folder. Its builddir is this checkout
// itself, so that the programs are built in their own module; go.mod is a
// copy, because gok lets the go command change it.
func (o Options) prepareGok(dir string) (modFile string, err error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	if err := os.Symlink(o.Repo, filepath.Join(dir, "builddir")); err != nil {
		return "", err
	}
	config, err := json.MarshalIndent(o.gokConfig(), "", "\t")
	if err != nil {
		return "", err
	}
	if err := os.WriteFile(filepath.Join(dir, "config.json"), config, 0o644); err != nil {
		return "", err
	}
	kernelDir := filepath.Join(o.Scratch, "kernel")
	if err := o.kernelPackage(kernelDir); err != nil {
		return "", err
	}
	modFile = filepath.Join(o.Scratch, "image.mod")
	extra := fmt.Sprintf("\nrequire %s v0.0.0\n\nreplace %s => %s\n", kernelModule, kernelModule, kernelDir)
	return modFile, errors.Join(
		copyFile(filepath.Join(o.Repo, "go.mod"), modFile, extra),
		copyFile(filepath.Join(o.Repo, "go.sum"), filepath.Join(o.Scratch, "image.sum"), ""),
	)
}

func (o Options) kernelPackage(dir string) error {
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	kernel, err := filepath.Abs(o.Kernel)
	if err != nil {
		return err
	}
	return errors.Join(
		os.WriteFile(filepath.Join(dir, "go.mod"), []byte("module "+kernelModule+"\n"), 0o644),
		os.WriteFile(filepath.Join(dir, "kernel.go"), []byte("package kernel\n"), 0o644),
		os.Symlink(kernel, filepath.Join(dir, "vmlinuz")),
	)
}

func copyFile(from, to, extra string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.Create(to)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, io.MultiReader(in, strings.NewReader(extra)))
	return errors.Join(err, out.Close())
}

// tail returns the last n bytes of a program's output.
func tail(out []byte, n int) string {
	return string(bytes.TrimSpace(out[max(0, len(out)-n):]))
}
