package registrar

import (
	"ringfence/internal/sip"
	"ringfence/internal/telephony"
)

// Secure reports whether what goes over a flow is encrypted.
func Secure(f sip.Flow) bool { p := f.Protocol(); return p == "TLS" || p == "WSS" }

// web reports whether a browser is at the other end.
func web(f sip.Flow) bool { p := f.Protocol(); return p == "WSS" || p == "WS" }

// Algorithms offers what the listener of a flow wants, or else the tenant of the
// realm, best first (RFC 8760 section 2.4); domains that do not exist answer like those that never changed
// it. Browsers know MD5 only: where that is not enough, they have nothing but
// their temporary credentials.
func Algorithms(snapshot func() *telephony.Snapshot) func(sip.Flow, string) []sip.Algorithm {
	var (
		onlyMD5 = []sip.Algorithm{sip.MD5}
		both    = []sip.Algorithm{sip.SHA256, sip.MD5}
		onlySHA = []sip.Algorithm{sip.SHA256}
	)
	return func(f sip.Flow, realm string) []sip.Algorithm {
		s := snapshot()
		want, set := s.Settings.ListenerDigests[f.Listener]
		if !set {
			t, _ := s.TenantByDomain(realm)
			want = t.Digest
		}
		switch {
		case want == telephony.DigestSHA256 && web(f):
			return nil
		case want == telephony.DigestSHA256:
			return onlySHA
		case want == telephony.DigestBoth && !web(f):
			return both
		}
		return onlyMD5
	}
}

// Admit keeps phones of a tenant that wants encryption off the transports
// without.
func Admit(snapshot func() *telephony.Snapshot) func(sip.Flow, string) *sip.Reply {
	return func(f sip.Flow, realm string) *sip.Reply {
		if t, ok := snapshot().TenantByDomain(realm); ok && t.TLSOnly && !Secure(f) {
			return &sip.Reply{Code: 403, Reason: "TLS Required"}
		}
		return nil
	}
}
