package siptest

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/emiago/sipgo/sip"
)

// Register registers the phone, answering a digest challenge. A refusal is a
// *StatusError.
func (p *Phone) Register(ctx context.Context) error {
	return p.register(ctx, p.config.Expires)
}

// Unregister removes the phone's binding.
func (p *Phone) Unregister(ctx context.Context) error { return p.register(ctx, 0) }

func (p *Phone) register(ctx context.Context, expires time.Duration) error {
	seconds := int(expires / time.Second)
	res, err := p.Do(ctx, Request{
		Method: "REGISTER", URI: "sip:" + p.config.Domain, To: p.URI(),
		CallID: p.regID, CSeq: &p.regSeq,
		Headers: []string{
			fmt.Sprintf("Contact: <%s>;expires=%d", p.contactURI(), seconds),
			fmt.Sprintf("Expires: %d", seconds),
		},
	})
	if err != nil {
		return fmt.Errorf("registering %s: %w", p.config.User, err)
	}
	if res.StatusCode != 200 {
		return fmt.Errorf("registering %s: %w", p.config.User, &StatusError{res.StatusCode, res.Reason})
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.contact = nil
	for _, h := range res.GetHeaders("Contact") {
		p.contact = append(p.contact, h.Value())
	}
	return nil
}

// Contacts are the bindings that the last response to REGISTER listed.
func (p *Phone) Contacts() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.contact)
}

// Request is a request outside of any call.
type Request struct {
	Method  string
	URI     string // Request-URI
	To      string // URI; empty means URI
	Headers []string
	Body    string // sent as it is; Headers must give its Content-Type
	// CallID and CSeq continue a sequence of requests; empty starts one.
	CallID string
	CSeq   *uint32
	// NoAuth leaves a challenge unanswered.
	NoAuth bool
	// Target overrides where it is sent.
	Target netip.AddrPort
}

// Do sends a request, answers one challenge (and one more if the nonce was
// stale), and returns the final response.
func (p *Phone) Do(ctx context.Context, r Request) (*sip.Response, error) {
	if r.To == "" {
		r.To = r.URI
	}
	if r.CallID == "" {
		r.CallID = token("c")
	}
	if r.CSeq == nil {
		r.CSeq = new(uint32)
	}
	if !r.Target.IsValid() {
		r.Target = p.config.Server
	}
	fromTag, auth := token("f"), ""
	for try := 0; ; try++ {
		p.mu.Lock()
		*r.CSeq++
		seq := *r.CSeq
		p.mu.Unlock()
		b := branch()
		m := &message{start: r.Method + " " + r.URI + " SIP/2.0", body: r.Body}
		p.head(m, b)
		m.add("From: <%s>;tag=%s", p.URI(), fromTag)
		m.add("To: <%s>", r.To)
		m.add("Call-ID: %s", r.CallID)
		m.add("CSeq: %d %s", seq, r.Method)
		m.headers = append(m.headers, r.Headers...)
		if auth != "" {
			m.headers = append(m.headers, auth)
		}
		tx, err := p.begin(r.Method, b, r.Target, m.bytes())
		if err != nil {
			return nil, err
		}
		res, err := p.final(ctx, tx)
		p.forget(tx)
		if err != nil || r.NoAuth || res.StatusCode != 401 && res.StatusCode != 407 {
			return res, err
		}
		line, c := p.authorize(res, r.Method, r.URI)
		if c == nil || try > 1 || try == 1 && !c.Stale {
			return res, nil
		}
		auth = line
	}
}

// head adds the headers that every request has.
func (p *Phone) head(m *message, branch string) {
	m.add("Via: SIP/2.0/%s %s;rport;branch=%s", p.config.Transport, p.sentBy(), branch)
	m.add("Max-Forwards: 70")
	m.add("User-Agent: siptest")
}
