// Package console shows on screen and serial line what the machine is doing
// and what to do next: plain text of 80 columns that a log keeps readable,
// with a QR code for the phone at hand.
package console

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Bounds of what a service can put on the screen.
const (
	maxStatus   = 8 << 10 // bytes of JSON
	maxURLs     = 8
	maxURL      = 200
	maxWarnings = 8
	maxText     = 160
)

// Status is what pbxd tells about itself with X_CONSOLE, as JSON.
type Status struct {
	State       string   `json:"state"` // "setup" or "running"
	URLs        []string `json:"urls"`
	Fingerprint string   `json:"fingerprint"` // SHA-256 of the certificate, hexadecimal
	Token       string   `json:"token"`       // one-time set-up token; empty after set-up
	Version     string   `json:"version"`
	Extensions  int      `json:"extensions"`
	Registered  int      `json:"registered"`
	Calls       int      `json:"calls"`
	Warnings    []string `json:"warnings"`
	SSH         string   `json:"ssh"`     // how to log in to the operator shell; empty while it is off
	SSHKey      string   `json:"ssh_key"` // fingerprint of its host key
}

// The states of a Status.
const (
	Setup   = "setup"
	Running = "running"
)

// ParseStatus reads and bounds a Status. Everything in it is made printable.
func ParseStatus(text string) (Status, error) {
	var s Status
	if len(text) > maxStatus {
		return s, fmt.Errorf("reading console status: larger than %d bytes", maxStatus)
	}
	if err := json.Unmarshal([]byte(text), &s); err != nil {
		return Status{}, fmt.Errorf("reading console status: %w", err)
	}
	if s.State != Setup && s.State != Running {
		return Status{}, fmt.Errorf("reading console status: unknown state %q", s.State)
	}
	s.URLs = lines(s.URLs, maxURLs, maxURL)
	s.Warnings = lines(s.Warnings, maxWarnings, maxText)
	s.Fingerprint = word(s.Fingerprint, 128)
	s.Token = word(s.Token, 128)
	s.SSH = Printable(s.SSH, maxText)
	s.SSHKey = word(s.SSHKey, 128)
	s.Version = Printable(s.Version, 64)
	s.Extensions, s.Registered, s.Calls = max(0, s.Extensions), max(0, s.Registered), max(0, s.Calls)
	return s, nil
}

func lines(list []string, count, limit int) []string {
	var out []string
	for _, l := range list[:min(len(list), count)] {
		if l = Printable(l, limit); l != "" {
			out = append(out, l)
		}
	}
	return out
}

// word keeps a token or fingerprint usable in "name=value" lines.
func word(s string, limit int) string {
	return strings.ReplaceAll(Printable(s, limit), " ", "")
}

// Equal reports whether two values look the same.
func (s Status) Equal(o Status) bool {
	return s.sameButCounts(o) && s.Registered == o.Registered && s.Calls == o.Calls
}

// sameButCounts is Equal for the serial line, which keeps everything it is
// told and should not be told every call.
func (s Status) sameButCounts(o Status) bool {
	return s.State == o.State && s.Fingerprint == o.Fingerprint && s.Token == o.Token && s.Version == o.Version &&
		s.SSH == o.SSH && s.SSHKey == o.SSHKey &&
		s.Extensions == o.Extensions && slices.Equal(s.URLs, o.URLs) && slices.Equal(s.Warnings, o.Warnings)
}

// Machine is one line for programs that watch the serial line, or "" when
// there is nothing to reach yet.
func (s Status) Machine() string {
	if len(s.URLs) == 0 {
		return ""
	}
	switch s.State {
	case Setup:
		line := "ringfence: ready url=" + word(s.URLs[0], maxURL)
		if s.Token != "" {
			line += " token=" + s.Token
		}
		return line + " fingerprint=" + s.Fingerprint
	case Running:
		return fmt.Sprintf("ringfence: running url=%s fingerprint=%s extensions=%d", word(s.URLs[0], maxURL), s.Fingerprint, s.Extensions)
	}
	return ""
}

// Printable makes text harmless for a terminal: no control or invisible
// characters, no bytes that are not UTF-8, at most limit bytes.
func Printable(s string, limit int) string {
	s = strings.Map(func(r rune) rune {
		if !strconv.IsPrint(r) || r == '\uFFFD' {
			return ' '
		}
		return r
	}, s)
	if len(s) > limit {
		cut := 0
		for i := range s { // at the beginning of a character
			if i > limit {
				break
			}
			cut = i
		}
		s = s[:cut]
	}
	return strings.TrimSpace(s)
}
