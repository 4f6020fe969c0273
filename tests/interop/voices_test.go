package interop

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"ringfence/internal/ports"
	"ringfence/internal/siptest"
	"ringfence/tests/clients"
	"ringfence/tests/netlab"
)

// members are the clients of the matrix, registered.
func (b *bench) members(t *testing.T) []member {
	t.Helper()
	need(t, "linphonec")
	if err := b.phones.IP("addr", "add", sippAddr+"/24", "dev", "pbx0"); err != nil {
		t.Fatal(err)
	}
	secure := func(c *clients.LinphoneConfig) { c.Secure = true }
	return []member{
		{name: "baresip RTP", number: "101", tone: 440, voice: &baresipVoice{p: b.baresip(t, "101", 0, 440, "")}},
		{name: "linphone SDES", number: "102", tone: 660, offers: "AES_256_CM_HMAC_SHA1_80", takes: "AES_256_CM_HMAC_SHA1_80",
			voice: &linphoneVoice{p: b.linphone(t, "102", 0, 660, secure), domain: b.pbx.Extension("102").Domain}},
		{name: "sipp", number: "103", tone: 880, voice: b.sippVoice(t, "103", 880)},
		// It offers AES-128 only, and takes the best that it is offered.
		{name: "baresip SDES", number: "104", tone: 520, offers: "AES_CM_128_HMAC_SHA1_80", takes: "AEAD_AES_256_GCM",
			voice: &baresipVoice{p: b.baresip(t, "104", 1, 520, ";mediaenc=srtp-mand")}},
		{name: "baresip DTLS", number: "105", tone: 740, offers: "AEAD_AES_256_GCM", takes: "AEAD_AES_256_GCM",
			voice: &baresipVoice{p: b.baresip(t, "105", 2, 740, ";mediaenc=dtls_srtp")}},
		{name: "Chromium", number: "106", tone: 1000, offers: "AEAD_AES_256_GCM", takes: "AEAD_AES_256_GCM",
			voice: &webVoice{p: b.webPhone(t, b.browser(t), "106", 1000), domain: b.pbx.Extension("106").Domain}},
	}
}

type baresipVoice struct {
	p     *clients.Baresip
	files []string // recordings of earlier calls
}

func (v *baresipVoice) call(ctx context.Context, number string, talk time.Duration) error {
	if err := v.fresh(); err != nil {
		return err
	}
	if _, err := v.p.Do("dial", number); err != nil {
		return err
	}
	if _, err := v.p.Wait(ctx, "CALL_ESTABLISHED"); err != nil {
		_, _ = v.p.Do("hangup", "")
		return err
	}
	time.Sleep(talk)
	if _, err := v.p.Do("hangup", ""); err != nil {
		return err
	}
	_, err := v.p.Wait(ctx, "CALL_CLOSED")
	return err
}

func (v *baresipVoice) answer(ctx context.Context) error {
	if err := v.fresh(); err != nil {
		return err
	}
	if _, err := v.p.Wait(ctx, "CALL_INCOMING"); err != nil {
		return err
	}
	if _, err := v.p.Do("accept", ""); err != nil {
		return err
	}
	_, err := v.p.Wait(ctx, "CALL_CLOSED")
	return err
}

// fresh forgets what earlier calls left.
func (v *baresipVoice) fresh() (err error) {
	_ = v.p.Ciphers()
	v.files, err = v.p.Heard()
	return err
}

func (v *baresipVoice) heard() (siptest.Heard, error) {
	files, err := v.p.Heard()
	if err != nil {
		return siptest.Heard{}, err
	}
	for _, f := range files {
		if !slices.Contains(v.files, f) {
			return siptest.HeardWAV(f)
		}
	}
	return siptest.Heard{}, fmt.Errorf("no recording")
}

// ciphers are told as "stream,medium,suite", and in the log after a handshake.
func (v *baresipVoice) ciphers() string {
	told := v.p.Ciphers()
	suite := told[strings.LastIndex(told, ",")+1:]
	if profiles := handshaken.FindAllStringSubmatch(v.p.Log(), -1); suite == "RTP" && len(profiles) > 0 {
		return profiles[len(profiles)-1][1]
	}
	return suite
}

type linphoneVoice struct {
	p      *clients.Linphone
	domain string
	calls  int
	begin  int // of the last call in the log
	// saidBefore is what the console held before it.
	saidBefore int
}

func (v *linphoneVoice) call(ctx context.Context, number string, talk time.Duration) error {
	if err := v.record(); err != nil {
		return err
	}
	if err := v.p.Do("call sip:" + number + "@" + v.domain); err != nil {
		return err
	}
	if err := v.state(ctx, "StreamsRunning"); err != nil {
		_ = v.p.Do("terminate")
		return err
	}
	time.Sleep(talk)
	if err := v.p.Do("terminate"); err != nil {
		return err
	}
	return v.state(ctx, "Released")
}

