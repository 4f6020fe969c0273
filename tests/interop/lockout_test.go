package interop

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"ringfence/internal/ports"
	"ringfence/tests/apiclient"
	"ringfence/tests/netlab"
)

// fenceProcess is the real fence in a namespace.
type fenceProcess struct {
	ns   *netlab.Namespace
	run  string // folder of its socket
	args []string
	cmd  *exec.Cmd
}

// startFence runs the fence until the test ends.
func startFence(t *testing.T, ns *netlab.Namespace) *fenceProcess {
	t.Helper()
	dir, err := os.MkdirTemp("", "rf") // a socket's path has 108 bytes at most
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	bin := filepath.Join(dir, "fenced")
	build := exec.Command("go", "build", "-o", bin, "./cmd/fenced")
	build.Dir = "../.."
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("building fenced: %v: %s", err, out)
	}
	f := &fenceProcess{ns: ns, run: filepath.Join(dir, "run")}
	f.args = []string{bin, "-run", f.run, "-state", filepath.Join(dir, "state"), "-uid", fmt.Sprint(os.Getuid())}
	t.Cleanup(f.kill)
	f.start(t)
	return f
}

// start starts the fence, once more after kill.
func (f *fenceProcess) start(t *testing.T) {
	t.Helper()
	socket := filepath.Join(f.run, "fenced.sock")
	_ = os.Remove(socket) // that of the last one
	f.cmd = f.ns.Command(context.Background(), f.args[0], f.args[1:]...)
	if err := f.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		if _, err := os.Stat(socket); err == nil {
			return
		}
		if time.Now().After(end) {
			t.Fatal("the fence has no socket")
		}
	}
}

func (f *fenceProcess) kill() {
	_ = f.cmd.Process.Kill()
	_ = f.cmd.Wait()
}

// from dials with a source address inside the namespace.
func from(ns *netlab.Namespace, addr string) apiclient.Dial {
	return func(ctx context.Context, network, target string) (c net.Conn, err error) {
		err = ns.Do(func() error {
			d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(addr)}, Timeout: 2 * time.Second}
			d.SetMultipathTCP(false)
			c, err = d.DialContext(ctx, network, target)
			return err
		})
		return c, err
	}
}

// Who guesses passwords is shut out by the kernel: the source's web ports fall
// silent, its calls do not, and nobody else notices.
func TestFailedLogInsEndAtThePacketFilter(t *testing.T) {
	f := startFenced(t)
	p, phones, good, setup := f.pbx, f.outside, f.api, apiclient.DefaultSetup()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	portal := p.Addr(ports.Portal)
	reached := func(addr string) bool {
		c, err := from(phones, addr)(ctx, "tcp", portal.String())
		if err != nil {
			return false
		}
		c.Close()
		return true
	}
	if !reached("10.77.0.2") {
		t.Fatal("the portal is out of reach before anything happened")
	}
	tries := 0
	for ; tries < 20 && reached("10.77.0.2"); tries++ {
		one, end := context.WithTimeout(ctx, 3*time.Second)
		err := apiclient.New(p.Facts.Admin.URL, "", from(phones, "10.77.0.2")).Login(one, setup.Name, fmt.Sprint("guess ", tries))
		end()
		if err == nil {
			t.Fatal("a guess is right")
		}
		time.Sleep(100 * time.Millisecond)
	}
	t.Logf("silent after %d tries", tries)
	if reached("10.77.0.2") || tries < 5 {
		t.Errorf("after %d failed log-ins the portal answers: %v", tries, reached("10.77.0.2"))
	}
	if !reached("10.77.0.3") || good.Do(ctx, "GET", "/status", nil, nil) != nil {
		t.Error("another source is shut out too")
	}
	if !answersOptions(t, phones, "10.77.0.2:0", netip.AddrPortFrom(portal.Addr(), sipPort(t, good)), 3*time.Second) {
		t.Error("the ban of the portal took SIP away")
	}
}

// sipPort asks the API where SIP over UDP listens.
func sipPort(t *testing.T, c *apiclient.Client) uint16 {
	t.Helper()
	var list struct {
		Items []struct {
			ID    string
			First uint16
		}
	}
	if err := c.Do(t.Context(), "GET", "/ports", nil, &list); err != nil {
		t.Fatal(err)
	}
	for _, x := range list.Items {
		if x.ID == string(ports.SIPUDP) {
			return x.First
		}
	}
	t.Fatal("no SIP over UDP")
	return 0
}

func answersOptions(t *testing.T, ns *netlab.Namespace, local string, server netip.AddrPort, wait time.Duration) bool {
	t.Helper()
	c, err := ns.ListenUDP(netip.MustParseAddrPort(local))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	m := fmt.Sprintf("OPTIONS sip:%s SIP/2.0\r\nVia: SIP/2.0/UDP %s;rport;branch=z9hG4bKo\r\nMax-Forwards: 70\r\nFrom: <sip:a@pbx.example>;tag=f\r\nTo: <sip:pbx.example>\r\nCall-ID: o\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n", server, c.LocalAddr())
	if _, err := c.WriteToUDPAddrPort([]byte(m), server); err != nil {
		t.Fatal(err)
	}
	if err := c.SetReadDeadline(time.Now().Add(wait)); err != nil {
		t.Fatal(err)
	}
	_, err = c.Read(make([]byte, 2048))
	return err == nil
}
