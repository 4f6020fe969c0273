// Package ports holds the one table of every port Ringfence listens on; every
// reader (listeners, RTP pools, packet filter, documents, tests) derives from it.
package ports

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// ID names one service of the table. It is stable: settings, counters and
// scripts refer to it.
type ID string

// The services of the table.
const (
	Portal           ID = "portal"
	Provisioning     ID = "provisioning"
	Wallboard        ID = "wallboard"
	WebPhone         ID = "webphone"
	SBCPortal        ID = "sbc-portal"
	EdgeProvisioning ID = "edge-provisioning"
	WSI              ID = "wsi"
	RTPCore          ID = "rtp-core"
	RTPEdge          ID = "rtp-edge"
	EdgeUDP          ID = "edge-udp"
	EdgeTCP          ID = "edge-tcp"
	EdgeWSS          ID = "edge-wss"
	SIPUDP           ID = "sip-udp"
	SIPTLS           ID = "sip-tls"
	SIPTCP           ID = "sip-tcp"
	SSH              ID = "ssh"
	ACME             ID = "acme"
)

// Side says which part of the product a service belongs to. It is a property
// of the listener that received a flow and picks RTP pool, advertised address
// and topology hiding.
type Side string

// The three sides.
const (
	Core Side = "core"
	Edge Side = "edge"
	Host Side = "host"
)

// Proto is the transport protocol of a service.
type Proto string

// The transport protocols of the table.
const (
	UDP Proto = "udp"
	TCP Proto = "tcp"
)

// Wrap is what is spoken on top of the transport.
type Wrap string

// The kinds of payload.
const (
	SIP     Wrap = "sip"
	SIPS    Wrap = "sip over tls"
	SIPWSS  Wrap = "sip over wss"
	RTP     Wrap = "rtp"
	HTTP    Wrap = "http"
	HTTPS   Wrap = "https"
	WSS     Wrap = "wss"
	SSHWrap Wrap = "ssh"
)

// Zone is where packets come from. On an interface with a zone of its own all of
// them belong to that zone. On one without, directly connected and listed
// private prefixes are voice and management at once, and every other source is
// wan.
type Zone string

// The zones. Trunk is that of interfaces which lead to a provider.
const (
	Voice      Zone = "voice"
	Management Zone = "management"
	WAN        Zone = "wan"
	Trunk      Zone = "trunk"
)

// Zones lists them in the order people read them.
func Zones() []Zone { return []Zone{Voice, Management, WAN, Trunk} }

// SortZones returns zones in that order.
func SortZones(zones []Zone) []Zone {
	out := slices.Clone(zones)
	slices.SortFunc(out, func(a, b Zone) int { return slices.Index(Zones(), a) - slices.Index(Zones(), b) })
	return out
}

// MaxSources bounds the sources of one row.
const MaxSources = 256

// Service is one row of the table.
type Service struct {
	ID          ID     // stable name
	Name        string // shown to people
	Side        Side
	Proto       Proto
	First, Last uint16 // inclusive; equal for a single port
	Wrap        Wrap
	DefaultOn   bool // open on a fresh, set-up system
	Available   bool // this build has a listener for it; others are never opened
	BeforeSetup bool // open while the first-boot wizard has not finished
	// Window says that the fence opens it for minutes, while a certificate is
	// asked for; no setting opens or moves it.
	Window bool   `json:",omitempty"`
	Zones  []Zone // from where it can be reached
	// Sources are the only addresses within the zones that may reach it; empty
	// is everybody.
	Sources []netip.Prefix `json:",omitempty"`
	Rows    []string
	Doc     string
}

// Range reports whether the service holds more than one port.
func (s Service) Range() bool { return s.First != s.Last }

// Ports prints the port or the range, as "5060" or "45000-64999".
func (s Service) Ports() string {
	if s.Range() {
		return fmt.Sprintf("%d-%d", s.First, s.Last)
	}
	return fmt.Sprint(s.First)
}

// Contains reports whether port p belongs to the service.
func (s Service) Contains(p uint16) bool { return s.First <= p && p <= s.Last }

// IsSignalling reports whether the service carries SIP.
func (s Service) IsSignalling() bool {
	return s.Wrap == SIP || s.Wrap == SIPS || s.Wrap == SIPWSS
}

// Ports of the host's own clients. They are no services: the packet filter
// admits answers to them, nothing listens for strangers.
const (
	DHCPv4Server uint16 = 67
	DHCPv4Client uint16 = 68
	DHCPv6Client uint16 = 546
	DHCPv6Server uint16 = 547
	DNS          uint16 = 53
)

