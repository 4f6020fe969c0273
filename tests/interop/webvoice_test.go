package interop

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"ringfence/internal/siptest"
	"ringfence/tests/clients"
)

// webVoice is a page of a browser.
type webVoice struct {
	p      *clients.WebPhone
	domain string
	calls  int
}

func (v *webVoice) call(ctx context.Context, number string, talk time.Duration) error {
	v.calls++
	if _, err := v.p.Do("call", map[string]any{"to": "sip:" + number + "@" + v.domain}); err != nil {
		return err
	}
	if _, err := v.p.Wait(ctx, "", "confirmed"); err != nil {
		_, _ = v.p.Do("hangUp", on(v.calls))
		return err
	}
	time.Sleep(talk)
	if _, err := v.p.Do("hangUp", on(v.calls)); err != nil {
		return err
	}
	_, err := v.p.Wait(ctx, "", "ended")
	return err
}

func (v *webVoice) answer(ctx context.Context) error {
	v.calls++
	e, err := v.p.Wait(ctx, "", "incoming")
	if err != nil {
		return err
	}
	if _, err := v.p.Do("answer", on(e.Call)); err != nil {
		return err
	}
	_, err = v.p.Wait(ctx, "", "ended")
	return err
}

func (v *webVoice) heard() (siptest.Heard, error) { return webTape(v.p, v.calls) }

// webTape is what a page has recorded of a call, from the first sound on.
func webTape(web *clients.WebPhone, call int) (siptest.Heard, error) {
	text, err := web.Do("taped", on(call))
	if err != nil {
		return siptest.Heard{}, err
	}
	var tape struct {
		Rate    int
		Samples []byte
	}
	if err := json.Unmarshal([]byte(text), &tape); err != nil {
		return siptest.Heard{}, fmt.Errorf("reading a tape: %w", err)
	}
	h := siptest.Heard{Rate: tape.Rate, Samples: make([]int16, len(tape.Samples)/2)}
	for i := range h.Samples {
		h.Samples[i] = int16(binary.LittleEndian.Uint16(tape.Samples[2*i:]))
	}
	return h, nil
}

// ciphers are what getStats tells, which names suites as RFC 5764 and RFC 7714 do.
func (v *webVoice) ciphers() string {
	s, err := v.stats()
	if err != nil {
		return err.Error()
	}
	return strings.TrimPrefix(s.SRTP, "SRTP_")
}

// stats are those of the last call, as they were at its end.
func (v *webVoice) stats() (s webStats, err error) {
	text, err := v.p.Do("stats", on(v.calls))
	if err != nil {
		return s, err
	}
	return s, json.Unmarshal([]byte(text), &s)
}
