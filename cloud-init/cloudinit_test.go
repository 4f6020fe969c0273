package cloudinit

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// TestGolden parses testdata/NAME/{meta-data,user-data,network-config} and
// compares seed and problems with testdata/NAME/want.
func TestGolden(t *testing.T) {
	t.Parallel()
	dirs, err := filepath.Glob("testdata/*")
	if err != nil || len(dirs) == 0 {
		t.Fatalf("no cases: %v", err)
	}
	for _, dir := range dirs {
		if filepath.Base(dir) == "fuzz" {
			continue
		}
		t.Run(filepath.Base(dir), func(t *testing.T) {
			t.Parallel()
			read := func(name string) []byte {
				data, err := os.ReadFile(filepath.Join(dir, name))
				if err != nil && !os.IsNotExist(err) {
					t.Fatal(err)
				}
				return data
			}
			docs := Documents{MetaData: read(MetaData), UserData: read(UserData), NetworkConfig: read(NetworkConfig)}
			if strings.HasPrefix(filepath.Base(dir), "openstack") {
				docs = Documents{MetaData: read(openStackMeta), UserData: read(openStackUser), NetworkConfig: read(openStackNetwork), OpenStack: true}
			}
			seed, problems := Parse(docs)
			var got bytes.Buffer
			enc := json.NewEncoder(&got)
			enc.SetIndent("", "  ")
			if err := enc.Encode(seed); err != nil {
				t.Fatal(err)
			}
			for _, p := range problems {
				mark := "error"
				if p.Warning {
					mark = "warning"
				}
				fmt.Fprintf(&got, "%s: %s\n", mark, p)
			}
			want := filepath.Join(dir, "want")
			if *update {
				if err := os.WriteFile(want, got.Bytes(), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			if text := string(read("want")); text != got.String() {
				t.Errorf("got\n%s\nwant\n%s", got.String(), text)
			}
		})
	}
}

const goodAnswers = `#cloud-config
ringfence:
  domain: pbx.example.org
  extension_first: "100"
  extension_last: "199"
`

// TestUserDataRefusals names, for each bad document, the text that has to be
// among the problems; nothing of the document may be used then.
func TestUserDataRefusals(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, doc, want string }{
		{"script", "#!/bin/sh\nreboot\n", "user-data line 1: is not a cloud-config document: its first line must be #cloud-config"},
		{"not yaml", "#cloud-config\na: [\n", "user-data: is not YAML: "},
		{"binary", "#cloud-config\n\xff\xfe", "user-data: is not UTF-8 text"},
		{"two documents", "#cloud-config\na: 1\n---\nb: 2\n", "user-data: holds more than one YAML document"},
		{"large", "#cloud-config\n#" + strings.Repeat("x", MaxDocument), "user-data: is larger than 65536 bytes"},
		{"list", "#cloud-config\n- a\n", "user-data line 2: must be a mapping of keys to values"},
		{"unknown key", goodAnswers + "  domian: x\n", "user-data line 6: ringfence.domian: is not a key of this section"},
		{"twice", goodAnswers + "  domain: x\n", "user-data line 6: ringfence.domain: appears twice"},
		{"alias", "#cloud-config\nhostname: &a pbx\nringfence:\n  domain: *a\n", "user-data line 4: ringfence.domain: uses a YAML anchor or alias"},
		{"merge", "#cloud-config\nringfence:\n  <<: {domain: x}\n", "user-data line 3: ringfence: has a key that is not a plain word"},
		{"hostname", "#cloud-config\nhostname: -x-\n", "user-data line 2: hostname: has a part that begins or ends with a hyphen"},
		{"section", "#cloud-config\nringfence: yes\n", "user-data line 2: ringfence: must be a mapping of keys to values"},
		{"short token", goodAnswers + "  token: abc\n", "ringfence.token: must have at least 26 characters, 128 random bits"},
		{"token letters", goodAnswers + "  token: " + strings.Repeat("ä", 30) + "\n", "ringfence.token: may only hold letters, digits, - and _"},
		{"token hash", goodAnswers + "  token_sha256: abc\n", "ringfence.token_sha256: must be 64 hexadecimal digits"},
		{"both tokens", goodAnswers + "  token: " + strings.Repeat("a", 26) + "\n  token_sha256: " + strings.Repeat("0", 64) + "\n", "ringfence: has both token and token_sha256"},
		{"range", "#cloud-config\nringfence:\n  domain: a.b\n  extension_first: 200\n  extension_last: 100\n", "ringfence.extension_last: must not be lower than the first extension"},
		{"no range", "#cloud-config\nringfence:\n  domain: a.b\n", "ringfence.extension_first: must not be empty"},
		{"domain", "#cloud-config\nringfence:\n  domain: A_B\n  extension_first: 100\n  extension_last: 200\n", "ringfence.domain: must be written in lower case"},
		{"extensions alone", "#cloud-config\nringfence:\n  extensions: 3\n", "ringfence: extensions need domain, extension_first and extension_last"},
		{"too many", goodAnswers + "  extensions: 101\n", "ringfence: extensions do not fit the range 100 to 199"},
		{"negative", goodAnswers + "  extensions: -1\n", "ringfence.extensions: must be a number from 0 to 1000"},
		{"outside", goodAnswers + "  extensions: [101, 300]\n", "ringfence.extensions[1].number: is outside the extension range 100 to 199"},
		{"same number", goodAnswers + "  extensions: [101, 101]\n", "ringfence.extensions[1]: number appears twice"},
		{"address", goodAnswers + "  public_address: example.org\n", "ringfence.public_address: must be an IP address"},
		{"advertise", goodAnswers + "  advertise_always: maybe\n", "ringfence.advertise_always: must be true or false"},
		{"advertise alone", goodAnswers + "  advertise_always: true\n", "ringfence.public_address: is needed when it is to be advertised to everybody"},
		{"no service", goodAnswers + "  ports: {telnet: 23}\n", "ringfence.ports.telnet: is no service of the port table"},
		{"port text", goodAnswers + "  ports: {portal: web}\n", "ringfence.ports.portal: must be on, off, a port or a range of ports"},
		{"low port", goodAnswers + "  ports: {portal: 443}\n", "ringfence.ports: service portal: port 443 is below 1024"},
		{"administrator", goodAnswers + "  administrator: {name: Boss}\n", "ringfence.administrator.name: must be written in lower case"},
		{"no password", goodAnswers + "  administrator: {name: boss}\n", "ringfence.administrator: password is missing"},
		{"escape", goodAnswers + "  name: \"a\\e[2Jb\"\n", "ringfence.name: holds a control character"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			seed, problems := Parse(Documents{UserData: []byte(c.doc)})
			found := false
			for _, p := range problems {
				found = found || strings.Contains(p.String(), c.want)
			}
			if !found {
				t.Errorf("got %v, want %q", problems, c.want)
			}
			if seed.Answers != nil || seed.Hostname != "" {
				t.Errorf("a refused document was used: %+v", seed)
			}
		})
	}
}