// SSHStandard is where sshd of a host that is not ours listens before it is
// moved (F08). On the image nothing does.
const SSHStandard uint16 = 22

// Table returns a fresh copy of the table, in the order people read it.
func Table() []Service {
	everywhere := []Zone{Voice, Management, WAN}
	calls := []Zone{Voice, WAN, Trunk}
	pages := []Zone{Management, WAN}
	return []Service{
		{ID: Portal, Name: "Web portal and REST API", Side: Core, Proto: TCP, First: 8887, Last: 8887, Wrap: HTTPS, DefaultOn: true, Available: true, BeforeSetup: true, Zones: pages, Rows: []string{"P01", "P04"},
			Doc: "Portal, set-up wizard, REST API under /api/v1, provisioning files under /provision/."},
		{ID: Provisioning, Name: "Phone provisioning", Side: Core, Proto: TCP, First: 8888, Last: 8888, Wrap: HTTP, Available: true, Zones: []Zone{Voice}, Rows: []string{"P02"},
			Doc: "Provisioning files over plain HTTP for phones that cannot do HTTPS; nothing else is served here."},
		{ID: Wallboard, Name: "Queue wallboard", Side: Core, Proto: TCP, First: 8889, Last: 8889, Wrap: HTTPS, Zones: []Zone{Voice, Management}, Rows: []string{"P03"},
			Doc: "Live queue board."},
		{ID: WebPhone, Name: "Web phone", Side: Edge, Proto: TCP, First: 10443, Last: 10443, Wrap: HTTPS, DefaultOn: true, Zones: everywhere, Rows: []string{"P05"},
			Doc: "Browser phone (WebRTC) under /webrtc, with SIP over WebSocket at /ws."},
		{ID: SBCPortal, Name: "SBC portal", Side: Edge, Proto: TCP, First: 8883, Last: 8883, Wrap: HTTPS, Zones: []Zone{Management}, Rows: []string{"P06"},
			Doc: "Settings of the edge (SBC) side."},
		{ID: EdgeProvisioning, Name: "Phone provisioning by way of the SBC", Side: Edge, Proto: TCP, First: 8882, Last: 8882, Wrap: HTTP, Available: true, Zones: []Zone{Voice, WAN}, Rows: []string{"P07"},
			Doc: "Provisioning files for remote phones that cannot do HTTPS; nothing else is served here. Passwords pass in clear text."},
		{ID: WSI, Name: "WebSocket interface", Side: Core, Proto: TCP, First: 8885, Last: 8885, Wrap: WSS, Available: true, Zones: []Zone{Voice, Management}, Rows: []string{"P08"},
			Doc: "Events for applications, as docs/wsi.md says; also at /wsi of the portal, without this port."},
		{ID: RTPCore, Name: "RTP of the PBX", Side: Core, Proto: UDP, First: 45000, Last: 64999, Wrap: RTP, DefaultOn: true, Available: true, Zones: calls, Rows: []string{"P09"},
			Doc: "Media. A port is open only while a call holds it."},
		{ID: RTPEdge, Name: "RTP of the SBC", Side: Edge, Proto: UDP, First: 25000, Last: 34999, Wrap: RTP, DefaultOn: true, Available: true, Zones: calls, Rows: []string{"P10"},
			Doc: "Media of edge flows. A port is open only while a call holds it."},
		{ID: EdgeUDP, Name: "SIP over UDP on the SBC", Side: Edge, Proto: UDP, First: 5066, Last: 5066, Wrap: SIP, Available: true, Zones: calls, Rows: []string{"P11"},
			Doc: "Signalling of remote phones."},
		{ID: EdgeTCP, Name: "SIP over TCP on the SBC", Side: Edge, Proto: TCP, First: 5067, Last: 5067, Wrap: SIP, Available: true, Zones: calls, Rows: []string{"P12"},
			Doc: "Signalling of remote phones."},
		{ID: SIPUDP, Name: "SIP over UDP", Side: Core, Proto: UDP, First: 5060, Last: 5060, Wrap: SIP, DefaultOn: true, Available: true, Zones: calls, Rows: []string{"P13"},
			Doc: "Signalling of phones and trunks."},
		{ID: SIPTLS, Name: "SIP over TLS", Side: Core, Proto: TCP, First: 5061, Last: 5061, Wrap: SIPS, Available: true, Zones: calls, Rows: []string{"P14"},
			Doc: "Signalling over TLS 1.2 or 1.3."},
		{ID: SIPTCP, Name: "SIP over TCP", Side: Core, Proto: TCP, First: 5063, Last: 5063, Wrap: SIP, Available: true, Zones: calls, Rows: []string{"P15"},
			Doc: "Signalling over TCP; not 5060."},
		{ID: EdgeWSS, Name: "SIP over WSS on the SBC", Side: Edge, Proto: TCP, First: 5065, Last: 5065, Wrap: SIPWSS, DefaultOn: true, Available: true, Zones: calls, Rows: []string{"P16"},
			Doc: "Signalling of WebRTC clients."},
		{ID: SSH, Name: "Operator shell", Side: Host, Proto: TCP, First: 10210, Last: 10210, Wrap: SSHWrap, Available: true, Zones: []Zone{Management}, Rows: []string{"P17"},
			Doc: "Restricted operator shell by key, off unless enabled; never port 22."},
		// The certificate authority chooses the port (RFC 8555 section 8.3), and
		// asks from wherever it likes.
		{ID: ACME, Name: "Certificate challenge", Side: Host, Proto: TCP, First: 80, Last: 80, Wrap: HTTP, Window: true, Zones: []Zone{Voice, Management, WAN, Trunk}, Rows: []string{"W03"},
			Doc: "ACME's HTTP-01 challenge: open for minutes while a certificate is asked for, never by settings, and without redirects."},
	}
}

