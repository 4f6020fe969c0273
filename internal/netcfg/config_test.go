package netcfg

import (
	"encoding/json"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ in, want string }{
		"standard":          {`{"interfaces":[{"dhcp4":true}]}`, ""},
		"static":            {`{"hostname":"pbx.example","interfaces":[{"mac":"52:54:00:12:34:56","addresses":["192.0.2.10/24","2001:db8::10/64"],"routes":[{"to":"0.0.0.0/0","via":"192.0.2.1"},{"to":"::/0","via":"fe80::1","metric":50}],"nameservers":["192.0.2.1","2001:db8::53"],"search":["example.org"],"mtu":1460,"accept_ra":false}]}`, ""},
		"pattern":           {`{"interfaces":[{"name":"en*","dhcp4":true},{"name":"*"}]}`, ""},
		"none":              {`{"interfaces":null}`, ""},
		"point to point":    {`{"interfaces":[{"addresses":["192.0.2.0/31","192.0.2.1/32"]}]}`, ""},
		"no json":           {`x`, "invalid"},
		"two values":        {`{"interfaces":[]}{}`, "more than one"},
		"unknown field":     {`{"interfaces":[{"dhcp":true}]}`, "unknown field"},
		"bad host name":     {`{"hostname":"a b","interfaces":[]}`, "RFC 1123"},
		"host name newline": {`{"hostname":"a\nnameserver 192.0.2.66","interfaces":[]}`, "RFC 1123"},
		"bad mac":           {`{"interfaces":[{"mac":"52:54:00"}]}`, "mac"},
		"upper-case mac":    {`{"interfaces":[{"mac":"52:54:00:AB:CD:EF"}]}`, "mac"},
		"path as name":      {`{"interfaces":[{"name":"../all"}]}`, "no interface name"},
		"long name":         {`{"interfaces":[{"name":"abcdefghijklmnop"}]}`, "no interface name"},
		"small mtu":         {`{"interfaces":[{"mtu":68}]}`, "mtu"},
		"large mtu":         {`{"interfaces":[{"mtu":65535}]}`, "mtu"},
		"network address":   {`{"interfaces":[{"addresses":["192.0.2.0/24"]}]}`, "network's own"},
		"broadcast address": {`{"interfaces":[{"addresses":["192.0.2.255/24"]}]}`, "broadcast"},
		"loopback":          {`{"interfaces":[{"addresses":["127.0.0.1/8"]}]}`, "cannot belong"},
		"multicast":         {`{"interfaces":[{"addresses":["ff02::1/64"]}]}`, "cannot belong"},
		"twice":             {`{"interfaces":[{"addresses":["192.0.2.1/24","192.0.2.1/25"]}]}`, "twice"},
		"mapped":            {`{"interfaces":[{"addresses":["::ffff:192.0.2.1/120"]}]}`, "interfaces[0].addresses[0]: must be"},
		"route host bits":   {`{"interfaces":[{"routes":[{"to":"10.0.0.1/8","via":"192.0.2.1"}]}]}`, "host bits"},
		"route families":    {`{"interfaces":[{"routes":[{"to":"::/0","via":"192.0.2.1"}]}]}`, "families"},
		"route nowhere":     {`{"interfaces":[{"routes":[{"to":"10.0.0.0/8","via":"0.0.0.0"}]}]}`, "no router"},
		"route empty":       {`{"interfaces":[{"routes":[{}]}]}`, "interfaces[0].routes[0].to: must be"},
		"route metric":      {`{"interfaces":[{"routes":[{"to":"10.0.0.0/8","via":"192.0.2.1","metric":-1}]}]}`, "interfaces[0].routes[0].metric"},
		"name server":       {`{"interfaces":[{"nameservers":["224.0.0.1"]}]}`, "interfaces[0].nameservers[0]: must be the address"},
		"search":            {`{"interfaces":[{"search":["a b"]}]}`, "interfaces[0].search[0]: is no domain name"},
		"many interfaces":   {`{"interfaces":[` + strings.Repeat(`{},`, MaxInterfaces) + `{}]}`, "at most"},
		"vlan":              {`{"interfaces":[{"name":"eth0","accept_ra":false},{"vlan":20,"link":"eth0","addresses":["192.0.2.10/24"]},{"vlan":20,"link":"52:54:00:12:34:56","name":"voice","zone":"voice","dhcp6":true}]}`, ""},
		"vlan 0":            {`{"interfaces":[{"link":"eth0","dhcp4":true}]}`, "interfaces[0].vlan: must be the number"},
		"vlan 4095":         {`{"interfaces":[{"vlan":4095,"link":"eth0","dhcp4":true}]}`, "interfaces[0].vlan: must be within 1..4094"},
		"vlan twice":        {`{"interfaces":[{"vlan":7,"link":"eth0"},{"vlan":7,"link":"eth0"}]}`, "interfaces[1].vlan: VLAN 7"},
		"vlan of nothing":   {`{"interfaces":[{"vlan":7}]}`, "interfaces[0].link"},
		"vlan of a pattern": {`{"interfaces":[{"vlan":7,"link":"eth*"}]}`, "interfaces[0].link"},
		"vlan with address": {`{"interfaces":[{"vlan":7,"link":"eth0","mac":"52:54:00:12:34:56"}]}`, "interfaces[0].mac"},
		"vlan, long name":   {`{"interfaces":[{"vlan":4094,"link":"enp1s0f0np0"}]}`, "interfaces[0].name: must be given"},
		"same twice":        {`{"interfaces":[{"name":"eth0"},{"name":"eth0","dhcp4":true}]}`, "interfaces[1].name"},
		"limit":             {`{"interfaces":[{"name":"eth0","limit":100},{"vlan":20,"link":"eth0","zone":"voice","limit":10000000}]}`, ""},
		"low limit":         {`{"interfaces":[{"limit":99}]}`, "interfaces[0].limit"},
		"high limit":        {`{"interfaces":[{"limit":10000001}]}`, "interfaces[0].limit"},
		"negative limit":    {`{"interfaces":[{"limit":-1}]}`, "interfaces[0].limit"},
		"zone":              {`{"interfaces":[{"zone":"dmz"}]}`, "interfaces[0].zone"},
		"trunk with a way":  {`{"interfaces":[{"name":"eth0"},{"name":"eth1","zone":"trunk","addresses":["192.0.2.2/24"],"routes":[{"to":"0.0.0.0/0","via":"192.0.2.1"}]}]}`, "interfaces[1].routes[0].to: this interface is to have no default route"},
		"time servers":      {`{"interfaces":[],"ntp":["192.0.2.1","2001:db8::123","ntp.example","2.ntp.example"]}`, ""},
		"time server: name": {`{"interfaces":[],"ntp":["ntp.example","a b"]}`, "ntp[1]: must be the address or the name"},
		"time server: port": {`{"interfaces":[],"ntp":["192.0.2.1:123"]}`, "ntp[0]"},
		"time server: 1.2":  {`{"interfaces":[],"ntp":["192.0.2"]}`, "ntp[0]"},
		"time server: zone": {`{"interfaces":[],"ntp":["fe80::1%eth0"]}`, "ntp[0]"},
		"time server: all":  {`{"interfaces":[],"ntp":["224.0.1.1"]}`, "ntp[0]"},
		"time server: self": {`{"interfaces":[],"ntp":["127.0.0.1"]}`, "ntp[0]"},
		"time server: none": {`{"interfaces":[],"ntp":[""]}`, "ntp[0]"},
		"time server again": {`{"interfaces":[],"ntp":["a.example","a.example"]}`, "ntp[1]: a.example appears twice"},
		"many time servers": {`{"interfaces":[],"ntp":["a","b","c","d","e","f","g","h","i"]}`, "ntp: has 9 entries"},
		"many addresses":    {`{"interfaces":[{"nameservers":["192.0.2.1"` + strings.Repeat(`,"192.0.2.1"`, MaxServers) + `]}]}`, "interfaces[0].nameservers: has 9 entries"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := Parse([]byte(c.in))
			if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Fatalf("error is %v, want one about %q", err, c.want)
			}
			if err != nil {
				return
			}
			raw, err := json.Marshal(got)
			if err != nil {
				t.Fatal(err)
			}
			if again, err := Parse(raw); err != nil || !reflect.DeepEqual(again, got) {
				t.Errorf("%s became %+v, %v", raw, again, err)
			}
		})
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"hostname":"a","interfaces":[{"mac":"52:54:00:12:34:56","dhcp4":true,"addresses":["192.0.2.10/24"],"routes":[{"to":"0.0.0.0/0","via":"192.0.2.1"}]}]}`))
	f.Add([]byte(`{"interfaces":[{"addresses":["::/0","0.0.0.0/0","1.2.3.4/33"]}]}`))
	f.Fuzz(func(t *testing.T, in []byte) {
		c, err := Parse(in)
		if err != nil {
			return
		}
		for _, i := range c.Interfaces {
			if len(i.Addresses) > MaxAddresses || strings.ContainsAny(i.Name+strings.Join(i.Search, ""), "/\n ") {
				t.Errorf("passed: %+v", i)
			}
		}
	})
}

func TestRead(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "network.json")
	got, err := Read(path)
	if err != nil || !reflect.DeepEqual(got, Standard()) {
		t.Errorf("without a file: %+v, %v", got, err)
	}
	if err := os.WriteFile(path, []byte(`{"interfaces":[{"name":"eth1"}]}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err = Read(path); err != nil || got.Interfaces[0].Name != "eth1" {
		t.Errorf("%+v, %v", got, err)
	}
	if err := os.WriteFile(path, []byte(`{`+strings.Repeat(" ", maxFile)+`}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err = Read(path); err == nil {
		t.Error("a huge file was read")
	}
	if err := Standard().Validate(); err != nil {
		t.Error(err)
	}
}

func TestFind(t *testing.T) {
	t.Parallel()
	const mac = "52:54:00:12:34:56"
	c := Config{Interfaces: []Interface{{MAC: mac, Name: "eth9"}, {MAC: mac, MTU: 1}, {Name: "wan", MTU: 2}, {Name: "en*", MTU: 3}}}
	for name, want := range map[string]int{"eth0": 1, "eth9": 0} {
		if got, ok := c.find(name, mac); !ok || got.MTU != want {
			t.Errorf("%s with the address: %+v %v", name, got, ok)
		}
	}
	for name, want := range map[string]int{"wan": 2, "enp1s0": 3, "en": 3} {
		if got, ok := c.find(name, "00:00:00:00:00:01"); !ok || got.MTU != want {
			t.Errorf("%s: %+v %v", name, got, ok)
		}
	}
	if got, ok := c.find("eth0", "00:00:00:00:00:01"); ok {
		t.Errorf("a stranger matched %+v", got)
	}
	if _, ok := Standard().find("anything", mac); !ok {
		t.Error("the standard configuration does not match")
	}
}

func TestResolvConf(t *testing.T) {
	t.Parallel()
	addrs := func(list ...string) (out []netip.Addr) {
		for _, s := range list {
			out = append(out, netip.MustParseAddr(s))
		}
		return out
	}
	got := resolvConf([]resolver{
		{addrs("192.0.2.1", "2001:db8::53"), []string{"a.example"}},
		{addrs("192.0.2.1", "192.0.2.2", "192.0.2.3"), []string{"b.example", "a.example"}},
	})
	want := "nameserver 192.0.2.1\nnameserver 2001:db8::53\nnameserver 192.0.2.2\nsearch a.example b.example\noptions timeout:2 attempts:2\n"
	if got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
	path := filepath.Join(t.TempDir(), "resolv.conf")
	for range 2 {
		if err := writeShared(path, want); err != nil {
			t.Fatal(err)
		}
	}
	raw, err := os.ReadFile(path)
	if err != nil || string(raw) != want {
		t.Errorf("%q %v", raw, err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o644 {
		t.Errorf("%v %v", info, err)
	}
	if list, _ := os.ReadDir(filepath.Dir(path)); len(list) != 1 {
		t.Errorf("left over: %v", list)
	}
	if err := writeShared(filepath.Join(path, "no", "such"), want); err == nil {
		t.Error("no error for a folder that is not there")
	}
}

func TestSysctls(t *testing.T) {
	t.Parallel()
	s := Sysctls{Root: t.TempDir()}
	dir := filepath.Join(s.Root, "net/ipv4")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	file := func(name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	read := func(name string) string {
		raw, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		return string(raw)
	}
	file("ip_forward", "1\n")
	file("ip_local_reserved_ports", "8080,9000-9010\n")
	if err := s.Set(Protective()...); err != nil { // most of them are missing here
		t.Fatal(err)
	}
	if got := read("ip_forward"); got != "0" {
		t.Errorf("ip_forward is %q", got)
	}
	if _, err := os.Stat(filepath.Join(dir, "tcp_syncookies")); err == nil {
		t.Error("a parameter was made that the kernel does not have")
	}
	others, err := s.Reserved()
	if err != nil || !reflect.DeepEqual(others, []Span{{8080, 8080}, {9000, 9010}}) {
		t.Errorf("reserved: %v %v", others, err)
	}
	if err := s.Reserve(others, Span{45000, 64999}); err != nil {
		t.Fatal(err)
	}
	if got := read("ip_local_reserved_ports"); got != "8080-8080,9000-9010,45000-64999" {
		t.Errorf("reserved %q", got)
	}
	if err := s.Reserve(nil); err != nil || read("ip_local_reserved_ports") != "\n" {
		t.Errorf("cleared to %q, %v", read("ip_local_reserved_ports"), err)
	}
	file("ip_local_reserved_ports", "x")
	if _, err := s.Reserved(); err == nil {
		t.Error("nonsense was read")
	}
	if os.Geteuid() != 0 {
		if err := os.Chmod(filepath.Join(dir, "ip_forward"), 0); err != nil {
			t.Fatal(err)
		}
		if err := s.Set(Setting{"net/ipv4/ip_forward", "0"}); err == nil {
			t.Error("a refused write is no error")
		}
	}
}

func TestCheckReach(t *testing.T) {
	t.Parallel()
	no := false
	for what, c := range map[string]Config{
		"nothing":             {},
		"a trunk alone":       {Interfaces: []Interface{{Zone: ZoneTrunk, DHCP4: true}}},
		"no address anywhere": {Interfaces: []Interface{{Name: "eth0", AcceptRA: &no}}},
	} {
		if err := c.CheckReach(); err == nil {
			t.Errorf("%s: passed", what)
		}
	}
	if err := Standard().CheckReach(); err != nil {
		t.Error(err)
	}
}
