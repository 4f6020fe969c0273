package media

import (
	"slices"
	"strings"

	"ringfence/internal/media/dtls"
	"ringfence/internal/media/ice"
)

const (
	// maxFingerprints bounds the fingerprints of a section.
	maxFingerprints = 8
	// First octets of datagrams (RFC 7983 section 7).
	stunLast, dtlsFirst, dtlsLast = 3, 20, 63
)

// keying is what a description says about DTLS and ICE, for the session or for
// one m= section (RFC 8122, RFC 4145, RFC 8839).
type keying struct {
	fingerprints []dtls.Fingerprint
	weak         bool // only fingerprints that are not good enough
	setup        dtls.Setup
	ice          ice.Credentials
}

// attribute takes an attribute if it is one of keying.
func (k *keying) attribute(a attribute) {
	switch a.name {
	case "fingerprint":
		f, err := dtls.ParseFingerprint(a.value)
		if k.weak = k.weak || err != nil; err == nil && len(k.fingerprints) < maxFingerprints {
			k.fingerprints = append(k.fingerprints, f)
		}
	case "setup":
		if s, err := dtls.ParseSetup(a.value); err == nil {
			k.setup = s
		}
	case "ice-ufrag":
		k.ice.Ufrag = a.value
	case "ice-pwd":
		k.ice.Pwd = a.value
	}
}

// inherit takes from the session what the section does not say itself.
func (k *keying) inherit(session keying) {
	if len(k.fingerprints) == 0 && !k.weak {
		k.fingerprints = session.fingerprints
	}
	if k.setup == "" {
		k.setup = session.setup
	}
	if k.ice == (ice.Credentials{}) {
		k.ice = session.ice
	}
}

// overDTLS reports whether a transport protocol demands DTLS-SRTP (RFC 5764
// section 8).
func overDTLS(proto string) bool {
	return proto == "UDP/TLS/RTP/SAVP" || proto == "UDP/TLS/RTP/SAVPF"
}

// speaksICE reports whether the peer sends connectivity checks that we answer:
// two lite implementations have nothing to check (RFC 8445 section 6.1.1), and
// our candidate is one for everything. Without rtcp-mux there would be a second
// component; such a peer goes on without ICE when we do (RFC 8839 section 4.2.5).
func (m *mediaLine) speaksICE() bool {
	return !m.iceLite && m.rtcpMux && overDTLS(m.proto) && m.ice.Validate() == nil
}

// role is ours after the peer's answer to our actpass. RFC 4145 section 4.1 has
// an answer without the attribute passive.
func (m *mediaLine) role() dtls.Role {
	if m.setup == dtls.Active {
		return dtls.Server
	}
	return dtls.Client
}

// offeredSetup is the peer's in an offer. RFC 4145 section 4.1 has an offer
// without the attribute active.
func (m *mediaLine) offeredSetup() dtls.Setup {
	if m.setup == "" {
		return dtls.Active
	}
	return m.setup
}

// bundled reports whether the stream of a kind shares the transport of audio
// (RFC 9143 section 7.3). Only DTLS-SRTP is bundled here.
func (d *description) bundled(k kind) bool {
	a, m := d.stream(audio), d.stream(k)
	return k != audio && a != nil && m != nil && overDTLS(a.proto) && overDTLS(m.proto) && d.grouped(a.mid) && d.grouped(m.mid)
}

func (d *description) grouped(mid string) bool { return mid != "" && slices.Contains(d.bundle, mid) }

// parseBundle reads "BUNDLE audio video" of a group attribute.
func parseBundle(value string) []string {
	fields := strings.Fields(value)
	if len(fields) == 0 || fields[0] != "BUNDLE" {
		return nil
	}
	return fields[1:min(len(fields), 1+maxMedia)]
}

// firstOctet of a datagram says what it is; an empty one is nothing.
func firstOctet(p []byte) byte {
	if len(p) == 0 {
		return 0xff
	}
	return p[0]
}
