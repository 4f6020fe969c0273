package ports

import (
	"flag"
	"os"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "rewrite generated files")

// The 17 rows of the requirements and the challenge's, typed by hand: one wrong number in the
// table cannot agree with itself.
var required = []struct {
	row         string
	proto       Proto
	first, last uint16
}{
	{"P01", "tcp", 8887, 8887},
	{"P02", "tcp", 8888, 8888},
	{"P03", "tcp", 8889, 8889},
	{"P04", "tcp", 8887, 8887},
	{"P05", "tcp", 10443, 10443},
	{"P06", "tcp", 8883, 8883},
	{"P07", "tcp", 8882, 8882},
	{"P08", "tcp", 8885, 8885},
	{"P09", "udp", 45000, 64999},
	{"P10", "udp", 25000, 34999},
	{"P11", "udp", 5066, 5066},
	{"P12", "tcp", 5067, 5067},
	{"P13", "udp", 5060, 5060},
	{"P14", "tcp", 5061, 5061},
	{"P15", "tcp", 5063, 5063},
	{"P16", "tcp", 5065, 5065},
	{"P17", "tcp", 10210, 10210},
	{"W03", "tcp", 80, 80},
}

func TestTableHoldsTheRequiredRows(t *testing.T) {
	t.Parallel()
	rows := map[string]Service{}
	for _, s := range Table() {
		for _, r := range s.Rows {
			if _, twice := rows[r]; twice {
				t.Errorf("row %s stands at two services", r)
			}
			rows[r] = s
		}
	}
	for _, want := range required {
		s, ok := rows[want.row]
		if !ok {
			t.Errorf("row %s is missing", want.row)
			continue
		}
		if s.Proto != want.proto || s.First != want.first || s.Last != want.last {
			t.Errorf("row %s: %s %s, want %s %d-%d", want.row, s.Proto, s.Ports(), want.proto, want.first, want.last)
		}
	}
	if len(rows) != len(required) {
		t.Errorf("table names %d rows, requirements have %d", len(rows), len(required))
	}
}

// F04: out of the box 8887, UDP 5060, WSS 5065 and 10443, plus RTP.
func TestOutOfTheBox(t *testing.T) {
	t.Parallel()
	want := map[ID]bool{Portal: true, SIPUDP: true, EdgeWSS: true, WebPhone: true, RTPCore: true, RTPEdge: true}
	for _, s := range Table() {
		if s.DefaultOn != want[s.ID] {
			t.Errorf("%s: default on = %v, want %v", s.ID, s.DefaultOn, want[s.ID])
		}
	}
}

func TestTableHasNoOverlapAndNoPrivilegedPort(t *testing.T) {
	t.Parallel()
	seen := map[ID]bool{}
	for i, a := range Table() {
		if seen[a.ID] {
			t.Errorf("%s stands twice", a.ID)
		}
		seen[a.ID] = true
		if (a.First < 1024) != a.Window || a.Last < a.First || len(a.Zones) == 0 {
			t.Errorf("%s: bad row %+v", a.ID, a)
		}
		for _, b := range Table()[:i] {
			if a.Proto == b.Proto && a.First <= b.Last && b.First <= a.Last {
				t.Errorf("%s and %s overlap", a.ID, b.ID)
			}
		}
	}
}

