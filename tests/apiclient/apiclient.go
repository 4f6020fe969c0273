// Package apiclient speaks the REST API for tests, pinned to the certificate
// whose fingerprint the console showed.
package apiclient

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"strings"
	"time"
)

// Client is one browser's worth of state: cookies and CSRF token.
type Client struct {
	Base  string // https://host:port
	Token string // set-up token, sent while it is not empty
	// Tenant names the organisation that requests work in; empty is the own.
	Tenant string
	http   *http.Client
	csrf   string
}

// Dial makes the connections; nil is the machine's own network.
type Dial func(ctx context.Context, network, addr string) (net.Conn, error)

// New returns a client for base that accepts no certificate but the one with
// the SHA-256 fingerprint (hex, colons allowed). An empty fingerprint accepts
// any, for a server the test itself has started.
func New(base, fingerprint string, dial Dial) *Client {
	jar, _ := cookiejar.New(nil)
	want := strings.ToLower(strings.ReplaceAll(fingerprint, ":", ""))
	transport := &http.Transport{
		DialContext: dial,
		TLSClientConfig: &tls.Config{
			InsecureSkipVerify: true, // the fingerprint is the check
			VerifyConnection: func(s tls.ConnectionState) error {
				got := sha256.Sum256(s.PeerCertificates[0].Raw)
				if want != "" && hex.EncodeToString(got[:]) != want {
					return errors.New("the certificate is not the one the console showed")
				}
				return nil
			},
		},
	}
	return &Client{Base: strings.TrimRight(base, "/"), http: &http.Client{Jar: jar, Transport: transport, Timeout: 30 * time.Second}}
}

// Problem is an RFC 9457 answer.
type Problem struct {
	Status int    `json:"status"`
	Title  string `json:"title"`
	Detail string `json:"detail"`
	Errors []struct {
		Message  string `json:"message"`
		Location string `json:"location"`
	} `json:"errors"`
	Body string `json:"-"`
}

func (p *Problem) Error() string {
	return fmt.Sprintf("%d %s: %s %v", p.Status, p.Title, p.Detail, p.Errors)
}

