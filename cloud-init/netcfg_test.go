package cloudinit

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"

	"ringfence/internal/netcfg"
)

func TestNetworkConfigForTheHost(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, doc, want, problem string }{
		{"dhcp", "version: 2\nethernets: {eth0: {dhcp4: true}}\n",
			`{"hostname":"pbx","interfaces":[{"name":"eth0","dhcp4":true}]}`, ""},
		{"match", "version: 2\nethernets: {lan: {match: {name: \"e*\"}, dhcp4: true}}\n",
			`{"hostname":"pbx","interfaces":[{"name":"e*","dhcp4":true}]}`, ""},
		{"static", "version: 2\nethernets: {lan: {match: {macaddress: \"52:54:00:00:00:01\"}, addresses: [192.0.2.9/24], gateway4: 192.0.2.1, nameservers: {addresses: [192.0.2.53]}}}\n",
			`{"hostname":"pbx","interfaces":[{"mac":"52:54:00:00:00:01","addresses":["192.0.2.9/24"],"routes":[{"to":"0.0.0.0/0","via":"192.0.2.1"}],"nameservers":["192.0.2.53"]}]}`, ""},
		{"dhcp6", "version: 2\nethernets: {eth0: {dhcp6: true}}\n",
			`{"hostname":"pbx","interfaces":[{"name":"eth0","dhcp6":true,"accept_ra":true}]}`, ""},
		{"vlan", "version: 2\nethernets: {eth0: {dhcp4: true}}\nvlans: {v: {id: 7, link: eth0}}\n",
			`{"hostname":"pbx","interfaces":[{"name":"eth0","dhcp4":true},{"name":"v","vlan":7,"link":"eth0"}]}`, ""},
		{"vlan by address", "version: 2\nethernets: {lan: {match: {macaddress: \"52:54:00:00:00:01\"}}}\nvlans: {voice: {id: 7, link: lan, dhcp4: true}}\n",
			`{"hostname":"pbx","interfaces":[{"mac":"52:54:00:00:00:01"},{"name":"voice","vlan":7,"link":"52:54:00:00:00:01","dhcp4":true}]}`, ""},
		{"driver", "version: 2\nethernets: {a: {match: {driver: virtio_net}, dhcp4: true}}\n", "", "a: interfaces cannot be matched by driver alone"},
		{"pattern", "version: 2\nethernets: {a: {match: {name: \"e?h*\"}, dhcp4: true}}\n", "", "a: a name may have one wildcard"},
		{"broadcast", "version: 2\nethernets: {eth0: {addresses: [192.0.2.255/24]}}\n", "", "192.0.2.255/24 is the network's own or its broadcast address"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			seed, problems := Parse(Documents{NetworkConfig: []byte(c.doc)})
			if seed.Network == nil {
				t.Fatal(problems)
			}
			cfg, problems, ok := seed.Network.Config("pbx")
			if ok != (c.want != "") {
				t.Errorf("usable: %v", ok)
			}
			if text := fmt.Sprint(problems); (c.problem == "") != (len(problems) == 0) || !strings.Contains(text, c.problem) {
				t.Errorf("problems %s, want %q", text, c.problem)
			}
			raw, err := json.Marshal(cfg)
			if err != nil {
				t.Fatal(err)
			}
			if !ok {
				return
			}
			if string(raw) != c.want {
				t.Errorf("got  %s\nwant %s", raw, c.want)
			}
			if _, err := netcfg.Parse(raw); err != nil {
				t.Errorf("its reader refuses it: %v", err)
			}
		})
	}
}

// TestSeedsOfOthersWork takes the documents that hypervisors write all the way.
func TestSeedsOfOthersWork(t *testing.T) {
	t.Parallel()
	raw, err := os.ReadFile("testdata/proxmox/network-config")
	if err != nil {
		t.Fatal(err)
	}
	seed, _ := Parse(Documents{NetworkConfig: raw})
	cfg, problems, ok := seed.Network.Config("")
	if !ok || len(problems) > 0 || len(cfg.Interfaces) != 2 {
		t.Errorf("got %+v, %v", cfg, problems)
	}
}
