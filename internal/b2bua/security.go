package b2bua

import (
	"bytes"
	"errors"
	"log/slog"
	"slices"
	"strings"

	"ringfence/internal/media"
	"ringfence/internal/media/dtls"
	"ringfence/internal/sip"
	"ringfence/internal/telephony"
)

// notAcceptable is how a call ends, or a change of it is refused, because of the
// description that p gave: 488, and if p's policy is why, a Warning that says so
// and a line in the log.
func (c *call) notAcceptable(p *party, sdp []byte, err error) (telephony.EndReason, sip.Reply) {
	if !errors.Is(err, media.ErrInsecure) {
		return telephony.EndFailed, sip.Reply{Code: 488}
	}
	number := c.record.Caller.Number
	text := demand(p.security) + " (this phone offers " + protectionIn(sdp) + ")"
	switch {
	case c.caller.line != nil:
		text = demand(p.security) // whose phone it is, is nobody's business outside
	case p != &c.caller && p.line != nil:
		text = "the trunk: " + demand(p.security)
	case p != &c.caller:
		number = c.record.Callee.Number
		text = "the phone of " + number + ": " + demand(p.security)
	}
	c.s.c.Logger.Info("media refused by policy", slog.String("call", string(c.id)), slog.String("extension", number),
		slog.String("policy", string(p.security)), slog.Any("error", err))
	return telephony.EndMediaSecurity, sip.Reply{Code: 488, Headers: []sip.Header{warning(text)}}
}

// insisted is how a call ends that the phones have refused: with 488 because we
// offered only encrypted media, if that is how it was.
func (c *call) insisted(reason telephony.EndReason, code int) (telephony.EndReason, sip.Reply) {
	i := slices.IndexFunc(c.forks, func(f *fork) bool { return f.refusal == 488 && f.security.Required() })
	if code != 488 || i < 0 {
		return reason, sip.Reply{Code: code}
	}
	f := c.forks[i]
	c.s.c.Logger.Info("phone refused encrypted media", slog.String("call", string(c.id)), slog.String("extension", f.who.Number), slog.String("policy", string(f.security)))
	return telephony.EndMediaSecurity, sip.Reply{Code: code, Headers: []sip.Header{warning(c.phoneOf(f) + demand(f.security))}}
}

// phoneOf says whose phone something is about, to those who may know.
func (c *call) phoneOf(f *fork) string {
	switch {
	case c.caller.line != nil:
		return ""
	case f.line != nil:
		return "the trunk: "
	}
	return "the phone of " + c.record.Callee.Number + ": "
}

// warning is a Warning for people (RFC 3261 section 20.43).
func warning(text string) sip.Header {
	return sip.Header{Name: "Warning", Value: `399 pbx "` + text + `"`}
}

// demand is what a policy wants, in words.
func demand(m telephony.MediaSecurity) string {
	switch m {
	case telephony.SecurityRequire256:
		return "media must be encrypted with AES-256"
	case telephony.SecurityRequire:
		return "media must be encrypted"
	case telephony.SecurityOff:
		return "media must not be encrypted"
	}
	return "media are encrypted in no way we know"
}

// maxSuites bounds how many suites are told.
const maxSuites = 4

// protectionIn names how a description would protect media. Only what looks like
// the name of a suite is repeated.
func protectionIn(sdp []byte) string {
	var names []string
	for line := range bytes.Lines(sdp) {
		name := ""
		if rest, ok := bytes.CutPrefix(line, []byte("a=crypto:")); ok {
			if f := bytes.Fields(rest); len(f) > 1 && suiteName(string(f[1])) {
				name = string(f[1])
			}
		} else if bytes.HasPrefix(line, []byte("a=fingerprint:")) {
			name = "DTLS-SRTP"
		}
		if name != "" && !slices.Contains(names, name) && len(names) < maxSuites {
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names, ", ")
}

func suiteName(s string) bool {
	return len(s) <= 40 && strings.Trim(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_") == ""
}

// refusedBy is the Reason for a phone whose answer we cannot use (RFC 3326).
func refusedBy(reason telephony.EndReason, p *party) sip.Header {
	h := because(488)
	if reason == telephony.EndMediaSecurity {
		h.Value += `;text="` + demand(p.security) + `"`
	}
	return h
}

// unkeyed ends an answered call whose media can not be protected: the certificate
// a phone shows is not the one it described (RFC 5763 section 5 has the session
// torn down), or there are no keys in time. RFC 5763 and RFC 8122 name no code:
// what was described does not hold is 488, what does not come is 408.
func (c *call) unkeyed(p *party, err error) {
	code, text := 488, "the DTLS handshake failed"
	switch {
	case errors.Is(err, dtls.ErrFingerprint):
		text = "the certificate is not the one described"
	case errors.Is(err, dtls.ErrTimeout):
		code, text = 408, "no DTLS handshake in time"
	}
	number := c.record.Caller.Number
	if p != &c.caller {
		number = c.record.Callee.Number
	}
	c.s.c.Logger.Warn("media could not be encrypted", slog.String("call", string(c.id)), slog.String("extension", number), slog.Any("error", err))
	h := because(code)
	h.Value += `;text="` + text + `"`
	c.endWith(h, telephony.EndMediaSecurity, sip.Reply{Code: code})
}
