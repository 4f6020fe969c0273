// Package opsock is the local socket between the operator's command line and
// pbxd: what travels on it, its listener and its client.
package opsock

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// FileName is the socket inside the run folder.
const FileName = "pbxd.sock"

// Paths of the interface. It is JSON over HTTP, for processes of this machine
// that may open the socket: root and its group.
const (
	PathStatus     = "/status"
	PathPorts      = "/ports"
	PathPortRules  = "/ports/rules" // with format, inside and management
	PathSetupToken = "/setup-token"
	PathResetAdmin = "/reset-admin"

	PathNetwork        = "/network"
	PathNetworkConfirm = "/network/confirm"
	PathNetworkRevert  = "/network/revert"
	PathTrial          = "/trial"
	PathTrialConfirm   = "/trial/confirm"
	PathTrialRevert    = "/trial/revert"
	PathSSH            = "/ssh"
	PathDialplanTry    = "/dialplan/try"
	PathConfiguration  = "/configuration" // with secrets
	PathPlan           = "/configuration/plan"
	PathApply          = "/configuration/apply"
	PathShell          = "/shell"       // for the operator shell's process
	PathShellEvent     = "/shell/event" // likewise
)

// Configuration is all settings as a YAML document.
type Configuration struct {
	YAML          string `json:"yaml"`
	RemoveTenants bool   `json:"remove_tenants,omitempty"`
}

// ConfigurationPlan is what a document changes, or has changed, as text.
type ConfigurationPlan struct {
	Text    string `json:"text"`
	Changes int    `json:"changes"`
	Rev     uint64 `json:"rev"`
}

// Status is how the PBX is doing.
type Status struct {
	Version       string    `json:"version"`
	Hostname      string    `json:"hostname"`
	UptimeSeconds int64     `json:"uptime_seconds"`
	SetupDone     bool      `json:"setup_done"`
	Rev           uint64    `json:"rev"`
	Fingerprint   string    `json:"fingerprint"`
	Certificate   string    `json:"certificate,omitempty"` // the one in force: until when, and who may expire sooner
	FenceActive   bool      `json:"fence_active"`
	FenceError    string    `json:"fence_error"`
	Applied       []Applied `json:"applied"`
	Extensions    int       `json:"extensions"`
	Registrations int       `json:"registrations"`
	Calls         int       `json:"calls"`
	Clock         string    `json:"clock,omitempty"`
	Trial         Trial     `json:"trial"`
}

// Applied says which revision of the settings a subsystem runs.
type Applied struct {
	Subsystem string `json:"subsystem"`
	Rev       uint64 `json:"rev"`
	Error     string `json:"error"`
}

// Port is one row of the port table as it stands now.
type Port struct {
	ID      string `json:"id"`
	Name    string `json:"name"`
	Proto   string `json:"proto"`
	Ports   string `json:"ports"`
	State   string `json:"state"`
	Error   string `json:"error"`
	Packets uint64 `json:"packets"`
	Bytes   uint64 `json:"bytes"`
}

// PortRules are the open ports as rules of a cloud's packet filter.
type PortRules struct {
	Text string `json:"text"`
}

// Token is the one-time token of the set-up wizard. It is empty when
// first-boot data brought it as a hash.
type Token struct {
	Token string `json:"token"`
}

// ResetAdmin names the administrator whose password is to be replaced; empty
// is the only one.
type ResetAdmin struct {
	Name string `json:"name"`
}

// NewPassword is the answer: the password holds until the next log-in, which
// has to change it.
type NewPassword struct {
	Name     string `json:"name"`
	Password string `json:"password"`
}

// Network is the machine's network as it is.
type Network struct {
	Managed    bool        `json:"managed"`
	Interfaces []Interface `json:"interfaces"`
	// SecondsLeft is how long a change waits to be confirmed; 0 if none does.
	SecondsLeft int    `json:"seconds_left"`
	Reverted    string `json:"reverted"` // why the last change was taken back
	Error       string `json:"error"`
}

// Trial is the change of settings that waits to be confirmed.
type Trial struct {
	// SecondsLeft is how long it waits; 0 if none does.
	SecondsLeft int      `json:"seconds_left"`
	By          string   `json:"by"`
	Changes     []string `json:"changes"`
	Reverted    string   `json:"reverted"` // why the last one was taken back
}