func (v *linphoneVoice) answer(ctx context.Context) error {
	if err := v.record(); err != nil {
		return err
	}
	if err := v.state(ctx, "IncomingReceived"); err != nil {
		return err
	}
	if err := v.p.Do("answer"); err != nil {
		return err
	}
	return v.state(ctx, "Released")
}

func (v *linphoneVoice) file() string {
	return filepath.Join(v.p.Dir, fmt.Sprintf("call%d.wav", v.calls))
}

// record gives the next call a file of its own.
func (v *linphoneVoice) record() error {
	v.calls++
	v.begin, v.saidBefore = len(v.p.Log()), len(v.p.Said())
	return v.p.Do("record " + v.file())
}

func (v *linphoneVoice) state(ctx context.Context, state string) error {
	_, err := v.p.Wait(ctx, "CallSession .* moving from state .* to LinphoneCall"+state+"$")
	return err
}

func (v *linphoneVoice) heard() (siptest.Heard, error) { return siptest.HeardWAV(v.file()) }

// ciphers are told by the log: that there are some, and by the last crypto
// line, of the answer, which.
func (v *linphoneVoice) ciphers() string {
	log := v.p.Log()[v.begin:]
	lines := cryptoLine.FindAllStringSubmatch(log, -1)
	if !strings.Contains(log, "Negotiated media encryption is LinphoneMediaEncryptionSRTP") || len(lines) == 0 {
		return ""
	}
	return lines[len(lines)-1][1]
}

func (v *sippVoice) ciphers() string { return "" }

var handshaken = regexp.MustCompile(`DTLS-SRTP complete \(audio/RTP\) Profile=(\S+)`)

var cryptoLine = regexp.MustCompile(`(?m)^a=crypto:\d+ (\S+) inline:`)

// sippAddr is sipp's own: what comes there is captured, for sipp does not
// record.
const (
	sippAddr = "10.77.0.4"
	sippPort = 6900
)

type sippVoice struct {
	scenario func(callee string, steps ...clients.Step) clients.SIPp
	wire     *netlab.Capture
}

func (b *bench) sippVoice(t *testing.T, number string, tone float64) *sippVoice {
	t.Helper()
	file := filepath.Join(t.TempDir(), "tone.ulaw")
	if err := os.WriteFile(file, siptest.ULaw(siptest.Samples(tone, 8000, time.Second)), 0o600); err != nil {
		t.Fatal(err)
	}
	v := &sippVoice{wire: b.phones.Capture(t, "pbx0", netip.MustParseAddr(sippAddr))}
	v.scenario = func(callee string, steps ...clients.Step) clients.SIPp {
		s := b.sipp(t, ports.SIPUDP, number, callee, sippPort, steps)
		s.Local, s.Play = netip.AddrPortFrom(netip.MustParseAddr(sippAddr), sippPort), file
		return s
	}
	if err := v.scenario("", registers()...).Run(within(t, 20*time.Second)); err != nil {
		t.Fatal(err)
	}
	b.registeredOver(t, number, ports.SIPUDP)
	return v
}

// registers registers for five minutes.
func registers() []clients.Step {
	return []clients.Step{
		clients.Request("REGISTER", "sip:[domain]", false, "CSeq: 1 REGISTER", "Expires: 300"), clients.Expect(401, `auth="true"`),
		clients.Request("REGISTER", "sip:[domain]", false, "CSeq: 2 REGISTER", "Expires: 300", "[auth]"), clients.Expect(200),
	}
}

func (v *sippVoice) call(ctx context.Context, number string, talk time.Duration) error {
	v.wire.Take()
	return v.scenario(number, slices.Concat(dial(true), taken(2, clients.Play(), clients.Pause(talk)), bye(3))...).Run(ctx)
}

func (v *sippVoice) answer(ctx context.Context) error {
	v.wire.Take()
	return v.scenario("", clients.ExpectRequest("INVITE", "", "", ""),
		clients.Response("180 Ringing", false), clients.Response("200 OK", true),
		clients.ExpectRequest("ACK", "", "", ""), clients.Play(),
		clients.ExpectRequest("BYE", "", "", ""), clients.Reply("200 OK")).Run(ctx)
}

func (v *sippVoice) heard() (siptest.Heard, error) {
	var packets [][]byte
	for _, d := range v.wire.Take() {
		if len(d.Data) >= 12 && d.Data[0]>>6 == 2 && d.Data[1]&0x7f < 64 {
			packets = append(packets, d.Data)
		}
	}
	return siptest.HeardRTP(packets), nil
}
