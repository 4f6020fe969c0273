package trace

import (
	"bytes"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"ringfence/internal/sip"
	"ringfence/internal/telephony"
)

var (
	pbx   = netip.MustParseAddrPort("192.0.2.1:5060")
	phone = netip.MustParseAddrPort("192.0.2.50:5101")
	other = netip.MustParseAddrPort("[2001:db8::7]:49152")
)

// message is one as the endpoint shows it.
func message(sent bool, far netip.AddrPort, start, callID, cseq string, more ...string) sip.Trace {
	local := pbx
	if far.Addr().Is6() {
		local = netip.MustParseAddrPort("[2001:db8::1]:5061")
	}
	raw := start + "\r\nVia: SIP/2.0/UDP x;branch=z9hG4bK1\r\nFrom: <sip:101@a.test>;tag=1\r\nTo: <sip:102@a.test>\r\nCall-ID: " + callID + "\r\nCSeq: " + cseq + "\r\n" + strings.Join(more, "")
	if !strings.Contains(raw, "\r\n\r\n") {
		raw += "Content-Length: 0\r\n\r\n"
	}
	return sip.Trace{Time: time.Now(), Sent: sent, Flow: sip.Flow{Local: local, Remote: far}, Raw: []byte(raw)}
}

func TestCallsOverBothLegs(t *testing.T) {
	t.Parallel()
	r := New(Config{})
	r.Add(message(false, phone, "INVITE sip:102@a.test SIP/2.0", "a", "1 INVITE"))
	r.Add(message(true, phone, "SIP/2.0 407 Proxy Authentication Required", "a", "1 INVITE"))
	r.Add(message(false, phone, "INVITE sip:102@a.test SIP/2.0", "a", "2 INVITE"))
	r.Bind(1, "call", "a")
	r.Bind(1, "call", "a")
	r.Bind(1, "call", "b")
	r.Add(message(true, other, "INVITE sip:102@[2001:db8::7] SIP/2.0", "b", "1 INVITE"))
	r.Add(message(false, other, "SIP/2.0 200 OK", "b", "1 INVITE", "Content-Length: 5\r\n\r\nv=0\r\n"))
	r.Add(message(false, phone, "OPTIONS sip:x SIP/2.0", "a", "3 OPTIONS")) // within the call
	r.Add(message(false, phone, "REGISTER sip:a.test SIP/2.0", "reg", "1 REGISTER"))
	r.Add(message(false, phone, "INVITE sip:103@a.test SIP/2.0", "c", "1 INVITE")) // another call
	got, ok := r.Call(1, "call")
	if !ok || got.Cut || len(got.Messages) != 6 {
		t.Fatalf("%d messages, %v", len(got.Messages), ok)
	}
	l := got.Ladder()
	if !slices.Equal(l.Lanes, []string{Self, phone.String(), other.String()}) {
		t.Errorf("lanes %q", l.Lanes)
	}
	var steps []string
	for _, s := range l.Steps {
		steps = append(steps, strings.TrimPrefix(s.From+" > "+s.To+": "+s.Summary, ""))
	}
	want := []string{
		"192.0.2.50:5101 > pbx: INVITE sip:102@a.test",
		"pbx > 192.0.2.50:5101: 407 Proxy Authentication Required (INVITE)",
		"192.0.2.50:5101 > pbx: INVITE sip:102@a.test",
		"pbx > [2001:db8::7]:49152: INVITE sip:102@[2001:db8::7]",
		"[2001:db8::7]:49152 > pbx: 200 OK (INVITE), SDP",
		"192.0.2.50:5101 > pbx: OPTIONS sip:x",
	}
	if !slices.Equal(steps, want) {
		t.Errorf("steps\n%s\nwant\n%s", strings.Join(steps, "\n"), strings.Join(want, "\n"))
	}
	if len(r.Noise()) != 1 {
		t.Errorf("%d of noise", len(r.Noise()))
	}
	for _, tenant := range []telephony.TenantID{2, 3} {
		if _, ok := r.Call(tenant, "call"); ok {
			t.Errorf("tenant %d sees it", tenant)
		}
	}
	if _, ok := r.Call(telephony.System, "call"); !ok {
		t.Error("the box does not see it")
	}
	r.Switch(false)
	if _, ok := r.Call(1, "call"); ok || len(r.Noise()) != 0 {
		t.Error("something is left")
	}
}

