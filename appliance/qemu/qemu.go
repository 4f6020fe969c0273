// Package qemu boots disk images in QEMU and reads their console: for `make
// run`, and for the tests of what ships.
package qemu

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Firmware is what starts the boot loader.
type Firmware string

// The firmwares.
const (
	BIOS Firmware = "bios"
	UEFI Firmware = "uefi"
)

// Bus is what a disk hangs on.
type Bus string

// The buses.
const (
	Virtio Bus = "virtio"
	NVMe   Bus = "nvme"
	SCSI   Bus = "scsi"
	AHCI   Bus = "ahci"
)

// Disk is one drive of a machine.
type Disk struct {
	Path     string
	Format   string // raw or qcow2
	Bus      Bus
	ReadOnly bool
}

// Options describe a machine.
type Options struct {
	Dir      string // for its sockets and firmware variables
	Accel    string // "kvm" or "tcg", see Accelerator
	Firmware Firmware
	Memory   int // MiB
	CPUs     int
	Disks    []Disk
	// Net are whole arguments, as from TapNet or UserNet.
	Net []string
	// Args are further arguments.
	Args []string
	// Command makes the process; nil is exec.CommandContext. A test gives the
	// one of a network namespace.
	Command func(ctx context.Context, name string, args ...string) *exec.Cmd
	// Tee receives a copy of the console.
	Tee io.Writer
}

// Machine is a running QEMU.
type Machine struct {
	Console *Console
	Started time.Time
	cmd     *exec.Cmd
	in      io.WriteCloser // the serial line's other direction
	qmp     string
	ended   chan struct{}
	err     error
}

const binary = "qemu-system-x86_64"

// Start starts the machine; it ends with ctx.
func Start(ctx context.Context, o Options) (*Machine, error) {
	args, err := o.args()
	if err != nil {
		return nil, err
	}
	command := o.Command
	if command == nil {
		command = exec.CommandContext
	}
	m := &Machine{Console: newConsole(o.Tee), cmd: command(ctx, binary, args...), qmp: o.qmp(), ended: make(chan struct{})}
	var complaints strings.Builder
	m.cmd.Stdout, m.cmd.Stderr = m.Console, &complaints
	// A group of its own: Ctrl-C at a terminal is for us, not for the guest.
	m.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	m.cmd.Cancel = func() error { return m.cmd.Process.Kill() }
	m.cmd.WaitDelay = 5 * time.Second
	if m.in, err = m.cmd.StdinPipe(); err != nil {
		return nil, fmt.Errorf("starting %s: %w", binary, err)
	}
	m.Started = time.Now()
	if err := m.cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting %s: %w", binary, err)
	}
	go func() {
		m.err = m.cmd.Wait()
		if complaints.Len() > 0 {
			fmt.Fprintf(m.Console, "\nqemu: %s\n", complaints.String())
		}
		m.Console.end()
		close(m.ended)
	}()
	return m, nil
}

func (o Options) qmp() string { return filepath.Join(o.Dir, "qmp.sock") }

func (o Options) args() ([]string, error) {
	cpu := "max"
	if o.Accel == "kvm" {
		cpu = "host"
	}
	accel := o.Accel
	if accel == "tcg" {
		accel = "tcg,thread=multi"
	}
	args := []string{
		"-nodefaults", "-display", "none", "-accel", accel, "-cpu", cpu,
		"-machine", "q35", "-m", strconv.Itoa(o.Memory), "-smp", strconv.Itoa(max(1, o.CPUs)),
		"-chardev", "stdio,id=console,signal=off", "-serial", "chardev:console",
		"-qmp", "unix:" + o.qmp() + ",server=on,wait=off",
		"-device", "virtio-rng-pci",
	}
	if o.Firmware == UEFI {
		fw, err := o.firmware()
		if err != nil {
			return nil, err
		}
		args = append(args, fw...)
	}
	for i, d := range o.Disks {
		args = append(args, d.args(i)...)
	}
	args = append(args, o.Net...)
	return append(args, o.Args...), nil
}

