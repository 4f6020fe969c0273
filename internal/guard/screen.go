package guard

import (
	"bytes"
	"net/netip"
	"slices"
	"strings"
	"time"

	"ringfence/internal/telephony"
)

// rules are the settings with their patterns made ready.
type rules struct {
	telephony.Protection
	limits        telephony.PacketLimits
	agents, names []pattern
}

func compile(p telephony.Protection, l telephony.PacketLimits) *rules {
	return &rules{p, l, patterns(p.UserAgents), patterns(p.SessionNames)}
}

// pattern are parts that follow each other in a text, in lower case.
type pattern []string

func patterns(list []string) []pattern {
	var out []pattern
	for _, s := range list {
		var p pattern
		for part := range strings.SplitSeq(strings.ToLower(s), "*") {
			if part != "" {
				p = append(p, part)
			}
		}
		if len(p) > 0 {
			out = append(out, p)
		}
	}
	return out
}

// in reports whether the pattern is somewhere in a text that is in lower case.
func (p pattern) in(text string) bool {
	for _, part := range p {
		i := strings.Index(text, part)
		if i < 0 {
			return false
		}
		text = text[i+len(part):]
	}
	return true
}

// Screen reports whether a request is to be dropped because an attack tool sent
// it, by its User-Agent or its session description; and a verdict, if its source
// is to be banned for it.
func (g *Guard) Screen(r Request, body []byte, now time.Time) (drop bool, v Verdict, convicted bool) {
	set := g.rules.Load()
	if len(set.agents)+len(set.names) == 0 || !set.tool(r.UserAgent, body) || g.c.Spared(r.Source) || g.trusts(r.Source, now) {
		return false, v, false
	}
	if !set.BanTools || !r.Proven {
		return true, v, false
	}
	v, convicted = g.judge(r, now, true, func(*source, *rules) (Offence, int) { return Tool, 1 })
	return true, v, convicted
}

func (r *rules) tool(agent string, body []byte) bool {
	return anyIn(r.agents, agent) || len(body) > 0 && len(r.names) > 0 && anyIn(r.names, sessionName(body))
}

func anyIn(list []pattern, text string) bool {
	text = strings.ToLower(text)
	return slices.ContainsFunc(list, func(p pattern) bool { return p.in(text) })
}

// sessionName is the s= line of a session description (RFC 8866 section 5.3).
func sessionName(body []byte) string {
	for len(body) > 0 {
		var line []byte
		line, body, _ = bytes.Cut(body, []byte("\n"))
		if rest, ok := bytes.CutPrefix(line, []byte("s=")); ok {
			return string(bytes.TrimRight(rest, "\r"))
		}
		if bytes.HasPrefix(line, []byte("m=")) {
			break
		}
	}
	return ""
}

// Silent reports whether an INVITE without credentials is to get no answer.
func (g *Guard) Silent(a netip.Addr, now time.Time) bool {
	return g.rules.Load().SilentInvite && !g.trusts(a, now) && !g.c.Spared(a)
}