// Lookup finds id in services.
func Lookup(services []Service, id ID) (Service, bool) {
	i := slices.IndexFunc(services, func(s Service) bool { return s.ID == id })
	if i < 0 {
		return Service{}, false
	}
	return services[i], true
}

// OnEdge reports whether the signalling of a row comes in on the edge, without
// a look at the table: it is asked for every registration.
func (id ID) OnEdge() bool { return id == EdgeUDP || id == EdgeTCP || id == EdgeWSS }

// Override is an administrator's change of one row; zero fields keep the
// table's value.
type Override struct {
	ID          ID
	Enabled     *bool
	First, Last uint16         // 0 keeps the table's range
	Zones       []Zone         `json:",omitempty"` // nil keeps the table's
	Sources     []netip.Prefix `json:",omitempty"` // the only ones; none is everybody
}

// Stage says how much of the table applies.
type Stage int

// The stages of a system's life.
const (
	// BeforeSetup opens only what the first-boot wizard needs.
	BeforeSetup Stage = iota
	// InService opens what is on.
	InService
)

// Effective merges overrides into the table and returns the rows that are to
// be open at the given stage, in table order. It refuses unknown services,
// ports below 1024, ranges that change their length for single-port services,
// overlaps, and a table without any SIP listener or without the portal.
func Effective(overrides []Override, stage Stage) ([]Service, error) {
	all := Table()
	for _, o := range overrides {
		i := slices.IndexFunc(all, func(s Service) bool { return s.ID == o.ID })
		if i < 0 {
			return nil, fmt.Errorf("port table has no service %q", o.ID)
		}
		if err := apply(&all[i], o); err != nil {
			return nil, err
		}
	}
	on := make([]Service, 0, len(all))
	for _, s := range all {
		if s.DefaultOn && s.Available {
			on = append(on, s)
		}
	}
	if err := check(on); err != nil {
		return nil, err
	}
	if stage == BeforeSetup {
		on = slices.DeleteFunc(on, func(s Service) bool { return !s.BeforeSetup })
	}
	return on, nil
}

func apply(s *Service, o Override) error {
	if s.Window {
		return fmt.Errorf("service %s: opens by itself while a certificate is asked for, and never otherwise", s.ID)
	}
	if o.Enabled != nil {
		if *o.Enabled && !s.Available {
			return fmt.Errorf("service %s: this version has no listener for it", s.ID)
		}
		s.DefaultOn = *o.Enabled
	}
	if err := reach(s, o); err != nil {
		return err
	}
	if o.First == 0 {
		return nil
	}
	last := o.Last
	if last == 0 {
		last = o.First
	}
	switch {
	case o.First < 1024:
		return fmt.Errorf("service %s: port %d is below 1024, which the PBX has no right to open", s.ID, o.First)
	case last < o.First:
		return fmt.Errorf("service %s: range %d-%d ends before it begins", s.ID, o.First, last)
	case !s.Range() && last != o.First:
		return fmt.Errorf("service %s: takes one port, not %d-%d", s.ID, o.First, last)
	case s.Range() && last-o.First < 3:
		return fmt.Errorf("service %s: range %d-%d is too small for one call, which takes 4 ports", s.ID, o.First, last)
	}
	s.First, s.Last = o.First, last
	return nil
}

