package siptest

import (
	"cmp"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"math/big"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/emiago/sipgo/sip"
)

// ProviderConfig describes a provider.
type ProviderConfig struct {
	// Config is of the phone that takes and makes its calls. Listen, Transport
	// (UDP, TCP, TLS), User, AuthUser and Password are those of the account.
	Config
	// Open challenges nobody: a provider that knows its customers by address.
	Open bool
	// Realm of the challenges; empty is "provider.test".
	Realm string
	// Algorithms are offered in this order; empty is MD5. NoQOP leaves qop out.
	Algorithms []string
	NoQOP      bool
	// Proxy challenges INVITE with 407 instead of 401.
	Proxy bool
	// NonceUses is how often a nonce may be used; 0 is without end.
	NonceUses int
	// MinExpires refuses shorter registrations with 423, Granted shortens longer
	// ones; 0 does neither.
	MinExpires, Granted time.Duration
	// Capabilities is the session description in the answer to OPTIONS; may be
	// empty.
	Capabilities string
}

// ScriptedAnswer is what a provider answers to one request instead.
type ScriptedAnswer struct {
	Code    int // 0 answers nothing
	Headers []string
}

// Contact is a customer's registration.
type Contact struct {
	URI     string
	From    netip.AddrPort
	Expires time.Duration // as granted
	At      time.Time
}

// Provider is a registrar and gateway for tests: it challenges, registers,
// records every request, refuses as it is told, and makes and takes calls with
// audio as a phone does.
type Provider struct {
	*Phone
	Roots *x509.CertPool // has its certificate, for its realm and address
	c     ProviderConfig

	mu       sync.Mutex
	cut      bool
	script   map[string][]ScriptedAnswer
	requests []*sip.Request
	contacts []Contact
	nonces   map[string]*nonceUse
}

// nonceUse is which counts of a nonce came with which branch.
type nonceUse struct{ counts map[string]string }

// NewProvider starts a provider for a test.
func NewProvider(t TB, c ProviderConfig) *Provider {
	t.Helper()
	p, err := StartProvider(c)
	if err != nil {
		t.Fatalf("starting provider: %v", err)
	}
	t.Cleanup(p.Close)
	return p
}

// StartProvider starts a provider. The caller must Close it.
func StartProvider(c ProviderConfig) (*Provider, error) {
	c.Accepts, c.AnyUser = true, true
	c.Realm = cmp.Or(c.Realm, "provider.test")
	c.Domain = cmp.Or(c.Domain, c.Realm)
	if len(c.Algorithms) == 0 {
		c.Algorithms = []string{"MD5"}
	}
	roots := x509.NewCertPool()
	if c.Transport == "TLS" && c.TLS == nil {
		cert, err := serverCertificate(c.Realm, c.Listen.Addr())
		if err != nil {
			return nil, err
		}
		roots.AddCert(cert.Leaf)
		c.TLS = &tls.Config{Certificates: []tls.Certificate{cert}}
	}
	phone, err := Start(c.Config)
	if err != nil {
		return nil, err
	}
	p := &Provider{Phone: phone, Roots: roots, c: c, script: map[string][]ScriptedAnswer{}, nonces: map[string]*nonceUse{}}
	phone.SetFilter(p.pass)
	phone.OnRequest(p.take)
	return p, nil
}

// pass loses everything while the provider is cut off.
func (p *Provider) pass(_ bool, _ netip.AddrPort, b []byte) [][]byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cut {
		return nil
	}
	return [][]byte{b}
}

// Cut has the provider neither hear nor say anything, or again.
func (p *Provider) Cut(cut bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cut = cut
}

// HangUp ends all connections to the provider.
func (p *Provider) HangUp() {
	if a, ok := p.wire.(*accepting); ok {
		a.hangUp()
	}
}

