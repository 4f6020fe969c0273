package appliance

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	"ringfence/appliance/formats"
)

// Format is a kind of disk image.
type Format string

// The formats. Raw is always made; the others hold the same bytes.
const (
	Raw   Format = "raw"
	Zstd  Format = "raw.zst" // for a download, and for `ringfence flash`
	QCOW2 Format = "qcow2"   // QEMU, KVM, Proxmox
	VMDK  Format = "vmdk"    // VMware: stream-optimized, with an OVF and its sums
	OVA   Format = "ova"     // the same in one file
	VHD   Format = "vhd"     // Azure and Hyper-V: fixed
	GCE   Format = "gce"     // Compute Engine: disk.raw in a tar
)

// Formats are all formats.
func Formats() []Format { return []Format{Raw, Zstd, QCOW2, VMDK, OVA, VHD, GCE} }

// imageName is what all files of an image are called, but for the suffix.
const imageName = "ringfence"

// Files are the names of a format's files, the disk first.
func (f Format) Files() []string {
	switch f {
	case VMDK:
		return []string{imageName + ".vmdk", imageName + ".ovf", imageName + ".mf"}
	case GCE:
		return []string{imageName + ".gce.tar.gz"}
	}
	return []string{imageName + "." + string(f)}
}

// Conversion says how a raw image becomes files of other formats.
type Conversion struct {
	Raw     string // the image
	Out     string // folder for the files
	Version string
	Time    time.Time
	// Progress is told how far a step is; it may be nil.
	Progress func(step string, done, total int)
}

// Convert makes the files of the formats in c.Out.
func Convert(ctx context.Context, c Conversion, list ...Format) error {
	// An OVA is packed from what VMDK made.
	for _, f := range []Format{Zstd, QCOW2, VMDK, OVA, VHD, GCE} {
		wanted := slices.Contains(list, f) || f == VMDK && slices.Contains(list, OVA)
		if !wanted {
			continue
		}
		if err := c.convert(ctx, f); err != nil {
			return fmt.Errorf("making %s: %w", f.Files()[0], err)
		}
	}
	if slices.Contains(list, OVA) && !slices.Contains(list, VMDK) {
		for _, name := range VMDK.Files() {
			if err := os.Remove(filepath.Join(c.Out, name)); err != nil {
				return err
			}
		}
	}
	return nil
}

func (c Conversion) path(name string) string { return filepath.Join(c.Out, name) }

func (c Conversion) convert(ctx context.Context, f Format) error {
	step := "making " + f.Files()[0]
	progress := func(done, total int64) {
		if c.Progress != nil {
			c.Progress(step, int(done>>20), int(total>>20))
		}
	}
	progress(0, 1<<20)
	if f == QCOW2 {
		err := c.qcow2(ctx)
		progress(1<<20, 1<<20)
		return err
	}
	raw, err := os.Open(c.Raw)
	if err != nil {
		return err
	}
	defer raw.Close()
	info, err := raw.Stat()
	if err != nil {
		return err
	}
	img := formats.Image{ReaderAt: raw, Size: info.Size(), Name: imageName, Version: c.Version, Time: c.Time}
	out, err := os.Create(c.path(f.Files()[0]))
	if err != nil {
		return err
	}
	buffered := bufio.NewWriterSize(out, 1<<20)
	switch f {
	case Zstd:
		err = formats.WriteZstd(ctx, buffered, img, progress)
	case VMDK:
		err = formats.WriteVMDK(ctx, buffered, img, progress)
	case OVA:
		err = c.ova(buffered, img)
		progress(img.Size, img.Size)
	case VHD:
		err = formats.WriteVHD(ctx, out, img, progress)
	case GCE:
		err = formats.WriteGCE(ctx, buffered, img, progress)
	default:
		err = errors.New("no such format")
	}
	if err := errors.Join(err, buffered.Flush(), out.Close()); err != nil || f != VMDK {
		return err
	}
	return c.describe(img)
}

func (c Conversion) qcow2(ctx context.Context) error {
	t := tools{home: c.Out, time: c.Time}
	_, err := t.run(ctx, nil, "qemu-img", "convert", "-q", "-c", "-f", "raw", "-O", "qcow2", "-o", "compression_type=zlib", c.Raw, c.path(QCOW2.Files()[0]))
	return err
}

// describe writes OVF and sums beside the VMDK.
func (c Conversion) describe(img formats.Image) error {
	disk := c.path(VMDK.Files()[0])
	info, err := os.Stat(disk)
	if err != nil {
		return err
	}
	ovf, err := formats.OVF(img, info.Size())
	if err != nil {
		return err
	}
	sum, err := sumOf(disk)
	if err != nil {
		return err
	}
	return errors.Join(
		os.WriteFile(c.path(VMDK.Files()[1]), ovf, 0o644),
		os.WriteFile(c.path(VMDK.Files()[2]), formats.OVAManifest(img, ovf, sum), 0o644),
	)
}

// ova packs the files of the VMDK: the description first, the disk last.
func (c Conversion) ova(w io.Writer, img formats.Image) error {
	names := VMDK.Files()
	var list []formats.File
	for _, name := range names[1:] {
		data, err := os.ReadFile(c.path(name))
		if err != nil {
			return err
		}
		list = append(list, formats.File{Name: name, Size: int64(len(data)), Content: bytes.NewReader(data)})
	}
	disk, err := os.Open(c.path(names[0]))
	if err != nil {
		return err
	}
	defer disk.Close()
	info, err := disk.Stat()
	if err != nil {
		return err
	}
	list = append(list, formats.File{Name: names[0], Size: info.Size(), Content: disk})
	return formats.WriteOVA(w, img.Time, list...)
}