// reach says from where the row can be reached.
func reach(s *Service, o Override) error {
	if o.Zones != nil {
		if err := CheckZones(o.ID, o.Zones); err != nil {
			return fmt.Errorf("service %s: %w", s.ID, err)
		}
		s.Zones = o.Zones
	}
	if err := CheckSources(o.Sources); err != nil {
		return fmt.Errorf("service %s: %w", s.ID, err)
	}
	s.Sources = o.Sources
	return nil
}

// CheckZones says what is wrong with the zones of a row.
func CheckZones(id ID, zones []Zone) error {
	if len(zones) == 0 {
		return fmt.Errorf("no zone is left that may reach it")
	}
	for i, z := range zones {
		if !slices.Contains(Zones(), z) {
			return fmt.Errorf("there is no zone %q", z)
		}
		if slices.Contains(zones[:i], z) {
			return fmt.Errorf("zone %s appears twice", z)
		}
	}
	if id == Portal && len(zones) == 1 && zones[0] == Trunk {
		return fmt.Errorf("providers alone could reach it, and no administrator")
	}
	return nil
}

// CheckSources says what is wrong with the sources of a row.
func CheckSources(list []netip.Prefix) error {
	if len(list) > MaxSources {
		return fmt.Errorf("%d sources, at most %d are possible", len(list), MaxSources)
	}
	for i, p := range list {
		switch {
		case !p.IsValid() || p.Addr().Zone() != "" || p.Addr().Is4In6():
			return fmt.Errorf("source %d is no network such as 192.0.2.0/24", i+1)
		case p != p.Masked():
			return fmt.Errorf("source %s has bits behind its prefix; the network is %s", p, p.Masked())
		case slices.Contains(list[:i], p):
			return fmt.Errorf("source %s appears twice", p)
		}
	}
	return nil
}

func check(on []Service) error {
	signalling := false
	for i, a := range on {
		signalling = signalling || a.IsSignalling()
		for _, b := range on[:i] {
			if a.Proto == b.Proto && a.First <= b.Last && b.First <= a.Last {
				return fmt.Errorf("services %s and %s both want %s port %s", b.ID, a.ID, a.Proto, overlap(a, b))
			}
		}
	}
	if !signalling {
		return fmt.Errorf("the last SIP listener cannot be switched off")
	}
	if _, ok := Lookup(on, Portal); !ok {
		return fmt.Errorf("the portal cannot be switched off")
	}
	return nil
}

func overlap(a, b Service) string {
	o := Service{First: max(a.First, b.First), Last: min(a.Last, b.Last)}
	return o.Ports()
}

// Instances is how many copies of the PBX Slice can put beside each other on
// one address.
const Instances = 10

// Slice moves services out of the way of other instances on the same address:
// single ports shift by 100*k, ranges keep the k-th tenth. k is 0..9.
func Slice(services []Service, k int) ([]Service, error) {
	if k < 0 || k >= Instances {
		return nil, fmt.Errorf("instance %d is outside 0..%d", k, Instances-1)
	}
	out := slices.Clone(services)
	for i := range out {
		s := &out[i]
		if s.Range() {
			size := (int(s.Last) - int(s.First) + 1) / Instances
			s.First += uint16(k * size)
			s.Last = s.First + uint16(size-1)
			continue
		}
		s.First += uint16(100 * k)
		s.Last = s.First
	}
	return out, nil
}

// Markdown renders the table for docs/ports.md.
func Markdown() string {
	var b strings.Builder
	b.WriteString("# Ports\n\nGenerated from `internal/ports` by `make generate`; do not edit.\n\n")
	b.WriteString("Only these ports can ever be open. \"Default\" is the state of a fresh system after set-up;\nbefore set-up only the portal answers. A row without a listener in this version is never opened.\n\n")
	b.WriteString("| id | service | side | port | speaks | default | reachable from | rows | |\n|---|---|---|---|---|---|---|---|---|\n")
	for _, s := range Table() {
		state := "off"
		switch {
		case s.Window:
			state = "for minutes at a time"
		case !s.Available:
			state = "not in this version"
		case s.DefaultOn:
			state = "on"
		}
		zones := make([]string, len(s.Zones))
		for i, z := range s.Zones {
			zones[i] = string(z)
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s/%s | %s | %s | %s | %s | %s |\n", s.ID, s.Name, s.Side, s.Ports(), s.Proto, s.Wrap, state, strings.Join(zones, ", "), strings.Join(s.Rows, ", "), s.Doc)
	}
	return b.String()
}
