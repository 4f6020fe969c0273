package quality

import (
	"bytes"
	"encoding/hex"
	"strings"
	"testing"
)

func TestReportsAreBuiltAsTheRFCSays(t *testing.T) {
	t.Parallel()
	b := Block{SSRC: 0x11223344, Fraction: 7, Lost: -2, Highest: 0x1ffff, Jitter: 5, LSR: 0xa0b0c0d0, DLSR: 0x10000}
	p := AppendSR(nil, 0xdeadbeef, SenderInfo{NTP: 0x0102030405060708, RTP: 160, Packets: 50, Octets: 8000}, b)
	p = AppendSDES(p, 0xdeadbeef, "abc")
	p = AppendBYE(p, 0xdeadbeef)
	want := "81c8000c" + "deadbeef" + "0102030405060708" + "000000a0" + "00000032" + "00001f40" +
		"11223344" + "07fffffe" + "0001ffff" + "00000005" + "a0b0c0d0" + "00010000" +
		"81ca0003" + "deadbeef" + "0103616263000000" +
		"81cb0001" + "deadbeef"
	if got := hex.EncodeToString(p); got != want {
		t.Fatalf("\n%s, want\n%s", got, want)
	}
	if !Valid(p) {
		t.Fatal("not valid")
	}
	sr, rest := Next(p)
	if i, ok := sr.SenderInfo(); !ok || i.RTP != 160 || i.Packets != 50 || i.Octets != 8000 || i.NTP != 0x0102030405060708 {
		t.Errorf("%+v", i)
	}
	if got, ok := sr.Block(b.SSRC); !ok || got != b {
		t.Errorf("%+v", got)
	}
	if _, ok := sr.Block(5); ok {
		t.Error("a report about another source is taken for ours")
	}
	sdes, rest := Next(rest)
	bye, rest := Next(rest)
	if sdes.Type != typeSDES || bye.Type != typeBYE || len(rest) != 0 {
		t.Errorf("%+v, %+v, %d left", sdes, bye, len(rest))
	}
	for n := range 9 {
		if !Valid(AppendSDES(nil, 1, strings.Repeat("x", n))) {
			t.Errorf("a CNAME of %d bytes is not padded well", n)
		}
	}
}

func TestHostileReportsAreRefused(t *testing.T) {
	t.Parallel()
	good := AppendSDES(AppendRR(nil, 1, Block{SSRC: 2}), 1, "abcdefgh")
	padded := append([]byte{0xa0, 201, 0, 2, 0, 0, 0, 1}, 0, 0, 0, 4)
	for name, p := range map[string][]byte{
		"a report": good, "padding at the end": padded, "reduced size": AppendBYE(nil, 1),
		"version 2 without reports": {0x80, 200, 0, 1, 0, 0, 0, 0},
	} {
		if !Valid(p) {
			t.Errorf("%s is refused", name)
		}
	}
	change := func(at int, v byte) []byte {
		p := bytes.Clone(good)
		p[at] = v
		return p
	}
	for name, p := range map[string][]byte{
		"nothing": nil, "seven bytes": good[:7], "cut": good[:len(good)-1], "trailing bytes": append(bytes.Clone(good), 1, 2, 3),
		"version 1": change(0, 0x41), "RTP": change(1, 8), "length too long": change(3, 200), "second packet is none": change(32, 0),
		"padding in the middle": change(0, 0xa1), "padding of nothing": append([]byte{0xa0, 201, 0, 1}, 0, 0, 0, 0),
		"padding of three": append([]byte{0xa0, 201, 0, 1}, 0, 0, 0, 3), "padding beyond": append([]byte{0xa0, 201, 0, 1}, 0, 0, 0, 8),
	} {
		if Valid(p) {
			t.Errorf("%s is taken", name)
		}
	}
	// More blocks are promised than there are.
	p, _ := Next(change(0, 0x9f))
	if _, ok := p.Block(77); ok {
		t.Error("a block from nowhere")
	}
	if p, _ := Next([]byte{0x80, 200, 0, 1, 0, 0, 0, 9}); p.Type == typeSR {
		if _, ok := p.SenderInfo(); ok {
			t.Error("sender info from nowhere")
		}
	}
}

