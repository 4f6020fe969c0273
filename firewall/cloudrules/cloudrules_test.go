package cloudrules

import (
	"flag"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"ringfence/internal/ports"
)

var update = flag.Bool("update", false, "rewrite testdata")

// table is the documented table in service, with every row on that there is a
// listener for, and the shell of operators.
func table(t *testing.T) []ports.Service {
	t.Helper()
	var all []ports.Service
	for _, s := range ports.Table() {
		switch s.ID {
		case ports.SIPTLS: // providers
			s.Sources = prefixes("198.51.100.0/24", "2001:db8:5::/48")
		case ports.SIPTCP: // those of them that are inside
			s.Zones, s.Sources = []ports.Zone{ports.Voice, ports.Trunk}, prefixes("10.2.3.0/24", "10.2.3.128/25", "10.0.0.0/15", "192.0.2.0/24")
		case ports.EdgeTCP:
			s.Zones = []ports.Zone{ports.Trunk}
		case ports.EdgeUDP:
			s.Zones = []ports.Zone{ports.Voice, ports.Management}
		}
		if s.Available && s.ID != ports.EdgeProvisioning || s.ID == ports.SSH || s.ID == ports.Provisioning {
			all = append(all, s)
		}
	}
	return all
}

func prefixes(list ...string) (all []netip.Prefix) {
	for _, s := range list {
		all = append(all, netip.MustParsePrefix(s))
	}
	return all
}

