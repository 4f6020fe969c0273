package ports

import "testing"

func TestSignallingRows(t *testing.T) {
	t.Parallel()
	want := map[string]ID{
		"core udp": SIPUDP, "core tcp": SIPTCP, "core tls": SIPTLS, "core wss": "",
		"edge udp": EdgeUDP, "edge tcp": EdgeTCP, "edge tls": "", "edge wss": EdgeWSS, "host udp": "", "core sctp": "",
	}
	for _, side := range []Side{Core, Edge, Host} {
		for _, protocol := range []string{"udp", "tcp", "tls", "wss", "sctp"} {
			if id, asked := want[string(side)+" "+protocol]; asked {
				if s, ok := Signalling(side, protocol); s.ID != id || ok != (id != "") {
					t.Errorf("%s %s: %q, %v", side, protocol, s.ID, ok)
				}
			}
		}
	}
}

func TestTaken(t *testing.T) {
	t.Parallel()
	moved := []Override{{ID: Portal, First: 9000}, {ID: RTPCore, First: 45000, Last: 45999}}
	for _, c := range []struct {
		id   ID
		port uint16
		want string
	}{
		{SIPUDP, 5080, ""},
		{SIPUDP, 5060, ""},
		{SIPTCP, 5060, ""}, // UDP is another matter
		{SIPUDP, 5066, "udp port 5066 belongs to SIP over UDP on the SBC (5066)"},
		{SIPTLS, 8888, "tcp port 8888 belongs to Phone provisioning (8888)"}, // although off
		{SIPTLS, 9000, "tcp port 9000 belongs to Web portal and REST API (9000)"},
		{SIPTLS, 8887, ""}, // the portal has moved away
		{SIPUDP, 45999, "udp port 45999 belongs to RTP of the PBX (45000-45999)"},
		{SIPUDP, 46000, ""},
		{SIPTCP, 443, "port 443 is below 1024, which the PBX has no right to open"},
		{"telnet", 2323, `port table has no service "telnet"`},
	} {
		got := ""
		if err := Taken(moved, c.id, c.port); err != nil {
			got = err.Error()
		}
		if got != c.want {
			t.Errorf("%s on %d: %q, want %q", c.id, c.port, got, c.want)
		}
	}
}

func TestOnEdgeIsTheTable(t *testing.T) {
	t.Parallel()
	for _, s := range Table() {
		if s.IsSignalling() && s.ID.OnEdge() != (s.Side == Edge) {
			t.Errorf("%s is on the %s", s.ID, s.Side)
		}
	}
}
