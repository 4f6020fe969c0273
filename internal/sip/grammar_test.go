package sip

import (
	"strings"
	"testing"
)

func TestNameAddr(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ in, display, uri, tag string }{
		{"sip:a@b.test", "", "sip:a@b.test", ""},
		{"sip:a@b.test;tag=7", "", "sip:a@b.test", "7"},
		{"<sip:a@b.test;lr>;tag=7", "", "sip:a@b.test;lr", "7"},
		{"caller<sip:a@b.test>;TAG=x", "caller", "sip:a@b.test", "x"},
		{`"A, \"B\" <c>" <sips:a@b.test> ; tag = 1918181833n`, `A, "B" <c>`, "sips:a@b.test", "1918181833n"},
		{"J Rosenberg  <sip:a@[2001:db8::1]:5070>", "J Rosenberg", "sip:a@[2001:db8::1]:5070", ""},
		{"<tel:+4930123>", "", "tel:+4930123", ""},
		{`"" <sip:b.test>;tag="a;b"`, "", "sip:b.test", `"a;b"`},
	} {
		a, err := parseNameAddr(c.in)
		if err != nil {
			t.Errorf("%s: %v", c.in, err)
			continue
		}
		if a.Display != c.display || a.URI.String() != c.uri || a.Tag() != c.tag {
			t.Errorf("%s: display %q, uri %q, tag %q", c.in, a.Display, a.URI.String(), a.Tag())
		}
		b, err := parseNameAddr(a.String())
		if err != nil || b.String() != a.String() {
			t.Errorf("%s: does not survive printing: %s, %v", c.in, a, err)
		}
	}
	for _, in := range []string{
		"", "sip:", "<sip:a@b", "sip:a@b.test?x=y", `"unbalanced <sip:a@b.test>`, "Bell, Alexander <sip:a@b.test>",
		"< sip:a@b.test >", "<sip:a@b.test>tag=1", "<sip:a@b.test>;;", "<sip:a@b:99999>", "<sip:a@b:-1>",
		"<sip:a@2001:db8::1>", "<sip:a@b c>", "<sip:a@[::1>", `<sip:a@"b">`, "*", "<sip:a@>",
	} {
		if a, err := parseNameAddr(in); err == nil {
			t.Errorf("%q was taken as %s", in, a)
		}
	}
}

func TestVia(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		in, transport, host string
		port                int
		branch              string
	}{
		{"SIP/2.0/UDP 192.0.2.2;branch=z9hG4bKa", "UDP", "192.0.2.2", 0, "z9hG4bKa"},
		{"SIP  /   2.0 /udp    192.0.2.2;branch=390skdjuw", "UDP", "192.0.2.2", 0, "390skdjuw"},
		{"SIP/2.0/TLS [2001:db8::9:1]:6050 ; received=2001:db8::9:255;branch = z9hG4bKas3", "TLS", "[2001:db8::9:1]", 6050, "z9hG4bKas3"},
		{"SIP/2.0/UDP host_1.example.com : 5061", "UDP", "host_1.example.com", 5061, ""},
	} {
		v, err := parseVia(c.in)
		if err != nil || v.Transport != c.transport || v.Host != c.host || v.Port != c.port || v.Branch() != c.branch {
			t.Errorf("%s: %+v, %v", c.in, v, err)
		}
	}
	for _, in := range []string{
		"", "SIP/2.0/UDP", "SIP/2.0 UDP h", "SIP/3.0/UDP h", "SIP/2.0/UDP ", "SIP/2.0/UDP h:0", "SIP/2.0/UDP h:70000",
		"SIP/2.0/UDP 192.0.2.15;;,;,,", "SIP/2.0/UDP [::1;branch=x", "SIP/2.0/UDP a b",
	} {
		if v, err := parseVia(in); err == nil {
			t.Errorf("%q was taken as %+v", in, v)
		}
	}
}

func TestCutComma(t *testing.T) {
	t.Parallel()
	var got []string
	for rest := ` "a,b\",c" <sip:x?y=,z> , sip:b ,, <sip:c>`; rest != ""; {
		var v string
		v, rest = cutComma(rest)
		got = append(got, v)
	}
	if want := `"a,b\",c" <sip:x?y=,z>|sip:b||<sip:c>`; strings.Join(got, "|") != want {
		t.Errorf("got %q", got)
	}
}

func TestURIKey(t *testing.T) {
	t.Parallel()
	// The examples of RFC 3261 section 19.1.4.
	same := [][2]string{
		{"sip:%61lice@atlanta.com;transport=TCP", "sip:alice@AtLanTa.CoM;Transport=tcp"},
		{"sip:carol@chicago.com", "sip:carol@chicago.com;newparam=5"},
		{"sip:carol@chicago.com;security=on", "sip:carol@chicago.com;newparam=5"},
	}
	different := [][2]string{
		{"SIP:ALICE@AtLanTa.CoM;Transport=udp", "sip:alice@AtLanTa.CoM;Transport=UDP"},
		{"sip:bob@biloxi.com", "sip:bob@biloxi.com:5060"},
		{"sip:bob@biloxi.com", "sip:bob@biloxi.com;transport=udp"},
		{"sip:bob@biloxi.com", "sip:bob@biloxi.com:6000;transport=tcp"},
		{"sip:bob@phone21.boxesbybob.com", "sip:bob@192.0.2.4"},
		{"sip:a@b.test", "sips:a@b.test"},
	}
	key := func(s string) string {
		u, err := ParseURI(s)
		if err != nil {
			t.Fatalf("%s: %v", s, err)
		}
		return URIKey(u)
	}
	for _, p := range same {
		if key(p[0]) != key(p[1]) {
			t.Errorf("%s and %s are the same", p[0], p[1])
		}
	}
	for _, p := range different {
		if key(p[0]) == key(p[1]) {
			t.Errorf("%s and %s are different", p[0], p[1])
		}
	}
}

func TestQuoteNeverBreaksALine(t *testing.T) {
	t.Parallel()
	if got := Quote("a\"b\\c\r\nX: y"); got != `"a\"b\\c  X: y"` {
		t.Error(got)
	}
	var b []byte
	b = appendHeader(b, "To", "x\r\nEvil: 1")
	if string(b) != "To: x\r\n" {
		t.Errorf("%q", b)
	}
}
