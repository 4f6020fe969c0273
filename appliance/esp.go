package appliance

import (
	"context"
	"encoding/hex"
	"fmt"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"ringfence/appliance/disk"
)

// fat is a FAT file system inside an image, worked on by mtools.
type fat struct {
	tools
	image  string
	offset int64
}

func (f fat) drive() string { return f.image + "@@" + strconv.FormatInt(f.offset, 10) }

// format makes an empty FAT32 of the size of the partition.
func (f fat) format(ctx context.Context, p disk.Partition) error {
	id := disk.DeriveGUID("esp volume")
	_, err := f.run(ctx, nil, "mkfs.vfat", "--invariant", "-F", "32", "-s", "4", "-S", "512", "-R", "32",
		"-h", strconv.FormatUint(p.First, 10), "-i", hex.EncodeToString(id[:4]), "-n", "RINGFENCE",
		"--offset", strconv.FormatUint(p.First, 10), f.image, strconv.FormatInt(p.Size()/1024, 10))
	if err != nil {
		return fmt.Errorf("making the EFI system partition: %w", err)
	}
	return nil
}

// makeFolders makes the folders that the named files need; none may exist.
func (f fat) makeFolders(ctx context.Context, names []string) error {
	var folders []string
	for _, name := range names {
		for dir := path.Dir(name); dir != "."; dir = path.Dir(dir) {
			folders = append(folders, "::/"+dir)
		}
	}
	slices.Sort(folders)
	args := append([]string{"-i", f.drive()}, slices.Compact(folders)...)
	if _, err := f.run(ctx, nil, "mmd", args...); err != nil {
		return fmt.Errorf("making folders on the EFI system partition: %w", err)
	}
	return nil
}

// write puts files into folders that exist, in a fixed order.
func (f fat) write(ctx context.Context, scratch string, files map[string][]byte) error {
	for _, name := range slices.Sorted(maps.Keys(files)) {
		local := filepath.Join(scratch, "esp-file")
		if err := os.WriteFile(local, files[name], 0o644); err != nil {
			return err
		}
		if _, err := f.run(ctx, nil, "mcopy", "-D", "o", "-o", "-i", f.drive(), local, "::/"+name); err != nil {
			return fmt.Errorf("writing %s to the EFI system partition: %w", name, err)
		}
	}
	return nil
}

// list returns the names of the files in a folder.
func (f fat) list(ctx context.Context, folder string) ([]string, error) {
	out, err := f.run(ctx, nil, "mdir", "-b", "-i", f.drive(), "::/"+folder)
	if err != nil {
		return nil, fmt.Errorf("listing %s on the EFI system partition: %w", folder, err)
	}
	var names []string
	for _, line := range strings.Fields(string(out)) {
		names = append(names, path.Base(line))
	}
	return names, nil
}

// read copies a file out.
func (f fat) read(ctx context.Context, name string) ([]byte, error) {
	out, err := f.run(ctx, nil, "mcopy", "-i", f.drive(), "::/"+name, "-")
	if err != nil {
		return nil, fmt.Errorf("reading %s from the EFI system partition: %w", name, err)
	}
	return out, nil
}

func (f fat) remove(ctx context.Context, name string) error {
	if _, err := f.run(ctx, nil, "mdel", "-i", f.drive(), "::/"+name); err != nil {
		return fmt.Errorf("removing %s from the EFI system partition: %w", name, err)
	}
	return nil
}