func sources(t *testing.T) Sources {
	t.Helper()
	s, err := ParseSources("10.1.0.0/16, 10.2.0.0/16,fd12::/64", "203.0.113.7")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// wanted is what has to be let in, each as "udp 5060 0.0.0.0/0".
func wanted(t *testing.T) map[string]bool {
	t.Helper()
	want := map[string]bool{}
	for _, row := range table(t) {
		from := []string{"0.0.0.0/0", "::/0"}
		switch row.ID {
		case ports.SSH:
			from = []string{"203.0.113.7/32"}
		case ports.Provisioning:
			from = []string{"10.1.0.0/16", "10.2.0.0/16", "fd12::/64"}
		case ports.SIPTLS:
			from = []string{"198.51.100.0/24", "2001:db8:5::/48"}
		case ports.SIPTCP:
			from = []string{"10.2.3.0/24", "10.1.0.0/16"}
		case ports.EdgeTCP: // no interface in a cloud leads to a provider
			from = nil
		case ports.EdgeUDP, ports.WSI:
			from = []string{"10.1.0.0/16", "10.2.0.0/16", "fd12::/64", "203.0.113.7/32"}
		}
		for _, f := range from {
			want[fmt.Sprintf("%s %s %s", row.Proto, row.Ports(), f)] = true
		}
	}
	return want
}

func written(t *testing.T, f Format) string {
	t.Helper()
	var b strings.Builder
	if err := Write(&b, f, Rules(table(t), sources(t))); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestGolden(t *testing.T) {
	t.Parallel()
	for _, f := range Formats() {
		path := filepath.Join("testdata", string(f)+".txt")
		got := written(t, f)
		if *update {
			if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if got != string(want) {
			t.Errorf("%s differs from %s; if that is meant: go test ./firewall/cloudrules -update", f, path)
		}
	}
}

// compare reports rules that are missing or too many.
func compare(t *testing.T, f Format, got, want map[string]bool) {
	t.Helper()
	for _, r := range slices.Sorted(maps.Keys(want)) {
		if !got[r] {
			t.Errorf("%s: %s is not let in", f, r)
		}
	}
	for _, r := range slices.Sorted(maps.Keys(got)) {
		if !want[r] {
			t.Errorf("%s: %s is let in", f, r)
		}
	}
}

// The files of Terraform, read back by their keys, say what the table says.
func TestTerraformSaysTheTable(t *testing.T) {
	t.Parallel()
	for f, read := range map[Format]func(block string) []string{
		AWSTerraform: func(block string) []string {
			span := value(block, "from_port")
			if last := value(block, "to_port"); last != span {
				span += "-" + last
			}
			return []string{value(block, "ip_protocol") + " " + span + " " + value(block, "cidr_ipv4") + value(block, "cidr_ipv6")}
		},
		AzureTerraform: func(block string) (all []string) {
			for _, from := range list(value(block, "source_address_prefixes")) {
				all = append(all, strings.ToLower(value(block, "protocol"))+" "+value(block, "destination_port_range")+" "+from)
			}
			return all
		},
		GoogleTerraform: func(block string) (all []string) {
			for allow := range strings.SplitSeq(block[strings.Index(block, "allow {"):], "allow {") {
				for _, p := range list(value(allow, "ports")) {
					for _, from := range list(value(block, "source_ranges")) {
						all = append(all, value(allow, "protocol")+" "+p+" "+from)
					}
				}
			}
			return all
		},
	} {
		got := map[string]bool{}
		names := map[string]bool{}
		_, text, _ := strings.Cut(written(t, f), "\nresource ")
		for block := range strings.SplitSeq(text, "\nresource ") {
			name, _, _ := strings.Cut(block, "{")
			if names[name] {
				t.Errorf("%s: %s twice", f, name)
			}
			names[name] = true
			for _, r := range read(block) {
				got[r] = true
			}
		}
		compare(t, f, got, wanted(t))
	}
}

// value is what a key is set to, without quotes.
func value(block, key string) string {
	m := regexp.MustCompile(`(?m)^\s*` + key + `\s*= (.*)$`).FindStringSubmatch(block)
	if m == nil {
		return ""
	}
	return strings.Trim(m[1], `"`)
}

func list(text string) []string {
	return regexp.MustCompile(`[0-9a-f:./-]+`).FindAllString(text, -1)
}

// The scripts, run by a shell with tools that note what they are told, say
// what the table says.
func TestScriptsSayTheTable(t *testing.T) {
	t.Parallel()
	shell, err := exec.LookPath("bash")
	if err != nil {
		t.Skip("bash is not installed")
	}
	const note = `note() { printf '%s\n' "$@" END; }; aws() { note "$@"; }; az() { note "$@"; }; gcloud() { note "$@"; }` + "\n"
	for f, read := range map[Format]func(arguments []string) []string{
		AWSCLI: func(arguments []string) (all []string) {
			m := regexp.MustCompile(`^IpProtocol=(\w+),FromPort=(\d+),ToPort=(\d+),`).FindStringSubmatch(arguments[len(arguments)-1])
			span := m[2]
			if m[3] != span {
				span += "-" + m[3]
			}
			for _, from := range regexp.MustCompile(`CidrIp(?:v6)?=([^,]+),`).FindAllStringSubmatch(arguments[len(arguments)-1], -1) {
				all = append(all, m[1]+" "+span+" "+from[1])
			}
			return all
		},
		AzureCLI: func(arguments []string) (all []string) {
			at := slices.Index(arguments, "--source-address-prefixes")
			for _, from := range arguments[at+1 : slices.Index(arguments, "--source-port-ranges")] {
				all = append(all, strings.ToLower(after(arguments, "--protocol"))+" "+after(arguments, "--destination-port-ranges")+" "+from)
			}
			return all
		},
		GoogleCLI: func(arguments []string) (all []string) {
			for allow := range strings.SplitSeq(option(arguments, "--allow="), ",") {
				for from := range strings.SplitSeq(option(arguments, "--source-ranges="), ",") {
					all = append(all, strings.Replace(allow, ":", " ", 1)+" "+from)
				}
			}
			return all
		},
	} {
		cmd := exec.CommandContext(t.Context(), shell, "-euc", note+written(t, f))
		cmd.Env = append(os.Environ(), "SECURITY_GROUP=sg-1", "RESOURCE_GROUP=r", "NSG=n", "NETWORK=v")
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v\n%s", f, err, out)
		}
		got := map[string]bool{}
		for call := range strings.SplitSeq(strings.TrimSuffix(string(out), "END\n"), "END\n") {
			for _, r := range read(strings.Split(strings.TrimSuffix(call, "\n"), "\n")) {
				got[r] = true
			}
		}
		compare(t, f, got, wanted(t))
		// Without its variable a script changes nothing.
		cmd = exec.CommandContext(t.Context(), shell, "-euc", note+written(t, f))
		cmd.Env = []string{"PATH=" + os.Getenv("PATH")}
		if out, err := cmd.CombinedOutput(); err == nil || strings.Contains(string(out), "END") {
			t.Errorf("%s: runs without knowing where: %v\n%s", f, err, out)
		}
	}
}

func after(arguments []string, name string) string {
	if i := slices.Index(arguments, name); i >= 0 && i+1 < len(arguments) {
		return arguments[i+1]
	}
	return ""
}

func option(arguments []string, prefix string) string {
	for _, a := range arguments {
		if v, ok := strings.CutPrefix(a, prefix); ok {
			return v
		}
	}
	return ""
}

func TestNobodyIsLetInByGuess(t *testing.T) {
	t.Parallel()
	s, err := ParseSources("", "")
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range Rules(table(t), s) {
		if r.Service.ID == ports.SSH {
			t.Errorf("the shell is open to %v though nobody was named", r.From)
		}
		if r.Service.ID == ports.Provisioning && !slices.Equal(r.From, DefaultSources().Inside) {
			t.Errorf("provisioning over HTTP is open to %v", r.From)
		}
	}
}

func TestParseSourcesNamesWhatIsWrong(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ inside, management, want string }{
		{"10.0.0.0/33", "", `inside: "10.0.0.0/33"`},
		{"10.0.0.0/8,", "", `inside: ""`},
		{"10.0.0.1/8", "", "inside: 10.0.0.1/8 has bits"},
		{"", "office", `management: "office"`},
		{"", "fe80::1%eth0", `management: "fe80::1%eth0"`},
		{"", strings.Repeat("192.0.2.1,", 2) + manyAddresses(33), "management: 34 networks"},
	} {
		if _, err := ParseSources(c.inside, c.management); err == nil || !strings.HasPrefix(err.Error(), c.want) {
			t.Errorf("%q, %q: %v, want %s", c.inside, c.management, err, c.want)
		}
	}
}

func manyAddresses(n int) string {
	words := make([]string, n)
	for i := range words {
		words[i] = fmt.Sprintf("198.51.100.%d", i)
	}
	return strings.Join(words, ",")
}

func TestUnknownFormat(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	if err := Write(&b, "ibm-cli", nil); err == nil || !strings.Contains(err.Error(), "google-cli") || b.Len() > 0 {
		t.Errorf("%v, %q", err, b.String())
	}
}
