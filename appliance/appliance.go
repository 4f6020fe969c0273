// Package appliance builds the disk image: kernel, read-only root, boot
// loaders for BIOS and UEFI, two slots and /perm, in one file that boots on
// bare metal, under KVM and, wrapped, in clouds.
//
// It needs no privileges, no loop devices and no mounts; equal inputs give
// equal bytes. The parts: kernel builds the kernel, rootfs the programs and
// the root file system, grub the BIOS loader, efi the first UEFI program, disk
// the partition table, slot what the loaders decide by.
package appliance

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"time"

	"ringfence/appliance/disk"
	"ringfence/appliance/kernel"
	"ringfence/appliance/rootfs"
	"ringfence/appliance/slot"
)

// Web says what to do about the user interface, which `make web` builds.
type Web int

// Choices for the user interface.
const (
	WebRequired Web = iota // fail when it is not built
	WebBuild               // build it first, with npm
	WebOptional            // build an image without it, for tests
)

// Kernels that an image can have.
const (
	KernelOwn     = "own"     // built here from Debian's source package
	KernelGokrazy = "gokrazy" // prebuilt, for a quick look; see kernel.GokrazyMissing
)

// ErrWebNotBuilt says that the user interface has to be built first.
var ErrWebNotBuilt = errors.New("the user interface is not built: run `make web`, or pass -web build")

// Options say what to build. Only Out is required.
type Options struct {
	Repo    string   // folder with this module's go.mod; the one around the working directory when empty
	Out     string   // folder for the results, made when absent
	Formats []Format // raw is always made
	Size    int64    // of the disk in bytes; disk.MinSize when 0
	Kernel  string   // KernelOwn when empty
	Cache   string   // CacheDir() when empty
	Version string   // from the commit when empty
	Web     Web
	SignKey ed25519.PrivateKey // signs the sums; nil makes an image without signature
	// Init and Programs are import paths. Tests put their own in.
	Init     string
	Programs []string
	// Progress is told how far a step is; Notice what a person should know.
	// Both may be nil.
	Progress func(step string, done, total int)
	Notice   func(text string)
}

// Result names the files that were made.
type Result struct {
	Version  string
	Raw      string   // the disk image
	Kernel   string   // the kernel in the image
	Root     string   // the root file system in the image
	Manifest string   // what shaped the image
	Others   []string // all other files, sorted
	SHA256   map[string]string
}

// Programs are what runs on the appliance besides init.
func Programs() []string {
	return []string{"ringfence/cmd/pbxd", "ringfence/cmd/fenced", "ringfence/cmd/sysd", "ringfence/cmd/opsh", "ringfence/cmd/ringfence"}
}

// CacheDir is where things are kept that take long to make, outside the work
// tree: RINGFENCE_CACHE, else a folder in the user's cache.
func CacheDir() (string, error) {
	if dir := os.Getenv("RINGFENCE_CACHE"); dir != "" {
		return filepath.Abs(dir)
	}
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("finding the cache folder: %w", err)
	}
	return filepath.Join(dir, "ringfence"), nil
}

func (o Options) withDefaults() (Options, error) {
	var err error
	if o.Repo == "" {
		if o.Repo, err = findRepo(); err != nil {
			return o, err
		}
	}
	if o.Repo, err = filepath.Abs(o.Repo); err != nil {
		return o, err
	}
	if o.Out, err = filepath.Abs(o.Out); err != nil {
		return o, err
	}
	if o.Cache == "" {
		if o.Cache, err = CacheDir(); err != nil {
			return o, err
		}
	}
	if o.Size == 0 {
		o.Size = disk.MinSize
	}
	if o.Kernel == "" {
		o.Kernel = KernelOwn
	}
	if o.Init == "" {
		o.Init, o.Programs = "ringfence/cmd/init", Programs()
	}
	if o.Progress == nil {
		o.Progress = func(string, int, int) {}
	}
	if o.Notice == nil {
		o.Notice = func(string) {}
	}
	return o, nil
}

// Repo is the folder of this module's go.mod around the working directory.
func Repo() (string, error) { return findRepo() }

// findRepo looks for this module's go.mod from the working directory upwards.
func findRepo() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		text, err := os.ReadFile(filepath.Join(dir, "go.mod"))
		if err == nil && len(text) > 17 && string(text[:17]) == "module ringfence\n" {
			return dir, nil
		}
		if dir == filepath.Dir(dir) {
			return "", errors.New("no go.mod of module ringfence around the working directory")
		}
		dir = filepath.Dir(dir)
	}
}

