package trace

import (
	"bytes"
	"net/netip"
	"strings"
	"time"
	"unicode/utf8"
)

// Self is the lane of the box itself.
const Self = "pbx"

// Step is one message as an arrow of a ladder.
type Step struct {
	Time     time.Time
	From, To string // lanes
	Protocol string
	Summary  string
	Text     string
}

// Ladder is a trace as people read it.
type Ladder struct {
	Lanes []string // Self, and the far ends in the order they appear
	Steps []Step
}

// Ladder draws the trace.
func (t Trace) Ladder() Ladder {
	l := Ladder{Lanes: []string{Self}}
	seen := map[netip.AddrPort]bool{}
	for i := range t.Messages {
		m := &t.Messages[i]
		far := m.Remote.String()
		if !seen[m.Remote] {
			seen[m.Remote] = true
			l.Lanes = append(l.Lanes, far)
		}
		s := Step{Time: m.Time, From: far, To: Self, Protocol: m.Protocol, Summary: summary(m.Raw), Text: text(m.Raw)}
		if m.Sent {
			s.From, s.To = Self, far
		}
		l.Steps = append(l.Steps, s)
	}
	return l
}

// summary is the method or status of a message, its CSeq, and whether it
// describes a session.
func summary(raw []byte) string {
	line, _, _ := bytes.Cut(raw, []byte("\r\n"))
	out, _ := strings.CutPrefix(text(line), "SIP/2.0 ")
	out, _ = strings.CutSuffix(out, " SIP/2.0")
	if bytes.HasPrefix(line, []byte("SIP/")) {
		if _, method := identify(raw); method != nil {
			out += " (" + text(method) + ")"
		}
	}
	if bytes.Contains(raw, []byte("\r\n\r\nv=0")) {
		out += ", SDP"
	}
	const max = 200
	if len(out) > max {
		out = strings.ToValidUTF8(out[:max], "")
	}
	return out
}

// text is raw as JSON can carry it.
func text(raw []byte) string {
	if utf8.Valid(raw) {
		return string(raw)
	}
	return strings.ToValidUTF8(string(raw), "\ufffd")
}