// Script answers the next requests of a method so, before credentials are
// looked at.
func (p *Provider) Script(method string, answers ...ScriptedAnswer) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.script[method] = append(p.script[method], answers...)
}

// Requests are those that came of a method, oldest first, without copies; ""
// stands for all.
func (p *Provider) Requests(method string) (out []*sip.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, r := range p.requests {
		if method == "" || string(r.Method) == method {
			out = append(out, r)
		}
	}
	return out
}

// Registered are the registrations that stand.
func (p *Provider) Registered() (out []Contact) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.contacts {
		if time.Since(c.At) < c.Expires {
			out = append(out, c)
		}
	}
	return out
}

// CallIn calls a number of the customer who registered last: at the Contact,
// with the number in To, and in the Request-URI too if that is asked for.
func (p *Provider) CallIn(ctx context.Context, number string, inURI bool, o CallOptions) (*Call, error) {
	list := p.Registered()
	if len(list) == 0 {
		return nil, fmt.Errorf("calling %s: nobody is registered", number)
	}
	c := list[len(list)-1]
	o.URI, o.Target = c.URI, c.From
	if inURI {
		_, host, _ := strings.Cut(c.URI, "@")
		o.URI = "sip:" + number + "@" + host
	}
	return p.CallWith(ctx, "sip:"+number+"@"+p.c.Domain, o)
}

// take is the handler of the phone's requests.
func (p *Provider) take(req *sip.Request, from netip.AddrPort) bool {
	if req.IsAck() || req.IsCancel() || p.seen(req) {
		return false
	}
	p.mu.Lock()
	if len(p.requests) < traceLimit {
		p.requests = append(p.requests, req)
	}
	method := string(req.Method)
	var told *ScriptedAnswer
	if q := p.script[method]; len(q) > 0 {
		told, p.script[method] = &q[0], q[1:]
	}
	p.mu.Unlock()
	withSource(req, from)
	switch {
	case told != nil && told.Code == 0:
		return true
	case told != nil:
		p.answer(req, from, told.Code, told.Headers...)
		return true
	case (req.Method == sip.REGISTER || req.IsInvite() && tag(req.To().Params) == "") && !p.c.Open && !p.authorized(req):
		p.challenge(req, from)
		return true
	case req.Method == sip.REGISTER:
		p.register(req, from)
		return true
	case req.Method == sip.OPTIONS && p.c.Capabilities != "":
		_ = p.Respond(req, from, 200, []string{"Content-Type: application/sdp"}, p.c.Capabilities)
		return true
	}
	return false
}

// seen reports whether the phone answered the request already, and repeats that.
func (p *Provider) seen(req *sip.Request) bool {
	p.Phone.mu.Lock()
	defer p.Phone.mu.Unlock()
	return p.servers[serverKey(req, string(req.Method))] != nil
}

func (p *Provider) answer(req *sip.Request, from netip.AddrPort, code int, headers ...string) {
	_ = p.Respond(req, from, code, headers, "")
}

// withSource puts what RFC 3581 section 4 wants into the Via, which responses
// repeat.
func withSource(req *sip.Request, from netip.AddrPort) {
	v := req.Via()
	if !v.Params.Has("rport") {
		return
	}
	v.Params.Remove("rport")
	v.Params.Add("rport", strconv.Itoa(int(from.Port())))
	v.Params.Add("received", from.Addr().String())
}

func (p *Provider) challenge(req *sip.Request, from netip.AddrPort) {
	nonce := token("n")
	p.mu.Lock()
	p.nonces[nonce] = &nonceUse{counts: map[string]string{}}
	p.mu.Unlock()
	name, code := "WWW-Authenticate", 401
	if p.c.Proxy && req.IsInvite() {
		name, code = "Proxy-Authenticate", 407
	}
	var lines []string
	for _, a := range p.c.Algorithms {
		line := fmt.Sprintf(`%s: Digest realm="%s", nonce="%s", algorithm=%s`, name, p.c.Realm, nonce, a)
		if !p.c.NoQOP {
			line += `, qop="auth"`
		}
		if p.proves(req) {
			line += ", stale=true"
		}
		lines = append(lines, line)
	}
	p.answer(req, from, code, lines...)
}