// Calls that leave no message, because tracing is off or for any other reason,
// do not add up.
func TestCallsWithoutMessagesAreBounded(t *testing.T) {
	t.Parallel()
	r := New(Config{Calls: 100_000})
	many := func() {
		for i := range 10_000 {
			r.Bind(1, telephony.CallID(fmt.Sprint("call", i)), fmt.Sprint("id", i))
		}
	}
	many()
	if len(r.calls) > 400 || len(r.byCall) != len(r.calls) || len(r.byID) != len(r.calls) {
		t.Errorf("%d calls, %d dialogs", len(r.byCall), len(r.byID))
	}
	r.Switch(false)
	many()
	r.Add(message(false, phone, "INVITE sip:x SIP/2.0", "id1", "1 INVITE"))
	if len(r.byCall) != 0 || len(r.byID) != 0 || len(r.pending) != 0 || r.size != 0 {
		t.Errorf("switched off: %d calls, %d dialogs, %d bytes", len(r.byCall), len(r.byID), r.size)
	}
	r.Switch(true)
	r.Bind(1, "call", "id1")
	r.Add(message(false, phone, "INVITE sip:x SIP/2.0", "id1", "1 INVITE"))
	if _, ok := r.Call(1, "call"); !ok {
		t.Error("switched on again it keeps nothing")
	}
}

// TestBounds: the oldest calls go first, a long call loses its beginning, and
// strangers and registrations push nobody out.
func TestBounds(t *testing.T) {
	t.Parallel()
	r := New(Config{Calls: 100_000, Call: 20_000, Pending: 10_000, Noise: 10_000})
	for i := range 1000 {
		id := telephony.CallID(fmt.Sprint("call", i))
		r.Bind(1, id, fmt.Sprint(id, "-a"))
		for range 5 {
			r.Add(message(false, phone, "INFO sip:x SIP/2.0", fmt.Sprint(id, "-a"), "1 INFO"))
		}
	}
	kept := 0
	for i := range 1000 {
		if _, ok := r.Call(1, telephony.CallID(fmt.Sprint("call", i))); ok {
			kept++
		} else if kept > 0 {
			t.Fatalf("call %d went before an older one", i)
		}
	}
	if kept < 20 || kept > 60 || r.size > 100_000 || len(r.byID) != len(r.calls) || len(r.byCall) != len(r.calls) {
		t.Errorf("%d calls kept in %d bytes, %d dialogs", kept, r.size, len(r.byID))
	}
	for i := range 10_000 {
		r.Add(message(false, phone, "INVITE sip:x SIP/2.0", fmt.Sprint("stranger", i), "1 INVITE"))
		r.Add(message(false, phone, "REGISTER sip:x SIP/2.0", fmt.Sprint("stranger", i), "1 REGISTER"))
	}
	if r.waits > 10_000 || r.noise.size > 10_000 || len(r.pending) > 100 || len(r.queue) > 100 {
		t.Errorf("strangers take %d + %d bytes, %d Call-IDs", r.waits, r.noise.size, len(r.pending))
	}
	if _, ok := r.Call(1, "call999"); !ok {
		t.Error("strangers pushed a call out")
	}
	for range 1000 {
		r.Add(message(false, phone, "INFO sip:x SIP/2.0", "call999-a", "1 INFO"))
	}
	got, _ := r.Call(1, "call999")
	if size := r.byCall["call999"].size; !got.Cut || size > 20_000 {
		t.Errorf("a long call takes %d bytes, cut %v", size, got.Cut)
	}
	for i := range 1000 { // a call of many dialogs
		r.Bind(1, "call999", fmt.Sprint("x", i))
	}
	if n := len(r.byCall["call999"].ids); n > maxDialogs {
		t.Errorf("%d dialogs of one call", n)
	}
}

