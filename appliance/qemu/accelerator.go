package qemu

import (
	"context"
	"os"
	"os/exec"
	"time"
)

// Accelerator finds out by a trial boot of kernel whether KVM works here; that
// /dev/kvm exists proves nothing. Without a kernel, or where the trial fails,
// it is "tcg".
func Accelerator(ctx context.Context, kernel string) string {
	if f, err := os.OpenFile("/dev/kvm", os.O_RDWR, 0); err != nil || f.Close() != nil {
		return "tcg"
	}
	if _, err := os.Stat(kernel); err != nil {
		return "tcg"
	}
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	// The kernel finds no root, panics and resets, which ends QEMU; what
	// counts is that it came so far.
	cmd := exec.CommandContext(ctx, binary, "-nodefaults", "-display", "none", "-accel", "kvm", "-cpu", "host",
		"-machine", "q35", "-m", "256", "-no-reboot", "-serial", "stdio",
		"-kernel", kernel, "-append", "console=ttyS0 panic=-1")
	console := newConsole(nil)
	cmd.Stdout = console
	err := cmd.Run()
	console.end()
	if err != nil {
		return "tcg"
	}
	if _, err := console.Wait(ctx, `Kernel panic|Linux version`); err != nil {
		return "tcg"
	}
	return "kvm"
}
