package interop

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"testing"
	"time"

	"ringfence/internal/audio/dtmf"
	"ringfence/tests/apiclient"
	"ringfence/tests/clients"
)

// dialler is a voice that dials in a call, and tells what the other dialled.
type dialler interface {
	voice
	dial(digits string) error
	dialled() (string, error)
}

// Digits go through every conversion and arrive once: telephone-events of the
// clocks 48000 and 8000 (RFC 4733), INFO into either; in both directions of a
// call, in the clear and encrypted.
func TestDigitsAcrossConversions(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	if err := b.phones.IP("addr", "add", sippAddr+"/24", "dev", "pbx0"); err != nil {
		t.Fatal(err)
	}
	admin, domain := b.pbx.Admin(t), b.pbx.Extension("101").Domain
	web := &webVoice{p: b.webPhone(t, b.browser(t), "101", 440, onlyOpus()), domain: domain}
	baresip := &baresipVoice{p: b.baresip(t, "102", 0, 660, "")}
	linphone := &linphoneVoice{p: b.linphone(t, "103", 0, 880, func(c *clients.LinphoneConfig) { c.Secure = true }), domain: domain}
	sipp := &sippDialler{sippVoice: b.sippVoice(t, "104", 520)}
	type side struct {
		dialler
		number, digits string
	}
	w, p, l, s := side{web, "101", "159#"}, side{baresip, "102", "7*04"}, side{linphone, "103", "2236"}, side{sipp, "104", "8D11"}
	for _, round := range [][][2]side{{{w, p}, {s, l}}, {{l, w}, {s, p}}, {{p, l}, {s, w}}} {
		t.Run(round[0][0].number+round[0][1].number, func(t *testing.T) {
			for _, c := range round {
				t.Run(c[0].number+" calls "+c[1].number, func(t *testing.T) {
					t.Parallel()
					ctx := within(t, 30*time.Second)
					answered := make(chan error, 1)
					go func() { answered <- c[1].answer(ctx) }()
					time.Sleep(200 * time.Millisecond)
					called := make(chan error, 1)
					go func() { called <- c[0].call(ctx, c[1].number, 6*time.Second) }()
					talking(t, admin, c[0].number)
					time.Sleep(1500 * time.Millisecond) // the keys of DTLS-SRTP
					for i := range c[0].digits {
						for _, x := range c {
							if err := x.dial(x.digits[i : i+1]); err != nil {
								t.Error(err)
							}
						}
						time.Sleep(500 * time.Millisecond)
					}
					if err := <-called; err != nil {
						t.Errorf("%.2000v", err)
					}
					if err := <-answered; err != nil {
						t.Errorf("%.2000v", err)
					}
					for i, x := range c {
						if got, err := x.dialled(); err != nil || got != c[1-i].digits {
							t.Errorf("%s dialled %q, %s got %q, %v", c[1-i].number, c[1-i].digits, x.number, got, err)
						}
					}
				})
			}
		})
	}
}

// talking waits until a number's call is answered.
func talking(t *testing.T, admin *apiclient.Client, caller string) {
	t.Helper()
	var list struct {
		Items []struct {
			Caller party
			State  string
		}
	}
	for ctx := within(t, 15*time.Second); ctx.Err() == nil; time.Sleep(100 * time.Millisecond) {
		if err := admin.Do(ctx, "GET", "/calls", nil, &list); err != nil {
			t.Fatal(err)
		}
		for _, c := range list.Items {
			if c.Caller.Number == caller && c.State == "connected" {
				return
			}
		}
	}
	t.Fatalf("%s is in no call: %+v", caller, list.Items)
}

func (v *webVoice) dial(digits string) error {
	_, err := v.p.Do("dial", map[string]any{"call": v.calls, "digits": digits})
	return err
}

// dialled are the tones that Chromium plays for events.
func (v *webVoice) dialled() (string, error) {
	h, err := v.heard()
	var d dtmf.Detector
	pcm := make([]int16, len(h.Samples)/2)
	for i := range pcm {
		pcm[i] = int16((int(h.Samples[2*i]) + int(h.Samples[2*i+1])) / 2)
	}
	return string(d.Hear(nil, pcm)), err
}

func (v *baresipVoice) dial(digits string) error {
	_, err := v.p.Do("sndcode", digits)
	return err
}

func (v *baresipVoice) dialled() (string, error) { return v.p.Digits(), nil }

func (v *linphoneVoice) dial(digits string) error { return v.p.Do(digits) }

func (v *linphoneVoice) dialled() (digits string, err error) {
	for _, tone := range receivedTone.FindAllStringSubmatch(v.p.Said()[v.saidBefore:], -1) {
		digits += tone[1]
	}
	return digits, nil
}

var receivedTone = regexp.MustCompile(`Receiving tone (\S)`)

// sippDialler dials by INFO, at its own pace.
type sippDialler struct{ *sippVoice }

func (v *sippDialler) call(ctx context.Context, number string, talk time.Duration) error {
	v.wire.Take()
	steps := clients.WithEvents(slices.Concat(dial(true), taken(2, clients.Play(), clients.Pause(1500*time.Millisecond))))
	for i, digit := range "8D11" {
		steps = append(steps, clients.Carrying("INFO", 3+i, "application/dtmf-relay", fmt.Sprintf("Signal=%c\nDuration=120\n", digit)),
			clients.Expect(200), clients.Pause(400*time.Millisecond))
	}
	return v.scenario(number, slices.Concat(steps, []clients.Step{clients.Pause(talk - 3500*time.Millisecond)}, bye(9))...).Run(ctx)
}

func (v *sippDialler) dial(string) error { return nil }

func (v *sippDialler) dialled() (digits string, err error) {
	var r dtmf.Receiver
	for _, d := range v.wire.Take() {
		if len(d.Data) >= 16 && d.Data[0]>>6 == 2 && d.Data[1]&0x7f == 101 {
			stamp := uint32(d.Data[4])<<24 | uint32(d.Data[5])<<16 | uint32(d.Data[6])<<8 | uint32(d.Data[7])
			if key := r.Packet(stamp, d.Data[12:]); key != 0 {
				digits += string(key)
			}
		}
	}
	return digits, nil
}