func TestNetworkRefusals(t *testing.T) {
	t.Parallel()
	v2 := func(body string) string { return "version: 2\nethernets:\n  lan:\n" + body }
	for _, c := range []struct{ name, doc, want string }{
		{"no version", "ethernets: {}\n", "version is missing"},
		{"version", "version: 3\n", "version: must be a number from 1 to 2"},
		{"wifis", "version: 2\nwifis: {}\n", "wifis: is not a key of this section"},
		{"unknown", v2("    dhcp: true\n"), "network-config line 4: ethernets.lan.dhcp: is not a key of this section"},
		{"no length", v2("    addresses: [192.0.2.1]\n"), "ethernets.lan.addresses[0]: must be an IP address with its prefix length"},
		{"multicast", v2("    addresses: [224.0.0.1/24]\n"), "ethernets.lan.addresses[0]: is not an address a host can have"},
		{"no list", v2("    addresses: 192.0.2.1/24\n"), "ethernets.lan.addresses: must be a list"},
		{"gateway", v2("    gateway4: here\n"), "ethernets.lan.gateway4: must be an IP address"},
		{"route", v2("    routes: [{to: default}]\n"), "ethernets.lan.routes[0]: needs to and via"},
		{"families", v2("    routes: [{to: 192.0.2.0/24, via: \"2001:db8::1\"}]\n"), "ethernets.lan.routes[0]: mixes IPv4 and IPv6"},
		{"mtu", v2("    mtu: 100\n"), "ethernets.lan.mtu: must be a number from 576 to 9216"},
		{"mac", v2("    match: {macaddress: 1234}\n"), "ethernets.lan.match.macaddress: must be a MAC address"},
		{"pattern", v2("    match: {name: \"en[0-9]\"}\n"), "ethernets.lan.match.name: may only hold"},
		{"search", v2("    nameservers: {search: [\"a b\"]}\n"), "ethernets.lan.nameservers.search[0]: must be a domain name"},
		{"vlan", "version: 2\nvlans:\n  v: {id: 7}\n", "vlans.v: needs id and link"},
		{"vlan link", "version: 2\nvlans:\n  v: {id: 7, link: x}\n", "vlan v: its link is no Ethernet interface"},
		{"same mac", "version: 2\nethernets:\n  a: {match: {macaddress: \"52:54:00:00:00:01\"}}\n  b: {match: {macaddress: \"52:54:00:00:00:01\"}}\n", "b: its MAC address belongs to another interface too"},
		{"many", "version: 2\nethernets: {" + manyInterfaces() + "}\n", "is more than 32 interfaces"},
		{"v1 type", "version: 1\nconfig: [{type: bond, name: b}]\n", "config[0]: type must be physical, vlan or nameserver"},
		{"v1 mask", "version: 1\nconfig: [{type: physical, name: e, subnets: [{type: static, address: 192.0.2.1, netmask: 255.0.255.0}]}]\n", "netmask: must be a netmask"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			seed, problems := Parse(Documents{NetworkConfig: []byte(c.doc)})
			found := false
			for _, p := range problems {
				found = found || strings.Contains(p.String(), c.want)
			}
			if !found {
				t.Errorf("got %v, want %q", problems, c.want)
			}
			if seed.Network != nil {
				t.Errorf("a refused document was used: %+v", seed.Network)
			}
		})
	}
}

