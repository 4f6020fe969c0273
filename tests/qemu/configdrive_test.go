package qemu

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestConfigDrive boots with OpenStack's config drive as a CD: name, address
// and invitation are those of its documents.
func TestConfigDrive(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("genisoimage"); err != nil {
		t.Skip("genisoimage is not installed (make deps)")
	}
	dir := folder(t)
	latest := filepath.Join(dir, "drive/openstack/latest")
	if err := os.MkdirAll(latest, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"meta_data.json": `{"uuid": "83679162-1378-4288-a2d4-70e13ec132aa", "hostname": "stack.novalocal", "name": "stack", "launch_index": 0}`,
		"user_data":      preset,
		"network_data.json": fmt.Sprintf(`{"links": [{"id": "tap1", "type": "ovs", "ethernet_mac_address": %q, "mtu": 1450}],
			"networks": [{"id": "n0", "type": "ipv4", "link": "tap1", "ip_address": %q, "netmask": "255.255.255.0",
			"routes": [{"network": "0.0.0.0", "netmask": "0.0.0.0", "gateway": %q}]}], "services": []}`, guestMAC, guest4, tester4),
	} {
		if err := os.WriteFile(filepath.Join(latest, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	image := filepath.Join(dir, "drive.iso")
	if out, err := exec.Command("genisoimage", "-quiet", "-J", "-r", "-V", "config-2", "-o", image, filepath.Join(dir, "drive")).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	vm := Boot(t, func(o *options) {
		o.noSeed = true
		o.args = append(o.args, "-drive", "if=none,id=cd,format=raw,readonly=on,file="+image, "-device", "ide-cd,bus=ide.1,drive=cd")
	})
	if vm.Token != invite || !strings.Contains(vm.Console.String(), "instance=83679162-1378-4288-a2d4-70e13ec132aa") {
		t.Errorf("the console invites with %q", vm.Token)
	}
	vm.Setup()
	if s := vm.status(t); s.Cloud != "none" || s.Hostname != "stack" || len(s.Notices) != 0 {
		t.Errorf("status %+v", s)
	}
}
