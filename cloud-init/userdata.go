package cloudinit

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"ringfence/internal/ports"
	"ringfence/internal/telephony"
)

// MaxExtensions bounds how many extensions a seed can create.
const MaxExtensions = 1000

// minToken is the least length of a set-up token: 26 base32 characters carry
// 128 bits.
const minToken = 26

// Answers are preset answers of the set-up wizard; zero fields are left to
// people. It is written for pbxd as JSON.
type Answers struct {
	// Token or TokenSHA256 (64 hexadecimal digits) replaces the random
	// one-time set-up token.
	Token       string `json:"token,omitempty"`
	TokenSHA256 string `json:"token_sha256,omitempty"`

	Administrator *Administrator `json:"administrator,omitempty"`
	Tenant        *Tenant        `json:"tenant,omitempty"`
	// Extensions to create; ExtensionCount instead creates the first so many
	// of the range.
	Extensions     []Extension `json:"extensions,omitempty"`
	ExtensionCount int         `json:"extension_count,omitempty"`

	// PublicAddress is advertised to peers outside, AdvertiseAlways makes it
	// so to everybody.
	PublicAddress   netip.Addr `json:"public_address,omitzero"`
	AdvertiseAlways bool       `json:"advertise_always,omitempty"`
	Ports           []Port     `json:"ports,omitempty"`
	// CloudMode leaves filtering by port to the cloud. It holds in a cloud only.
	CloudMode bool `json:"cloud_mode,omitempty"`
}

// Administrator is the first user.
type Administrator struct {
	Name      string `json:"name"`
	Password  string `json:"password"`
	FirstName string `json:"first_name,omitempty"`
	LastName  string `json:"last_name,omitempty"`
	Email     string `json:"email,omitempty"`
}

// Tenant is the first organisation.
type Tenant struct {
	Name           string `json:"name"`
	Domain         string `json:"domain"`
	ExtensionFirst string `json:"extension_first"`
	ExtensionLast  string `json:"extension_last"`
}

// Extension is one of the first extensions. An empty SIPPassword is generated.
type Extension struct {
	Number      string `json:"number"`
	DisplayName string `json:"display_name,omitempty"`
	SIPPassword string `json:"sip_password,omitempty"`
}

// Port changes one row of the port table.
type Port struct {
	ID      ports.ID `json:"id"`
	Enabled *bool    `json:"enabled,omitempty"`
	First   uint16   `json:"first,omitempty"`
	Last    uint16   `json:"last,omitempty"`
}

// Overrides are the port changes in the table's form.
func (a *Answers) Overrides() []ports.Override {
	var out []ports.Override
	for _, p := range a.Ports {
		out = append(out, ports.Override{ID: p.ID, Enabled: p.Enabled, First: p.First, Last: p.Last})
	}
	return out
}

type userData struct {
	hostname string
	answers  *Answers
	keys     []string
}

// readUserData reads a #cloud-config document. Keys made for general purpose
// systems are passed over with a warning; the ringfence section is strict.
func readUserData(d *document, data []byte) (u userData) {
	if len(bytes.TrimSpace(data)) == 0 {
		return u
	}
	first, _, _ := bytes.Cut(data, []byte("\n"))
	if string(bytes.TrimRight(first, " \r")) != "#cloud-config" {
		d.add(1, "", false, "is not a cloud-config document: its first line must be #cloud-config")
		return u
	}
	root, ok := d.parse(data)
	if !ok {
		return u
	}
	var fqdn string
	root.fields(map[string]func(node){
		"hostname":            func(n node) { u.hostname = n.hostname() },
		"fqdn":                func(n node) { fqdn = n.hostname() },
		"ringfence":           func(n node) { u.answers = n.answers() },
		"ssh_authorized_keys": func(n node) { u.keys = n.sshKeys() },
	}, true)
	if u.hostname == "" {
		u.hostname = fqdn
	}
	return u
}

func (n node) answers() *Answers {
	a := &Answers{}
	t := Tenant{}
	n.fields(map[string]func(node){
		"token":            func(n node) { a.Token = n.token() },
		"token_sha256":     func(n node) { a.TokenSHA256 = n.sha256() },
		"administrator":    func(n node) { a.Administrator = n.administrator() },
		"name":             func(n node) { t.Name = n.text(telephony.MaxNameLen) },
		"domain":           func(n node) { t.Domain = n.text(telephony.MaxDomainLen) },
		"extension_first":  func(n node) { t.ExtensionFirst = n.text(telephony.MaxNumberDigits) },
		"extension_last":   func(n node) { t.ExtensionLast = n.text(telephony.MaxNumberDigits) },
		"extensions":       func(n node) { a.extensions(n) },
		"public_address":   func(n node) { a.PublicAddress = n.addr() },
		"advertise_always": func(n node) { a.AdvertiseAlways = n.boolean() },
		"ports":            func(n node) { a.Ports = n.ports() },
		"cloud_mode":       func(n node) { a.CloudMode = n.boolean() },
	}, false)
	if n.d.failed {
		return nil
	}
	if a.Token != "" && a.TokenSHA256 != "" {
		n.refuse("has both token and token_sha256")
	}
	a.checkTenant(n, t)
	a.checkSettings(n)
	return a
}

