package registrar

import (
	"crypto/md5"
	"crypto/sha256"
	"encoding/hex"

	"ringfence/internal/sip"
	"ringfence/internal/telephony"
)

// Gateway finds the accept trunk that registers as a user of a tenant's domain.
// Extensions go before it: a trunk must not take the place of one.
func Gateway(snap *telephony.Snapshot, tenant telephony.Tenant, user string) (telephony.Trunk, bool) {
	if tenant.ID == telephony.System || user == "" {
		return telephony.Trunk{}, false
	}
	if _, taken := snap.Extension(tenant.ID, user); taken {
		return telephony.Trunk{}, false
	}
	for _, t := range snap.Trunks(tenant.ID) {
		if t.Kind == telephony.TrunkAccept && t.Enabled && t.User == user && t.Password != "" {
			return t, true
		}
	}
	return telephony.Trunk{}, false
}

// GatewaySecret is what the password of an accept trunk became, in the realm of
// its tenant.
func GatewaySecret(t telephony.Trunk, realm string) sip.Secret {
	text := []byte(t.User + ":" + realm + ":" + t.Password.Reveal())
	short, long := md5.Sum(text), sha256.Sum256(text)
	return sip.Secret{MD5: hex.EncodeToString(short[:]), SHA256: hex.EncodeToString(long[:])}
}

// accounts looks up who may register: extensions and gateways.
func accounts(snap *telephony.Snapshot, tenant telephony.Tenant) func(string) (sip.Secret, bool) {
	extensions := Secrets(snap, tenant)
	return func(user string) (sip.Secret, bool) {
		if s, ok := extensions(user); ok {
			return s, true
		}
		if t, ok := Gateway(snap, tenant, user); ok {
			return GatewaySecret(t, tenant.Domain), true
		}
		return sip.Secret{}, false
	}
}

// may reports whether an account that has a binding may still have it.
func may(snap *telephony.Snapshot, tenant telephony.Tenant, b *telephony.Binding) bool {
	if tenant.TLSOnly && !encrypted(b.Flow.Listener) {
		return false
	}
	if _, ok := snap.Extension(tenant.ID, b.AOR.User); ok {
		return true
	}
	t, ok := Gateway(snap, tenant, b.AOR.User)
	return ok && (t.Transport != telephony.TrunkTLS || encrypted(b.Flow.Listener))
}
