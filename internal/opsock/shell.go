package opsock

import (
	"context"
	"net/http"
	"net/netip"
	"net/url"
	"time"
)

// SSH is the operator shell as people see it.
type SSH struct {
	Enabled bool     `json:"enabled"`
	State   string   `json:"state"` // "listening", or why not
	Port    int      `json:"port"`
	User    string   `json:"user"`
	HostKey string   `json:"host_key"` // fingerprint
	Refused uint64   `json:"refused"`  // log-ins since the shell's process started
	Keys    []SSHKey `json:"keys"`
}

// SSHKey is a key whose owner may log in.
type SSHKey struct {
	ID          string    `json:"id"`
	Label       string    `json:"label"`
	Type        string    `json:"type"`
	Fingerprint string    `json:"fingerprint"`
	AddedBy     string    `json:"added_by"`
	Cloud       bool      `json:"cloud"` // from the cloud's metadata
	LastUsed    time.Time `json:"last_used"`
}

// SSHChange changes the operator shell; what is empty stays.
type SSHChange struct {
	Enabled   *bool  `json:"enabled,omitempty"`
	AddLabel  string `json:"add_label,omitempty"`
	AddKey    string `json:"add_key,omitempty"`
	RemoveKey string `json:"remove_key,omitempty"` // id
}

// ShellReport is what the operator shell's process tells about itself.
type ShellReport struct {
	// Have is the Version of the configuration it runs; empty for none. While
	// that is the present one, pbxd answers after ShellWait or a change.
	Have      string    `json:"have"`
	Listening bool      `json:"listening"`
	Error     string    `json:"error"`    // why it does not listen although it should
	HostKey   string    `json:"host_key"` // fingerprint
	Cloud     []string  `json:"cloud"`    // keys of the cloud's metadata, as in a .pub file
	Used      []KeyUsed `json:"used"`
	Refused   uint64    `json:"refused"` // log-ins
	Sessions  int       `json:"sessions"`
}

// KeyUsed is when a key was last used to log in.
type KeyUsed struct {
	ID string    `json:"id"`
	At time.Time `json:"at"`
}

// ShellWait is how long pbxd keeps a report waiting when nothing changes.
const ShellWait = 8 * time.Second

// ShellConfig is what the operator shell's process is to do.
type ShellConfig struct {
	Version string     `json:"version"`
	Enabled bool       `json:"enabled"`
	Port    uint16     `json:"port"`
	Keys    []ShellKey `json:"keys"`
}

// ShellKey may log in.
type ShellKey struct {
	Label string `json:"label"`
	Key   string `json:"key"`
}

// The kinds of a ShellEvent.
const (
	ShellLogin   = "login"
	ShellLogout  = "logout"
	ShellCommand = "command"
)

// ShellEvent is for the audit log.
type ShellEvent struct {
	Kind    string `json:"kind"`
	Command string `json:"command,omitempty"`
}

// Operator is the person on whose behalf a call is made, where that is not the
// owner of the calling process.
type Operator struct {
	Name string // of the key, and the key
	From netip.Addr
}

type operatorKey struct{}

// WithOperator says on whose behalf calls with ctx are made.
func WithOperator(ctx context.Context, o Operator) context.Context {
	return context.WithValue(ctx, operatorKey{}, o)
}

const (
	headerName = "Operator-Name"
	headerFrom = "Operator-From"
	maxName    = 200
)

func (o Operator) put(h http.Header) {
	h.Set(headerName, url.QueryEscape(o.Name))
	h.Set(headerFrom, o.From.String())
}

// Asker is on whose behalf a request was made: the operator it names, else
// the owner of the process at the other end.
func Asker(r *http.Request) Operator {
	name, err := url.QueryUnescape(r.Header.Get(headerName))
	if err != nil || name == "" || len(name) > maxName {
		return Operator{Name: Peer(r.Context())}
	}
	from, _ := netip.ParseAddr(r.Header.Get(headerFrom))
	return Operator{Name: name, From: from}
}
