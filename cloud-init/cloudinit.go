// Package cloudinit reads what a cloud, a hypervisor or an installer presets
// for a new machine, strictly and within bounds, and writes such seeds for
// tests and local runs.
//
// A seed is a small volume labelled "cidata" (cloud-init's NoCloud source) or
// "config-2" (OpenStack's config drive) with three documents: meta-data (which
// machine this is), user-data (names and answers of the set-up wizard) and
// network-config. What is wrong in one
// of them is reported with document, line and key, and the document left out
// as a whole; the machine boots on with the others.
package cloudinit

import (
	"fmt"
	"net/netip"
	"strings"

	"ringfence/internal/telephony"
)

// The documents of a seed.
const (
	MetaData      = "meta-data"
	UserData      = "user-data"
	NetworkConfig = "network-config"
)

// MaxDocument bounds each document, in bytes.
const MaxDocument = 64 << 10

// Documents are the raw documents of a seed; nil means that one is not there.
type Documents struct {
	MetaData, UserData, NetworkConfig []byte
	// OpenStack says that they are those of a config drive: meta_data.json,
	// user_data and network_data.json.
	OpenStack bool
}

// Seed is what a seed says.
type Seed struct {
	// Source tells people where it came from, such as "NoCloud on /dev/vdb".
	Source string
	// InstanceID changes when a disk is copied to make another machine; it is
	// empty when the seed gives none.
	InstanceID string
	// Hostname is a valid host name or empty.
	Hostname string
	// Answers are preset answers of the set-up wizard, or nil.
	Answers *Answers
	// Network is the machine's network, or nil.
	Network *Network
	// SSHKeys are lines of an authorized_keys file, each one key that could be
	// read.
	SSHKeys []string
}

// Problem is one thing in a seed that could not be used.
type Problem struct {
	Document string // one of the three, or the source
	Line     int    // 0 when it is about the whole document
	Key      string // path of the key, such as "ringfence.domain"
	Reason   string // never repeats a value
	// Warning marks what was merely left out, such as a key this system has
	// no use for; anything else discards the document.
	Warning bool
}

func (p Problem) String() string {
	var b strings.Builder
	b.WriteString(p.Document)
	if p.Line > 0 {
		fmt.Fprintf(&b, " line %d", p.Line)
	}
	b.WriteString(": ")
	if p.Key != "" {
		b.WriteString(p.Key + ": ")
	}
	b.WriteString(p.Reason)
	return b.String()
}

// Parse reads the documents of a seed.
func Parse(docs Documents) (Seed, []Problem) {
	var s Seed
	var all []Problem
	take := func(name string, data []byte, read func(*document) func()) {
		if data == nil {
			return
		}
		d := &document{name: name}
		commit := read(d)
		if commit != nil && !d.failed {
			commit()
		}
		all = append(all, d.problems...)
	}
	metaName, userName, networkName, readMeta, readNet := MetaData, UserData, NetworkConfig, readMetaData, readNetwork
	if docs.OpenStack {
		metaName, userName, networkName, readMeta, readNet = openStackMeta, openStackUser, openStackNetwork, readOpenStackMeta, readOpenStackNetwork
	}
	take(metaName, docs.MetaData, func(d *document) func() {
		m := readMeta(d, docs.MetaData)
		return func() { s.InstanceID, s.Hostname, s.SSHKeys = m.instanceID, m.hostname, m.keys }
	})
	take(userName, docs.UserData, func(d *document) func() {
		u := readUserData(d, docs.UserData)
		return func() {
			s.Answers = u.answers
			s.AddSSHKeys(u.keys...)
			if u.hostname != "" {
				s.Hostname = u.hostname
			}
		}
	})
	take(networkName, docs.NetworkConfig, func(d *document) func() {
		n := readNet(d, docs.NetworkConfig)
		return func() { s.Network = n }
	})
	return s, all
}

type metaData struct {
	instanceID, hostname string
	keys                 []string
}

func readMetaData(d *document, data []byte) (m metaData) {
	root, ok := d.parse(data)
	if !ok {
		return m
	}
	root.fields(map[string]func(node){
		"instance-id":    func(n node) { m.instanceID = n.text(128) },
		"local-hostname": func(n node) { m.hostname = n.hostname() },
		"public-keys":    func(n node) { m.keys = n.sshKeys() },
	}, true)
	return m
}

// hostname reads a host name or a fully qualified name, in lower case.
func (n node) hostname() string {
	name := strings.ToLower(n.text(telephony.MaxDomainLen))
	if name == "" {
		return ""
	}
	if err := telephony.CheckDomain("", name); err != nil {
		n.refuse("%s", reason(err))
		return ""
	}
	host, _, _ := strings.Cut(name, ".")
	return host
}

// HostLabel is the first label of a host name, in lower case, or "" if it is
// none.
func HostLabel(name string) string {
	name = strings.ToLower(strings.TrimSuffix(name, "."))
	if _, err := netip.ParseAddr(name); err == nil || telephony.CheckDomain("", name) != nil {
		return ""
	}
	host, _, _ := strings.Cut(name, ".")
	return host
}

// reason is an error's text without the field name: the problem has the key.
func reason(err error) string {
	if fe, ok := telephony.AsFieldError(err); ok {
		return fe.Reason
	}
	return err.Error()
}