func manyInterfaces() string {
	var b strings.Builder
	for i := range maxInterfaces + 1 {
		fmt.Fprintf(&b, "e%d: {dhcp4: true}, ", i)
	}
	return b.String()
}

// TestOneBadDocumentLeavesTheOthers is what lets a machine with a typing error
// in one document still come up on its network.
func TestOneBadDocumentLeavesTheOthers(t *testing.T) {
	t.Parallel()
	seed, problems := Parse(Documents{
		MetaData:      []byte("instance-id: i-7\nlocal-hostname: pbx\n"),
		UserData:      []byte("#cloud-config\nringfence: {colour: red}\n"),
		NetworkConfig: []byte("version: 2\nethernets: {eth0: {dhcp4: true}}\n"),
	})
	if seed.Answers != nil || seed.Network == nil || seed.Hostname != "pbx" || seed.InstanceID != "i-7" {
		t.Errorf("got %+v", seed)
	}
	if len(problems) != 1 {
		t.Errorf("problems: %v", problems)
	}
}

// TestProblemsNeverRepeatSecrets feeds secrets where they are wrong.
func TestProblemsNeverRepeatSecrets(t *testing.T) {
	t.Parallel()
	const secret = "S3cret-S3cret"
	_, problems := Parse(Documents{UserData: []byte("#cloud-config\nringfence:\n  token: " + secret +
		"\n  token_sha256: " + secret + "\n  administrator: {name: Boss, password: [" + secret + "]}\n")})
	if len(problems) == 0 {
		t.Fatal("nothing was refused")
	}
	for _, p := range problems {
		if strings.Contains(p.String(), secret) {
			t.Errorf("%s", p)
		}
	}
}