func TestSecretsAreHidden(t *testing.T) {
	t.Parallel()
	secret := "s3cret+/="
	for _, c := range []string{
		`Authorization: Digest username="101", realm="a.test", nonce="SECRET", uri="sip:a.test", response="SECRET", algorithm=MD5, cnonce="SECRET", opaque="SECRET", qop=auth, nc=00000001`,
		"Proxy-Authorization: DIGEST username=\"101\",\r\n\tNonce = \"SECRET\" ,\r\n  RESPONSE=\"SECRET\"",
		`WWW-Authenticate: Digest realm="a.test", nonce="SECRET"`,
		`proxy-authenticate: Digest realm="a.test",nonce="SECRET",qop="auth"`,
		`Authentication-Info: nextnonce="SECRET", rspauth="SECRET"`,
		`Authorization: Bearer SECRET`,
		`Authorization: Basic SECRET`,
		`Contact: <sip:101@192.0.2.50;pn-provider=apns;pn-prid=SECRET;pn-param=SECRET>;expires=60`,
		`m: <sip:101@192.0.2.50;PN-PRID=SECRET>`,
		`From: "A" <sip:101:SECRET@a.test>;tag=1`,
		`Identity: SECRET`,
	} {
		raw := []byte("INVITE sip:x SIP/2.0\r\nCall-ID: a\r\nCSeq: 1 INVITE\r\n" + strings.ReplaceAll(c, "SECRET", secret) + "\r\n\r\n")
		got := redact(bytes.Clone(raw), false)
		if bytes.Contains(got, []byte(secret[:5])) || len(got) != len(raw) {
			t.Errorf("%s\nbecame %s", c, got)
		}
		for _, keep := range []string{"101", "a.test", "INVITE sip:x", "apns", "qop=auth"} {
			if bytes.Contains(raw, []byte(keep)) && !bytes.Contains(got, []byte(keep)) {
				t.Errorf("%s lost %s: %s", c, keep, got)
			}
		}
	}
	for _, c := range []struct {
		method, contentType, body string
		hidden                    bool
	}{
		{"INVITE", "application/sdp", "v=0\r\na=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:SECRET|2^20|1:4;inline:SECRET\r\nm=audio 1 RTP/SAVP 0\r\n", true},
		{"INVITE", "application/sdp", "v=0\r\na=ice-pwd:SECRET\r\nk=base64:SECRET\r\nA=KEY-MGMT:mikey SECRET\r\n", true},
		{"INFO", "application/dtmf-relay", "Signal=SECRET\r\nDuration=160\r\n", true},
		{"MESSAGE", "text/plain", "SECRET", true},
		{"INFO", "text/plain", "SECRET", false},
	} {
		raw := []byte(c.method + " sip:x SIP/2.0\r\nCSeq: 1 " + c.method + "\r\nContent-Type: " + c.contentType + "\r\n\r\n" + strings.ReplaceAll(c.body, "SECRET", secret))
		if got := redact(bytes.Clone(raw), false); bytes.Contains(got, []byte(secret[:5])) == c.hidden || len(got) != len(raw) {
			t.Errorf("%s %s became %s", c.method, c.body, got)
		}
	}
	raw := []byte("MESSAGE sip:x SIP/2.0\r\nCSeq: 1 MESSAGE\r\n\r\nhello")
	if got := redact(bytes.Clone(raw), true); !bytes.Equal(got, raw) {
		t.Errorf("a text that was wanted: %s", got)
	}
}

