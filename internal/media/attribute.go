package media

import (
	"net/netip"
	"strings"
)

// attribute is one a= line: "name" or "name:value".
type attribute struct {
	name, value string
	flag        bool // written without a colon
}

func (a attribute) String() string {
	if a.flag {
		return a.name
	}
	return a.name + ":" + a.value
}

// parseAttribute splits an a= line.
func parseAttribute(line string) attribute {
	name, value, ok := strings.Cut(line, ":")
	return attribute{name: strings.TrimSpace(name), value: strings.TrimSpace(value), flag: !ok}
}

// payloadType is the payload type an attribute speaks of, "*" for all of
// them, empty for none.
func (a attribute) payloadType() string {
	switch a.name {
	case "rtpmap", "fmtp", "rtcp-fb":
		pt, _, _ := strings.Cut(a.value, " ")
		return pt
	}
	return ""
}

// relayed reports whether an attribute of one peer may be told to the other.
// What describes the transport is ours to say; what names an address stays
// behind; everything else passes, known to us or not.
func (a attribute) relayed() bool {
	switch a.name {
	case "rtpmap", "fmtp", "ptime", "maxptime", "rtcp-fb", "framerate", "imageattr", "silenceSupp":
		return true
	case "", "sendrecv", "sendonly", "recvonly", "inactive", // told apart
		"candidate", "end-of-candidates", "remote-candidates", "ice-ufrag", "ice-pwd", // RFC 8839
		"ice-options", "ice-lite", "ice-mismatch", "ice-pacing",
		"crypto", "key-mgmt", "fingerprint", "setup", "connection", "tls-id", "dtls-id", "zrtp-hash",
		"rtcp", "rtcp-mux", "rtcp-mux-only", "rtcp-xr", "rtcp-rsize", // RFC 3605, 5761, 8858, 5506
		"group", "mid", "bundle-only", "msid", "msid-semantic", "ssrc", "ssrc-group", "rid", "simulcast",
		"tcap", "acap", "pcfg", "acfg", "csup", "creq", // RFC 5939 may lead to another transport
		"sqn", "cdsc", "cpar", "cparmin", "cparmax", // RFC 3407, of media not in use
		"alt", "altc", "source-filter", "nortpproxy", "direction", "cname", "tool":
		return false
	case "extmap": // what names streams of a transport, or counts its packets, is of that transport
		return !strings.Contains(a.value, "rtp-hdrext:sdes:") && !strings.Contains(a.value, "transport-wide-cc")
	}
	return !namesAddress(a.value)
}

// public reports whether an attribute of one peer may be told to another on the
// other side of the edge, where nothing may pass that is not known to be about
// codecs alone.
func (a attribute) public() bool {
	switch a.name {
	case "rtpmap", "fmtp", "ptime", "maxptime", "rtcp-fb", "framerate", "imageattr", "silenceSupp", "content", "lang", "orient", "quality":
		return !namesAddress(a.value)
	}
	return false
}

// namesAddress reports whether text holds an IP address.
func namesAddress(text string) bool {
	words := strings.FieldsFunc(text, func(r rune) bool {
		return !strings.ContainsRune("0123456789abcdefABCDEF.:", r)
	})
	for _, w := range words {
		w = strings.Trim(w, ".:")
		if strings.Count(w, ".") < 3 && strings.Count(w, ":") < 2 {
			continue
		}
		if _, err := netip.ParseAddr(w); err == nil {
			return true
		}
		if _, err := netip.ParseAddrPort(w); err == nil {
			return true
		}
	}
	return false
}

// direction is which way media flows, seen from who says it (RFC 8866
// section 6.7).
type direction struct{ send, recv bool }

var directionNames = [...]string{"inactive", "recvonly", "sendonly", "sendrecv"}

func (d direction) String() string {
	i := 0
	if d.send {
		i += 2
	}
	if d.recv {
		i++
	}
	return directionNames[i]
}

// parseDirection reads the name of a direction attribute.
func parseDirection(name string) (direction, bool) {
	switch strings.ToLower(name) {
	case "sendrecv":
		return direction{true, true}, true
	case "sendonly":
		return direction{send: true}, true
	case "recvonly":
		return direction{recv: true}, true
	case "inactive":
		return direction{}, true
	}
	return direction{}, false
}

// reverse is the same flow seen from the other end.
func (d direction) reverse() direction { return direction{send: d.recv, recv: d.send} }

// and keeps what both allow.
func (d direction) and(o direction) direction {
	return direction{send: d.send && o.send, recv: d.recv && o.recv}
}
