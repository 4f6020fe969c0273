package registrar

import (
	"strconv"
	"strings"

	"ringfence/internal/sip"
	"ringfence/internal/telephony"
)

const (
	maxPath  = 512 // bytes of all Path values
	maxHops  = 8
	obParam  = "ob"
	pathTag  = "path"
	firstHop = "First Hop Lacks Outbound Support"
)

// wants reports whether the phone knows an extension (RFC 3261 sections 20.32
// and 20.37).
func wants(r *sip.Request, tag string) bool {
	for _, name := range [...]string{"Supported", "Require"} {
		if !r.Has(name) {
			continue
		}
		for _, v := range r.Values(name) {
			if strings.EqualFold(v, tag) {
				return true
			}
		}
	}
	return false
}

// pathOf reads the proxies between the phone and us, nearest to us first (RFC
// 3327 section 5.3). A phone that does not know of Path would not know why its
// calls take that way: it is told to learn it.
func pathOf(r *sip.Request) (string, *sip.Reply) {
	if !r.Has("Path") {
		return "", nil
	}
	if !wants(r, pathTag) {
		return "", &sip.Reply{Code: 421, Headers: []sip.Header{{Name: "Require", Value: pathTag}}}
	}
	hops, err := r.Addresses("Path")
	if err != nil || len(hops) == 0 || len(hops) > maxHops {
		return "", &sip.Reply{Code: 400, Reason: "Malformed Path"}
	}
	values := make([]string, len(hops))
	for i, h := range hops {
		if !isSIP(h.URI) {
			return "", &sip.Reply{Code: 400, Reason: "Malformed Path"}
		}
		values[i] = "<" + h.URI.String() + ">"
	}
	path := strings.Join(values, ", ")
	if len(path) > maxPath {
		return "", &sip.Reply{Code: 400, Reason: "Path Too Long"}
	}
	return path, nil
}

// flowOf makes a Contact one of several flows of its phone, if the phone asks
// for that (RFC 5626 section 6). A reg-id without an instance says nothing.
func (q *request) flowOf(r *sip.Request, w *wish, a sip.NameAddr, multi bool) *sip.Reply {
	v, ok := a.Param("reg-id")
	if !ok || w.binding.Instance == "" || !multi {
		return nil
	}
	id, err := strconv.ParseUint(v, 10, 31)
	if err != nil || id == 0 || id > maxRegID {
		return &sip.Reply{Code: 400, Reason: "Malformed reg-id"}
	}
	if w.life > 0 && q.outbound {
		return &sip.Reply{Code: 400, Reason: "More Than One reg-id"}
	}
	if len(r.Vias) > 1 && !edgeKeepsFlows(r) {
		return &sip.Reply{Code: 439, Reason: firstHop}
	}
	w.binding.Outbound, w.binding.RegID = true, int(id)
	q.outbound = q.outbound || w.life > 0
	return nil
}

// edgeKeepsFlows reports whether the proxy next to the phone, which wrote the
// last Path, keeps its flows.
func edgeKeepsFlows(r *sip.Request) bool {
	hops, err := r.Addresses("Path")
	if err != nil || len(hops) == 0 {
		return false
	}
	for _, p := range hops[len(hops)-1].URI.Params {
		if strings.EqualFold(p.Name, obParam) {
			return true
		}
	}
	return false
}

// behindNAT reports whether the phone believes to be at another address than
// the one its request came from.
func behindNAT(r *sip.Request, contact sip.URI) bool {
	src := r.Flow.Remote.Addr()
	if addr, ok := sip.ParseHost(contact.Host); ok && addr != src {
		return true
	}
	if len(r.Vias) == 0 {
		return false
	}
	addr, ok := sip.ParseHost(r.Vias[0].Host)
	return ok && addr != src
}

// pushOf reads how to wake the phone (RFC 8599 section 4.1).
func pushOf(u sip.URI) telephony.Push {
	var p telephony.Push
	for _, x := range u.Params {
		switch {
		case len(x.Name) < 3 || !strings.EqualFold(x.Name[:3], "pn-"):
		case strings.EqualFold(x.Name, "pn-provider"):
			p.Provider = clip(x.Value)
		case strings.EqualFold(x.Name, "pn-prid"):
			p.PRID = strings.Clone(x.Value)
		case strings.EqualFold(x.Name, "pn-param"):
			p.Param = clip(x.Value)
		}
	}
	return p
}
