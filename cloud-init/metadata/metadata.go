// Package metadata asks the metadata service of the cloud that a machine runs
// in, and reports to it that the machine is up. The service is not trusted:
// what it says is bounded, its redirects are not followed, and it is left
// behind when it does not answer in time.
package metadata

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// Cloud is a provider whose metadata service is known; empty is none.
type Cloud string

// The clouds.
const (
	AWS    Cloud = "AWS"
	Azure  Cloud = "Azure"
	Google Cloud = "Google Cloud"
)

// azureAssetTag is the chassis of a virtual machine of Azure. The vendor alone
// is Hyper-V of anybody.
const azureAssetTag = "7783-7084-3265-9085-8269-3286-77"

// Detect tells the cloud by what the firmware says of the machine; root is the
// folder that holds sys, "/" outside tests.
func Detect(root string) Cloud {
	switch f := readFirmware(root); {
	case f.vendor == "Amazon EC2", strings.HasPrefix(strings.ToLower(f.uuid), "ec2") && strings.Contains(f.biosVersion, "amazon"):
		return AWS // the second is a Xen instance
	case f.assetTag == azureAssetTag:
		return Azure
	case f.product == "Google Compute Engine":
		return Google
	}
	return ""
}

// Facts are what a metadata service says.
type Facts struct {
	Cloud Cloud
	// InstanceID is another one on a disk that was copied to a new machine.
	InstanceID string
	// Hostname is not checked: it may be no host name.
	Hostname string
	// Public are the addresses of the world that lead to this machine one to
	// one, by its own.
	Public []Address
	// SSHKeys are lines of an authorized_keys file, not checked.
	SSHKeys []string
	// UserData is what the owner presets; nil is nothing.
	UserData []byte
}

// Address is an own address and the one the world sees; Own may be unknown.
type Address struct {
	Own    netip.Addr `json:"own,omitzero"`
	Public netip.Addr `json:"public"`
}

// Bounds.
const (
	maxBody      = 256 << 10 // of an answer; Google takes user data of that size
	maxText      = 253       // of a name
	maxKeys      = 32
	maxAddresses = 16
	askFor       = 2 * time.Second        // one request
	pause        = 200 * time.Millisecond // before a service that is not up yet is asked again
)

// Service is a metadata service. The zero value is the one of the cloud at its
// own address.
type Service struct {
	// Link and Wire are other addresses of the service and of Azure's wire
	// server, such as "127.0.0.1:8000"; for tests.
	Link, Wire string
}

// The addresses all clouds use, and that of Azure's wire server.
const (
	linkAddress = "169.254.169.254"
	wireAddress = "168.63.129.16"
)

// Read asks the service of a cloud until ctx ends: it may come up later than
// the machine.
func (s Service) Read(ctx context.Context, c Cloud) (Facts, error) {
	a := newAsker()
	defer a.close()
	var read func(context.Context, *asker, string) (Facts, error)
	switch c {
	case AWS:
		read = readAWS
	case Azure:
		read = readAzure
	case Google:
		read = readGoogle
	default:
		return Facts{}, fmt.Errorf("cloud %q has no metadata service that is known", c)
	}
	base := "http://" + cmp.Or(s.Link, linkAddress)
	for {
		f, err := read(ctx, a, base)
		if err == nil {
			f.Cloud = c
			f.bound()
			return f, nil
		}
		var refused *refusedError
		if errors.As(err, &refused) && !refused.temporary() {
			return Facts{}, fmt.Errorf("reading the metadata of %s: %w", c, err)
		}
		select {
		case <-ctx.Done():
			return Facts{}, fmt.Errorf("reading the metadata of %s: %w", c, err)
		case <-time.After(pause):
		}
	}
}

// WaitRoute waits until there is a way to the service, which takes an address;
// nothing is sent.
func (s Service) WaitRoute(ctx context.Context) error {
	to := s.Link
	if to == "" {
		const discard = 9 // any port: connecting a UDP socket only asks the kernel
		to = netip.AddrPortFrom(netip.MustParseAddr(linkAddress), discard).String()
	}
	for {
		c, err := (&net.Dialer{}).DialContext(ctx, "udp", to)
		if err == nil {
			return c.Close()
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting for a network: %w", err)
		case <-time.After(pause):
		}
	}
}

// bound drops what is too much.
func (f *Facts) bound() {
	f.InstanceID, f.Hostname = short(f.InstanceID), short(f.Hostname)
	f.SSHKeys = slices.DeleteFunc(f.SSHKeys, func(k string) bool { return k == "" || len(k) > 8<<10 || strings.ContainsAny(k, "\x00\r\n") })
	f.SSHKeys = f.SSHKeys[:min(len(f.SSHKeys), maxKeys)]
	f.Public = slices.DeleteFunc(f.Public, func(a Address) bool { return !a.Public.IsGlobalUnicast() })
	f.Public = f.Public[:min(len(f.Public), maxAddresses)]
	if len(f.UserData) == 0 {
		f.UserData = nil
	}
}

// short is a text that fits on a line of a log; another one is none.
func short(text string) string {
	text = strings.TrimSpace(text)
	if len(text) > maxText || strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r > '~' }) {
		return ""
	}
	return text
}

// address is an IP address or, if it is none, the zero Addr.
func address(text string) netip.Addr {
	a, err := netip.ParseAddr(strings.TrimSpace(text))
	if err != nil {
		return netip.Addr{}
	}
	return a.Unmap().WithZone("")
}

// asker sends requests over one connection, without a proxy.
type asker struct{ client *http.Client }

func newAsker() *asker {
	return &asker{&http.Client{
		Timeout: askFor,
		Transport: &http.Transport{
			Proxy: nil, DialContext: (&net.Dialer{Timeout: askFor}).DialContext,
			MaxIdleConns: 2, MaxResponseHeaderBytes: 16 << 10, DisableCompression: true,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

func (a *asker) close() { a.client.CloseIdleConnections() }

// refusedError is an answer that is no success.
type refusedError struct {
	path string
	code int
}

func (e *refusedError) Error() string { return fmt.Sprintf("%s: answered with %d", e.path, e.code) }

// temporary reports whether asking again may help: a service that comes up
// says 404 and 503 for a while, one that says 403 is switched off.
func (e *refusedError) temporary() bool {
	return e.code == http.StatusNotFound || e.code >= 500 || e.code == http.StatusTooManyRequests
}

// ask returns the body and header of an answer of 2xx.
func (a *asker) ask(ctx context.Context, method, address string, body io.Reader, headers ...string) ([]byte, http.Header, error) {
	req, err := http.NewRequestWithContext(ctx, method, address, body)
	if err != nil {
		return nil, nil, fmt.Errorf("making a request: %w", err)
	}
	for i := 0; i+1 < len(headers); i += 2 {
		if headers[i] == "Host" {
			req.Host = headers[i+1]
			continue
		}
		req.Header.Set(headers[i], headers[i+1])
	}
	res, err := a.client.Do(req)
	if err != nil {
		return nil, nil, err
	}
	defer res.Body.Close()
	if res.StatusCode/100 != 2 {
		return nil, nil, &refusedError{req.URL.Path, res.StatusCode}
	}
	data, err := io.ReadAll(io.LimitReader(res.Body, maxBody+1))
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", req.URL.Path, err)
	}
	if len(data) > maxBody {
		return nil, nil, fmt.Errorf("%s: is larger than %d bytes", req.URL.Path, maxBody)
	}
	return data, res.Header, nil
}

// missing reports whether the service said that there is no such thing.
func missing(err error) bool {
	var refused *refusedError
	return errors.As(err, &refused) && refused.code == http.StatusNotFound
}
