package interop

import (
	"crypto/tls"
	"encoding/pem"
	"encoding/xml"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"ringfence/internal/ports"
	"ringfence/internal/siptest"
	"ringfence/internal/telephony"
	"ringfence/provision"
	"ringfence/tests/clients"
)

// linphone starts one as an extension over TLS and waits until the PBX lists it.
func (b *bench) linphone(t *testing.T, number string, slot int, tone float64, change ...func(*clients.LinphoneConfig)) *clients.Linphone {
	t.Helper()
	need(t, "linphonec")
	e, dir := b.pbx.Extension(number), t.TempDir()
	play := filepath.Join(dir, "tone.wav")
	if err := siptest.WriteWAV(play, siptest.Samples(tone, 8000, 30*time.Second), 8000); err != nil {
		t.Fatal(err)
	}
	c := clients.LinphoneConfig{
		Dir: dir, Command: b.phones.Command, Port: 6400 + 20*slot, RTPFirst: 24000 + 100*slot, Play: play,
		Proxy:    fmt.Sprintf("sip:%s;transport=tls", b.pbx.Addr(ports.SIPTLS)),
		Identity: fmt.Sprintf("sip:%s@%s", e.SIPUser, e.Domain), Password: e.SIPPassword, Authority: b.authority(t),
	}
	for _, f := range change {
		f(&c)
	}
	p, err := clients.StartLinphone(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	if _, err := p.Wait(within(t, 20*time.Second), `LinphoneRegistrationProgress. to .LinphoneRegistrationOk`); err != nil {
		t.Fatal(err)
	}
	b.registeredOver(t, number, ports.SIPTLS)
	return p
}

// state waits until one of a linphone's calls has come into a state.
func state(t *testing.T, p *clients.Linphone, state string) {
	t.Helper()
	if _, err := p.Wait(within(t, 15*time.Second), "CallSession .* moving from state .* to LinphoneCall"+state+"$"); err != nil {
		t.Fatal(err)
	}
}

func say(t *testing.T, p *clients.Linphone, line string) {
	t.Helper()
	if err := p.Do(line); err != nil {
		t.Fatal(err)
	}
}

// authority is a file with the certificate that the PBX shows.
func (b *bench) authority(t *testing.T) string {
	t.Helper()
	raw, err := b.phones.DialContext(t.Context(), "tcp", b.pbx.Addr(ports.SIPTLS).String())
	if err != nil {
		t.Fatal(err)
	}
	conn := tls.Client(raw, &tls.Config{InsecureSkipVerify: true}) // to see it is the purpose
	defer conn.Close()
	if err := conn.HandshakeContext(t.Context()); err != nil {
		t.Fatal(err)
	}
	var text []byte
	for _, c := range conn.ConnectionState().PeerCertificates {
		text = append(text, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})...)
	}
	file := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// linphone registers over TLS, its trust pinned to the PBX's own certificate,
