package appliance

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"ringfence/appliance/disk"
	"ringfence/appliance/efi"
	"ringfence/appliance/grub"
	"ringfence/appliance/slot"
)

// Where Debian keeps the loaders' files.
const (
	grubDir     = "/usr/lib/grub/i386-pc"
	systemdBoot = "/usr/lib/systemd/boot/efi/systemd-bootx64.efi"
)

// permMaxSize is the size that /perm can reach without moving any of its
// metadata, in bytes; beyond that growing still works, by other means.
const permMaxSize = 4 << 40

// ext4Config takes the place of the build host's mke2fs.conf.
const ext4Config = `[defaults]
	base_features = sparse_super,large_file,filetype,resize_inode,dir_index,ext_attr
	default_mntopts = acl,user_xattr
	blocksize = 4096
	inode_size = 256
	inode_ratio = 16384
[fs_types]
	ext4 = {
		features = has_journal,extent,huge_file,flex_bg,metadata_csum,64bit,dir_nlink,extra_isize
	}
`

// writeDisk writes the whole raw image to scratch.
func (b *builder) writeDisk(ctx context.Context) error {
	table, err := disk.Layout(b.Size)
	if err != nil {
		return err
	}
	path := b.path("ringfence.raw")
	f, err := os.Create(path)
	if err != nil {
		return fmt.Errorf("making the image: %w", err)
	}
	err = errors.Join(f.Truncate(b.Size), b.writeLoader(ctx, f, table), table.Write(f), b.writeRoot(f, table), f.Close())
	if err != nil {
		return fmt.Errorf("making the image: %w", err)
	}
	t := tools{home: b.scratch, time: b.stamp()}
	if err := b.writeESP(ctx, t, path, table); err != nil {
		return err
	}
	return b.writePerm(ctx, t, path, table)
}

// writeLoader writes what a BIOS starts from: first sector and core image.
func (b *builder) writeLoader(ctx context.Context, f *os.File, table *disk.Table) error {
	images, err := grub.Make(ctx, grubDir, disk.ESP, b.scratch)
	if err != nil {
		return err
	}
	home, _ := table.Part(disk.BIOSBoot)
	code, err := grub.BootCode(images.Boot, home.First)
	if err != nil {
		return err
	}
	core, err := grub.Core(images.Core, home.First, home.Last-home.First+1)
	if err != nil {
		return err
	}
	if _, err := f.WriteAt(core, home.Offset()); err != nil {
		return err
	}
	return table.WriteProtectiveMBR(f, code)
}

func (b *builder) writeRoot(f *os.File, table *disk.Table) error {
	root, _ := table.Part(disk.RootA)
	return copyInto(f, root.Offset(), b.path("root.squashfs"), root.Size())
}

func (b *builder) writeESP(ctx context.Context, t tools, path string, table *disk.Table) error {
	part, _ := table.Part(disk.ESP)
	esp := fat{tools: t, image: path, offset: part.Offset()}
	if err := esp.format(ctx, part); err != nil {
		return err
	}
	state, err := factory(b.Version, table)
	if err != nil {
		return err
	}
	files, err := slot.FactoryFiles(state)
	if err != nil {
		return err
	}
	if files[efi.GuardPath], err = efi.Guard(ctx, b.scratch); err != nil {
		return err
	}
	if files[efi.SystemdBootPath], err = os.ReadFile(systemdBoot); err != nil {
		return fmt.Errorf("reading systemd-boot (package systemd-boot-efi): %w", err)
	}
	kernel, err := os.ReadFile(b.kernel.Path)
	if err != nil {
		return fmt.Errorf("reading the kernel: %w", err)
	}
	maps.Copy(files, kernelFiles(slot.A, kernel))
	names := slices.AppendSeq(slices.Collect(maps.Keys(files)), maps.Keys(kernelFiles(slot.B, nil)))
	if err := esp.makeFolders(ctx, names); err != nil {
		return err
	}
	return esp.write(ctx, b.scratch, files)
}

// factory is the state of a fresh image. Its roots go by GUID: on a machine that
// already has a system, the same labels are on two disks while it is started
// from a stick.
func factory(version string, table *disk.Table) (slot.State, error) {
	state := slot.Factory(version)
	for _, n := range []slot.Name{slot.A, slot.B} {
		part, found := table.Part(disk.RootPart(n))
		if !found {
			return state, fmt.Errorf("the layout has no root for slot %s", n)
		}
		img := state.Image(n)
		img.Root = "PARTUUID=" + part.ID.String()
		state = state.WithImage(n, img)
	}
	return state, nil
}

// kernelFiles are the kernel of a slot and its sum, by their names on the ESP.
func kernelFiles(n slot.Name, kernel []byte) map[string][]byte {
	return map[string][]byte{n.KernelPath()[1:]: kernel, n.KernelSumPath()[1:]: n.KernelSum(kernel)}
}

// writePerm makes the file system for everything that lasts. It is small and
// prepared to grow while mounted: the first boot extends it over the disk.
func (b *builder) writePerm(ctx context.Context, t tools, path string, table *disk.Table) error {
	config := filepath.Join(b.scratch, "mke2fs.conf")
	if err := os.WriteFile(config, []byte(ext4Config), 0o644); err != nil {
		return err
	}
	part, _ := table.Part(disk.Perm)
	extended := fmt.Sprintf("offset=%d,hash_seed=%s,resize=%d,lazy_itable_init=0,lazy_journal_init=0,nodiscard",
		part.Offset(), disk.DeriveGUID("perm hash seed"), int64(permMaxSize/4096))
	_, err := t.run(ctx, []string{"MKE2FS_CONFIG=" + config}, "mke2fs", "-q", "-F", "-t", "ext4", "-b", "4096", "-m", "1",
		"-L", disk.PermName[:min(16, len(disk.PermName))], "-U", disk.DeriveGUID("perm file system").String(), "-e", "remount-ro",
		"-E", extended, path, strconv.FormatUint(part.Ext4Blocks(), 10))
	if err != nil {
		return fmt.Errorf("making /perm: %w", err)
	}
	return nil
}
