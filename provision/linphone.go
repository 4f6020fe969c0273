package provision

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"ringfence/internal/ports"
	"ringfence/internal/telephony"
)

// Account is what a phone must know to register.
type Account struct {
	Number      string
	DisplayName string
	Domain      string // SIP domain and digest realm
	Password    string
	// Server is where the phone reaches the PBX: a host name or an address.
	// The domain need not resolve.
	Server string
	// Service is the SIP listener to use.
	Service ports.Service
	// Media is how its speech must be protected.
	Media telephony.MediaSecurity
}

// registerEvery is how long a registration of a provisioned phone lasts, in
// seconds.
const registerEvery = 600

// The document is Linphone's remote provisioning format: sections and entries
// of its configuration file, as XML.
type linphoneConfig struct {
	XMLName  xml.Name          `xml:"config"`
	XMLNS    string            `xml:"xmlns,attr"`
	Sections []linphoneSection `xml:"section"`
}

type linphoneSection struct {
	Name    string          `xml:"name,attr"`
	Entries []linphoneEntry `xml:"entry"`
}

type linphoneEntry struct {
	Name      string `xml:"name,attr"`
	Overwrite bool   `xml:"overwrite,attr"`
	Value     string `xml:",chardata"`
}

func section(name string, pairs ...string) linphoneSection {
	s := linphoneSection{Name: name}
	for i := 0; i+1 < len(pairs); i += 2 {
		s.Entries = append(s.Entries, linphoneEntry{Name: pairs[i], Overwrite: true, Value: pairs[i+1]})
	}
	return s
}

// Linphone writes the configuration of a Linphone.
func Linphone(a Account) ([]byte, error) {
	server := "<sip:" + hostPort(a.Server, a.Service.First) + ";transport=" + transport(a.Service) + ">"
	doc := linphoneConfig{
		XMLNS: "http://www.linphone.org/xsds/lpconfig.xsd",
		Sections: []linphoneSection{
			section("sip", append([]string{
				"default_proxy", "0",
				"register_only_when_network_is_up", "1"}, encryption(a.Media)...)...),
			section("proxy_0",
				"reg_proxy", server,
				"reg_route", server,
				"reg_identity", identity(a),
				"realm", a.Domain,
				"reg_expires", strconv.Itoa(registerEvery),
				"reg_sendregister", "1",
				"publish", "0",
				"dial_escape_plus", "0"),
			section("auth_info_0",
				"username", a.Number,
				"userid", a.Number,
				"passwd", a.Password,
				"realm", a.Domain,
				"domain", a.Domain),
		},
	}
	var b bytes.Buffer
	b.WriteString(xml.Header)
	enc := xml.NewEncoder(&b)
	enc.Indent("", "  ")
	if err := enc.Encode(doc); err != nil {
		return nil, fmt.Errorf("writing the Linphone configuration of %s: %w", a.Number, err)
	}
	b.WriteByte('\n')
	return b.Bytes(), nil
}

// encryption are the entries about SRTP. AES-256 comes first, or stands alone.
func encryption(m telephony.MediaSecurity) []string {
	const strong, weak = "AES_256_CM_HMAC_SHA1_80", "AES_CM_128_HMAC_SHA1_80"
	switch m {
	case telephony.SecurityOff:
		return []string{"media_encryption", "none", "media_encryption_mandatory", "0"}
	case telephony.SecurityRequire:
		return []string{"media_encryption", "srtp", "media_encryption_mandatory", "1", "srtp_crypto_suites", strong + ", " + weak}
	case telephony.SecurityRequire256:
		return []string{"media_encryption", "srtp", "media_encryption_mandatory", "1", "srtp_crypto_suites", strong}
	}
	return []string{"media_encryption", "srtp", "media_encryption_mandatory", "0", "srtp_crypto_suites", strong + ", " + weak}
}

// identity is the account's address as a name-addr (RFC 3261 section 25.1).
func identity(a Account) string {
	uri := "<sip:" + a.Number + "@" + bracket(a.Domain) + ">"
	if a.DisplayName == "" {
		return uri
	}
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(a.DisplayName) + `" ` + uri
}

func transport(s ports.Service) string {
	switch s.Wrap {
	case ports.SIPS:
		return "tls"
	case ports.SIP:
		return string(s.Proto)
	}
	return "udp"
}

func hostPort(host string, port uint16) string {
	return bracket(host) + ":" + strconv.Itoa(int(port))
}

// bracket writes an IPv6 address as URIs want it (RFC 3986 section 3.2.2).
func bracket(host string) string {
	if a, err := netip.ParseAddr(strings.Trim(host, "[]")); err == nil && a.Is6() {
		return "[" + a.WithZone("").String() + "]"
	}
	return host
}