// calls and is called, holds, is held and resumes; the other end is on UDP.
func TestLinphoneOverTLS(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	ctx := within(t, 90*time.Second)
	near := b.linphone(t, "101", 0, 440)
	far := b.phone(t, "102", 880)
	if err := far.Register(ctx); err != nil {
		t.Fatal(err)
	}
	say(t, near, "call sip:102@"+b.pbx.Extension("101").Domain)
	call := answer(ctx, t, far)
	state(t, near, "StreamsRunning")
	hears(ctx, t, call, 440, 880)

	say(t, near, "pause")
	state(t, near, "Paused")
	if err := call.WaitDirection(ctx, "sendonly"); err != nil {
		t.Fatal(err)
	}
	// linphone goes on playing its file, as music; it wants to hear nothing.
	time.Sleep(200 * time.Millisecond)
	sent := call.Sent()
	time.Sleep(500 * time.Millisecond)
	if more := call.Sent() - sent; more > 0 {
		t.Errorf("the held phone still sent %d packets", more)
	}
	say(t, near, "resume")
	state(t, near, "StreamsRunning")
	hears(ctx, t, call, 440, 880)

	if err := call.Hold(ctx); err != nil {
		t.Fatal(err)
	}
	state(t, near, "PausedByRemote")
	if err := call.Resume(ctx); err != nil {
		t.Fatal(err)
	}
	state(t, near, "StreamsRunning")
	hears(ctx, t, call, 440, 880)
	say(t, near, "terminate")
	if err := call.Wait(ctx, siptest.Ended); err != nil {
		t.Fatal(err)
	}
	state(t, near, "Released")

	back, err := far.Call(ctx, "101")
	if err != nil {
		t.Fatal(err)
	}
	if err := back.Wait(ctx, siptest.Ringing); err != nil {
		t.Fatal(err)
	}
	say(t, near, "answer")
	state(t, near, "StreamsRunning")
	hears(ctx, t, back, 440, 880)
	if err := back.HangUp(); err != nil {
		t.Fatal(err)
	}
	state(t, near, "Released")
	near.Close()
	h, err := siptest.HeardWAV(near.Recording())
	if err != nil {
		t.Fatal(err)
	}
	if err := last(h, time.Second).Only(880, 440); err != nil {
		t.Errorf("linphone in the second call: %v", err)
	}
}

// TestLinphoneEncryptsAsProvisioned: what an extension demands is what a linphone
// that fetched its configuration does, and with 256-bit keys only.
func TestLinphoneEncryptsAsProvisioned(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	ctx := within(t, 60*time.Second)
	in := map[string]any{"display_name": "", "no_answer_seconds": 30, "media_security": "require-256"}
	if err := b.pbx.Admin(t).Do(ctx, "PUT", "/extensions/101", in, nil); err != nil {
		t.Fatal(err)
	}
	near := b.linphone(t, "101", 0, 440, func(c *clients.LinphoneConfig) { c.SIP = provisioned(t, telephony.SecurityRequire256) })
	far := b.phone(t, "102", 880) // in the clear, as it may
	if err := far.Register(ctx); err != nil {
		t.Fatal(err)
	}
	say(t, near, "call sip:102@"+b.pbx.Extension("101").Domain)
	call := answer(ctx, t, far)
	state(t, near, "StreamsRunning")
	hears(ctx, t, call, 440, 880)
	var list struct {
		Items []struct {
			CallerLeg struct{ Suite string } `json:"caller_leg"`
		}
	}
	if err := call.HangUp(); err != nil {
		t.Fatal(err)
	}
	state(t, near, "Released")
	for len(list.Items) == 0 {
		if err := b.pbx.Admin(t).Do(ctx, "GET", "/cdrs", nil, &list); err != nil {
			t.Fatal(err)
		}
		time.Sleep(100 * time.Millisecond)
	}
	if got := list.Items[0].CallerLeg.Suite; got != "AES_256_CM_HMAC_SHA1_80" {
		t.Errorf("linphone is protected by %q", got)
	}
}

// provisioned are the lines about encryption that a linphone fetches.
func provisioned(t *testing.T, m telephony.MediaSecurity) (lines []string) {
	t.Helper()
	doc, err := provision.Linphone(provision.Account{Number: "101", Domain: "pbx.example", Server: "192.0.2.1", Media: m})
	if err != nil {
		t.Fatal(err)
	}
	var c struct {
		Sections []struct {
			Entries []struct {
				Name  string `xml:"name,attr"`
				Value string `xml:",chardata"`
			} `xml:"entry"`
		} `xml:"section"`
	}
	if err := xml.Unmarshal(doc, &c); err != nil {
		t.Fatal(err)
	}
	for _, e := range c.Sections[0].Entries {
		if strings.Contains(e.Name, "encryption") || strings.Contains(e.Name, "crypto") {
			lines = append(lines, e.Name+"="+e.Value)
		}
	}
	return lines
}