// DialTry asks what would become of a call.
type DialTry struct {
	Tenant string `json:"tenant"` // SIP domain; empty is the only one
	From   string `json:"from"`   // the extension that calls, or a number outside
	Number string `json:"number"` // what is dialled
	Trunk  string `json:"trunk"`  // name of the one that a call from outside comes by
	At     string `json:"at"`     // wall clock of the tenant; empty is now
}

// DialPlan is the answer, for people.
type DialPlan struct {
	Text string `json:"text"`
}

// Interface is one network interface.
type Interface struct {
	Name      string   `json:"name"`
	MAC       string   `json:"mac"`
	State     string   `json:"state"` // up, no cable or down
	MTU       int      `json:"mtu"`
	Addresses []string `json:"addresses"`
	Gateways  []string `json:"gateways"`
	DHCP      string   `json:"dhcp"` // server and end of the lease
	Error     string   `json:"error"`
}

// Error is the answer to what was refused.
type Error struct {
	Message string `json:"error"`
}

// Listen opens the socket at path for its owner and group. A socket that a
// process left behind is replaced.
func Listen(path string) (net.Listener, error) {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("replacing socket %s: %w", path, err)
	}
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("opening socket %s: %w", path, err)
	}
	f := os.NewFile(uintptr(fd), path)
	defer f.Close()
	if err := unix.Bind(fd, &unix.SockaddrUnix{Name: path}); err != nil {
		return nil, fmt.Errorf("opening socket %s: %w", path, err)
	}
	// Before listen nobody can connect, so there is no moment with wrong rights.
	if err := os.Chmod(path, 0o660); err != nil {
		return nil, fmt.Errorf("opening socket %s: %w", path, err)
	}
	if err := unix.Listen(fd, 16); err != nil {
		return nil, fmt.Errorf("opening socket %s: %w", path, err)
	}
	ln, err := net.FileListener(f)
	if err != nil {
		return nil, fmt.Errorf("opening socket %s: %w", path, err)
	}
	return ln, nil
}

type peerKey struct{}

// Server serves h on the socket; its requests know their Peer.
func Server(h http.Handler) *http.Server {
	return &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      30 * time.Second,
		MaxHeaderBytes:    4 << 10,
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			return context.WithValue(ctx, peerKey{}, peerOf(c))
		},
	}
}

// Peer is who sits at the other end, such as "uid 0"; for the audit log.
func Peer(ctx context.Context) string {
	s, _ := ctx.Value(peerKey{}).(string)
	return s
}

func peerOf(c net.Conn) string {
	u, ok := c.(*net.UnixConn)
	if !ok {
		return "unknown"
	}
	raw, err := u.SyscallConn()
	if err != nil {
		return "unknown"
	}
	name := "unknown"
	_ = raw.Control(func(fd uintptr) {
		if cred, err := unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED); err == nil {
			name = fmt.Sprintf("uid %d", cred.Uid)
		}
	})
	return name
}

// maxAnswer bounds an answer.
const maxAnswer = 1 << 20

// Call sends in (nil for none) to the socket at path and decodes the answer
// into out.
func Call(ctx context.Context, socket, method, path string, in, out any) error {
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", socket)
	}}
	defer transport.CloseIdleConnections()
	var body io.Reader
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return fmt.Errorf("encoding a request: %w", err)
		}
		body = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://pbxd"+path, body)
	if err != nil {
		return fmt.Errorf("making a request: %w", err)
	}
	if o, ok := ctx.Value(operatorKey{}).(Operator); ok {
		o.put(req.Header)
	}
	res, err := (&http.Client{Transport: transport}).Do(req)
	if err != nil {
		return fmt.Errorf("talking to pbxd at %s: %w", socket, err)
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	if err != nil {
		return fmt.Errorf("talking to pbxd at %s: %w", socket, err)
	}
	if res.StatusCode >= http.StatusBadRequest {
		var e Error
		if json.Unmarshal(answer, &e) != nil || e.Message == "" {
			e.Message = strings.ToLower(http.StatusText(res.StatusCode))
		}
		return errors.New(e.Message)
	}
	if out == nil {
		return nil
	}
	if err := json.Unmarshal(answer, out); err != nil {
		return fmt.Errorf("reading pbxd's answer: %w", err)
	}
	return nil
}
