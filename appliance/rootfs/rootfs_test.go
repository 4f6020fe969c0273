package rootfs

import (
	"crypto/sha256"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const testInit = "ringfence/appliance/testdata/init"

// checkout makes a small copy of this module in a folder of its own.
func checkout(t *testing.T) string {
	t.Helper()
	for _, tool := range []string{"unsquashfs", "mksquashfs"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("%s is not installed (package squashfs-tools)", tool)
		}
	}
	dir := t.TempDir()
	for _, name := range []string{"go.mod", "go.sum", "appliance/slot", "appliance/testdata/init", "internal/version"} {
		from := filepath.Join("../..", name)
		err := filepath.WalkDir(from, func(p string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			to := filepath.Join(dir, strings.TrimPrefix(p, "../.."))
			if d.IsDir() {
				return os.MkdirAll(to, 0o755)
			}
			if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
				return err
			}
			return copyFile(p, to, "")
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// kernel is a file that gok takes for a 64-bit kernel.
func kernel(t *testing.T) string {
	t.Helper()
	image := make([]byte, 4096)
	image[0x1fe], image[0x1ff], image[0x236] = 0x55, 0xaa, 1
	path := filepath.Join(t.TempDir(), "vmlinuz")
	if err := os.WriteFile(path, image, 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func build(t *testing.T, repo string) (string, []Program) {
	t.Helper()
	out := filepath.Join(t.TempDir(), "root.squashfs")
	programs, err := Build(t.Context(), Options{
		Repo: repo, Scratch: t.TempDir(), Output: out, Init: testInit, Version: "1.2.3", Kernel: kernel(t),
		Time: time.Unix(1_700_000_000, 0), Compression: Zstd,
		Files: func([]Program) (map[string][]byte, error) {
			return map[string][]byte{"/etc/ringfence/manifest.json": []byte("{}\n")}, nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	return out, programs
}

func TestSameBytesFromTwoFolders(t *testing.T) {
	t.Parallel()
	first, programs := build(t, checkout(t))
	second, _ := build(t, checkout(t))
	if a, b := digest(t, first), digest(t, second); a != b {
		t.Errorf("two builds differ: %x and %x", a, b)
	}
	if len(programs) != 1 || programs[0].Path != "/gokrazy/init" || programs[0].Package != testInit || programs[0].HasWeb {
		t.Errorf("programs are %+v", programs)
	}
	out, err := exec.Command("unsquashfs", "-lc", "-d", "", first).Output()
	if err != nil {
		t.Fatal(err)
	}
	listing := string(out)
	for _, want := range []string{"/gokrazy/init", "/etc/ringfence/manifest.json", "/perm", "/etc/hostname"} {
		if !strings.Contains(listing, want+"\n") {
			t.Errorf("%s is not in the root file system:\n%s", want, listing)
		}
	}
	for _, bad := range []string{"localtime", "ssl", "sbom", "http"} {
		if strings.Contains(listing, bad) {
			t.Errorf("%q is in the root file system:\n%s", bad, listing)
		}
	}
}

func digest(t *testing.T, path string) [32]byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return sha256.Sum256(data)
}

func TestBuildTellsWhatDoesNotCompile(t *testing.T) {
	t.Parallel()
	repo := checkout(t)
	if err := os.WriteFile(filepath.Join(repo, "appliance/testdata/init/broken.go"), []byte("package main\n\nvar x int = \"no\"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	_, err := Build(t.Context(), Options{
		Repo: repo, Scratch: t.TempDir(), Output: filepath.Join(t.TempDir(), "r"), Init: testInit, Version: "1", Kernel: kernel(t), Compression: Zstd,
	})
	if err == nil || !strings.Contains(err.Error(), "broken.go") {
		t.Errorf("got %v", err)
	}
}

func TestNothingElseGetsIn(t *testing.T) {
	t.Parallel()
	o := Options{Init: testInit}
	for name, plant := range map[string]func(dir string) error{
		"shell":      func(dir string) error { return os.WriteFile(filepath.Join(dir, "bin/sh"), []byte("#!"), 0o755) },
		"text file":  func(dir string) error { return os.WriteFile(filepath.Join(dir, "etc/passwd"), nil, 0o644) },
		"link":       func(dir string) error { return os.Symlink("/gokrazy/init", filepath.Join(dir, "bin/init")) },
		"executable": func(dir string) error { return os.WriteFile(filepath.Join(dir, "etc/hosts"), nil, 0o755) },
		"script as init": func(dir string) error {
			return os.WriteFile(filepath.Join(dir, "gokrazy/init"), []byte("#!/bin/sh\n"), 0o755)
		},
	} {
		dir := t.TempDir()
		for _, sub := range []string{"bin", "etc", "gokrazy"} {
			if err := os.Mkdir(filepath.Join(dir, sub), 0o755); err != nil {
				t.Fatal(err)
			}
		}
		if err := checkTree(dir, o, nil); err != nil {
			t.Fatalf("without %s: %v", name, err)
		}
		if err := plant(dir); err != nil {
			t.Fatal(err)
		}
		if err := checkTree(dir, o, nil); err == nil {
			t.Errorf("%s was let in", name)
		}
	}
}

func TestDynamicProgramIsRefused(t *testing.T) {
	t.Parallel()
	path, err := exec.LookPath("ls")
	if err != nil {
		t.Skip("no dynamic program at hand")
	}
	if err := checkProgram(path); err == nil {
		t.Error("a program that needs libraries was accepted")
	}
}

func TestCleanEnv(t *testing.T) {
	t.Parallel()
	got := cleanEnv([]string{"PATH=/bin", "GOFLAGS=-race", "GOAMD64=v4", "CGO_ENABLED=1", "GOKRAZY_INSTANCE=x", "GOPROXY=direct", "GODEBUG=x=1"})
	if strings.Join(got, " ") != "PATH=/bin GOPROXY=direct" {
		t.Errorf("got %q", got)
	}
}
