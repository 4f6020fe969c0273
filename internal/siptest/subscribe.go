package siptest

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/emiago/sipgo/sip"
)

// Subscription is a phone's subscription to an event (RFC 6665): a lamp.
type Subscription struct {
	phone   *Phone
	event   string
	uri     string // of what is subscribed to
	id      string // Call-ID
	fromTag string
	toTag   string
	target  string
	seq     uint32
	got     chan *sip.Request

	mu     sync.Mutex
	answer int // status for NOTIFYs
}

// Subscribe subscribes to an event of a number of the phone's own domain.
func (p *Phone) Subscribe(ctx context.Context, event, number string, expires time.Duration) (*Subscription, error) {
	s := &Subscription{
		phone: p, event: event, uri: "sip:" + number + "@" + p.config.Domain, id: token("s"), fromTag: token("f"),
		got: make(chan *sip.Request, 1000), answer: 200,
	}
	p.mu.Lock()
	if p.subs == nil {
		p.subs = make(map[string]*Subscription)
	}
	p.subs[s.id] = s
	p.mu.Unlock()
	res, err := s.send(ctx, expires)
	if err != nil {
		return nil, err
	}
	s.toTag = tag(res.To().Params)
	if c := res.Contact(); c != nil {
		s.target = c.Address.String()
	}
	return s, nil
}

// Refresh sends a SUBSCRIBE within the subscription; 0 ends it.
func (s *Subscription) Refresh(ctx context.Context, expires time.Duration) error {
	_, err := s.send(ctx, expires)
	return err
}

// send sends a SUBSCRIBE and answers one challenge.
func (s *Subscription) send(ctx context.Context, expires time.Duration) (*sip.Response, error) {
	p, uri, auth := s.phone, s.uri, ""
	to := "<" + s.uri + ">"
	if s.toTag != "" {
		uri, to = s.target, to+";tag="+s.toTag
	}
	for try := 0; ; try++ {
		s.seq++
		b := branch()
		m := &message{start: "SUBSCRIBE " + uri + " SIP/2.0"}
		p.head(m, b)
		m.add("From: <%s>;tag=%s", p.URI(), s.fromTag)
		m.add("To: %s", to)
		m.add("Call-ID: %s", s.id)
		m.add("CSeq: %d SUBSCRIBE", s.seq)
		m.add("Contact: <%s>", p.contactURI())
		m.add("Event: %s", s.event)
		m.add("Expires: %d", int(expires/time.Second))
		if auth != "" {
			m.headers = append(m.headers, auth)
		}
		tx, err := p.begin("SUBSCRIBE", b, p.config.Server, m.bytes())
		if err != nil {
			return nil, err
		}
		res, err := p.final(ctx, tx)
		p.forget(tx)
		switch {
		case err != nil:
			return nil, fmt.Errorf("subscribing to %s: %w", s.uri, err)
		case res.StatusCode < 300:
			return res, nil
		case try > 0 || res.StatusCode != 401 && res.StatusCode != 407:
			return nil, fmt.Errorf("subscribing to %s: %w", s.uri, &StatusError{res.StatusCode, res.Reason})
		}
		auth, _ = p.authorize(res, "SUBSCRIBE", uri)
	}
}

// Answer sets the status that NOTIFYs are answered with from now on.
func (s *Subscription) Answer(code int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answer = code
}

// Next waits for the next NOTIFY.
func (s *Subscription) Next(ctx context.Context) (*sip.Request, error) {
	select {
	case r := <-s.got:
		return r, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("waiting for a NOTIFY of %s: %w", s.uri, ctx.Err())
	}
}

// Wait waits for a NOTIFY whose body holds a text.
func (s *Subscription) Wait(ctx context.Context, text string) (*sip.Request, error) {
	for last := ""; ; {
		r, err := s.Next(ctx)
		if err != nil {
			return nil, fmt.Errorf("%w; want %q, last was %s", err, text, last)
		}
		if last = string(r.Body()); strings.Contains(last, text) {
			return r, nil
		}
	}
}

// subscription finds the one a NOTIFY is for.
func (p *Phone) subscription(req *sip.Request) *Subscription {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.subs[req.CallID().Value()]
	if s == nil || req.Method != "NOTIFY" || tag(req.To().Params) != s.fromTag {
		return nil
	}
	return s
}

func (s *Subscription) handle(req *sip.Request, tx *serverTx) {
	s.mu.Lock()
	code := s.answer
	s.mu.Unlock()
	_ = s.phone.reply(tx, response(req, code, Reason(code), ""))
	select {
	case s.got <- req:
	default:
	}
}
