package interop

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"ringfence/internal/ports"
)

// tool runs one of sipvicious where the phones are and returns what it said.
func (b *bench) tool(t *testing.T, name string, args ...string) string {
	t.Helper()
	if _, err := exec.LookPath(name); err != nil {
		t.Skipf("%s is not installed (make deps)", name)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	cmd := b.phones.Command(ctx, name, args...)
	cmd.Dir = t.TempDir()
	cmd.Env = append(os.Environ(), "HOME="+cmd.Dir, "TERM=dumb", "COLUMNS=200")
	start := time.Now()
	defer func() { t.Logf("%s took %v", name, time.Since(start)) }()
	out, _ := cmd.CombinedOutput() // the exit codes of these tools say what was found
	if ctx.Err() != nil {
		t.Fatalf("%s did not end: %s", name, out)
	}
	return string(out)
}

// undetected lets everything through to SIP itself, for tests of what it makes of
// attacks that guard does not stop.
func (b *bench) undetected(t *testing.T) *bench {
	t.Helper()
	b.protect(t, map[string]any{"detect": false, "user_agents": []string{}, "session_names": []string{}})
	return b
}

// protect changes how attackers are told from phones.
func (b *bench) protect(t *testing.T, change map[string]any) {
	t.Helper()
	admin := b.pbx.Admin(t)
	var p map[string]any
	if err := admin.Do(t.Context(), "GET", "/security/protection", nil, &p); err != nil {
		t.Fatal(err)
	}
	delete(p, "$schema")
	maps.Copy(p, change)
	if err := admin.Do(t.Context(), "PUT", "/security/protection", p, nil); err != nil {
		t.Fatal(err)
	}
}

// As it comes, the scanners of SIPVicious find nothing at all: they say who they
// are. If that is not looked at, they are banned for what they do.
func TestScannersAreStopped(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	server := b.pbx.Addr(ports.SIPUDP)
	target, domain := server.Addr().String(), b.pbx.Extension("101").Domain
	port := fmt.Sprint(server.Port())
	if out := b.tool(t, "svmap", "-p", port, target); strings.Contains(out, target) {
		t.Errorf("svmap finds the server:\n%s", out)
	}
	if out := b.svwar(t, scans()[0], port, domain, target); len(listed(out, "101", "193")) != 0 {
		t.Errorf("svwar is answered:\n%s", out)
	}
	b.protect(t, map[string]any{"user_agents": []string{}})
	var list strings.Builder
	for i := range 200 {
		fmt.Fprintf(&list, "guess%d\n", i)
	}
	list.WriteString(b.pbx.Extension("102").SIPPassword + "\n")
	words := filepath.Join(t.TempDir(), "words")
	if err := os.WriteFile(words, []byte(list.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	if out := b.tool(t, "svcrack", "-p", port, "-u", "102", "-d", words, "--domain="+domain, "--maximumtime=3", target); strings.Contains(out, "| 102 ") {
		t.Errorf("svcrack finds a password:\n%s", out)
	}
	var bans struct {
		Items []struct {
			Source, Scope, Reason, Target string
			Count                         int
			UserAgent                     string `json:"user_agent"`
		}
	}
	if err := b.pbx.Admin(t).Do(t.Context(), "GET", "/security/bans", nil, &bans); err != nil {
		t.Fatal(err)
	}
	if len(bans.Items) != 1 || bans.Items[0].Scope != "sip" || bans.Items[0].Reason != "wrong passwords" || bans.Items[0].Count != 50 ||
		bans.Items[0].Target != "102" || bans.Items[0].UserAgent != "friendly-scanner" {
		t.Fatalf("%+v", bans.Items)
	}
}

// The scanners of SIPVicious find a SIP server, and learn nothing of its
// extensions: those that exist (101 to 104) look like those that do not.
func TestScannersTellNoExtensionApart(t *testing.T) {
	t.Parallel()
	b := newBench(t).undetected(t)
	server := b.pbx.Addr(ports.SIPUDP)
	target, domain := server.Addr().String(), b.pbx.Extension("101").Domain
	port := fmt.Sprint(server.Port())
	if out := b.tool(t, "svmap", "-p", port, target); !strings.Contains(out, target) {
		t.Errorf("svmap did not even find the server, so the rest says nothing:\n%s", out)
	}
	for _, scan := range scans() {
		out := b.svwar(t, scan, port, domain, target)
		real, made := listed(out, "101", "104"), listed(out, "190", "193")
		t.Logf("svwar %v: of 4 each %d that exist, %d that do not", scan, len(real), len(made))
		if toldApart(out) {
			t.Errorf("svwar %v tells extensions apart:\n%s", scan, out)
		}
	}
	words := filepath.Join(t.TempDir(), "words")
	right := b.pbx.Extension("102").SIPPassword
	for _, c := range []struct {
		number, words string
		found         bool
	}{
		{"101", "1234\n101\npassword\nsecret\n", false},
		{"102", "1234\n" + right + "\n", true}, // the tool does work
		{"190", "1234\n" + right + "\n", false},
	} {
		if err := os.WriteFile(words, []byte(c.words), 0o600); err != nil {
			t.Fatal(err)
		}
		out := b.tool(t, "svcrack", "-p", port, "-u", c.number, "-d", words, "--domain="+domain, "--maximumtime=3", target)
		if found := strings.Contains(out, "| "+c.number+" "); found != c.found {
			t.Errorf("svcrack on %s: found is %v\n%s", c.number, found, out)
		}
	}
}

// scans are the ways to scan that svwar has.
func scans() [][]string {
	return [][]string{{"-m", "REGISTER"}, {"--force", "-m", "REGISTER"}, {"--force", "-m", "INVITE"}, {"--force", "-m", "OPTIONS"}}
}

// svwar looks for extensions that exist (101 to 104) and some that do not.
func (b *bench) svwar(t *testing.T, scan []string, port, domain, target string) string {
	t.Helper()
	return b.tool(t, "svwar", append(scan, "-p", port, "-e", "101-104,190-193", "--domain="+domain, "--maximumtime=3", target)...)
}

// toldApart reports whether svwar says something else of extensions that exist
// than of those that do not.
func toldApart(out string) bool {
	real, made := listed(out, "101", "104"), listed(out, "190", "193")
	return len(real) != len(made) || len(real) != 0 && len(real) != 4 || saidOf(out, real) != saidOf(out, made)
}

// talkative answers every request in a way that depends on the extension it is
// for, as our PBX must not. It is the positive control of the tests here.
func talkative(t *testing.T, b *bench, answer func(method string, exists bool) (string, time.Duration)) netip.AddrPort {
	t.Helper()
	conn, err := b.phones.ListenUDP(netip.MustParseAddrPort("10.77.0.3:0"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	head := regexp.MustCompile(`(?m)^(Via|From|To|Call-ID|CSeq): .*$`)
	exists := regexp.MustCompile(`(?m)^To: .*sip:10[1-4]@`)
	go func() {
		buf := make([]byte, 65536)
		for {
			n, from, err := conn.ReadFromUDPAddrPort(buf)
			if err != nil {
				return
			}
			m := strings.ReplaceAll(string(buf[:n]), "\r", "")
			method, _, _ := strings.Cut(m, " ")
			if method == "ACK" {
				continue
			}
			status, delay := answer(method, exists.MatchString(m))
			time.Sleep(delay)
			reply := "SIP/2.0 " + status + "\r\n"
			for _, h := range head.FindAllString(m, -1) {
				if strings.HasPrefix(h, "To:") && !strings.Contains(h, ";tag=") {
					h += ";tag=t"
				}
				reply += h + "\r\n"
			}
			if strings.HasPrefix(status, "401") {
				reply += "WWW-Authenticate: Digest realm=\"x\", nonce=\"n\", qop=\"auth\"\r\n"
			}
			_, _ = conn.WriteToUDPAddrPort([]byte(reply+"Content-Length: 0\r\n\r\n"), from)
		}
	}()
	return conn.LocalAddr().(*net.UDPAddr).AddrPort()
}

// The detectors of the tests here can fail: a server that does tell extensions
// apart, by its codes or by its time, is found out by every one of them.
func TestScannersFindWhoTellsExtensionsApart(t *testing.T) {
	b := newBench(t)
	codes := talkative(t, b, func(method string, exists bool) (string, time.Duration) {
		switch {
		case !exists:
			return "404 Not Found", 0
		case method == "OPTIONS":
			return "200 OK", 0
		}
		return "401 Unauthorized", 0
	})
	for _, scan := range scans() {
		if out := b.svwar(t, scan, fmt.Sprint(codes.Port()), "control.test", codes.Addr().String()); !toldApart(out) {
			t.Errorf("svwar %v finds nothing in a server that answers 404 for those that do not exist:\n%s", scan, out)
		}
	}
	if _, different := b.answers(t, codes, "control.test", 20); !different {
		t.Error("401 and 404 pass for the same answer")
	}
	slow := talkative(t, b, func(_ string, exists bool) (string, time.Duration) {
		if exists {
			return "401 Unauthorized", 2 * time.Millisecond // as one that looks at passwords then
		}
		return "401 Unauthorized", 0
	})
	if d, different := b.answers(t, slow, "control.test", 100); d <= time.Millisecond || different {
		t.Errorf("2 ms more for those that exist are measured as %v, different is %v", d, different)
	}
}

// listed are the extensions of a range that svwar has a row for.
func listed(out, first, last string) (all []string) {
	for _, m := range regexp.MustCompile(`(?m)^[|│] *(\d+) *[|│] *(\w+)`).FindAllStringSubmatch(out, -1) {
		if m[1] >= first && m[1] <= last {
			all = append(all, m[1])
		}
	}
	return all
}

// saidOf is what svwar says of extensions, without their numbers.
func saidOf(out string, numbers []string) string {
	said := map[string]bool{}
	for _, n := range numbers {
		m := regexp.MustCompile(`[|│] *` + n + ` *[|│] *(\w+)`).FindStringSubmatch(out)
		if m != nil {
			said[m[1]] = true
		}
	}
	return fmt.Sprint(said)
}

// On the wire, 1,000 refused registrations of an extension that exists and
// 1,000 of one that does not: same codes, same headers, medians within 1 ms.
func TestAnswersTakeTheSameTime(t *testing.T) {
	b := newBench(t).undetected(t)
	d, different := b.answers(t, b.pbx.Addr(ports.SIPUDP), b.pbx.Extension("101").Domain, 1000)
	if different {
		t.Error("the answers differ")
	}
	if d > time.Millisecond {
		t.Errorf("medians differ by %v", d)
	}
}

// answers compares refused registrations of an extension that exists with those
// of one that does not: how far their medians are apart, and whether they differ
// in code or headers.
func (b *bench) answers(t *testing.T, server netip.AddrPort, domain string, rounds int) (apart time.Duration, different bool) {
	t.Helper()
	conn, err := b.phones.ListenUDP(netip.MustParseAddrPort("10.77.0.3:0"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	took, shape := map[string][]time.Duration{}, map[string]map[string]bool{"101": {}, "190": {}}
	for i := range rounds {
		order := []string{"101", "190"}
		if rand.IntN(2) == 0 {
			slices.Reverse(order)
		}
		for _, number := range order {
			d, answer := refused(t, conn, server, domain, number, i)
			took[number] = append(took[number], d)
			shape[number][headersOf(answer)] = true
		}
	}
	real, made := median(took["101"]), median(took["190"])
	t.Logf("median of %d: %v for an extension that exists, %v for one that does not; answers %v, %v", rounds, real, made, shape["101"], shape["190"])
	return (real - made).Abs(), fmt.Sprint(shape["101"]) != fmt.Sprint(shape["190"]) || len(shape["101"]) != 1
}

// refused sends a REGISTER with a wrong password and a nonce of the server's.
func refused(t *testing.T, conn *net.UDPConn, server netip.AddrPort, domain, number string, i int) (time.Duration, string) {
	t.Helper()
	send := func(seq int, auth string) (time.Duration, string) {
		id := fmt.Sprintf("%s-%d", number, i)
		m := fmt.Sprintf("REGISTER sip:%s SIP/2.0\r\nVia: SIP/2.0/UDP %s;rport;branch=z9hG4bK%s-%d\r\nMax-Forwards: 70\r\nFrom: <sip:%s@%s>;tag=f\r\nTo: <sip:%s@%s>\r\nCall-ID: %s\r\nCSeq: %d REGISTER\r\n%sContent-Length: 0\r\n\r\n",
			domain, conn.LocalAddr(), id, seq, number, domain, number, domain, id, seq, auth)
		buf := make([]byte, 4096)
		start := time.Now()
		if _, err := conn.WriteToUDPAddrPort([]byte(m), server); err != nil {
			t.Fatal(err)
		}
		if err := conn.SetReadDeadline(start.Add(5 * time.Second)); err != nil {
			t.Fatal(err)
		}
		n, err := conn.Read(buf)
		if err != nil {
			t.Fatal(err)
		}
		return time.Since(start), string(buf[:n])
	}
	_, challenge := send(1, "")
	_, rest, _ := strings.Cut(challenge, `nonce="`)
	nonce, _, _ := strings.Cut(rest, `"`)
	return send(2, fmt.Sprintf("Authorization: Digest username=\"%s\", realm=\"%s\", nonce=\"%s\", uri=\"sip:%s\", response=\"%032d\", cnonce=\"c\", qop=auth, nc=00000001, algorithm=MD5\r\n", number, domain, nonce, domain, i))
}

// headersOf is status line and header names of an answer, in order.
func headersOf(answer string) string {
	head, _, _ := strings.Cut(answer, "\r\n\r\n")
	lines := strings.Split(head, "\r\n")
	for i := range lines[1:] {
		lines[i+1], _, _ = strings.Cut(lines[i+1], ":")
	}
	return strings.Join(lines, "|") + fmt.Sprint(strings.Contains(head, "stale"))
}

func median(d []time.Duration) time.Duration {
	slices.Sort(d)
	return d[len(d)/2]
}
