package qemu

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"ringfence/appliance/qemu"
	"ringfence/cloud-init/volume"
	"ringfence/internal/ports"
	"ringfence/internal/siptest"
	"ringfence/tests/apiclient"
	"ringfence/tests/netlab"
)

// The laboratory: the guest, the tests' own address, and two phones.
const (
	guest4, guest6 = "10.77.0.1", "fd77::1"
	tester4        = "10.77.0.2"
	tester6        = "fd77::2"
	phoneA, phoneB = "10.77.0.3", "10.77.0.4"
	tap            = "tap0"
	guestMAC       = "52:54:00:77:00:01"
)

// bootTimeout is long because emulation is slow and CI shares two cores.
const bootTimeout = 3 * time.Minute

// VM is a booted image.
type VM struct {
	*qemu.Machine
	NS          *netlab.Namespace
	URL         string
	Token       string
	Fingerprint string
	API         *apiclient.Client
	Extensions  []apiclient.Extension

	t       testing.TB
	dir     string
	options options
}

type options struct {
	firmware      qemu.Firmware
	bus           qemu.Bus
	memory        int
	raw           string // an image of the test's own, changed in place
	backing       string // a file to boot from that is not changed, and its format
	backingFormat string
	userData      string // the ringfence section of user-data
	args          []string
	disk          func(raw string) []string // whole -drive arguments instead of a disk
	before        func(*VM)
	noSeed        bool
	net           []string // instead of the guest's end of tap
}

// Option changes how a VM boots.
type Option func(*options)

// Firmware boots with BIOS (the default) or UEFI.
func Firmware(f qemu.Firmware) Option { return func(o *options) { o.firmware = f } }

// Bus hangs the disk on another controller than virtio-blk.
func Bus(b qemu.Bus) Option { return func(o *options) { o.bus = b } }

// Memory sets the guest's memory in MiB; 512 unless told.
func Memory(mib int) Option { return func(o *options) { o.memory = mib } }

// Disk boots a raw image of the test's own; what the guest writes stays in it.
func Disk(raw string) Option { return func(o *options) { o.raw = raw } }

// UserData adds lines to the ringfence section of the seed.
func UserData(lines string) Option { return func(o *options) { o.userData = lines } }

// LogWrites keeps a log of every write and flush of the disk in a file, for
// package powercut. It goes with Disk.
func LogWrites(log string) Option {
	return func(o *options) {
		o.disk = func(raw string) []string {
			return []string{
				"-blockdev", "driver=file,node-name=base,filename=" + raw,
				"-blockdev", "driver=file,node-name=log,filename=" + log,
				"-blockdev", "driver=blklogwrites,node-name=logged,file=base,log=log,log-sector-size=512",
				"-device", "virtio-blk-pci,drive=logged,bootindex=0",
			}
		}
	}
}

// Before runs when network and disk are ready and the guest is not started.
func Before(fn func(*VM)) Option { return func(o *options) { o.before = fn } }

// Boot starts the image and waits until its console says that it is ready.
func Boot(t testing.TB, opts ...Option) *VM {
	t.Helper()
	vm := Start(t, opts...)
	vm.WaitReady(0)
	return vm
}

// Start is Boot without the wait.
func Start(t testing.TB, opts ...Option) *VM {
	t.Helper()
	netlab.Need(t)
	o := options{firmware: qemu.BIOS, bus: qemu.Virtio, memory: 512}
	for _, opt := range opts {
		opt(&o)
	}
	vm := &VM{t: t, dir: folder(t), options: o, NS: netlab.New(t, "vm")}
	if err := vm.NS.Tap(tap, tester4+"/24", phoneA+"/24", phoneB+"/24", tester6+"/64"); err != nil {
		t.Fatal(err)
	}
	if err := vm.seed(); err != nil {
		t.Fatal(err)
	}
	if o.before != nil {
		o.before(vm)
	}
	if err := vm.start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		vm.Kill()
		if t.Failed() {
			t.Logf("console:\n%s", vm.Console.Tail(80))
		}
	})
	return vm
}

// folder is a temporary one with a short name: sockets have room for 107 bytes,
// and QEMU takes commas apart.
func folder(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "rfvm-")
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

