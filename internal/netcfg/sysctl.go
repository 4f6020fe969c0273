package netcfg

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// Setting is one kernel parameter, named as in sysctl(8) but with slashes.
type Setting struct{ Name, Value string }

// Sysctls writes kernel parameters below a folder.
type Sysctls struct {
	// Root is /proc/sys, or a test's folder.
	Root string
}

// Set writes the settings that this kernel has; what it lacks is skipped. It
// goes on after an error.
func (s Sysctls) Set(settings ...Setting) error {
	var failed []error
	for _, e := range settings {
		f, err := os.OpenFile(filepath.Join(s.Root, filepath.FromSlash(e.Name)), os.O_WRONLY|os.O_TRUNC, 0)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err == nil {
			_, err = f.WriteString(e.Value)
			err = errors.Join(err, f.Close())
		}
		if err != nil {
			failed = append(failed, fmt.Errorf("setting %s to %s: %w", e.Name, e.Value, err))
		}
	}
	return errors.Join(failed...)
}

// Protective are the parameters of a host on a hostile network that routes
// nothing.
func Protective() []Setting {
	out := []Setting{
		{"net/ipv4/ip_forward", "0"},
		{"net/ipv6/conf/all/forwarding", "0"},
		{"net/ipv4/tcp_syncookies", "1"},
		{"net/ipv4/tcp_rfc1337", "1"},
		{"net/ipv4/icmp_echo_ignore_broadcasts", "1"},
		{"net/ipv4/icmp_ignore_bogus_error_responses", "1"},
		// One entry takes about 320 bytes: 20 MB at most, also when a forged
		// SYN flood fills it.
		{"net/netfilter/nf_conntrack_max", "65536"},
		// A connection that is idle for longer is taken up again by its next
		// segment, so short times harm nobody and free the table.
		{"net/netfilter/nf_conntrack_tcp_timeout_established", "7200"},
		{"net/netfilter/nf_conntrack_tcp_timeout_syn_recv", "20"},
		// Signalling and media sockets ask for more room than the default allows.
		{"net/core/rmem_max", "8388608"},
		{"net/core/wmem_max", "8388608"},
		{"net/core/netdev_max_backlog", "4096"},
	}
	for _, which := range []string{"all", "default"} {
		out = append(out, perInterface(which)...)
	}
	return out
}

// perInterface are the parameters of one interface, or of "all" or "default".
func perInterface(name string) []Setting {
	v4, v6 := "net/ipv4/conf/"+name+"/", "net/ipv6/conf/"+name+"/"
	return []Setting{
		// Loose: the answer to a packet may leave by another interface of a host
		// with voice and management networks (RFC 3704 section 2.4).
		{v4 + "rp_filter", "2"},
		{v4 + "accept_redirects", "0"},
		{v4 + "secure_redirects", "0"},
		{v4 + "send_redirects", "0"},
		{v4 + "accept_source_route", "0"},
		{v4 + "promote_secondaries", "1"},
		{v4 + "arp_notify", "1"},
		// An address belongs to the network it is configured in: it is neither
		// told nor announced in others (RFC 1122 section 3.3.4.2, strong host).
		{v4 + "arp_ignore", "1"},
		{v4 + "arp_announce", "2"},
		{v6 + "accept_redirects", "0"},
		{v6 + "accept_source_route", "0"},
	}
}

// autoconf sets IPv6 autoconfiguration of an interface. One that is to have
// no address has no link-local one either, so that nobody reaches us there.
func autoconf(name string, i Interface) []Setting {
	flag := func(on bool) string {
		if on {
			return "1"
		}
		return "0"
	}
	v6 := "net/ipv6/conf/" + name + "/"
	metric := i.Metric
	if metric == 0 {
		metric = 1024 // the kernel's own
	}
	return []Setting{
		{v6 + "disable_ipv6", flag(i.Addressless())},
		// With DHCPv6 the router is still to be learned from advertisements.
		{v6 + "accept_ra", flag(i.AcceptsRA() || i.DHCP6)},
		{v6 + "autoconf", flag(i.AcceptsRA())},
		{v6 + "accept_ra_pinfo", flag(i.AcceptsRA())},
		{v6 + "accept_ra_defrtr", flag(!i.WithoutDefaultRoute())},
		{v6 + "accept_ra_mtu", "1"},
		{v6 + "ra_defrtr_metric", strconv.Itoa(metric)},
		// A server is to be found under one address.
		{v6 + "use_tempaddr", "0"},
	}
}

// Span is an inclusive range of ports.
type Span struct{ First, Last uint16 }

const reservedPorts = "net/ipv4/ip_local_reserved_ports"

// Reserve keeps the kernel from giving ports of the spans to outgoing sockets.
// others are spans that somebody else reserved, as Reserved reports them.
func (s Sysctls) Reserve(others []Span, spans ...Span) error {
	all := slices.Concat(others, spans)
	words := make([]string, len(all))
	for i, p := range all {
		words[i] = fmt.Sprintf("%d-%d", p.First, p.Last)
	}
	value := strings.Join(words, ",")
	if value == "" {
		value = "\n" // the kernel ignores an empty write
	}
	return s.Set(Setting{reservedPorts, value})
}

// Reserved reads the ports that are reserved now.
func (s Sysctls) Reserved() ([]Span, error) {
	raw, err := os.ReadFile(filepath.Join(s.Root, filepath.FromSlash(reservedPorts)))
	if err != nil {
		return nil, err
	}
	var out []Span
	for _, word := range strings.FieldsFunc(string(raw), func(r rune) bool { return r == ',' || r == '\n' || r == ' ' }) {
		first, last, isRange := strings.Cut(word, "-")
		if !isRange {
			last = first
		}
		a, err1 := strconv.ParseUint(first, 10, 16)
		b, err2 := strconv.ParseUint(last, 10, 16)
		if err := errors.Join(err1, err2); err != nil {
			return nil, fmt.Errorf("reading reserved ports %q: %w", word, err)
		}
		out = append(out, Span{uint16(a), uint16(b)})
	}
	return out, nil
}