// system builds a folder with sys/class/block and dev of the given devices.
func system(t *testing.T, devices map[string][]byte) string {
	t.Helper()
	root := t.TempDir()
	for name, content := range devices {
		dir := filepath.Join(root, "sys/class/block", name)
		for _, err := range []error{
			os.MkdirAll(dir, 0o755), os.MkdirAll(filepath.Join(root, "dev"), 0o755),
			os.WriteFile(filepath.Join(dir, "size"), fmt.Appendf(nil, "%d\n", len(content)/512), 0o644),
			os.WriteFile(filepath.Join(root, "dev", name), content, 0o644),
		} {
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	return root
}

func seedISO(t testing.TB, docs Documents) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := WriteSeedISO(&b, docs); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestFindSeed(t *testing.T) {
	t.Parallel()
	good := Documents{MetaData: []byte("instance-id: one\n"), UserData: []byte("#cloud-config\nhostname: a\n")}
	other := Documents{MetaData: []byte("instance-id: two\n")}
	broken := seedISO(t, good)
	broken = broken[:25*2048+512] // the files are cut off
	for _, c := range []struct {
		name     string
		devices  map[string][]byte
		source   string
		metaData string
		problem  string
	}{
		{"none", map[string][]byte{"vda": make([]byte, 1<<20)}, "", "", ""},
		{"one", map[string][]byte{"vda": make([]byte, 1<<20), "vdb": seedISO(t, good)}, "NoCloud on ROOT/dev/vdb", "instance-id: one\n", ""},
		{"two", map[string][]byte{"vdb": seedISO(t, good), "vdc": seedISO(t, other)}, "NoCloud on ROOT/dev/vdb", "instance-id: one\n", "/dev/vdc: is a second seed"},
		{"skipped", map[string][]byte{"sda1": seedISO(t, other), "vdb": seedISO(t, good)}, "NoCloud on ROOT/dev/vdb", "instance-id: one\n", ""},
		{"loop", map[string][]byte{"loop0": seedISO(t, good)}, "", "", ""},
		{"broken", map[string][]byte{"vdb": broken}, "", "", "/dev/vdb: reading"},
		{"empty", map[string][]byte{"vdb": seedISO(t, Documents{})}, "", "", "holds none of"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			root := system(t, c.devices)
			docs, source, problems := FindSeed(context.Background(), root, func(d string) bool { return d == "sda1" })
			if want := strings.Replace(c.source, "ROOT", root, 1); source != want {
				t.Errorf("source %q, want %q", source, want)
			}
			if string(docs.MetaData) != c.metaData {
				t.Errorf("meta-data %q", docs.MetaData)
			}
			if text := fmt.Sprint(problems); (c.problem == "") != (len(problems) == 0) || !strings.Contains(text, c.problem) {
				t.Errorf("problems %s, want %q", text, c.problem)
			}
		})
	}
}

func FuzzParse(f *testing.F) {
	dirs, _ := filepath.Glob("testdata/*")
	for _, dir := range dirs {
		m, _ := os.ReadFile(filepath.Join(dir, MetaData))
		u, _ := os.ReadFile(filepath.Join(dir, UserData))
		n, _ := os.ReadFile(filepath.Join(dir, NetworkConfig))
		f.Add(m, u, n, false)
		m, _ = os.ReadFile(filepath.Join(dir, openStackMeta))
		u, _ = os.ReadFile(filepath.Join(dir, openStackUser))
		n, _ = os.ReadFile(filepath.Join(dir, openStackNetwork))
		f.Add(m, u, n, true)
	}
	f.Fuzz(func(t *testing.T, m, u, n []byte, openStack bool) {
		seed, problems := Parse(Documents{m, u, n, openStack})
		for _, k := range seed.SSHKeys {
			if len(seed.SSHKeys) > MaxSSHKeys || !CheckSSHKey(k) {
				t.Errorf("key %q of %d", k, len(seed.SSHKeys))
			}
		}
		if len(problems) > 3*maxProblems {
			t.Errorf("%d problems", len(problems))
		}
		for _, p := range problems {
			if s := p.String(); printable(s) != s {
				t.Errorf("control characters in %q", s)
			}
		}
		if seed.Network != nil && len(seed.Network.Interfaces) > maxInterfaces {
			t.Errorf("%d interfaces", len(seed.Network.Interfaces))
		}
		if a := seed.Answers; a != nil && (len(a.Extensions) > MaxExtensions || a.Tenant == nil && len(a.Extensions) > 0) {
			t.Errorf("answers %+v", a)
		}
	})
}

// TestConfigDrive reads what OpenStack's tools write: its documents lie two
// folders deep.
func TestConfigDrive(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	latest := filepath.Join(dir, "drive/openstack/latest")
	if err := os.MkdirAll(latest, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{openStackMeta, openStackUser, openStackNetwork} {
		data, err := os.ReadFile(filepath.Join("testdata/openstack", name))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(latest, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for name, tool := range map[string][]string{
		"rock and joliet": {"genisoimage", "-quiet", "-J", "-r", "-V", "config-2", "-o", "IMAGE", filepath.Join(dir, "drive")},
		"joliet":          {"genisoimage", "-quiet", "-J", "-V", "config-2", "-o", "IMAGE", filepath.Join(dir, "drive")},
		"vfat":            {"sh", "-c", "PATH=$PATH:/usr/sbin:/sbin; mkfs.vfat -C -n CONFIG-2 IMAGE 1024 >/dev/null && mcopy -s -i IMAGE " + filepath.Join(dir, "drive/openstack") + " ::"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if _, err := exec.LookPath(tool[0]); err != nil {
				t.Skipf("%s is not installed", tool[0])
			}
			image := filepath.Join(t.TempDir(), "drive.img")
			var args []string
			for _, a := range tool[1:] {
				args = append(args, strings.ReplaceAll(a, "IMAGE", image))
			}
			if out, err := exec.Command(tool[0], args...).CombinedOutput(); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			data, err := os.ReadFile(image)
			if err != nil {
				t.Fatal(err)
			}
			root := system(t, map[string][]byte{"sr0": data})
			docs, source, problems := FindSeed(t.Context(), root, nil)
			seed, more := Parse(docs)
			if source != "ConfigDrive on "+root+"/dev/sr0" || len(problems) > 0 {
				t.Fatalf("%q %v", source, problems)
			}
			if seed.InstanceID != "83679162-1378-4288-a2d4-70e13ec132aa" || seed.Hostname != "pbx" || seed.Answers == nil || seed.Network == nil || len(seed.Network.Interfaces) != 3 || len(seed.SSHKeys) != 1 {
				t.Errorf("%+v, %v", seed, more)
			}
		})
	}
}