func TestFeedbackIsInTheSourcesNumbers(t *testing.T) {
	t.Parallel()
	m := Mapping{Sender: 0xaa, Ours: 0xbb, Source: 0xcc, Sequence: 1000}
	about := func(kind, format uint8, ssrc byte, entries ...byte) Packet {
		return Packet{Type: kind, Count: format, Body: append([]byte{0, 0, 0, 1, 0, 0, 0, ssrc}, entries...)}
	}
	for _, c := range []struct {
		name string
		in   Packet
		want string // empty: not passed on
	}{
		{"PLI", about(206, 1, 0xbb), "81ce0002" + "000000aa" + "000000cc"},
		{"PLI about another", about(206, 1, 0xbc), ""},
		{"NACK", about(205, 1, 0xbb, 0x03, 0xe9, 0xff, 0x01, 0, 0, 0, 0), "81cd0004" + "000000aa" + "000000cc" + "0001ff01" + "fc180000"},
		{"NACK of nothing", about(205, 1, 0xbb), ""},
		{"FIR", about(206, 4, 0, 0, 0, 0, 9, 1, 0, 0, 0, 0, 0, 0, 0xbb, 7, 1, 1, 1), "84ce0004" + "000000aa" + "00000000" + "000000cc" + "07000000"},
		{"FIR about another", about(206, 4, 0, 0, 0, 0, 9, 1, 0, 0, 0), ""},
		{"REMB", about(206, 15, 0, 'R', 'E', 'M', 'B', 2, 1, 2, 3, 0, 0, 0, 9, 0, 0, 0, 0xbb), "8fce0005" + "000000aa" + "00000000" + "52454d42" + "01010203" + "000000cc"},
		{"REMB that promises more", about(206, 15, 0, 'R', 'E', 'M', 'B', 255, 1, 2, 3), ""},
		{"other words of an application", about(206, 15, 0, 'n', 'a', 'm', 'e', 1, 1, 2, 3, 0, 0, 0, 0xbb), ""},
		{"transport-cc", about(205, 15, 0xbb, 1, 2, 3, 4, 5, 6, 7, 8), ""},
		{"SLI", about(206, 2, 0xbb, 1, 2, 3, 4), ""},
		{"source description", Packet{Type: 202, Count: 1, Body: []byte{0, 0, 0, 1, 0, 0, 0, 0xbb}}, ""},
		{"too short", Packet{Type: 206, Count: 1, Body: []byte{0, 0, 0, 1}}, ""},
	} {
		got := m.AppendFeedback(nil, c.in)
		if hex.EncodeToString(got) != c.want {
			t.Errorf("%s: %x, want %s", c.name, got, c.want)
		}
		if len(got) > 0 && !Valid(got) {
			t.Errorf("%s: not valid", c.name)
		}
	}
}

// What peers say in words has no way to the other side: reports are our own.
func FuzzRTCP(f *testing.F) {
	f.Add(AppendSDES(AppendSR(nil, 1, SenderInfo{NTP: 1}, Block{SSRC: 2}), 1, "abcd"))
	f.Add([]byte{0x81, 206, 0, 2, 0, 0, 0, 1, 0, 0, 0, 2})
	f.Add([]byte{0x8f, 206, 0, 4, 0, 0, 0, 1, 0, 0, 0, 0, 'R', 'E', 'M', 'B', 9, 0, 0, 0})
	f.Add([]byte{0xa4, 206, 0, 4, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 4})
	f.Fuzz(func(t *testing.T, p []byte) {
		if !Valid(p) {
			return
		}
		m := Mapping{Sender: 1, Ours: 2, Source: 3, Sequence: 4}
		var out []byte
		for len(p) > 0 {
			var packet Packet
			packet, p = Next(p)
			packet.SenderInfo()
			packet.Block(2)
			out = m.AppendFeedback(out, packet)
		}
		if len(out) > 0 && !Valid(out) {
			t.Fatalf("%x is not valid", out)
		}
	})
}
