package sip

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Phases of a call.
const (
	invited = iota
	authorized
	answered
	held
	ending
)

// Calls holds the calls that Call left up, until they are to be hung up.
type Calls struct {
	load    *Load
	byes    map[int][]byte
	Callees []User
	// Hold keeps answered calls up until Release is closed.
	Hold    bool
	Release chan struct{}
	Up      func(n int) // so many are up
}

// Run calls one callee per exchange, and hangs up at once or on Release.
func (c *Calls) Run(ctx context.Context, l *Load) (Result, error) {
	c.load, c.byes = l, map[int][]byte{}
	l.step = c.step
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if c.Hold {
		go func() {
			select {
			case <-ctx.Done():
				return
			case <-c.Release:
			}
			c.releaseAll(ctx)
		}()
	}
	return l.run(ctx, func(x *exchange) { l.send(x, c.invite(x, "")) })
}

func (c *Calls) step(l *Load, x *exchange, m []byte) {
	code := status(m)
	invite := strings.HasSuffix(header(m, "CSeq"), " INVITE")
	switch {
	case !invite:
		if code == 200 && x.phase == ending {
			l.finish(x, true)
		} else if code >= 300 && x.phase == ending {
			l.refused(x, code)
		}
	case code < 200:
		x.heard = true
		if code == 180 && !x.rang {
			x.rang = true
			l.result.Waits = append(l.result.Waits, time.Since(x.began))
		}
	case code == 407:
		l.write(c.ackRefusal(x, m))
		if x.phase == invited && strings.HasPrefix(header(m, "CSeq"), "1 ") {
			x.phase = authorized
			l.send(x, c.invite(x, header(m, "Proxy-Authenticate")))
		}
	case code < 300:
		c.answered(x, m)
	default:
		l.write(c.ackRefusal(x, m))
		l.refused(x, code)
	}
}

// answered acknowledges a 2xx, and hangs up unless calls are held.
func (c *Calls) answered(x *exchange, m []byte) {
	ack := c.inDialog(x, m, "ACK", 2)
	c.load.write(ack)
	if x.phase >= answered {
		return
	}
	bye := c.inDialog(x, m, "BYE", 3)
	if !c.Hold {
		x.phase = ending
		c.load.send(x, bye)
		return
	}
	x.phase = held
	c.byes[x.n] = bye
	if c.Up != nil {
		c.Up(len(c.byes))
	}
}

// releaseAll hangs up at a pace that any server follows.
func (c *Calls) releaseAll(ctx context.Context) {
	c.load.mu.Lock()
	byes := c.byes
	c.load.mu.Unlock()
	for n, bye := range byes {
		c.load.mu.Lock()
		if x := c.load.live[n]; x != nil {
			x.phase, x.began = ending, time.Now()
			c.load.send(x, bye)
		}
		c.load.mu.Unlock()
		select {
		case <-ctx.Done():
			return
		case <-time.After(5 * time.Millisecond):
		}
	}
}

func (c *Calls) target(x *exchange) string {
	u := c.Callees[x.n%len(c.Callees)]
	return "sip:" + u.Name + "@" + u.Domain
}

func (c *Calls) branch(x *exchange, cseq int) string {
	return fmt.Sprintf("z9hG4bK%d-%d-%s", x.n, cseq, c.load.id)
}

func (c *Calls) invite(x *exchange, challenge string) []byte {
	l, u, uri := c.load, x.user, c.target(x)
	auth, cseq := "", 1
	if challenge != "" {
		auth = "Proxy-Authorization: " + u.authorization(challenge, "INVITE", uri) + "\r\n"
		cseq = 2
	}
	body := description(x.n)
	return fmt.Appendf(nil, "INVITE %s SIP/2.0\r\nVia: SIP/2.0/UDP %s;rport;branch=%s\r\nMax-Forwards: 70\r\n"+
		"From: <sip:%s@%s>;tag=%d\r\nTo: <%s>\r\nCall-ID: %d-%s\r\nCSeq: %d INVITE\r\nContact: <sip:%s@%s>\r\n%s"+
		"Content-Type: application/sdp\r\nContent-Length: %d\r\n\r\n%s",
		uri, l.from, c.branch(x, cseq), u.Name, u.Domain, x.n, uri, x.n, l.id, cseq, u.Name, l.from, auth, len(body), body)
}

// description offers G.711 at an address where nobody listens: what is
// measured is signalling.
func description(n int) string {
	return fmt.Sprintf("v=0\r\no=- %d 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 9 RTP/AVP 8 0 101\r\n"+
		"a=rtpmap:101 telephone-event/8000\r\na=sendrecv\r\n", n+1)
}

// ackRefusal acknowledges a final response other than 2xx: the INVITE's own
// transaction (RFC 3261 section 17.1.1.3).
func (c *Calls) ackRefusal(x *exchange, m []byte) []byte {
	cseq, _, _ := strings.Cut(header(m, "CSeq"), " ")
	return fmt.Appendf(nil, "ACK %s SIP/2.0\r\nVia: %s\r\nMax-Forwards: 70\r\nFrom: %s\r\nTo: %s\r\nCall-ID: %s\r\nCSeq: %s ACK\r\nContent-Length: 0\r\n\r\n",
		c.target(x), header(m, "Via"), header(m, "From"), header(m, "To"), header(m, "Call-ID"), cseq)
}

// inDialog makes a request of the dialog that a 2xx established (section
// 12.2.1.1): the route set is Record-Route in reverse.
func (c *Calls) inDialog(x *exchange, m []byte, method string, cseq int) []byte {
	var routes strings.Builder
	for _, r := range slices.Backward(slices.Collect(headers(m, "Record-Route"))) {
		routes.WriteString("Route: " + r + "\r\n")
	}
	branch := c.branch(x, cseq) + method
	return fmt.Appendf(nil, "%s %s SIP/2.0\r\nVia: SIP/2.0/UDP %s;rport;branch=%s\r\nMax-Forwards: 70\r\n%sFrom: %s\r\nTo: %s\r\nCall-ID: %s\r\nCSeq: %d %s\r\nContent-Length: 0\r\n\r\n",
		method, uriOf(header(m, "Contact")), c.load.from, branch, routes.String(), header(m, "From"), header(m, "To"), header(m, "Call-ID"), cseq, method)
}
