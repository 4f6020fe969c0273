package interop

import (
	"fmt"
	"math"
	"testing"
	"time"

	"ringfence/internal/siptest"
	"ringfence/tests/clients"
)

// holder is a voice that can put a call on hold.
type holder interface {
	voice
	hold() error
	resume() error
}

func (v *baresipVoice) hold() error {
	_, err := v.p.Do("hold", "")
	return err
}

func (v *baresipVoice) resume() error {
	_, err := v.p.Do("resume", "")
	return err
}

func (v *linphoneVoice) hold() error   { return v.p.Do("pause") }
func (v *linphoneVoice) resume() error { return v.p.Do("resume") }

func (v *webVoice) hold() error {
	_, err := v.p.Do("hold", on(v.calls))
	return err
}

func (v *webVoice) resume() error {
	_, err := v.p.Do("unhold", on(v.calls))
	return err
}

// Who is put on hold hears music of the PBX, nothing of who holds, and that voice
// again afterwards: with a baresip, a linphone and a browser that hold, the last
// two of them encrypted.
func TestHoldWithMusicAndBack(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	admin, domain := b.pbx.Admin(t), b.pbx.Extension("101").Domain
	type side struct {
		holder
		number string
		tone   float64
	}
	phone := side{&baresipVoice{p: b.baresip(t, "101", 0, 440, "")}, "101", 440}
	second := side{&baresipVoice{p: b.baresip(t, "104", 1, 520, "")}, "104", 520}
	lin := side{&linphoneVoice{p: b.linphone(t, "102", 0, 660, func(c *clients.LinphoneConfig) { c.Secure = true }), domain: domain}, "102", 660}
	web := side{&webVoice{p: b.webPhone(t, b.browser(t), "103", 880), domain: domain}, "103", 880}
	for i, round := range [][][2]side{{{phone, web}, {second, lin}}, {{lin, web}}, {{web, lin}}} {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			for _, c := range round {
				t.Run(c[0].number+" holds "+c[1].number, func(t *testing.T) {
					t.Parallel()
					ctx := within(t, 40*time.Second)
					answered, called := make(chan error, 1), make(chan error, 1)
					go func() { answered <- c[1].answer(ctx) }()
					go func() { called <- c[0].call(ctx, c[1].number, 9*time.Second) }()
					talking(t, admin, c[0].number)
					time.Sleep(2500 * time.Millisecond)
					if err := c[0].hold(); err != nil {
						t.Error(err)
					}
					time.Sleep(3 * time.Second)
					if err := c[0].resume(); err != nil {
						t.Error(err)
					}
					for _, done := range []chan error{called, answered} {
						if err := <-done; err != nil {
							t.Errorf("%.2000v", err)
						}
					}
					h, err := c[1].heard()
					if err != nil {
						t.Fatal(err)
					}
					if err := music(h, c[0].tone); err != nil {
						t.Errorf("%s: %v", c[1].number, err)
					}
				})
			}
		})
	}
}

// music demands a voice, something else that can be heard, and the voice again,
// half a second of each at least.
func music(h siptest.Heard, voice float64) error {
	const enough = 5 // parts of a tenth of a second
	var seen []rune
	wanted, n := []rune("vmv"), 0
	part := h
	for at := 0; at+h.Rate/10 <= len(h.Samples); at += h.Rate / 10 {
		part.Samples = h.Samples[at : at+h.Rate/10]
		kind := '.'
		switch share := part.Share(voice); {
		case level(part) < 100:
		case share > 0.9:
			kind = 'v'
		case share < 0.2:
			kind = 'm'
		default:
			kind = '?'
		}
		seen = append(seen, kind)
		if len(wanted) > 0 && kind == wanted[0] {
			n++
		} else if kind != '.' && kind != '?' {
			n = 0
		}
		if n == enough {
			wanted, n = wanted[1:], 0
		}
	}
	if len(wanted) > 0 {
		return fmt.Errorf("heard, by tenths of a second, voice and music as in %q", string(seen))
	}
	return nil
}

// level is the root of the mean square.
func level(h siptest.Heard) float64 {
	sum := 0.0
	for _, s := range h.Samples {
		sum += float64(s) * float64(s)
	}
	return math.Sqrt(sum / float64(max(len(h.Samples), 1)))
}