func (n node) token() string {
	t := n.text(128)
	if len(t) < minToken {
		n.refuse("must have at least %d characters, 128 random bits", minToken)
	}
	for _, c := range []byte(t) {
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_') {
			n.refuse("may only hold letters, digits, - and _")
			break
		}
	}
	return t
}

func (n node) sha256() string {
	v := strings.ToLower(n.text(64))
	if b, err := hex.DecodeString(v); err != nil || len(b) != 32 {
		n.refuse("must be 64 hexadecimal digits")
	}
	return v
}

func (n node) administrator() *Administrator {
	a := &Administrator{}
	n.fields(map[string]func(node){
		"name":       func(n node) { a.Name = n.text(telephony.MaxUserNameLen) },
		"password":   func(n node) { a.Password = n.text(128) },
		"first_name": func(n node) { a.FirstName = n.text(telephony.MaxNameLen) },
		"last_name":  func(n node) { a.LastName = n.text(telephony.MaxNameLen) },
		"email":      func(n node) { a.Email = n.text(telephony.MaxEmailLen) },
	}, false)
	user := telephony.User{Name: a.Name, FirstName: a.FirstName, LastName: a.LastName, Email: a.Email, Role: telephony.RoleSystemAdmin}
	if err := user.Validate(); err != nil {
		n.refuseField(err)
	}
	if a.Password == "" { // its quality is judged where passwords are set
		n.refuse("password is missing")
	}
	return a
}

// refuseField reports a validation error below this node.
func (n node) refuseField(err error) {
	if fe, ok := telephony.AsFieldError(err); ok {
		n.path += "." + fe.Field
	}
	n.refuse("%s", reason(err))
}

// extensions reads a number of them or a list of numbers or mappings.
func (a *Answers) extensions(n node) {
	if n.yaml.Value != "" {
		a.ExtensionCount = n.integer(0, MaxExtensions)
		return
	}
	for _, item := range n.list(MaxExtensions) {
		var e Extension
		if item.yaml.Value != "" {
			e.Number = item.text(telephony.MaxNumberDigits)
		} else {
			item.fields(map[string]func(node){
				"number":       func(n node) { e.Number = n.text(telephony.MaxNumberDigits) },
				"display_name": func(n node) { e.DisplayName = n.text(telephony.MaxNameLen) },
				"sip_password": func(n node) { e.SIPPassword = n.text(128) },
			}, false)
		}
		a.Extensions = append(a.Extensions, e)
	}
}

// checkTenant applies the domain's own rules, so that pbxd meets nothing it
// would refuse later, when nobody is at the console any more.
func (a *Answers) checkTenant(n node, t Tenant) {
	if t == (Tenant{}) {
		if len(a.Extensions) > 0 || a.ExtensionCount > 0 {
			n.refuse("extensions need domain, extension_first and extension_last")
		}
		return
	}
	if t.Name == "" {
		t.Name = t.Domain
	}
	full := telephony.Tenant{Name: t.Name, Domain: t.Domain, ExtensionFirst: t.ExtensionFirst, ExtensionLast: t.ExtensionLast}
	if err := full.Validate(); err != nil {
		n.refuseField(err)
		return
	}
	a.Tenant = &t
	seen := make(map[string]bool)
	for i, e := range a.Extensions {
		at := n
		at.path = fmt.Sprintf("%s.extensions[%d]", n.path, i)
		ext := telephony.Extension{Number: e.Number, DisplayName: e.DisplayName, NoAnswer: telephony.DefaultNoAnswer}
		if err := ext.Validate(full); err != nil {
			at.refuseField(err)
		}
		if seen[e.Number] {
			at.refuse("number appears twice")
		}
		seen[e.Number] = true
	}
	first, _ := strconv.Atoi(t.ExtensionFirst)
	last, _ := strconv.Atoi(t.ExtensionLast)
	if a.ExtensionCount > last-first+1 {
		n.refuse("extensions do not fit the range %s to %s", t.ExtensionFirst, t.ExtensionLast)
	}
}

func (a *Answers) checkSettings(n node) {
	s := telephony.DefaultSettings()
	s.PublicAddress, s.AdvertiseAlways, s.Ports = a.PublicAddress, a.AdvertiseAlways, a.Overrides()
	if err := s.Validate(); err != nil {
		n.refuseField(err)
	}
}

// ports reads service names with "off", "on", a port or a range.
func (n node) ports() []Port {
	var out []Port
	n.each(func(id string, value node) {
		p := Port{ID: ports.ID(id)}
		if _, ok := ports.Lookup(ports.Table(), p.ID); !ok {
			value.refuse("is no service of the port table")
			return
		}
		switch v := strings.ToLower(value.text(16)); v {
		case "on", "off", "true", "false", "yes", "no":
			on := value.boolean()
			p.Enabled = &on
		default:
			first, last, isRange := strings.Cut(v, "-")
			if !isRange {
				last = first
			}
			f, ferr := strconv.ParseUint(strings.TrimSpace(first), 10, 16)
			l, lerr := strconv.ParseUint(strings.TrimSpace(last), 10, 16)
			if ferr != nil || lerr != nil || f == 0 {
				value.refuse("must be on, off, a port or a range of ports")
			}
			p.First, p.Last = uint16(f), uint16(l)
		}
		out = append(out, p)
	})
	return out
}
