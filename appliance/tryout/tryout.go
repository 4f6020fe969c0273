// Package tryout boots a built image on this machine for a first look: QEMU
// with user networking, the port table forwarded from 127.0.0.1.
package tryout

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"ringfence/appliance/qemu"
	"ringfence/cloud-init/volume"
	"ringfence/internal/ports"
)

// rtpPorts is how many RTP ports are forwarded: four a call, and QEMU takes a
// forward for each.
const rtpPorts = 40

// bootTimeout bounds the wait for the guest; emulation is slow.
const bootTimeout = 5 * time.Minute

// offTimeout bounds the wait for the guest to switch itself off.
const offTimeout = 30 * time.Second

// Options say what to boot.
type Options struct {
	Image    string // raw image; it is not changed
	Kernel   string // for the trial boot that picks the accelerator
	Dir      string // for the disk, the seed and QEMU's sockets
	Keep     bool   // go on with the disk of the last time
	Firmware qemu.Firmware
	Memory   int // MiB
	Instance int // 0..9, moves every port, as in pbxd -instance; Pick takes the first that is free
	Out      io.Writer
	Verbose  bool // show the guest's console
}

// Run boots the image, prints how to reach it, and returns when ctx ends or
// the guest does.
func Run(ctx context.Context, o Options) error {
	services, err := choose(o.Instance, o.Out)
	if err != nil {
		return err
	}
	disks, err := o.disks(services)
	if err != nil {
		return err
	}
	accel := qemu.Accelerator(ctx, o.Kernel)
	fmt.Fprintf(o.Out, "Booting in QEMU (%s) ...\n", map[string]string{"kvm": "KVM", "tcg": "emulated, up to a minute; KVM does not work here"}[accel])
	q := qemu.Options{
		Dir: o.Dir, Accel: accel, Firmware: o.Firmware, Memory: o.Memory, CPUs: 2,
		Disks: disks, Net: qemu.UserNet(forwards(services)),
	}
	console, err := os.Create(filepath.Join(o.Dir, "console.log"))
	if err != nil {
		return err
	}
	defer console.Close()
	q.Tee = console
	if o.Verbose {
		q.Tee = io.MultiWriter(console, o.Out)
	}
	// Not ctx: its end presses the power button, it does not pull the plug.
	m, err := qemu.Start(context.WithoutCancel(ctx), q)
	if err != nil {
		return err
	}
	defer m.Kill()
	if err := announce(ctx, m, o.Out, console.Name(), services); errors.Is(err, errStopped) {
		return nil // a guest that is not up yet has nothing to lose
	} else if err != nil {
		return err
	}
	select {
	case <-ctx.Done():
		return shutDown(m, o.Out)
	case <-m.Ended():
		return m.Wait()
	}
}

// Pick is the Instance of somebody who does not care which.
const Pick = -1

// choose returns what is forwarded, with ports that nobody else uses, and says so
// when they are not the usual ones.
func choose(instance int, out io.Writer) ([]ports.Service, error) {
	first, last := instance, instance
	if instance == Pick {
		first, last = 0, ports.Instances-1
	}
	var problem error
	for k := first; k <= last; k++ {
		list, err := services(k)
		if err != nil {
			return nil, err
		}
		if err := free(list); err != nil {
			if problem == nil {
				problem = err
			}
			continue
		}
		if problem != nil {
			fmt.Fprintf(out, "%v: taking the ports of instance %d\n", problem, k)
		}
		return list, nil
	}
	if instance == Pick {
		return nil, fmt.Errorf("no instance has its ports free, the first because of %w", problem)
	}
	return nil, fmt.Errorf("%w; without -instance a free one is taken", problem)
}

// services is what is forwarded: what this build serves after set-up.
func services(instance int) ([]ports.Service, error) {
	on, err := ports.Effective(nil, ports.InService)
	if err != nil {
		return nil, err
	}
	return ports.Slice(on, instance)
}

// free reports the first port that somebody else uses, by name, before QEMU
// reports it by number. Of ranges it keeps the first rtpPorts in a row that are
// free: programs that send and receive a little use ports of the RTP ranges too.
func free(services []ports.Service) error {
	for i := range services {
		s := &services[i]
		end := s.Last
		if s.Range() {
			s.Last = s.First + rtpPorts - 1
		}
		for {
			err := bindable(s)
			if err == nil {
				break
			}
			if int(s.Last)+rtpPorts > int(end) {
				return fmt.Errorf("forwarding %s (%s): %w", s.ID, s.Name, err)
			}
			s.First, s.Last = s.First+rtpPorts, s.Last+rtpPorts
		}
	}
	return nil
}

// bindable tries all ports of a service.
func bindable(s *ports.Service) error {
	for p := int(s.First); p <= int(s.Last); p++ {
		addr := net.JoinHostPort("127.0.0.1", fmt.Sprint(p))
		var c io.Closer
		var err error
		if s.Proto == ports.UDP {
			c, err = net.ListenPacket("udp", addr)
		} else {
			c, err = net.Listen("tcp", addr)
		}
		if err != nil {
			return err
		}
		_ = c.Close()
	}
	return nil
}

func forwards(services []ports.Service) (all []qemu.Forward) {
	for _, s := range services {
		for p := int(s.First); p <= int(s.Last); p++ {
			all = append(all, qemu.Forward{Proto: string(s.Proto), Host: uint16(p), Guest: uint16(p)})
		}
	}
	return all
}

