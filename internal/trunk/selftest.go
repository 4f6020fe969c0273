package trunk

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"ringfence/internal/ports"
	"ringfence/internal/sip"
	"ringfence/internal/telephony"
)

// testTime bounds a whole self-test.
const testTime = 30 * time.Second

// ErrUnknown says that there is no such trunk.
var ErrUnknown = errors.New("no such trunk")

// trial is a self-test at work. It shares nothing with the trunk's line, so that
// a trunk that is down, refused or off can be tested, and one that works is not
// disturbed.
type trial struct {
	s       *Service
	l       *line // never started: only what requests are made of
	out     telephony.TrunkTest
	server  server
	answers *sip.Response // to OPTIONS
}

// Test looks at every part of the way to a trunk, one after the other. It stops
// where the rest makes no sense.
func (s *Service) Test(ctx context.Context, tenant telephony.TenantID, id telephony.TrunkID) (telephony.TrunkTest, error) {
	t, ok := s.c.Snapshot().Trunk(tenant, id)
	if !ok {
		return telephony.TrunkTest{}, ErrUnknown
	}
	ctx, cancel := context.WithTimeout(ctx, testTime)
	defer cancel()
	x := &trial{s: s, l: newLine(s, t), out: telephony.TrunkTest{Trunk: id, At: time.Now(), OK: true}}
	if t.Kind == telephony.TrunkAccept {
		x.gateway(ctx, t)
		return x.out, nil
	}
	if x.step("dns", func() (string, error) { return x.resolve(ctx) }) && x.connect(ctx) {
		if t.Transport != telephony.TrunkUDP {
			defer func() { x.server.flow.Close() }()
		}
		answered := x.step("options", func() (string, error) { return x.options(ctx) })
		x.register(ctx)
		x.codecs(answered)
		x.nat(answered)
	}
	return x.out, nil
}

// step does one step and notes its outcome.
func (x *trial) step(name string, f func() (string, error)) bool {
	began := time.Now()
	detail, err := f()
	st := telephony.TrunkStep{Name: name, OK: err == nil, Detail: detail, Took: time.Since(began)}
	if err != nil {
		st.Detail, x.out.OK = err.Error(), false
	}
	x.out.Steps = append(x.out.Steps, st)
	return err == nil
}

func (x *trial) skip(name, why string) {
	x.out.Steps = append(x.out.Steps, telephony.TrunkStep{Name: name, OK: true, Skipped: true, Detail: why})
}

// gateway tells how a gateway is registered, and asks it.
func (x *trial) gateway(ctx context.Context, t telephony.Trunk) {
	x.step("register", func() (string, error) {
		st := x.s.gatewayState(t)
		if st.Condition != telephony.TrunkUp {
			return "", errors.New(st.Reason)
		}
		return fmt.Sprintf("registered from %s until %s", st.Target, st.Registered.UTC().Format(time.RFC3339)), nil
	})
	ways := x.s.gatewayWays(t)
	if len(ways) == 0 {
		return
	}
	x.server.flow = ways[0].Flow
	x.server.target = target{addr: ways[0].Flow.Remote, name: ways[0].Flow.Remote.Addr().String()}
	x.l.t.Host = ways[0].Domain
	answered := x.step("options", func() (string, error) { return x.options(ctx) })
	x.codecs(answered)
	x.nat(answered)
}

func (x *trial) resolve(ctx context.Context) (string, error) {
	host, port, err := hop(x.l.t)
	if err != nil {
		return "", err
	}
	list, ttl, err := locate(ctx, x.s.c.Resolver, host, port, x.l.t.Transport)
	if err != nil {
		return "", err
	}
	if list, err = x.l.allowed(list); err != nil {
		return "", err
	}
	x.server.target = list[0]
	var names []string
	for _, s := range list {
		names = append(names, (&server{target: s}).String())
	}
	return fmt.Sprintf("%s; to be asked again in %s", strings.Join(names, ", "), ttl.Round(time.Second)), nil
}