// BuildKernel returns the kernel of the given choice, building it if needed.
func BuildKernel(ctx context.Context, o Options) (kernel.Kernel, error) {
	o, err := o.withDefaults()
	if err != nil {
		return kernel.Kernel{}, err
	}
	switch o.Kernel {
	case KernelOwn:
		return kernel.Build(ctx, kernel.Options{Cache: o.Cache, Jobs: runtime.NumCPU(), Progress: o.Progress})
	case KernelGokrazy:
		k, err := kernel.Gokrazy(ctx)
		if err == nil {
			o.Notice("This image has the prebuilt gokrazy kernel, for a quick look only: " + k.Missing + ".")
		}
		return k, err
	}
	return kernel.Kernel{}, fmt.Errorf("kernel %q is not one of %s, %s", o.Kernel, KernelOwn, KernelGokrazy)
}

// Build makes the image and everything beside it.
func Build(ctx context.Context, o Options) (Result, error) {
	o, err := o.withDefaults()
	if err != nil {
		return Result{}, err
	}
	if _, err := disk.Layout(o.Size); err != nil {
		return Result{}, err
	}
	if slices.Contains(o.Formats, GCE) && o.Size%(1<<30) != 0 {
		return Result{}, fmt.Errorf("image of %d bytes: Compute Engine takes whole GiB only", o.Size)
	}
	if err := os.MkdirAll(o.Out, 0o755); err != nil {
		return Result{}, fmt.Errorf("making folder for the image: %w", err)
	}
	scratch, err := os.MkdirTemp(o.Out, ".work-")
	if err != nil {
		return Result{}, fmt.Errorf("making folder for the image: %w", err)
	}
	defer os.RemoveAll(scratch)
	b := builder{Options: o, scratch: scratch}
	if err := b.run(ctx); err != nil {
		return Result{}, err
	}
	return b.publish(ctx)
}

// builder makes one image.
type builder struct {
	Options
	scratch  string
	source   source
	kernel   kernel.Kernel
	manifest Manifest
}

func (b *builder) path(name string) string { return filepath.Join(b.scratch, name) }

func (b *builder) run(ctx context.Context) error {
	var err error
	b.source = readSource(ctx, b.Repo)
	if b.Version == "" {
		b.Version = b.source.version
	}
	if _, err := slot.FactoryFiles(slot.Factory(b.Version)); err != nil {
		return err
	}
	if b.kernel, err = BuildKernel(ctx, b.Options); err != nil {
		return err
	}
	if b.manifest, err = b.startManifest(ctx); err != nil {
		return err
	}
	if err := b.buildRoot(ctx); err != nil {
		return err
	}
	b.Progress("writing the disk", 0, 1)
	if err := b.writeDisk(ctx); err != nil {
		return err
	}
	b.Progress("writing the disk", 1, 1)
	return nil
}

func (b *builder) buildRoot(ctx context.Context) error {
	const step = "compiling the programs"
	b.Progress(step, 0, 1)
	scratch := b.path("rootfs")
	if err := os.Mkdir(scratch, 0o755); err != nil {
		return err
	}
	o := rootfs.Options{
		Repo: b.Repo, Scratch: scratch, Output: b.path("root.squashfs"), Init: b.Init, Programs: b.Programs,
		Version: b.Version, Kernel: b.kernel.Path, Time: b.source.time, Compression: rootfs.Zstd,
		Files: b.rootFiles,
	}
	if b.Options.Kernel == KernelGokrazy {
		o.Compression = rootfs.Gzip
	}
	if _, err := rootfs.Build(ctx, o); err != nil {
		return err
	}
	b.Progress(step, 1, 1)
	return os.RemoveAll(scratch)
}

// rootFiles completes the manifest with what the programs consist of and
// returns the files that go into the root besides them.
func (b *builder) rootFiles(programs []rootfs.Program) (map[string][]byte, error) {
	b.manifest.Programs = programs
	if err := b.checkWeb(programs); err != nil {
		return nil, err
	}
	text, err := b.manifest.encode()
	if err != nil {
		return nil, err
	}
	release := fmt.Sprintf("ID=ringfence\nNAME=Ringfence\nVERSION_ID=%s\nPRETTY_NAME=\"Ringfence %s\"\n", b.Version, b.Version)
	return map[string][]byte{"/etc/ringfence/manifest.json": text, "/etc/os-release": []byte(release)}, nil
}

// checkWeb refuses a PBX without its user interface, going by the program
// itself and not by what lies in the work tree.
func (b *builder) checkWeb(programs []rootfs.Program) error {
	for _, p := range programs {
		if p.Package != "ringfence/cmd/pbxd" || p.HasWeb {
			continue
		}
		if b.Web != WebOptional {
			return ErrWebNotBuilt
		}
		b.Notice("This image has no user interface: it was not built.")
	}
	return nil
}

// stamp is the only time that gets into an image.
func (b *builder) stamp() time.Time { return b.source.time }

// copyInto copies a file into another at an offset and refuses to write more
// than room bytes.
func copyInto(w io.WriterAt, offset int64, path string, room int64) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if info.Size() > room {
		return fmt.Errorf("%s has %d bytes, the partition %d", filepath.Base(path), info.Size(), room)
	}
	_, err = io.Copy(io.NewOffsetWriter(w, offset), f)
	return err
}
