package media

import (
	"bytes"
	"encoding/binary"
	"testing"
)

// rtcp builds one packet, padded with zeros to whole words.
func rtcp(count, kind byte, body ...byte) []byte {
	for len(body)%4 != 0 {
		body = append(body, 0)
	}
	p := append([]byte{0x80 | count, kind, 0, 0}, body...)
	binary.BigEndian.PutUint16(p[2:], uint16(len(p)/4-1))
	return p
}

func item(kind byte, text string) []byte {
	return append([]byte{kind, byte(len(text))}, text...)
}

// What reports say in words does not reach the other peer; numbers do.
func TestReportsTellNoNames(t *testing.T) {
	t.Parallel()
	secret := "101@10.99.0.9"
	chunk := append([]byte{1, 2, 3, 4}, item(1, secret)...)
	chunk = append(append(chunk, item(8, "\x03x-i"+secret)...), item(6, secret)...)
	chunk = append(chunk, 0)
	for len(chunk)%4 != 0 {
		chunk = append(chunk, 0)
	}
	second := append([]byte{5, 6, 7, 8}, append(item(1, secret), 0)...)
	report := rtcp(0, 200, bytes.Repeat([]byte{9}, 24)...)
	sdes := rtcp(2, rtcpSDES, append(bytes.Clone(chunk), second...)...)
	bye := rtcp(1, rtcpBYE, append([]byte{1, 2, 3, 4}, append([]byte{byte(len(secret))}, secret...)...)...)
	app := rtcp(0, rtcpAPP, append([]byte{1, 2, 3, 4, 'n', 'a', 'm', 'e'}, secret+secret...)...)
	all := bytes.Join([][]byte{report, sdes, app, bye, []byte(secret)}, nil)
	v := newVeil()
	got := v.compound(bytes.Clone(all))
	if bytes.Contains(got, []byte("10.99")) || len(got) != len(all)-len(secret) {
		t.Errorf("%d of %d bytes: %q", len(got), len(all), got)
	}
	if !bytes.Equal(got[:len(report)], report) {
		t.Errorf("the sender report changed: %v", got[:len(report)])
	}
	first := got[len(report)+10:][:len(secret)]
	other := got[len(report)+4+len(chunk)+6:][:len(secret)]
	if !bytes.Equal(first, other) || bytes.Equal(first, []byte(secret)) {
		t.Errorf("one CNAME became %q and %q", first, other)
	}
	if newer := newVeil().compound(bytes.Clone(all)); bytes.Equal(newer, got) {
		t.Error("the stand-in can be guessed")
	}
}

func FuzzVeil(f *testing.F) {
	f.Add(rtcp(1, rtcpSDES, append([]byte{1, 2, 3, 4}, item(1, "a@10.0.0.1")...)...))
	f.Add(rtcp(31, rtcpBYE, 1, 2, 3, 4))
	f.Add(rtcp(1, rtcpAPP, 1, 2, 3, 4))
	v := newVeil()
	f.Fuzz(func(t *testing.T, p []byte) {
		if got := v.compound(bytes.Clone(p)); len(got) > len(p) {
			t.Fatalf("%d bytes became %d", len(p), len(got))
		}
	})
}
