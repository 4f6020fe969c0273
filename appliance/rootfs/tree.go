package rootfs

import (
	"context"
	"debug/elf"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// hostFiles are what gok adds that is not ours: copies of the build host's
// files, settings of its closed web interface, and a list of contents that
// names folders of the build host. Root certificates are compiled into the
// programs.
func hostFiles() []string {
	return []string{"etc/localtime", "etc/ssl", "etc/http-port.txt", "etc/https-port.txt", "etc/gokrazy/sbom.json"}
}

// allowedFiles are the files that may be in the tree besides the programs and
// Options.Files.
func allowedFiles() []string {
	return []string{"/etc/hostname", "/etc/hosts", "/etc/resolv.conf", "/etc/gokrazy/mountdevices.json", "/var"}
}

// emptyFolders are mount points.
func emptyFolders() []string {
	return []string{"boot", "bin", "dev", "lib", "mnt", "perm", "proc", "run", "sys", "tmp"}
}

func unpack(ctx context.Context, packed, tree string) error {
	out, err := exec.CommandContext(ctx, "unsquashfs", "-no-progress", "-no-xattrs", "-d", tree, packed).CombinedOutput()
	if err != nil {
		return fmt.Errorf("unpacking gok's root file system (package squashfs-tools): %w\n%s", err, tail(out, 2048))
	}
	return nil
}

// clean removes what is the build host's and sets the same permissions on
// every machine.
func clean(tree string) error {
	for _, name := range hostFiles() {
		if err := os.RemoveAll(filepath.Join(tree, name)); err != nil {
			return fmt.Errorf("cleaning the root file system: %w", err)
		}
	}
	for _, name := range emptyFolders() {
		if err := os.MkdirAll(filepath.Join(tree, name), 0o755); err != nil {
			return fmt.Errorf("cleaning the root file system: %w", err)
		}
	}
	return filepath.WalkDir(tree, func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.Type()&fs.ModeSymlink != 0 {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		mode := fs.FileMode(0o444)
		if d.IsDir() || info.Mode()&0o111 != 0 {
			mode = 0o755
		}
		return os.Chmod(p, mode)
	})
}

// programPath is where gok puts a program.
func (o Options) programPath(importPath string) string {
	if importPath == o.Init {
		return "/gokrazy/init"
	}
	return "/user/" + path.Base(importPath)
}

// checkTree refuses anything that is not on the list: whatever is not in the
// image cannot be started on it.
func checkTree(tree string, o Options, files map[string][]byte) error {
	allowed := allowedFiles()
	for name := range files {
		allowed = append(allowed, name)
	}
	programs := map[string]bool{}
	for _, p := range append([]string{o.Init}, o.Programs...) {
		programs[o.programPath(p)] = true
	}
	return filepath.WalkDir(tree, func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		name := "/" + filepath.ToSlash(strings.TrimPrefix(p, tree+string(filepath.Separator)))
		switch {
		case programs[name]:
			return checkProgram(p)
		case !slices.Contains(allowed, name):
			return fmt.Errorf("root file system contains %s, which does not belong there", name)
		}
		info, err := d.Info()
		if err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0 {
			return fmt.Errorf("root file system contains %s, an executable that is not one of the programs", name)
		}
		return err
	})
}

// checkProgram refuses programs that need a loader or libraries.
func checkProgram(p string) error {
	f, err := elf.Open(p)
	if err != nil {
		return fmt.Errorf("checking program %s: %w", filepath.Base(p), err)
	}
	defer f.Close()
	for _, prog := range f.Progs {
		if prog.Type == elf.PT_INTERP {
			return fmt.Errorf("checking program %s: it is not static", filepath.Base(p))
		}
	}
	return nil
}

// pack writes the squashfs: times and owners fixed, nothing of the host in it.
func pack(ctx context.Context, tree string, o Options) error {
	at := strconv.FormatInt(o.Time.Unix(), 10)
	args := []string{tree, o.Output, "-noappend", "-no-progress", "-quiet", "-no-xattrs", "-all-root",
		"-mkfs-time", at, "-all-time", at, "-b", "256K", "-comp", string(o.Compression)}
	if o.Compression == Zstd {
		args = append(args, "-Xcompression-level", "19")
	}
	cmd := exec.CommandContext(ctx, "mksquashfs", args...)
	for _, kv := range os.Environ() {
		// mksquashfs refuses the variable beside the options.
		if !strings.HasPrefix(kv, "SOURCE_DATE_EPOCH=") {
			cmd.Env = append(cmd.Env, kv)
		}
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("packing the root file system: %w\n%s", err, tail(out, 2048))
	}
	return nil
}
