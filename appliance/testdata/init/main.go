// Command init is a stand-in for the real init, for the tests of the image. It
// says on the console what it finds; its version decides what it does then:
//
//	healthy...  commits the slot and switches the machine off
//	restless... restarts the machine without ever committing
//	stuck...    panics the kernel by ending
package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"ringfence/appliance/slot"
	"ringfence/internal/version"
)

func main() {
	if os.Getpid() != 1 {
		fmt.Println("this is the init of test images")
		return
	}
	if err := run(); err != nil {
		fmt.Println("test-init: error:", err)
	}
	syscall.Sync()
	switch v := version.String(); {
	case strings.HasPrefix(v, "stuck"):
		os.Exit(3)
	case strings.HasPrefix(v, "restless"):
		_ = syscall.Reboot(syscall.LINUX_REBOOT_CMD_RESTART)
	default:
		_ = syscall.Reboot(syscall.LINUX_REBOOT_CMD_POWER_OFF)
	}
	time.Sleep(time.Minute)
}

func run() error {
	err := errors.Join(
		syscall.Mount("proc", "/proc", "proc", 0, ""),
		syscall.Mount("sysfs", "/sys", "sysfs", 0, ""),
		syscall.Mount("tmpfs", "/run", "tmpfs", 0, ""),
	)
	if err != nil {
		return err
	}
	cmdline, err := os.ReadFile("/proc/cmdline")
	if err != nil {
		return err
	}
	running, err := slot.Parse(string(cmdline))
	if err != nil {
		return err
	}
	uptime, _ := os.ReadFile("/proc/uptime")
	firmware := slot.RunningFirmware("/")
	fmt.Printf("test-init: slot=%s version=%s firmware=%s uptime=%s cmdline=%s\n", running, version.String(), firmware, strings.Fields(string(uptime))[0], strings.TrimSpace(string(cmdline)))
	if err := perm(); err != nil {
		return err
	}
	if strings.HasPrefix(version.String(), "healthy") {
		return commit(running, firmware)
	}
	return nil
}

// perm counts the boots on /perm.
func perm() error {
	dev, err := partition("ringfence-perm")
	if err != nil {
		return err
	}
	if err := syscall.Mount(dev, "/perm", "ext4", syscall.MS_NOATIME, ""); err != nil {
		return fmt.Errorf("mounting %s: %w", dev, err)
	}
	log, _ := os.ReadFile("/perm/boots")
	log = append(log, '.')
	fmt.Printf("test-init: perm=%s boots=%d\n", dev, len(log))
	return errors.Join(os.WriteFile("/perm/boots", log, 0o600), syscall.Unmount("/perm", 0))
}

func commit(running slot.Name, firmware slot.Firmware) error {
	dev, err := partition("ringfence-esp")
	if err != nil {
		return err
	}
	if err := os.Mkdir("/run/esp", 0o700); err != nil {
		return err
	}
	if err := syscall.Mount(dev, "/run/esp", "vfat", 0, ""); err != nil {
		return fmt.Errorf("mounting %s: %w", dev, err)
	}
	store := slot.Open("/run/esp", firmware)
	if err := store.Commit(running); err != nil {
		return err
	}
	state, err := store.Load()
	fmt.Printf("test-init: state=%+v\n", state)
	return errors.Join(err, syscall.Unmount("/run/esp", 0))
}

// partition finds the device with a GPT name.
func partition(name string) (string, error) {
	files, err := filepath.Glob("/sys/class/block/*/uevent")
	if err != nil {
		return "", err
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err == nil && strings.Contains(string(text)+"\n", "PARTNAME="+name+"\n") {
			return "/dev/" + filepath.Base(filepath.Dir(file)), nil
		}
	}
	return "", fmt.Errorf("no partition is called %s", name)
}
