package siptest

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// Description is what the phone reads of a session description.
type Description struct {
	Addr      netip.AddrPort // of the first audio stream
	Payloads  []uint8
	Direction string // sendrecv, sendonly, recvonly, inactive
	Session   string // id of the o= line
	Version   string // version of the o= line
	Lines     int    // m= lines
	Proto     string // of the first audio stream
	Cryptos   []Crypto
	// Fingerprint and Setup are those of DTLS, Mux is a=rtcp-mux.
	Fingerprint, Setup string
	Mux                bool
	Opus               uint8 // payload type of it, 0 without
	Text               string
}

// ParseSDP reads a session description. A description without audio has an
// invalid Addr.
func ParseSDP(text string) (Description, error) {
	d := Description{Direction: "sendrecv", Text: text}
	var session, media netip.Addr
	var port uint64
	audio := false
	for line := range strings.SplitSeq(text, "\n") {
		line = strings.TrimSpace(line)
		if len(line) < 2 || line[1] != '=' {
			continue
		}
		value := line[2:]
		fields := strings.Fields(value)
		switch {
		case line[0] == 'o' && len(fields) >= 3:
			d.Session, d.Version = fields[1], fields[2]
		case line[0] == 'c' && len(fields) >= 3:
			addr, err := netip.ParseAddr(fields[2])
			if err != nil {
				return d, fmt.Errorf("reading SDP: %w", err)
			}
			if d.Lines == 0 {
				session = addr
			} else if audio {
				media = addr
			}
		case line[0] == 'm' && len(fields) >= 4:
			d.Lines++
			if audio = fields[0] == "audio" && port == 0; !audio {
				continue
			}
			var err error
			if port, err = strconv.ParseUint(fields[1], 10, 16); err != nil {
				return d, fmt.Errorf("reading SDP: %w", err)
			}
			d.Proto = fields[2]
			for _, f := range fields[3:] {
				if pt, err := strconv.ParseUint(f, 10, 7); err == nil {
					d.Payloads = append(d.Payloads, uint8(pt))
				}
			}
		case line[0] == 'a' && (d.Lines == 0 || audio):
			if text, ok := strings.CutPrefix(value, "crypto:"); ok {
				if line, ok := parseCrypto(text); ok && len(d.Cryptos) < listBound {
					d.Cryptos = append(d.Cryptos, line)
				}
			}
			if text, ok := strings.CutPrefix(value, "fingerprint:"); ok {
				d.Fingerprint = text
			}
			if text, ok := strings.CutPrefix(value, "setup:"); ok {
				d.Setup = text
			}
			if pt, ok := strings.CutSuffix(value, " opus/48000/2"); ok {
				n, _ := strconv.ParseUint(strings.TrimPrefix(pt, "rtpmap:"), 10, 7)
				d.Opus = uint8(n)
			}
			d.Mux = d.Mux || value == "rtcp-mux"
			switch value {
			case "sendrecv", "sendonly", "recvonly", "inactive":
				d.Direction = value
			}
		}
	}
	if !media.IsValid() {
		media = session
	}
	if port != 0 && media.IsValid() {
		d.Addr = netip.AddrPortFrom(media, uint16(port))
	}
	return d, nil
}

// flows says whether the describer sends and receives.
func flows(direction string) (send, recv bool) {
	return direction == "sendrecv" || direction == "sendonly", direction == "sendrecv" || direction == "recvonly"
}

// answerTo is the widest direction that answers an offer (RFC 3264 section 6.1).
func answerTo(offer, wish string) string {
	theySend, theyRecv := flows(offer)
	weSend, weRecv := flows(wish)
	switch send, recv := weSend && theyRecv, weRecv && theySend; {
	case send && recv:
		return "sendrecv"
	case send:
		return "sendonly"
	case recv:
		return "recvonly"
	}
	return "inactive"
}

// payloadOf is the static payload type of a codec name.
func payloadOf(codec string) uint8 {
	switch codec {
	case "PCMA":
		return 8
	case "opus":
		return opus
	}
	return 0
}

// describe writes the phone's session description, an offer or an answer.
func (c *Call) describe(direction string, payloads []uint8, null, answer bool) string {
	c.sdpVersion++
	m := c.media.Load()
	addr := m.advertised
	if null {
		addr = netip.IPv4Unspecified()
	}
	family := "IP4"
	if addr.Is6() {
		family = "IP6"
	}
	var list, maps strings.Builder
	for _, pt := range payloads {
		fmt.Fprintf(&list, " %d", pt)
		switch pt {
		case 0:
			maps.WriteString("a=rtpmap:0 PCMU/8000\r\n")
		case 8:
			maps.WriteString("a=rtpmap:8 PCMA/8000\r\n")
		case c.opusType():
			fmt.Fprintf(&maps, "a=rtpmap:%d opus/48000/2\r\n", pt)
		case events:
			fmt.Fprintf(&maps, "a=rtpmap:%d telephone-event/8000\r\na=fmtp:%d 0-16\r\n", events, events)
		}
	}
	proto, crypto := c.protection(answer)
	return fmt.Sprintf("v=0\r\no=%s %d %d IN %s %s\r\ns=call\r\nc=IN %s %s\r\nt=0 0\r\nm=audio %d %s%s\r\n%s%sa=ptime:20\r\na=%s\r\n",
		c.phone.config.User, c.sdpID, c.sdpVersion, family, m.advertised, family, addr, m.port, proto, list.String(), maps.String(), crypto, direction)
}

// events is the payload type the phone gives to telephone-event.
const events = 101

// ownPayloads are the payload types the phone offers.
func (p *Phone) ownPayloads() []uint8 {
	var list []uint8
	for _, c := range p.config.Codecs {
		list = append(list, payloadOf(c))
	}
	return append(list, events)
}