// proves reports whether the request has the right password, with whatever
// nonce.
func (p *Provider) proves(req *sip.Request) bool {
	for _, name := range []string{"Authorization", "Proxy-Authorization"} {
		for _, h := range req.GetHeaders(name) {
			_, rest, _ := strings.Cut(h.Value(), " ")
			if v := parameters(rest); p.right(v, string(req.Method)) {
				return true
			}
		}
	}
	return false
}

func (p *Provider) right(v map[string]string, method string) bool {
	newHash, ok := hashOf(v["algorithm"])
	if !ok || v["realm"] != p.c.Realm || v["username"] != cmp.Or(p.c.AuthUser, p.c.User) || !slices.ContainsFunc(p.c.Algorithms, func(a string) bool { return strings.EqualFold(a, cmp.Or(v["algorithm"], "MD5")) }) {
		return false
	}
	d := digest{hash: newHash, user: v["username"], password: p.c.Password, method: method, uri: v["uri"], cnonce: v["cnonce"], count: v["nc"]}
	return v["response"] == d.response(Challenge{Realm: v["realm"], Nonce: v["nonce"]})
}

// authorized reports whether the request's credentials are right, and their
// nonce one of ours whose count was not used by another request.
func (p *Provider) authorized(req *sip.Request) bool {
	if !p.proves(req) {
		return false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, name := range []string{"Authorization", "Proxy-Authorization"} {
		for _, h := range req.GetHeaders(name) {
			_, rest, _ := strings.Cut(h.Value(), " ")
			v := parameters(rest)
			n := p.nonces[v["nonce"]]
			if n == nil || p.c.NonceUses > 0 && len(n.counts) >= p.c.NonceUses {
				continue
			}
			b := req.Via().Params.GetOr("branch", "")
			if used, twice := n.counts[v["nc"]]; !twice || used == b || p.c.NoQOP {
				n.counts[v["nc"]] = b
				return true
			}
		}
	}
	return false
}

// register keeps or removes a Contact.
func (p *Provider) register(req *sip.Request, from netip.AddrPort) {
	contact := req.Contact()
	if contact == nil {
		p.answer(req, from, 200)
		return
	}
	expires := time.Hour
	for _, v := range []string{contact.Params.GetOr("expires", ""), headerValue(req, "Expires")} {
		if n, err := strconv.Atoi(v); err == nil {
			expires = time.Duration(n) * time.Second
			break
		}
	}
	if expires > 0 && expires < p.c.MinExpires {
		p.answer(req, from, 423, fmt.Sprintf("Min-Expires: %d", int(p.c.MinExpires/time.Second)))
		return
	}
	if p.c.Granted > 0 {
		expires = min(expires, p.c.Granted)
	}
	uri := contact.Address.String()
	p.mu.Lock()
	p.contacts = slices.DeleteFunc(p.contacts, func(c Contact) bool { return c.URI == uri })
	if expires > 0 {
		p.contacts = append(p.contacts, Contact{uri, from, expires, time.Now()})
	}
	p.mu.Unlock()
	p.answer(req, from, 200, fmt.Sprintf("Contact: <%s>;expires=%d", uri, int(expires/time.Second)))
}

func headerValue(req *sip.Request, name string) string {
	if h := req.GetHeader(name); h != nil {
		return h.Value()
	}
	return ""
}

// serverCertificate is one for a name and an address, signed by itself.
func serverCertificate(name string, addr netip.Addr) (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		DNSNames: []string{name}, IPAddresses: []net.IP{addr.AsSlice()}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return tls.Certificate{}, err
	}
	leaf, err := x509.ParseCertificate(der)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}, err
}