// TestCaptureOpensInTshark: every message is dissected as SIP, over both
// families, whatever it travelled in.
func TestCaptureOpensInTshark(t *testing.T) {
	t.Parallel()
	r := New(Config{})
	r.Bind(1, "call", "a")
	r.Add(message(false, phone, "INVITE sip:102@a.test SIP/2.0", "a", "1 INVITE", "Content-Type: application/sdp\r\nContent-Length: 207\r\n\r\nv=0\r\no=- 1 1 IN IP4 192.0.2.50\r\ns=-\r\nc=IN IP4 192.0.2.50\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\na=crypto:1 AES_256_CM_HMAC_SHA1_80 inline:"+strings.Repeat("c2Vj", 15)+"cg==\r\na=ptime:20\r\n"))
	r.Add(message(true, other, "INVITE sip:102@[2001:db8::7];transport=ws SIP/2.0", "a", "1 INVITE"))
	r.Add(message(false, other, "SIP/2.0 180 Ringing", "a", "1 INVITE"))
	r.Add(message(true, phone, "SIP/2.0 486 Busy Here", "a", "1 INVITE", "X-Long: "+strings.Repeat("x", 60_000)+"\r\n"))
	got, _ := r.Call(1, "call")
	path := filepath.Join(t.TempDir(), "call.pcap")
	var b bytes.Buffer
	if err := got.WritePCAP(&b); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	tshark, err := exec.LookPath("tshark")
	if err != nil {
		t.Skip("tshark is not installed")
	}
	out, err := exec.CommandContext(t.Context(), tshark, "-n", "-r", path, "-o", "udp.check_checksum:TRUE", "-o", "ip.check_checksum:TRUE",
		"-T", "fields", "-E", "separator=|", "-e", "ip.src", "-e", "ipv6.src", "-e", "udp.dstport", "-e", "sip.Method", "-e", "sip.Status-Code",
		"-e", "udp.checksum.status", "-e", "sdp.media.port", "-e", "_ws.malformed").Output()
	if err != nil {
		t.Fatalf("tshark: %v", err)
	}
	want := "192.0.2.50||5060|INVITE||1|4000|\n|2001:db8::1|49152|INVITE||1||\n|2001:db8::7|5061||180|1||\n192.0.2.1||5101||486|1||\n"
	if string(out) != want {
		t.Errorf("tshark says\n%s\nwant\n%s", out, want)
	}
}

func FuzzAdd(f *testing.F) {
	f.Add([]byte("INVITE sip:a:b@c SIP/2.0\r\nAuthorization: Digest nonce=\"x\",\r\n response=y\r\ni: 1\r\nCSeq: 1 INVITE\r\n\r\na=crypto:1 x inline:k|1\r\nk=p"))
	f.Add([]byte("SIP/2.0 200 OK\nContact: <sip:x;pn-prid=>\nCSeq: MESSAGE\n\nhello"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		r := New(Config{})
		id, _ := identify(raw)
		r.Bind(1, "call", string(id))
		r.Add(sip.Trace{Time: time.Unix(0, 0), Raw: raw})
		got, ok := r.Call(1, "call")
		if !ok || len(got.Messages[0].Raw) != len(raw) {
			t.Fatalf("%v, %d of %d bytes", ok, len(got.Messages[0].Raw), len(raw))
		}
		got.Ladder()
		if err := got.WritePCAP(&bytes.Buffer{}); err != nil {
			t.Fatal(err)
		}
	})
}

func BenchmarkAdd(b *testing.B) {
	r := New(Config{})
	r.Bind(1, "call", "a")
	m := message(false, phone, "INVITE sip:102@a.test SIP/2.0", "a", "1 INVITE",
		`Authorization: Digest username="101", realm="a.test", nonce="0123456789abcdef0123456789abcdef", uri="sip:a.test", response="0123456789abcdef0123456789abcdef"`+"\r\n",
		"Contact: <sip:101@192.0.2.50:5101;ob>\r\nContent-Type: application/sdp\r\n\r\n"+strings.Repeat("a=rtpmap:101 telephone-event/8000\r\n", 20))
	b.ReportAllocs()
	b.SetBytes(int64(len(m.Raw)))
	for b.Loop() {
		r.Add(m)
	}
}
