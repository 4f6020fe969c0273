package interop

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"ringfence/internal/siptest"
	"ringfence/tests/clients"
)

// webStats is what a browser tells of a call's media.
type webStats struct {
	SRTP       string `json:"srtp"`
	DTLS       string `json:"dtls"`
	Remote     string `json:"remote"`
	Candidates int    `json:"candidates"`
	Received   int    `json:"received"`
	Lost       int    `json:"lost"`
	Sent       int    `json:"sent"`
	Hears      string `json:"hears"`  // codec
	Speaks     string `json:"speaks"` // codec
}

// secured demands of a browser's call what it must be protected by, and that
// its peer has one address, of type host.
func (b *bench) secured(t *testing.T, web *clients.WebPhone, call int) {
	t.Helper()
	text, err := web.Do("stats", on(call))
	if err != nil {
		t.Fatal(err)
	}
	var s webStats
	if err := json.Unmarshal([]byte(text), &s); err != nil {
		t.Fatal(err)
	}
	if s.SRTP != "SRTP_AEAD_AES_256_GCM" || s.DTLS != "connected" {
		t.Errorf("the browser's media are protected by %q, DTLS is %q", s.SRTP, s.DTLS)
	}
	if s.Candidates != 1 || s.Remote != "host 10.77.0.1" {
		t.Errorf("the browser sees %d candidates and takes %q", s.Candidates, s.Remote)
	}
	if s.Received == 0 || s.Sent == 0 || s.Lost*20 > s.Received {
		t.Errorf("the browser sent %d packets, got %d and lost %d", s.Sent, s.Received, s.Lost)
	}
}

// webHears demands that a browser hears one tone and none of the others.
func webHears(t *testing.T, web *clients.WebPhone, call int, want float64, never ...float64) {
	t.Helper()
	var err error
	for range 20 {
		time.Sleep(400 * time.Millisecond)
		var h siptest.Heard
		if h, err = webEar(web, call); err != nil {
			continue
		}
		if err = only(h, want, never...); err == nil {
			return
		}
	}
	text, _ := web.Do("stats", on(call))
	t.Errorf("the browser does not hear %g Hz: %v; it tells %s", want, err, text)
}

// only is Heard.Only of less than a second.
func only(h siptest.Heard, want float64, never ...float64) error {
	if s := h.Share(want); s < 0.9 {
		return fmt.Errorf("%g Hz has %.3f of the energy", want, s)
	}
	for _, f := range never {
		if s := h.Share(f); s > 0.01 {
			return fmt.Errorf("%g Hz has %.3f of the energy", f, s)
		}
	}
	return nil
}

func webEar(web *clients.WebPhone, call int) (siptest.Heard, error) {
	text, err := web.Do("hear", on(call))
	if err != nil {
		return siptest.Heard{}, err
	}
	h := siptest.Heard{Rate: 48000}
	if err := json.Unmarshal([]byte(text), &h.Samples); err != nil || len(h.Samples) == 0 {
		return h, fmt.Errorf("nothing to hear: %w", err)
	}
	return h, nil
}

// Two browsers call each other through the PBX: every end has its own keys, of
// 256 bits, and hears the other alone.
func TestBrowsersHearEachOther(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	w := b.browser(t)
	one, two := b.webPhone(t, w, "101", 440), b.webPhone(t, w, "102", 660)
	run(t, one, "call", map[string]any{"to": "sip:102@" + b.pbx.Extension("102").Domain})
	n := happens(t, two, "101", "incoming").Call
	run(t, two, "answer", on(n))
	happens(t, one, "", "confirmed")
	happens(t, two, "", "confirmed")
	webHears(t, one, 1, 660, 440)
	webHears(t, two, n, 440, 660)
	b.secured(t, one, 1)
	b.secured(t, two, n)

	run(t, two, "hold", on(n))
	happens(t, one, "remote", "hold")
	run(t, two, "unhold", on(n))
	happens(t, one, "remote", "unhold")
	webHears(t, one, 1, 660, 440)
	webHears(t, two, n, 440, 660)
	b.secured(t, one, 1)
	run(t, one, "hangUp", on(1))
	happens(t, two, "", "ended")
}

// A browser and a baresip with DTLS-SRTP, with ICE and without, call each other.
func TestBrowserAndBaresipOverDTLS(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	w := b.browser(t)
	web := b.webPhone(t, w, "101", 440)
	domain, calls := b.pbx.Extension("101").Domain, 0
	for i, more := range []string{";medianat=ice", ""} {
		number := fmt.Sprint(102 + i)
		p := b.baresip(t, number, i, 660, ";answermode=auto;mediaenc=dtls_srtp"+more)
		run(t, web, "call", map[string]any{"to": "sip:" + number + "@" + domain})
		happens(t, web, "", "confirmed")
		calls++
		webHears(t, web, calls, 660, 440)
		b.secured(t, web, calls)
		time.Sleep(2 * time.Second)
		run(t, web, "hangUp", on(calls))
		closed(t, p)

		do(t, p, "dial", "101")
		happens(t, web, number, "incoming")
		calls++
		run(t, web, "answer", on(calls))
		established(t, p)
		webHears(t, web, calls, 660, 440)
		b.secured(t, web, calls)
		time.Sleep(2 * time.Second)
		do(t, p, "hangup", "")
		happens(t, web, "", "ended")
		p.Close()
		heard := recordings(t, p)
		if len(heard) != 2 {
			t.Fatalf("%d recordings; log:\n%s", len(heard), p.Log())
		}
		for _, h := range heard {
			if err := h.Middle(time.Second).Only(440, 660); err != nil {
				t.Errorf("baresip %q: %v", more, err)
			}
		}
		log := p.Log()
		if more != "" && strings.Contains(log, "ICE not supported") {
			t.Errorf("baresip went on without ICE:\n%s", log)
		}
		if strings.Count(log, "a=fingerprint:") < 2 {
			t.Errorf("no fingerprints were exchanged:\n%s", log)
		}
	}
}
