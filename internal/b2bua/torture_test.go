package b2bua

import (
	"bytes"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"ringfence/internal/ports"
	"ringfence/internal/sip"
)

// torture says what each message of RFC 4475 and RFC 5118 is to be answered
// with over UDP; "" means not at all. Valid requests for a domain that is not
// ours are challenged like any other, so that nobody learns which domains are.
var torture = map[string]string{
	// RFC 4475 section 3.1.1: valid messages
	// (wsinv has a To tag of no dialog)
	"wsinv": "481", "intmeth": "501", "esc01": "407", "escnull": "401", "esc02": "501", "lwsdisp": "200",
	"longreq": "407", "dblreq": "401", "semiuri": "200", "transports": "200", "mpart01": "405",
	"unreason": "", "noreason": "",
	// section 3.1.2: invalid messages
	"badinv01": "400", "clerr": "400", "ncl": "400", "scalar02": "400", "scalarlg": "", "quotbal": "400",
	"ltgtruri": "400", "lwsruri": "400", "lwsstart": "400", "trws": "400", "escruri": "400", "baddate": "407",
	"regbadct": "400", "badaspec": "400", "baddn": "400", "badvers": "505", "mismatch01": "400",
	"mismatch02": "400", "bigcode": "",
	// sections 3.2 to 3.4
	"badbranch": "200", "insuf": "400", "unkscm": "416", "novelsc": "416", "unksm2": "400", "bext01": "420",
	"invut": "415", "regaut01": "401", "multi01": "400", "mcl01": "400", "bcast": "", "zeromf": "483",
	"cparam01": "401", "cparam02": "401", "regescrt": "401", "sdp01": "406", "inv2543": "407",
	// RFC 5118 section 4
	"ipv6-good": "401", "ipv6-bad": "400", "port-ambiguous": "401", "port-unambiguous": "401",
	"via-received-param-with-delim": "481", "via-received-param-no-delim": "200", "ipv6-in-sdp": "407",
	"mult-ip-in-header": "481", "mult-ip-in-sdp": "407", "ipv4-mapped-ipv6": "407",
	"ipv6-bug-abnf-3-colons": "200", "ipv6-correct-abnf-2-colons": "200",
}

// TestTorture sends the messages over UDP to the whole stack. Those of RFC 4475
// are in the module of the SIP library; SIP_TORTURE_DIR may name a folder with
// more.
func TestTorture(t *testing.T) {
	t.Parallel()
	var files []string
	if out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/emiago/sipgo").Output(); err == nil {
		files, _ = filepath.Glob(filepath.Join(strings.TrimSpace(string(out)), "sip", "testdata", "torture", "*", "*.dat"))
	}
	if dir := os.Getenv("SIP_TORTURE_DIR"); dir != "" {
		more, _ := filepath.Glob(filepath.Join(dir, "*", "*.dat"))
		files = append(files, more...)
	}
	if len(files) == 0 {
		t.Skip("the module of the SIP library, which has the messages of RFC 4475, is not in the module cache")
	}
	s := newStack(t, nil)
	to := s.listen()
	good, seen := 0, map[string]bool{}
	for _, f := range files {
		name := strings.TrimSuffix(filepath.Base(f), ".dat")
		raw, err := os.ReadFile(f)
		want, known := torture[name]
		if err != nil || !known {
			continue
		}
		seen[name] = true
		got := exchange(t, to, raw)
		ok := want == "" && len(got) == 0 || want != "" && len(got) == 1 && strings.HasPrefix(got[0], "SIP/2.0 "+want)
		if !ok {
			t.Errorf("%s: answered %q, want %q", name, got, want)
			continue
		}
		good++
	}
	t.Logf("%d messages as wanted, %d names", good, len(seen))
	if len(seen) < 49 {
		t.Errorf("only %d messages found", len(seen))
	}
	if st := s.ep.Stats(); st.Panics != 0 || st.Pending != 0 || st.Completed != 0 {
		t.Errorf("left behind: %+v", st)
	}
}

// listen opens the UDP row of the table on loopback.
func (s *stack) listen() netip.AddrPort {
	s.t.Helper()
	row, _ := ports.Lookup(ports.Table(), ports.SIPUDP)
	row.First, row.Last = 0, 0
	if err := s.ep.Reconcile([]sip.Bind{{Service: row, Addr: netip.MustParseAddr("127.0.0.1")}}); err != nil {
		s.t.Fatal(err)
	}
	return s.ep.Listening()[0].Addr
}

