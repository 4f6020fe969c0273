package sip

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

// frames cuts a stream until its end and returns the messages and what ended it.
func frames(r io.Reader) (all []string, pings int, err error) {
	f := framer{r: bufio.NewReader(r), began: func() {}, ping: func() { pings++ }}
	for {
		raw, err := f.next(nil)
		if err != nil {
			return all, pings, err
		}
		all = append(all, string(raw))
	}
}

// FuzzFraming: however a stream arrives it is cut alike; every message is
// whole, within the limit and as long as it says; and no bytes get lost.
func FuzzFraming(f *testing.F) {
	for _, b := range tortureMessages(f) {
		f.Add(b)
	}
	f.Add([]byte(probe("a") + "\r\n\r\n" + probe("b", "l: 0") + "\r\n" + probe("c")))
	f.Add([]byte(strings.Replace(probe("a"), "Content-Length: 0\r\n\r\n", "Content-Length:\r\n 3\r\n\r\nabc", 1)))
	f.Add([]byte("SIP/2.0 200 OK\r\nl: 99999999999\r\n\r\n"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		all, pings, err := frames(bytes.NewReader(raw))
		if err == nil {
			t.Fatal("a stream without an end")
		}
		slow, slowPings, slowErr := frames(iotest.OneByteReader(bytes.NewReader(raw)))
		if len(slow) != len(all) || pings != slowPings || !errors.Is(slowErr, err) {
			t.Errorf("at once: %d messages, %d pings, %v; byte by byte: %d, %d, %v", len(all), pings, err, len(slow), slowPings, slowErr)
		}
		rest := string(raw)
		for i, m := range all {
			if m != slow[i] {
				t.Errorf("message %d differs", i)
			}
			head, body, ok := strings.Cut(m, "\r\n\r\n")
			n, known := contentLength([]byte(head + "\r\n\r\n"))
			if !ok || !known || n != len(body) || len(m) > maxMessage {
				t.Errorf("message %d: length %d, body of %d, %v", i, n, len(body), known)
			}
			gap, after, found := strings.Cut(rest, m)
			if !found || strings.Trim(gap, "\r\n") != "" {
				t.Errorf("message %d: %q was lost", i, gap)
			}
			rest = after
		}
	})
}
