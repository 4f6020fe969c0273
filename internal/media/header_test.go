package media

import "testing"

func TestParseHeader(t *testing.T) {
	t.Parallel()
	good := func(change ...func(p []byte) []byte) []byte {
		p := make([]byte, 32)
		p[0], p[1], p[3] = 0x80, 0x88, 5
		for _, f := range change {
			p = f(p)
		}
		return p
	}
	set := func(i int, b byte) func([]byte) []byte {
		return func(p []byte) []byte { p[i] = b; return p }
	}
	cut := func(n int) func([]byte) []byte { return func(p []byte) []byte { return p[:n] } }
	for _, c := range []struct {
		name string
		p    []byte
		ok   bool
	}{
		{"plain", good(), true},
		{"header only", good(cut(12)), true},
		{"short", good(cut(11)), false},
		{"empty", nil, false},
		{"STUN", good(set(0, 0x00)), false},
		{"DTLS", good(set(0, 22)), false},
		{"version 1", good(set(0, 0x40)), false},
		{"RTCP sender report", good(set(1, 200)), false},
		{"RTCP feedback", good(set(1, 206)), false},
		{"5 CSRCs fit", good(set(0, 0x85)), true},
		{"6 CSRCs do not", good(set(0, 0x86)), false},
		{"extension fits", good(set(0, 0x90), set(15, 4)), true},
		{"extension too long", good(set(0, 0x90), set(15, 5)), false},
		{"extension cut", good(set(0, 0x90), cut(14)), false},
		{"padding fits", good(set(0, 0xa0), set(31, 20)), true},
		{"padding too long", good(set(0, 0xa0), set(31, 21)), false},
		{"padding of nothing", good(set(0, 0xa0), set(31, 0)), false},
	} {
		h, ok := readHeader(c.p)
		ok = ok && paddingFits(c.p, h)
		if ok != c.ok {
			t.Errorf("%s: %v", c.name, ok)
		}
		if ok && h.payloadType != 8 {
			t.Errorf("%s: payload type %d", c.name, h.payloadType)
		}
	}
}
