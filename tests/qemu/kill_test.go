package qemu

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"ringfence/appliance/slot"
	"ringfence/internal/ports"
	"ringfence/internal/siptest"
)

// A service that is killed comes back by itself. Without pbxd phones stay
// registered; without fenced calls go on and the packet filter stays.
func TestKilledServices(t *testing.T) {
	t.Parallel()
	needSquashfs(t)
	disk := WithSlot(t, slot.A, killerRoot(t), 0)
	var line string
	vm := Boot(t, Disk(disk), Before(func(vm *VM) {
		line = filepath.Join(vm.dir, "kill.sock")
		vm.options.args = append(vm.options.args, "-chardev", "socket,id=kill,server=on,wait=off,path="+line, "-serial", "chardev:kill")
	}))
	vm.Setup()
	phones := map[string]*siptest.Phone{
		"101": vm.Phone("101", 440), "102": vm.Phone("102", 660), "103": vm.Phone("103", 880),
		"104": vm.Phone("104", 1000, func(c *siptest.Config) { c.AutoAnswer = true }),
	}
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	for number, p := range phones {
		if err := p.Register(ctx); err != nil {
			t.Fatalf("registering %s: %v", number, err)
		}
	}
	c, err := net.Dial("unix", line)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	k := &killing{conn: c, in: bufio.NewScanner(c)}
	time.Sleep(1500 * time.Millisecond) // bindings are written behind, within a second
	t.Run("pbxd", func(t *testing.T) { killPBX(ctx, t, vm, k, phones) })
	t.Run("fenced", func(t *testing.T) { killFence(ctx, t, vm, k, phones) })
}

// killing speaks to the guest's killer.
type killing struct {
	conn net.Conn
	in   *bufio.Scanner
}

// kill returns when the service is dead.
func (k *killing) kill(name string) error {
	if err := k.conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		return err
	}
	if _, err := fmt.Fprintf(k.conn, "%s\n", name); err != nil {
		return err
	}
	for k.in.Scan() { // the terminal echoes, too
		if said, ok := strings.CutPrefix(k.in.Text(), "killer: "); ok {
			if strings.TrimSpace(said) != "killed "+name {
				return fmt.Errorf("killing %s: %s", name, said)
			}
			return nil
		}
	}
	return fmt.Errorf("killing %s: %w", name, k.in.Err())
}

func killPBX(ctx context.Context, t *testing.T, vm *VM, k *killing, phones map[string]*siptest.Phone) {
	start := time.Now()
	if err := k.kill("pbxd"); err != nil {
		t.Fatal(err)
	}
	if err := vm.untilOPTIONS(30 * time.Second); err != nil {
		t.Fatal(err)
	}
	gap := time.Since(start)
	t.Logf("OPTIONS answered %.1f s after pbxd was killed", gap.Seconds())
	if gap > 5*time.Second {
		t.Errorf("OPTIONS answered %.1f s after pbxd was killed, want at most 5", gap.Seconds())
	}
	out, in := connect(ctx, t, phones["101"], phones["102"], "102")
	listen(ctx, t, out, 660)
	listen(ctx, t, in, 440)
	if err := out.HangUp(); err != nil {
		t.Fatal(err)
	}
	if err := in.Wait(ctx, siptest.Ended); err != nil {
		t.Fatal(err)
	}
}

func killFence(ctx context.Context, t *testing.T, vm *VM, k *killing, phones map[string]*siptest.Phone) {
	out, in := connect(ctx, t, phones["101"], phones["102"], "102")
	listen(ctx, t, out, 660)
	listen(ctx, t, in, 440)
	if err := k.kill("fenced"); err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	out.Forget()
	in.Forget()
	for _, port := range []uint16{53, 123, 20000} {
		got, err := vm.UDPProbe(tester4, netip.AddrPortFrom(netip.MustParseAddr(guest4), port))
		if err != nil {
			t.Fatal(err)
		}
		if got != Silent {
			t.Errorf("udp port %d without fenced: %s", port, got)
		}
	}
	h := listen(ctx, t, out, 660)
	listen(ctx, t, in, 440)
	t.Logf("%.1f s without fenced: %d packets heard, %d lost", time.Since(start).Seconds(), h.Packets, h.Lost)
	var status *siptest.StatusError
	for deadline := start.Add(30 * time.Second); ; time.Sleep(300 * time.Millisecond) {
		second, err := phones["103"].Call(ctx, "104")
		if err != nil {
			t.Fatal(err)
		}
		if err = second.Wait(ctx, siptest.Answered); err == nil {
			t.Logf("a new call is answered %.1f s after fenced was killed", time.Since(start).Seconds())
			finish(ctx, t, phones["104"], second)
			break
		}
		if !errors.As(err, &status) || status.Code != 503 || time.Now().After(deadline) {
			t.Fatalf("a new call %.1f s after fenced was killed: %v", time.Since(start).Seconds(), err)
		}
	}
	if err := in.HangUp(); err != nil {
		t.Fatal(err)
	}
	if err := out.Wait(ctx, siptest.Ended); err != nil {
		t.Fatal(err)
	}
}

// finish listens at both sides of a call that b answered, and ends it.
func finish(ctx context.Context, t *testing.T, b *siptest.Phone, out *siptest.Call) {
	t.Helper()
	in, err := b.WaitCall(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for in.State() == siptest.Ended { // one that was refused in the gap
		if in, err = b.WaitCall(ctx); err != nil {
			t.Fatal(err)
		}
	}
	listen(ctx, t, out, 1000)
	listen(ctx, t, in, 880)
	if err := out.HangUp(); err != nil {
		t.Fatal(err)
	}
	if err := in.Wait(ctx, siptest.Ended); err != nil {
		t.Fatal(err)
	}
}

// listen demands two seconds of one tone and no other within ten.
func listen(ctx context.Context, t *testing.T, c *siptest.Call, tone float64) siptest.Heard {
	t.Helper()
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	h, err := c.Hear(ctx, 2*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	if s := h.Share(tone); s < 0.9 {
		t.Errorf("%g Hz has %.3f of the energy: %s", tone, s, h)
	}
	return h
}

// connect has a call b, which rings and answers.
func connect(ctx context.Context, t *testing.T, a, b *siptest.Phone, number string) (out, in *siptest.Call) {
	t.Helper()
	out, err := a.Call(ctx, number)
	if err != nil {
		t.Fatal(err)
	}
	in, err = b.WaitCall(ctx)
	if err != nil {
		t.Fatalf("%v; the caller is %s, %d", err, out.State(), out.Status())
	}
	if err := in.Ring(); err != nil {
		t.Fatal(err)
	}
	if err := in.Answer(); err != nil {
		t.Fatal(err)
	}
	if err := out.Wait(ctx, siptest.Answered); err != nil {
		t.Fatal(err)
	}
	return out, in
}

// untilOPTIONS sends OPTIONS ten times a second until one is answered.
func (vm *VM) untilOPTIONS(limit time.Duration) error {
	udp, _ := ports.Lookup(ports.Table(), ports.SIPUDP)
	c, err := vm.NS.ListenUDP(netip.MustParseAddrPort(tester4 + ":0"))
	if err != nil {
		return err
	}
	defer c.Close()
	for deadline := time.Now().Add(limit); time.Now().Before(deadline); {
		if probeSIP(c, netip.AddrPortFrom(netip.MustParseAddr(guest4), udp.First), 100*time.Millisecond) {
			return nil
		}
	}
	return fmt.Errorf("OPTIONS is not answered within %s", limit)
}
