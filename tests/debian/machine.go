package debian

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"ringfence/appliance/qemu"
	"ringfence/cloud-init/volume"
	"ringfence/tests/netlab"
)

const (
	tap        = "tap0"
	machineMAC = "52:54:00:78:00:01"
)

// bootTimeout is long because emulation is slow.
const bootTimeout = 8 * time.Minute

// startMachine makes a disk with a Debian system and the package in it, and
// starts it in QEMU. The kernel is Debian's signed one, started directly by
// QEMU: there is no boot loader, and with it no Secure Boot.
func startMachine(t *testing.T, pkg string, further ...string) (*host, *qemu.Machine) {
	t.Helper()
	netlab.Need(t)
	for _, tool := range []string{"mmdebstrap", "mke2fs", "qemu-system-x86_64"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("%s is not installed (make deps)", tool)
		}
	}
	dir := folder(t)
	h := &host{t: t, root: filepath.Join(dir, "root"), peer: netlab.New(t, "dm")}
	if err := h.peer.Tap(tap, tester4+"/24"); err != nil {
		t.Fatal(err)
	}
	h.seed(filepath.Join(dir, "seed.iso"), h.unpack(machinePackages()))
	h.prepare(pkg, further)
	kernel, initrd := h.find("boot/vmlinuz-*"), h.find("boot/initrd.img-*")
	disk := filepath.Join(dir, "disk.raw")
	h.run("mke2fs", "-q", "-t", "ext4", "-d", h.root, disk, "3G")

	line := filepath.Join(dir, "lab.sock")
	m, err := qemu.Start(context.Background(), qemu.Options{
		Dir: dir, Accel: qemu.Accelerator(t.Context(), kernel), Firmware: qemu.BIOS, Memory: 1024, CPUs: 2,
		Net: qemu.TapNet(tap, machineMAC), Command: h.peer.Command,
		Disks: []qemu.Disk{{Path: disk, Format: "raw", Bus: qemu.Virtio}, {Path: filepath.Join(dir, "seed.iso"), Format: "raw", Bus: qemu.Virtio, ReadOnly: true}},
		Args: []string{
			"-kernel", kernel, "-initrd", initrd, "-append", "root=/dev/vda rw console=ttyS0",
			"-chardev", "socket,id=lab,path=" + line + ",server=on,wait=off", "-serial", "chardev:lab",
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() && h.line != nil {
			out, _ := h.in("journalctl", "--boot", "--no-pager", "--lines=200", "--output=short-monotonic")
			t.Logf("journal:\n%s", out)
		}
		m.Kill()
		if t.Failed() {
			t.Logf("console:\n%s", m.Console.Tail(80))
		}
	})
	h.until("the serial line", 10*time.Second, func() (err error) { h.line, err = dialLine(line); return err })
	return h, m
}

// folder is a temporary one with a short name: sockets have room for 107 bytes.
func folder(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "rfdm-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// find is the one file of a pattern.
func (h *host) find(pattern string) string {
	h.t.Helper()
	list, err := filepath.Glob(h.path(pattern))
	if err != nil || len(list) != 1 {
		h.t.Fatalf("%s: %q, %v", pattern, list, err)
	}
	return list[0]
}

// prepare installs the package as packer/debian.pkr.hcl does, where no systemd
// runs, but for sshd's port, which is on trial here.
func (h *host) prepare(pkg string, further []string) {
	h.t.Helper()
	h.put("usr/sbin/policy-rc.d", "#!/bin/sh\nexit 101\n")
	h.run("chmod", "755", h.path("usr/sbin/policy-rc.d"))
	h.run("chroot", h.root, "dpkg", "--install", h.bring(pkg))
	for _, path := range further {
		h.bring(path)
	}
	h.put("etc/systemd/system/lab.service", lineUnit)
	h.run("chroot", h.root, "systemctl", "enable", "lab.service", "systemd-networkd.service")
	h.run("sh", "-c", "rm -f "+h.path("usr/sbin/policy-rc.d")+" "+h.path("etc/ssh")+"/ssh_host_*; : > "+h.path("etc/machine-id"))
}

// seed writes cloud-init's NoCloud volume.
func (h *host) seed(path, authorized string) {
	h.t.Helper()
	f, err := os.Create(path)
	if err != nil {
		h.t.Fatal(err)
	}
	defer f.Close()
	err = volume.WriteISO(f, "cidata", []volume.File{
		{Name: "meta-data", Data: []byte("instance-id: lab-1\nlocal-hostname: lab\n")},
		{Name: "user-data", Data: fmt.Appendf(nil, `#cloud-config
disable_root: false
locale: C.UTF-8
ssh_genkeytypes: [ed25519]
users:
  - name: root
    ssh_authorized_keys: [%q]
ringfence:
  name: Lab
  domain: lab.example
  extension_first: "101"
  extension_last: "199"
`, authorized[:len(authorized)-1])},
		{Name: "network-config", Data: fmt.Appendf(nil, `version: 2
ethernets:
  lab0:
    match: {macaddress: %q}
    set-name: lab0
    addresses: [%s/24]
    gateway4: %s
`, machineMAC, host4, tester4)},
	})
	if err != nil {
		h.t.Fatal(err)
	}
}