// Do sends in (nil for none) to a path below /api/v1 and decodes the answer
// into out (nil to ignore it). A status of 400 and more is a *Problem.
func (c *Client) Do(ctx context.Context, method, path string, in, out any) error {
	var body io.Reader
	if in != nil {
		text, err := json.Marshal(in)
		if err != nil {
			return err
		}
		body = bytes.NewReader(text)
	}
	req, err := http.NewRequestWithContext(ctx, method, c.Base+"/api/v1"+path, body)
	if err != nil {
		return err
	}
	if in != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	req.Header.Set("Origin", c.Base)
	if c.csrf != "" {
		req.Header.Set("X-CSRF-Token", c.csrf)
	}
	if c.Tenant != "" {
		req.Header.Set("Ringfence-Tenant", c.Tenant)
	}
	if c.Token != "" {
		req.Header.Set("X-Setup-Token", c.Token)
	}
	res, err := c.http.Do(req)
	if err != nil {
		return fmt.Errorf("%s %s: %w", method, path, err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(io.LimitReader(res.Body, 16<<20))
	if err != nil {
		return fmt.Errorf("%s %s: %w", method, path, err)
	}
	if res.StatusCode >= 400 {
		p := &Problem{Body: string(text)}
		_ = json.Unmarshal(text, p)
		p.Status = res.StatusCode
		return fmt.Errorf("%s %s: %w", method, path, p)
	}
	if out == nil || len(text) == 0 {
		return nil
	}
	if err := json.Unmarshal(text, out); err != nil {
		return fmt.Errorf("%s %s: %w in %.200q", method, path, err, text)
	}
	return nil
}

// Stream opens an answer that does not end, such as that of /events, until ctx
// ends.
func (c *Client) Stream(ctx context.Context, path string) (io.ReadCloser, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.Base+"/api/v1"+path, nil)
	if err != nil {
		return nil, err
	}
	endless := *c.http
	endless.Timeout = 0
	res, err := endless.Do(req)
	if err != nil {
		return nil, fmt.Errorf("streaming %s: %w", path, err)
	}
	if res.StatusCode != http.StatusOK {
		return nil, errors.Join(fmt.Errorf("streaming %s: %s", path, res.Status), res.Body.Close())
	}
	return res.Body, nil
}

// Status is the HTTP status of an error of Do, or 0.
func Status(err error) int {
	var p *Problem
	if errors.As(err, &p) {
		return p.Status
	}
	return 0
}

// Login logs in and fetches the CSRF token.
func (c *Client) Login(ctx context.Context, name, password string) error {
	if err := c.Do(ctx, "POST", "/login", map[string]string{"name": name, "password": password}, nil); err != nil {
		return err
	}
	return c.Session(ctx)
}

// Session fetches the CSRF token of a session the client already has.
func (c *Client) Session(ctx context.Context) error {
	var s struct {
		CSRF string `json:"csrf_token"`
	}
	if err := c.Do(ctx, "GET", "/session", nil, &s); err != nil {
		return err
	}
	c.csrf = s.CSRF
	return nil
}

// Get fetches a path outside the API and returns status and body.
func (c *Client) Get(ctx context.Context, path string) (int, []byte, error) {
	req, err := http.NewRequestWithContext(ctx, "GET", c.Base+path, nil)
	if err != nil {
		return 0, nil, err
	}
	res, err := c.http.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(io.LimitReader(res.Body, 16<<20))
	return res.StatusCode, text, err
}

// Extension is one of the wizard's extensions, with its password.
type Extension struct {
	Number      string `json:"number"`
	DisplayName string `json:"display_name"`
	SIPUser     string `json:"sip_user"`
	SIPPassword string `json:"sip_password"`
	Domain      string `json:"domain"`
}

// Setup is what a test answers the wizard.
type Setup struct {
	Name, Password     string
	Domain             string
	First, Last        string
	Extensions         int
	FirstName, Company string
}

// DefaultSetup is a set of answers the wizard accepts.
func DefaultSetup() Setup {
	return Setup{Name: "boss", Password: "Wolkig mit 9 Zitronen", Domain: "pbx.example", First: "101", Last: "199", Extensions: 4, FirstName: "Jo", Company: "Acme"}
}

// RunSetup walks the wizard and leaves the client logged in.
func (c *Client) RunSetup(ctx context.Context, s Setup) ([]Extension, error) {
	if err := c.Do(ctx, "PUT", "/setup/administrator", map[string]string{"name": s.Name, "password": s.Password, "first_name": s.FirstName, "last_name": "Bergmann", "email": "boss@pbx.example"}, nil); err != nil {
		return nil, err
	}
	if err := c.Do(ctx, "PUT", "/setup/tenant", map[string]string{"name": s.Company, "domain": s.Domain, "extension_first": s.First, "extension_last": s.Last}, nil); err != nil {
		return nil, err
	}
	var made json.RawMessage
	if err := c.Do(ctx, "POST", "/setup/extensions", map[string]int{"count": s.Extensions}, &made); err != nil {
		return nil, err
	}
	extensions, err := decodeExtensions(made)
	if err != nil {
		return nil, err
	}
	if err := c.Do(ctx, "POST", "/setup/finish", nil, nil); err != nil {
		return nil, err
	}
	c.Token = ""
	return extensions, c.Session(ctx)
}

// decodeExtensions accepts a bare list or one under "items".
func decodeExtensions(text []byte) ([]Extension, error) {
	var list []Extension
	if json.Unmarshal(text, &list) == nil {
		return list, nil
	}
	var wrapped struct {
		Items []Extension `json:"items"`
	}
	if err := json.Unmarshal(text, &wrapped); err != nil {
		return nil, fmt.Errorf("extensions of the wizard: %w in %.200q", err, text)
	}
	return wrapped.Items, nil
}