// connect gets a flow to the server: in two steps where there is TLS.
func (x *trial) connect(ctx context.Context) bool {
	t := x.l.t
	if t.Transport == telephony.TrunkUDP || t.Transport == "" {
		return x.step("connect", func() (string, error) {
			f, err := x.s.towards(t, x.server.addr)
			x.server.flow = f
			return "UDP has no connections; sent from " + f.Local.String(), err
		})
	}
	c := sip.Connecting{Service: ports.SIPTCP, Remote: x.server.addr, Dial: x.s.dial(t), ServerName: x.l.domain(), Roots: x.s.c.Roots}
	if t.Transport == telephony.TrunkTLS {
		c.Service = ports.SIPTLS
		if !x.step("connect", func() (string, error) {
			raw, err := c.Dial(ctx, "tcp", c.Remote)
			if err != nil {
				return "", err
			}
			return "from " + raw.LocalAddr().String(), raw.Close()
		}) {
			return false
		}
	}
	name := map[ports.ID]string{ports.SIPTCP: "connect", ports.SIPTLS: "tls"}[c.Service]
	return x.step(name, func() (string, error) {
		f, err := x.s.c.Endpoint.Connect(ctx, c)
		if err != nil {
			return "", err
		}
		x.server.flow = f
		if c.Service == ports.SIPTLS {
			return "certificate is valid for " + c.ServerName, nil
		}
		return "from " + f.Local.String(), nil
	})
}

