// Package efi assembles the program that UEFI firmware starts first: it starts
// systemd-boot, and when the chosen kernel cannot be started it restarts the
// machine with the other slot. See guard.S.
package efi

import (
	"context"
	_ "embed"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

//go:embed guard.S
var guardSource []byte

// Paths on the EFI system partition.
const (
	// GuardPath is the default program of removable media (UEFI 2.10 section
	// 3.5.1.1), which needs no boot entry in the firmware.
	GuardPath = "EFI/BOOT/BOOTX64.EFI"
	// SystemdBootPath is where the guard looks for systemd-boot.
	SystemdBootPath = "EFI/systemd/systemd-bootx64.efi"
)

// Guard assembles the program (package binutils); scratch is a folder for
// intermediate files.
func Guard(ctx context.Context, scratch string) ([]byte, error) {
	source, object, image := filepath.Join(scratch, "guard.S"), filepath.Join(scratch, "guard.o"), filepath.Join(scratch, "guard.efi")
	if err := os.WriteFile(source, guardSource, 0o644); err != nil {
		return nil, fmt.Errorf("assembling the UEFI guard: %w", err)
	}
	for _, command := range [][]string{
		{"as", "--64", "-o", object, source},
		{"ld", "-m", "elf_x86_64", "--oformat", "binary", "-Ttext=0", "-e", "0", "-o", image, object},
	} {
		out, err := exec.CommandContext(ctx, command[0], command[1:]...).CombinedOutput()
		if err != nil {
			return nil, fmt.Errorf("assembling the UEFI guard (package binutils): %s: %w: %s", command[0], err, strings.TrimSpace(string(out)))
		}
	}
	data, err := os.ReadFile(image)
	if err != nil {
		return nil, fmt.Errorf("assembling the UEFI guard: %w", err)
	}
	return data, nil
}