func (vm *VM) seed() error {
	userData := "#cloud-config\nhostname: lab\nringfence:\n  name: Lab\n  domain: lab.example\n  extension_first: \"101\"\n  extension_last: \"199\"\n" + vm.options.userData
	network := fmt.Sprintf("version: 2\nethernets:\n  lab:\n    match: {name: \"e*\"}\n    addresses: [%s/24, \"%s/64\"]\n    gateway4: %s\n", guest4, guest6, tester4)
	f, err := os.Create(filepath.Join(vm.dir, "seed.iso"))
	if err != nil {
		return err
	}
	defer f.Close()
	return volume.WriteISO(f, "cidata", []volume.File{
		{Name: "meta-data", Data: []byte("instance-id: lab-1\nlocal-hostname: lab\n")},
		{Name: "user-data", Data: []byte(userData)},
		{Name: "network-config", Data: []byte(network)},
	})
}

// start starts QEMU; again after Kill or Reboot, on the same disk.
func (vm *VM) start() error {
	raw, accel := Image(vm.t)
	disk := qemu.Disk{Path: vm.DiskPath(), Format: "raw", Bus: vm.options.bus}
	if vm.options.raw == "" {
		disk.Format = "qcow2"
		backing, format := raw, "raw"
		if vm.options.backing != "" {
			backing, format = vm.options.backing, vm.options.backingFormat
		}
		if _, err := os.Stat(disk.Path); err != nil {
			out, err := exec.Command("qemu-img", "create", "-q", "-f", "qcow2", "-b", backing, "-F", format, disk.Path).CombinedOutput()
			if err != nil {
				return fmt.Errorf("making the disk: %w: %s", err, out)
			}
		}
	}
	// The seed is on the disk's own bus: SeaBIOS boots from the first disk it
	// finds and from no other, bus by bus.
	o := qemu.Options{
		Dir: vm.dir, Accel: accel, Firmware: vm.options.firmware, Memory: vm.options.memory, CPUs: 2,
		Net: qemu.TapNet(tap, guestMAC), Command: vm.NS.Command,
		Disks: []qemu.Disk{disk, {Path: filepath.Join(vm.dir, "seed.iso"), Format: "raw", Bus: vm.options.bus, ReadOnly: true}},
		Args:  append([]string{"-device", "virtio-balloon-pci,id=" + balloon}, vm.options.args...),
	}
	if vm.options.noSeed {
		o.Disks = o.Disks[:1]
	}
	if vm.options.net != nil {
		o.Net = vm.options.net
	}
	if vm.options.disk != nil {
		o.Disks = o.Disks[1:]
		o.Args = append(o.Args, vm.options.disk(disk.Path)...)
	}
	m, err := qemu.Start(context.Background(), o)
	if err != nil {
		return err
	}
	vm.Machine = m
	return nil
}

// PowerOff presses the power button and waits until the guest is off.
func (vm *VM) PowerOff() {
	vm.t.Helper()
	if _, err := vm.QMP("system_powerdown", nil); err != nil {
		vm.t.Fatal(err)
	}
	select {
	case <-vm.Ended():
	case <-time.After(time.Minute):
		vm.t.Fatal("the guest is on a minute after its power button was pressed")
	}
}

// PowerCycle kills QEMU and boots the same disk again.
func (vm *VM) PowerCycle() {
	vm.t.Helper()
	vm.Kill()
	vm.PowerOn()
}

// PowerOn boots the disk again after Kill or PowerOff.
func (vm *VM) PowerOn() {
	vm.t.Helper()
	vm.StartAgain()
	vm.WaitReady(0)
}

// StartAgain is PowerOn without the wait.
func (vm *VM) StartAgain() {
	vm.t.Helper()
	if err := vm.start(); err != nil {
		vm.t.Fatal(err)
	}
}

