// Package grub puts GRUB's two boot images for BIOS machines on a disk, as
// grub-bios-setup does, without a running system and without privileges.
//
// The first sector of the disk (boot.img) reads the first sector of the core
// image (diskboot.img), which reads the rest of the core image; each has the
// place of the next one patched into it. The core image holds every module it
// needs and finds grub.cfg on the partition of its prefix.
package grub

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
)

const (
	sector = 512
	// BootCodeSize is how much of the first sector GRUB may use; a disk
	// signature and the partition record follow.
	BootCodeSize = 440

	// Offsets in boot.img (grub-core/boot/i386/pc/boot.S, GRUB 2.06).
	bootKernelSector = 0x5c // 8 bytes: first sector of the core image
	bootDrive        = 0x64 // 1 byte: 0xff takes the drive the firmware names
	bootDriveCheck   = 0x66 // 2 bytes: a jump over the check of that drive

	// Offset of the only block list entry in diskboot.img: first sector
	// (8 bytes), number of sectors (2), segment (2).
	coreBlockList = 0x1f4
	coreSegment   = 0x820
)

// ErrImage is wrapped by errors about files that are not GRUB's images.
var ErrImage = errors.New("not the GRUB image that was expected")

// Modules are what the core image contains: the BIOS disk, GPT and FAT, the
// script language with its environment block, the serial line, CRC-32 and the
// Linux loader.
func Modules() []string {
	return []string{
		"biosdisk", "part_gpt", "fat", "normal", "test", "loadenv", "echo", "sleep", "reboot",
		"serial", "terminal", "hashsum", "gcry_crc", "linux", "boot",
	}
}

// BootCode returns the boot code for the first sector: boot.img, told that the
// core image begins at sector coreAt.
func BootCode(bootImg []byte, coreAt uint64) ([]byte, error) {
	if len(bootImg) != sector || bootImg[510] != 0x55 || bootImg[511] != 0xaa ||
		bootImg[bootDrive] != 0xff || bootImg[bootDriveCheck] != 0xeb ||
		binary.LittleEndian.Uint64(bootImg[bootKernelSector:]) != 1 {
		return nil, fmt.Errorf("patching boot.img: %w", ErrImage)
	}
	code := append([]byte(nil), bootImg[:BootCodeSize]...)
	binary.LittleEndian.PutUint64(code[bootKernelSector:], coreAt)
	// Some firmwares name drive 0 although they boot from 0x80; with the jump
	// gone boot.img corrects that.
	code[bootDriveCheck], code[bootDriveCheck+1] = 0x90, 0x90
	return code, nil
}

// Core returns the core image, whole sectors, told that it begins at sector
// coreAt and may use up to room sectors.
func Core(coreImg []byte, coreAt, room uint64) ([]byte, error) {
	sectors := (len(coreImg) + sector - 1) / sector
	if sectors < 2 || uint64(sectors) > room {
		return nil, fmt.Errorf("placing core image of %d sectors into %d: %w", sectors, room, ErrImage)
	}
	core := make([]byte, sectors*sector)
	copy(core, coreImg)
	list := core[coreBlockList:sector]
	le := binary.LittleEndian
	if int(le.Uint16(list[8:])) != sectors-1 || le.Uint16(list[10:]) != coreSegment {
		return nil, fmt.Errorf("patching block list of core image: %w", ErrImage)
	}
	le.PutUint64(list, coreAt+1)
	return core, nil
}

// Images are the two files of GRUB for one disk.
type Images struct {
	Boot []byte // boot.img as installed
	Core []byte // as made by grub-mkimage
}

// Make makes the images with grub-mkimage from the files in dir, normally
// /usr/lib/grub/i386-pc (package grub-pc-bin). The core image looks for
// /grub/grub.cfg on the given partition of the disk it was started from.
func Make(ctx context.Context, dir string, partition int, scratch string) (Images, error) {
	boot, err := os.ReadFile(filepath.Join(dir, "boot.img"))
	if err != nil {
		return Images{}, fmt.Errorf("reading GRUB (package grub-pc-bin): %w", err)
	}
	out := filepath.Join(scratch, "core.img")
	args := []string{"-O", "i386-pc", "-d", dir, "-o", out, "-p", "(,gpt" + strconv.Itoa(partition) + ")/grub"}
	text, err := exec.CommandContext(ctx, "grub-mkimage", append(args, Modules()...)...).CombinedOutput()
	if err != nil {
		return Images{}, fmt.Errorf("making GRUB's core image: %w: %s", err, strings.TrimSpace(string(text)))
	}
	core, err := os.ReadFile(out)
	if err != nil {
		return Images{}, fmt.Errorf("reading GRUB's core image: %w", err)
	}
	return Images{Boot: boot, Core: core}, nil
}
