package boot

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"

	"ringfence/appliance/disk"
)

// systemDisk is the disk that the system runs from.
type systemDisk struct {
	name  string         // of the kernel, such as "vda"
	path  string         // device file
	size  int64          // bytes
	parts map[int]string // partition number to kernel name
}

// findDisk finds the disk with /perm: the one that the root file system is on,
// or, when the root is none of a disk, the first with our table.
func (p Paths) findDisk() (systemDisk, error) {
	if name, err := p.diskOf("/"); err == nil {
		return p.describe(name)
	}
	list, err := os.ReadDir(p.sys("block"))
	if err != nil {
		return systemDisk{}, fmt.Errorf("listing disks: %w", err)
	}
	for _, e := range list {
		d, err := p.describe(e.Name())
		if err != nil {
			continue
		}
		if t, err := d.table(); err == nil {
			if part, ok := t.Part(disk.Perm); ok && part.Name == disk.PermName {
				return d, nil
			}
		}
	}
	return systemDisk{}, errors.New("finding the system's disk: no disk has a partition " + disk.PermName)
}

// diskOf returns the name of the disk whose partition is mounted on path.
func (p Paths) diskOf(path string) (string, error) {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return "", err
	}
	link, err := filepath.EvalSymlinks(p.sys(fmt.Sprintf("dev/block/%d:%d", unix.Major(st.Dev), unix.Minor(st.Dev))))
	if err != nil {
		return "", err
	}
	if _, err := os.Stat(filepath.Join(link, "partition")); err != nil {
		return "", err
	}
	return filepath.Base(filepath.Dir(link)), nil
}

func (p Paths) describe(name string) (systemDisk, error) {
	d := systemDisk{name: name, path: p.dev(name), parts: make(map[int]string)}
	sectors, err := readNumber(p.sys(filepath.Join("class/block", name, "size")))
	if err != nil {
		return d, fmt.Errorf("reading the size of %s: %w", name, err)
	}
	d.size = sectors * 512
	list, err := os.ReadDir(p.sys(filepath.Join("class/block", name) + "/"))
	if err != nil {
		return d, fmt.Errorf("listing partitions of %s: %w", name, err)
	}
	for _, e := range list {
		if !strings.HasPrefix(e.Name(), name) {
			continue
		}
		if n, err := readNumber(p.sys(filepath.Join("class/block", name, e.Name(), "partition"))); err == nil {
			d.parts[int(n)] = e.Name()
		}
	}
	return d, nil
}

func readNumber(path string) (int64, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	return strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
}

// partition returns the device file of a partition.
func (p Paths) partition(d systemDisk, number int) (string, error) {
	name, ok := d.parts[number]
	if !ok {
		return "", fmt.Errorf("disk %s has no partition %d", d.name, number)
	}
	return p.dev(name), nil
}

// owns reports whether a block device is this disk or a part of it.
func (d systemDisk) owns(name string) bool {
	if name == d.name {
		return true
	}
	for _, p := range d.parts {
		if p == name {
			return true
		}
	}
	return false
}

func (d systemDisk) table() (*disk.Table, error) {
	f, err := os.Open(d.path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return disk.Read(f, d.size)
}

// tellKernel gives the kernel the new size of a partition that is in use.
func (d systemDisk) tellKernel(f *os.File, part disk.Partition) error {
	info := unix.BlkpgPartition{Start: part.Offset(), Length: part.Size(), Pno: int32(part.Number)}
	arg := unix.BlkpgIoctlArg{Op: unix.BLKPG_RESIZE_PARTITION, Datalen: int32(unsafe.Sizeof(info)), Data: (*byte)(unsafe.Pointer(&info))}
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, f.Fd(), unix.BLKPG, uintptr(unsafe.Pointer(&arg))); errno != 0 {
		return fmt.Errorf("resizing partition %d in the kernel: %w", part.Number, errno)
	}
	return nil
}

// ext4ResizeFS is EXT4_IOC_RESIZE_FS, _IOW('f', 16, __u64).
const ext4ResizeFS = 0x40086610

// growExt4 lets the mounted file system fill its partition. It is journaled: a
// power cut leaves the old or the new size, and the next boot goes on.
func growExt4(mountPoint, device string, partBytes int64) (grown bool, err error) {
	have, size, err := ext4Blocks(device)
	if err != nil {
		return false, err
	}
	want := uint64(partBytes) / size
	// Less than a block group is not worth the trouble at every boot: ext4
	// leaves out a last group that is too small for its own tables.
	if want < have+8*size {
		return false, nil
	}
	dir, err := os.Open(mountPoint)
	if err != nil {
		return false, err
	}
	defer dir.Close()
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, dir.Fd(), ext4ResizeFS, uintptr(unsafe.Pointer(&want))); errno != 0 {
		return false, fmt.Errorf("growing ext4 on %s from %d to %d blocks: %w", device, have, want, errno)
	}
	return true, nil
}

// ext4Blocks reads the number and the size of blocks from the superblock.
func ext4Blocks(device string) (count, size uint64, err error) {
	f, err := os.Open(device)
	if err != nil {
		return 0, 0, err
	}
	defer f.Close()
	sb := make([]byte, 1024)
	if _, err := f.ReadAt(sb, 1024); err != nil {
		return 0, 0, fmt.Errorf("reading superblock of %s: %w", device, err)
	}
	return parseSuperblock(sb)
}