// firmware copies OVMF's variables, which the guest writes.
func (o Options) firmware() ([]string, error) {
	const code, vars = "/usr/share/OVMF/OVMF_CODE_4M.fd", "/usr/share/OVMF/OVMF_VARS_4M.fd"
	own := filepath.Join(o.Dir, "efivars.fd")
	if _, err := os.Stat(own); errors.Is(err, os.ErrNotExist) {
		text, err := os.ReadFile(vars)
		if err != nil {
			return nil, fmt.Errorf("reading UEFI variables (package ovmf): %w", err)
		}
		if err := os.WriteFile(own, text, 0o600); err != nil {
			return nil, err
		}
	}
	return []string{
		"-drive", "if=pflash,format=raw,unit=0,readonly=on,file=" + code,
		"-drive", "if=pflash,format=raw,unit=1,file=" + own,
	}, nil
}

func (d Disk) args(i int) []string {
	id := fmt.Sprintf("disk%d", i)
	drive := fmt.Sprintf("if=none,id=%s,format=%s,file=%s", id, d.Format, strings.ReplaceAll(d.Path, ",", ",,"))
	if d.ReadOnly {
		drive += ",readonly=on"
	}
	device := "virtio-blk-pci,drive=" + id
	args := []string{"-drive", drive}
	switch d.Bus {
	case NVMe:
		device = fmt.Sprintf("nvme,drive=%s,serial=rf%d", id, i)
	case SCSI:
		args = append(args, "-device", fmt.Sprintf("virtio-scsi-pci,id=scsi%d", i))
		device = fmt.Sprintf("scsi-hd,bus=scsi%d.0,drive=%s", i, id)
	case AHCI:
		device = fmt.Sprintf("ide-hd,bus=ide.%d,drive=%s", i, id)
		if d.ReadOnly { // no hard disk is
			device = fmt.Sprintf("ide-cd,bus=ide.%d,drive=%s", i, id)
		}
	}
	// Without an order SeaBIOS boots from whichever controller is ready first,
	// and from no other.
	return append(args, "-device", fmt.Sprintf("%s,bootindex=%d", device, firstBootIndex+i))
}

// firstBootIndex leaves room for disks that are to come before the first.
const firstBootIndex = 10

// TapNet puts a virtio interface on an existing tap device.
func TapNet(tap, mac string) []string {
	return []string{
		"-netdev", "tap,id=net0,script=no,downscript=no,ifname=" + tap,
		"-device", "virtio-net-pci,netdev=net0,mac=" + mac,
	}
}

// Forward is a port of 127.0.0.1 that leads into the guest.
type Forward struct {
	Proto       string // tcp or udp
	Host, Guest uint16
}

// UserNet is QEMU's own network with ports of 127.0.0.1 forwarded.
func UserNet(forwards []Forward) []string {
	spec := "user,id=net0"
	for _, f := range forwards {
		spec += fmt.Sprintf(",hostfwd=%s:127.0.0.1:%d-:%d", f.Proto, f.Host, f.Guest)
	}
	return []string{"-netdev", spec, "-device", "virtio-net-pci,netdev=net0"}
}

// Kill ends the machine at once, as a power cut does to a guest; QEMU's own
// buffers are lost, the host's page cache is not.
func (m *Machine) Kill() {
	_ = m.cmd.Process.Kill()
	<-m.ended
}

// Type types text on the serial line.
func (m *Machine) Type(text string) error {
	_, err := io.WriteString(m.in, text)
	return err
}

// Ended is closed when QEMU has ended.
func (m *Machine) Ended() <-chan struct{} { return m.ended }

// Wait returns QEMU's end.
func (m *Machine) Wait() error {
	<-m.ended
	return m.err
}

// PID is QEMU's process.
func (m *Machine) PID() int { return m.cmd.Process.Pid }