// exchange sends one message and an OPTIONS after it, and returns the first
// lines of all answers before the one to the OPTIONS.
func exchange(t *testing.T, to netip.AddrPort, raw []byte) (answers []string) {
	t.Helper()
	c, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(to))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.Write(raw)
	time.Sleep(5 * time.Millisecond) // another Call-ID is another worker
	fmt.Fprintf(c, "OPTIONS sip:a.test SIP/2.0\r\nVia: SIP/2.0/UDP h;rport;branch=z9hG4bKbeat\r\nFrom: <sip:beat@a.test>;tag=1\r\nTo: <sip:a.test>\r\nCall-ID: beat\r\nCSeq: 1 OPTIONS\r\n\r\n")
	buf := make([]byte, 65536)
	beat := false
	for {
		wait := 5 * time.Second
		if beat {
			wait = 10 * time.Millisecond
		}
		c.SetReadDeadline(time.Now().Add(wait))
		n, err := c.Read(buf)
		if err != nil {
			if !beat {
				t.Error("no heart-beat")
			}
			return answers
		}
		if bytes.Contains(buf[:n], []byte("z9hG4bKbeat")) {
			beat = true
			continue
		}
		answers = append(answers, line(string(buf[:n])))
	}
}

// TestUnknownAndWrongAreAlike: a wrong password, an extension that does not
// exist and a domain that does not exist get the same answer, in the same time.
func TestUnknownAndWrongAreAlike(t *testing.T) {
	s := newStack(t, nil)
	to := s.listen()
	c, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(to))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	buf := make([]byte, 65536)
	count := 0
	ask := func(method, user, domain, auth string) (string, time.Duration) {
		count++
		p := &phone{user: user, domain: domain, addr: c.LocalAddr().(*net.UDPAddr).AddrPort()}
		p.send = func(raw string) { c.Write([]byte(raw)) }
		p.count = count
		d := p.call("102")
		if method == sip.REGISTER {
			d.target, d.remote = "sip:"+domain, "<sip:"+user+"@"+domain+">"
		}
		var extra []string
		if auth != "" {
			extra = append(extra, p.authorize(auth, method, d.target, "wrong"))
		}
		start := time.Now()
		d.request(method, "", extra...)
		c.SetReadDeadline(time.Now().Add(5 * time.Second))
		n, err := c.Read(buf)
		if err != nil {
			t.Fatal(err)
		}
		return string(buf[:n]), time.Since(start)
	}
	for _, method := range []string{sip.REGISTER, sip.INVITE} {
		type who struct{ user, domain string }
		cases := []who{{"101", "a.test"}, {"777", "a.test"}, {"101", "nowhere.test"}}
		shapes := make([][]string, len(cases))
		times := make([][]time.Duration, len(cases))
		for range 300 {
			for i, w := range cases {
				first, _ := ask(method, w.user, w.domain, "")
				second, took := ask(method, w.user, w.domain, first)
				times[i] = append(times[i], took)
				shapes[i] = []string{shape(first, w.user, w.domain), shape(second, w.user, w.domain)}
			}
		}
		for i := range cases {
			slices.Sort(times[i])
			if fmt.Sprint(shapes[i]) != fmt.Sprint(shapes[0]) {
				t.Errorf("%s: %v is answered with\n%s\nand %v with\n%s", method, cases[0], shapes[0], cases[i], shapes[i])
			}
			m0, m := times[0][150], times[i][150]
			if d := (m - m0).Abs(); d > time.Millisecond {
				t.Errorf("%s: medians %v and %v differ by %v", method, m0, m, d)
			}
			t.Logf("%s %v: median %v", method, cases[i], times[i][150])
		}
	}
}

// shape is an answer without what differs from request to request anyway.
func shape(answer, user, domain string) string {
	var out []string
	head, _, _ := strings.Cut(answer, "\r\n\r\n")
	for l := range strings.SplitSeq(head, "\r\n") {
		name, value, _ := strings.Cut(l, ":")
		switch name {
		case "Via", "Call-ID", "From", "To":
			value = ""
		case "WWW-Authenticate", "Proxy-Authenticate":
			value = strings.Replace(value, domain, "DOMAIN", 1)
			i := strings.Index(value, `nonce="`) + 7
			j := strings.Index(value[i:], `"`)
			value = fmt.Sprint(value[:i], j, value[i+j:])
		}
		out = append(out, name+":"+value)
	}
	return strings.Join(out, "\n")
}