func TestEffective(t *testing.T) {
	t.Parallel()
	on, off := true, false
	for _, c := range []struct {
		name  string
		in    []Override
		stage Stage
		want  string // ids and ports, or the error
	}{
		{"before set-up", nil, BeforeSetup, "portal:8887"},
		{"default", nil, InService, "portal:8887 rtp-core:45000-64999 rtp-edge:25000-34999 sip-udp:5060 edge-wss:5065"},
		{"moved SIP", []Override{{ID: SIPUDP, First: 5080}}, InService, "portal:8887 rtp-core:45000-64999 rtp-edge:25000-34999 sip-udp:5080 edge-wss:5065"},
		{"moved portal, before set-up", []Override{{ID: Portal, First: 9000}}, BeforeSetup, "portal:9000"},
		{"narrow RTP", []Override{{ID: RTPCore, First: 45000, Last: 45039}}, InService, "portal:8887 rtp-core:45000-45039 rtp-edge:25000-34999 sip-udp:5060 edge-wss:5065"},
		{"switch off RTP", []Override{{ID: RTPCore, Enabled: &off}}, InService, "portal:8887 rtp-edge:25000-34999 sip-udp:5060 edge-wss:5065"},
		{"TLS instead of UDP", []Override{{ID: SIPTLS, Enabled: &on}, {ID: SIPUDP, Enabled: &off}}, InService, "portal:8887 rtp-core:45000-64999 rtp-edge:25000-34999 sip-tls:5061 edge-wss:5065"},
		{"unknown", []Override{{ID: "telnet"}}, InService, `port table has no service "telnet"`},
		{"privileged", []Override{{ID: SIPUDP, First: 80}}, InService, "service sip-udp: port 80 is below 1024, which the PBX has no right to open"},
		{"backwards", []Override{{ID: RTPCore, First: 46000, Last: 45000}}, InService, "service rtp-core: range 46000-45000 ends before it begins"},
		{"range for one", []Override{{ID: SIPUDP, First: 5060, Last: 5062}}, InService, "service sip-udp: takes one port, not 5060-5062"},
		{"tiny range", []Override{{ID: RTPCore, First: 45000, Last: 45002}}, InService, "service rtp-core: range 45000-45002 is too small for one call, which takes 4 ports"},
		{"overlap", []Override{{ID: SIPUDP, First: 45010}}, InService, "services rtp-core and sip-udp both want udp port 45010"},
		{"last SIP", []Override{{ID: SIPUDP, Enabled: &off}, {ID: EdgeWSS, Enabled: &off}}, InService, "the last SIP listener cannot be switched off"},
		{"portal off", []Override{{ID: Portal, Enabled: &off}}, InService, "the portal cannot be switched off"},
		{"challenge by settings", []Override{{ID: ACME, Enabled: &on}}, InService, "service acme: opens by itself while a certificate is asked for, and never otherwise"},
		{"provisioning over HTTP", []Override{{ID: Provisioning, Enabled: &on}}, InService, "portal:8887 provisioning:8888 rtp-core:45000-64999 rtp-edge:25000-34999 sip-udp:5060 edge-wss:5065"},
		{"no listener", []Override{{ID: Wallboard, Enabled: &on}}, InService, "service wallboard: this version has no listener for it"},
	} {
		got, err := Effective(c.in, c.stage)
		text := ""
		if err != nil {
			text = err.Error()
		} else {
			var parts []string
			for _, s := range got {
				parts = append(parts, string(s.ID)+":"+s.Ports())
			}
			text = strings.Join(parts, " ")
		}
		if text != c.want {
			t.Errorf("%s: got %q, want %q", c.name, text, c.want)
		}
	}
}

func TestInstancesNeverCollide(t *testing.T) {
	t.Parallel()
	used := map[Proto]map[int]string{UDP: {}, TCP: {}}
	for k := range Instances {
		services, err := Slice(Table(), k)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range services {
			for p := int(s.First); p <= int(s.Last); p++ {
				if other, ok := used[s.Proto][p]; ok {
					t.Fatalf("instance %d %s: %s port %d belongs to %s", k, s.ID, s.Proto, p, other)
				}
				used[s.Proto][p] = string(s.ID)
			}
		}
	}
	if _, err := Slice(Table(), Instances); err == nil {
		t.Error("instance 10 was accepted")
	}
}

func TestDocumentIsCurrent(t *testing.T) {
	t.Parallel()
	const file = "../../docs/ports.md"
	if *update {
		if err := os.WriteFile(file, []byte(Markdown()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != Markdown() {
		t.Error("docs/ports.md is not current: run make generate")
	}
}