// WaitReady waits for the console's line for machines after mark.
func (vm *VM) WaitReady(mark int) {
	vm.t.Helper()
	ctx, cancel := context.WithTimeout(vm.t.Context(), bootTimeout)
	defer cancel()
	m, err := vm.Console.WaitAfter(ctx, mark, `ringfence: (?:ready|running) ([^\r\n]*)[\r\n]`)
	if err != nil {
		vm.t.Fatal(err)
	}
	for _, word := range strings.Fields(m[1]) {
		key, value, _ := strings.Cut(word, "=")
		switch key {
		case "token":
			vm.Token = value
		case "fingerprint":
			vm.Fingerprint = value
		}
	}
	portal, _ := ports.Lookup(ports.Table(), ports.Portal)
	vm.URL = "https://" + net.JoinHostPort(guest4, portal.Ports())
	if vm.API == nil {
		vm.API = vm.Client()
		vm.API.Token = vm.Token
	}
	vm.waitReachable(ctx)
}

// waitReachable waits for the first connection to the portal. Our own kernel
// may be about to give up on the guest's link address, having asked for it
// while the guest was off, and then fails a connection to a guest that is up.
func (vm *VM) waitReachable(ctx context.Context) {
	vm.t.Helper()
	portal, _ := ports.Lookup(ports.Table(), ports.Portal)
	for {
		c, err := vm.NS.DialContext(ctx, "tcp", net.JoinHostPort(guest4, portal.Ports()))
		if err == nil {
			c.Close()
			return
		}
		if !errors.Is(err, unix.EHOSTUNREACH) {
			vm.t.Fatalf("the portal of a guest that says it is ready: %v", err)
		}
	}
}

// DiskPath is the file the guest writes to.
func (vm *VM) DiskPath() string {
	if vm.options.raw != "" {
		return vm.options.raw
	}
	return filepath.Join(vm.dir, "disk.qcow2")
}

// Client is an API client without a session.
func (vm *VM) Client() *apiclient.Client {
	return apiclient.New(vm.URL, vm.Fingerprint, vm.NS.DialContext)
}

// Setup walks the wizard through the API with the default answers.
func (vm *VM) Setup() {
	vm.t.Helper()
	vm.SetupAs(apiclient.DefaultSetup())
}

// SetupAs is Setup with answers of the test's own.
func (vm *VM) SetupAs(answers apiclient.Setup) {
	vm.t.Helper()
	ctx, cancel := context.WithTimeout(vm.t.Context(), time.Minute)
	defer cancel()
	var err error
	if vm.Extensions, err = vm.API.RunSetup(ctx, answers); err != nil {
		vm.t.Fatal(err)
	}
	// The listeners open after the wizard's last step has answered.
	deadline := time.Now().Add(20 * time.Second)
	for !vm.answersOPTIONS() {
		if time.Now().After(deadline) {
			vm.t.Fatal("SIP does not answer 20 s after set-up")
		}
	}
}

// answersOPTIONS sends one OPTIONS and waits a second for any answer.
func (vm *VM) answersOPTIONS() bool {
	udp, _ := ports.Lookup(ports.Table(), ports.SIPUDP)
	c, err := vm.NS.ListenUDP(netip.MustParseAddrPort(tester4 + ":0"))
	if err != nil {
		return false
	}
	defer c.Close()
	return probeSIP(c, netip.AddrPortFrom(netip.MustParseAddr(guest4), udp.First), time.Second)
}

// Extension returns the credentials the wizard showed for a number.
func (vm *VM) Extension(number string) apiclient.Extension {
	vm.t.Helper()
	for _, e := range vm.Extensions {
		if e.Number == number {
			return e
		}
	}
	vm.t.Fatalf("the wizard made no extension %s", number)
	return apiclient.Extension{}
}

// Phone starts a test phone for an extension, inside the laboratory; more
// changes its configuration.
func (vm *VM) Phone(number string, tone float64, more ...func(*siptest.Config)) *siptest.Phone {
	vm.t.Helper()
	e := vm.Extension(number)
	udp, _ := ports.Lookup(ports.Table(), ports.SIPUDP)
	c := siptest.Config{
		Server: netip.AddrPortFrom(netip.MustParseAddr(guest4), udp.First),
		User:   e.SIPUser, Password: e.SIPPassword, Domain: e.Domain, Tone: tone,
		Listen:    netip.AddrPortFrom(netip.MustParseAddr(tester4), 0),
		ListenUDP: vm.NS.ListenUDP,
	}
	for _, change := range more {
		change(&c)
	}
	return siptest.NewPhone(vm.t, c)
}