// ask sends a request and waits for its answer, credentials and all.
func (x *trial) ask(ctx context.Context, out *sip.Outgoing, auth *sip.ClientAuth) (*sip.Response, error) {
	for {
		auth.Authorize(out)
		got := make(chan *sip.Response, 1)
		if _, err := x.s.c.Endpoint.Request(x.server.flow, *out, func(r *sip.Response) { got <- r }); err != nil {
			return nil, err
		}
		late := time.NewTimer(patience)
		defer late.Stop()
		var r *sip.Response
		select {
		case r = <-got:
		case <-late.C:
			return nil, fmt.Errorf("no answer in %s", patience)
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		switch {
		case r.Local:
			return nil, fmt.Errorf("%d %s: nothing came back", r.Code, sip.Reason(r.Code))
		case auth == nil || r.Code != 401 && r.Code != 407:
			return r, nil
		}
		if err := auth.Challenged(out, r); err != nil {
			return nil, errors.New(refusal(r, err))
		}
		out.CSeq++
	}
}

func (x *trial) options(ctx context.Context) (string, error) {
	host := x.l.uriHost()
	out := &sip.Outgoing{
		Method: sip.OPTIONS, URI: "sip:" + host, From: "<sip:" + x.l.from(&x.server) + ">;tag=" + sip.NewTag(), To: "<sip:" + host + ">",
		CallID: sip.NewCallID(), CSeq: 1, Headers: append(x.l.routes(), sip.Header{Name: "Accept", Value: "application/sdp"}),
	}
	began := time.Now()
	r, err := x.ask(ctx, out, nil)
	if err != nil {
		return "", err
	}
	x.answers = r
	product := r.Header("Server")
	if product == "" {
		product = r.Header("User-Agent")
	}
	text := fmt.Sprintf("%d %s in %s", r.Code, sip.Reason(r.Code), time.Since(began).Round(time.Millisecond))
	if product != "" {
		text += ", by " + product[:min(len(product), 64)]
	}
	if r.Code == 503 {
		return "", errors.New(text)
	}
	return text, nil
}

// register asks for our registrations with the account's credentials, and
// changes none (RFC 3261 section 10.2.3).
func (x *trial) register(ctx context.Context) {
	t := x.l.t
	if t.Kind != telephony.TrunkRegister {
		x.skip("register", "the trunk does not register")
		return
	}
	x.step("register", func() (string, error) {
		out := x.l.registerRequest(&x.server, 0)
		out.Headers = slices.DeleteFunc(out.Headers, func(h sip.Header) bool { return h.Name == "Contact" || h.Name == "Expires" })
		r, err := x.ask(ctx, out, x.l.auth)
		if err != nil {
			return "", err
		}
		if !r.Success() {
			return "", fmt.Errorf("%d %s", r.Code, sip.Reason(r.Code))
		}
		return fmt.Sprintf("credentials are right; %d Contacts are registered", len(r.Values("Contact"))), nil
	})
}

// codecs are those of the session description in the answer to OPTIONS.
func (x *trial) codecs(answered bool) {
	if !answered || len(x.answers.Body) == 0 {
		x.skip("codecs", "the answer to OPTIONS names none")
		return
	}
	x.step("codecs", func() (string, error) {
		x.out.Codecs = codecsOf(string(x.answers.Body))
		if len(x.out.Codecs) == 0 {
			return "", errors.New("the session description in the answer to OPTIONS has no codec of audio")
		}
		return strings.Join(x.out.Codecs, ", "), nil
	})
}

// maxCodecs bounds what is shown of a peer's list.
const maxCodecs = 32

// codecsOf reads the names of rtpmap lines, and the static payload types that
// need none (RFC 3551 section 6).
func codecsOf(sdp string) (names []string) {
	static := map[string]string{"0": "PCMU", "3": "GSM", "8": "PCMA", "9": "G722", "18": "G729"}
	put := func(name string) {
		if name != "" && len(name) <= 32 && len(names) < maxCodecs && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	for line := range strings.Lines(sdp) {
		line = strings.TrimSpace(line)
		if rest, ok := strings.CutPrefix(line, "m=audio "); ok {
			for i, f := range strings.Fields(rest) {
				if i >= 2 {
					put(static[f])
				}
			}
		}
		if rest, ok := strings.CutPrefix(line, "a=rtpmap:"); ok {
			_, name, _ := strings.Cut(rest, " ")
			name, _, _ = strings.Cut(name, "/")
			put(strings.TrimSpace(name))
		}
	}
	return names
}

// nat compares where we sent from with where the peer saw us.
func (x *trial) nat(answered bool) {
	f := x.server.flow
	x.out.Ours = f.Local
	if !answered || len(x.answers.Vias) == 0 {
		x.skip("nat", "nobody told which address is seen")
		return
	}
	seen := seenAt(x.answers)
	if !seen.IsValid() {
		x.skip("nat", "the peer does not tell which address it sees")
		return
	}
	x.out.Seen = seen
	told := x.s.c.Endpoint.Advertised(f)
	x.step("nat", func() (string, error) {
		switch {
		case seen == told:
			return "the peer sees us at " + seen.String() + ", as we say", nil
		case seen.Addr() == told.Addr():
			return fmt.Sprintf("the peer sees us at %s: the port of %s is translated on the way", seen, told), nil
		}
		return fmt.Sprintf("behind NAT: the peer sees us at %s, and is told %s. Set the public address, or let the provider deal with NAT", seen, told), nil
	})
}

// seenAt is where the peer saw our request (RFC 3581 section 4).
func seenAt(r *sip.Response) netip.AddrPort {
	v := r.Vias[0]
	host, port := v.Host, v.Port
	for _, p := range v.Params {
		switch {
		case strings.EqualFold(p.Name, "received"):
			host = p.Value
		case strings.EqualFold(p.Name, "rport"):
			if n, err := strconv.ParseUint(p.Value, 10, 16); err == nil {
				port = int(n)
			}
		}
	}
	a, ok := sip.ParseHost(host)
	if !ok {
		if a, ok = sip.ParseHost("[" + host + "]"); !ok {
			return netip.AddrPort{}
		}
	}
	return netip.AddrPortFrom(a.Unmap(), uint16(port))
}
