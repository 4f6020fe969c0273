package sip

import (
	"bytes"
	"encoding/hex"
	"net/netip"
	"strings"
	"testing"

	"ringfence/internal/ports"
)

// TestBindingSuccess: the vectors of RFC 5769 sections 2.2 and 2.3, without the
// attributes that a keep-alive has no use for.
func TestBindingSuccess(t *testing.T) {
	t.Parallel()
	request, _ := hex.DecodeString("000100002112a442b7e7a701bc34d686fa87dfae")
	for seen, want := range map[string]string{
		"192.0.2.1:32853": "0101000c2112a442b7e7a701bc34d686fa87dfae" + "002000080001a147e112a643",
		"[2001:db8:1234:5678:11:2233:4455:6677]:32853": "010100182112a442b7e7a701bc34d686fa87dfae" + "002000140002a1470113a9faa5d3f179bc25f4b5bed2b9d9",
	} {
		if got := hex.EncodeToString(bindingSuccess(request, netip.MustParseAddrPort(seen))); got != want {
			t.Errorf("%s:\n%s, want\n%s", seen, got, want)
		}
	}
}

func TestKeepAlivesOnUDPAreAnswered(t *testing.T) {
	t.Parallel()
	e := New(Config{Logger: quiet()})
	defer e.Close()
	m := &memory{}
	flow, err := e.Attach(ports.SIPUDP, ports.Core, here, m)
	if err != nil {
		t.Fatal(err)
	}
	flow.Remote = there
	stun := "\x00\x01\x00\x00\x21\x12\xa4\x42twelve bytes"
	for question, want := range map[string]int{
		"\r\n\r\n": 2, "\r\n": 0, "": 0, "\x00\x00\x00\x00": 0, stun: 32,
		stun[:19]: 0, stun + "x": 0, strings.Replace(stun, "\x21", "\x22", 1): 0,
		"\x00\x01\x00\x80\x21\x12\xa4\x42twelve bytes" + strings.Repeat("x", 128): 0,
		"\x01\x01\x00\x00\x21\x12\xa4\x42twelve bytes":                            0,
	} {
		e.Receive(flow, []byte(question))
		got := strings.Join(m.take(), "")
		if len(got) != want {
			t.Errorf("%q: %d bytes", question, len(got))
		}
		if want == 32 && !bytes.Contains([]byte(got), []byte("twelve bytes")) {
			t.Errorf("%q: another transaction", got)
		}
	}
	flow.Token = "c1"
	e.Receive(flow, []byte("\r\n\r\n"))
	if got := m.take(); len(got) != 0 {
		t.Errorf("on a connection, which answers by itself: %q", got)
	}
}