func (o Options) disks(services []ports.Service) ([]qemu.Disk, error) {
	if err := os.MkdirAll(o.Dir, 0o755); err != nil {
		return nil, err
	}
	image, err := filepath.Abs(o.Image)
	if err != nil {
		return nil, err
	}
	disk, seed := filepath.Join(o.Dir, "disk.qcow2"), filepath.Join(o.Dir, "seed.iso")
	if _, err := os.Stat(disk); err != nil || !o.Keep {
		out, err := exec.Command("qemu-img", "create", "-q", "-f", "qcow2", "-b", image, "-F", "raw", disk, "4G").CombinedOutput()
		if err != nil {
			return nil, fmt.Errorf("making the disk: %w: %s", err, out)
		}
	}
	f, err := os.Create(seed)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	err = volume.WriteISO(f, "cidata", []volume.File{
		{Name: "meta-data", Data: []byte("instance-id: tryout\nlocal-hostname: ringfence\n")},
		{Name: "user-data", Data: []byte(userData(services))},
		{Name: "network-config", Data: []byte("version: 2\nethernets:\n  lan:\n    match: {name: \"e*\"}\n    dhcp4: true\n")},
	})
	if err != nil {
		return nil, err
	}
	return []qemu.Disk{{Path: disk, Format: "qcow2", Bus: qemu.Virtio}, {Path: seed, Format: "raw", Bus: qemu.Virtio, ReadOnly: true}}, nil
}

// userData makes the guest advertise the address its ports are forwarded from.
func userData(services []ports.Service) string {
	var b strings.Builder
	fmt.Fprintf(&b, "#cloud-config\nringfence:\n  public_address: %s\n  advertise_always: true\n  ports:\n", "127.0.0.1")
	for _, s := range services {
		fmt.Fprintf(&b, "    %s: %s\n", s.ID, s.Ports())
	}
	return b.String()
}

// pair is one "name=value" of the console's line for machines.
var pair = regexp.MustCompile(`(\w+)=(\S+)`)

// waitUp waits for that line and returns its pairs; meanwhile it says that it
// still waits.
func waitUp(ctx context.Context, m *qemu.Machine, out io.Writer) (map[string]string, error) {
	ctx, cancel := context.WithTimeout(ctx, bootTimeout)
	defer cancel()
	var line []string
	var err error
	up := make(chan struct{})
	go func() {
		defer close(up)
		line, err = m.Console.Wait(ctx, `ringfence: (?:ready|running) ([^\r\n]*)[\r\n]`)
	}()
	tick := time.NewTicker(10 * time.Second)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			fmt.Fprintf(out, "  %.0f s\n", time.Since(m.Started).Seconds())
		case <-up:
			if err != nil {
				return nil, err
			}
			said := map[string]string{}
			for _, kv := range pair.FindAllStringSubmatch(line[1], -1) {
				said[kv[1]] = kv[2]
			}
			return said, nil
		}
	}
}

// errStopped says that ctx ended before the guest was up.
var errStopped = errors.New("stopped")

// announce waits for the guest and prints how to reach it.
func announce(ctx context.Context, m *qemu.Machine, out io.Writer, console string, services []ports.Service) error {
	said, err := waitUp(ctx, m, out)
	if ctx.Err() != nil {
		return errStopped
	}
	if err != nil {
		return err
	}
	portal, _ := ports.Lookup(services, ports.Portal)
	sip, _ := ports.Lookup(services, ports.SIPUDP)
	url := "https://127.0.0.1:" + portal.Ports() + "/"
	if said["token"] != "" {
		url += "setup#token=" + said["token"]
	}
	fmt.Fprintf(out, "\nRingfence is up, %.1f s after power-on. Open\n\n  %s\n\n", time.Since(m.Started).Seconds(), url)
	if said["token"] != "" {
		fmt.Fprintf(out, "  one-time token       %s\n", said["token"])
	}
	fmt.Fprintf(out, "  certificate SHA-256  %s\n", said["fingerprint"])
	fmt.Fprintf(out, "  softphones           proxy 127.0.0.1:%s (UDP), account from the wizard\n", sip.Ports())
	fmt.Fprintf(out, "\nThe browser warns of the certificate: it is the guest's own, compare the SHA-256.\nForwarded from 127.0.0.1:")
	for _, s := range services {
		fmt.Fprintf(out, " %s %s/%s", s.ID, s.Ports(), s.Proto)
	}
	fmt.Fprintf(out, "\nIts console is in %s. Ctrl-C switches it off.\n", console)
	return nil
}

// shutDown presses the power button, and pulls the plug when that does not help.
func shutDown(m *qemu.Machine, out io.Writer) error {
	fmt.Fprintln(out, "\nSwitching off ...")
	if _, err := m.QMP("system_powerdown", nil); err != nil {
		return fmt.Errorf("pressing the power button: %w", err)
	}
	select {
	case <-m.Ended():
		fmt.Fprintln(out, "Ringfence is off.")
		return m.Wait()
	case <-time.After(offTimeout):
		return fmt.Errorf("the guest is on %s after its power button was pressed; the plug was pulled", offTimeout)
	}
}
