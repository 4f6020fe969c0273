package certs

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/netip"
	"strings"
	"time"
)

// organisation marks certificates made here.
const organisation = "Ringfence self-signed"

// validity stays below the 825 days that some clients insist on.
const validity = 800 * 24 * time.Hour

func isOwn(c *x509.Certificate) bool {
	return len(c.Subject.Organization) == 1 && c.Subject.Organization[0] == organisation &&
		c.Issuer.String() == c.Subject.String()
}

// selfSigned makes an ECDSA P-256 certificate for names and returns it with
// its key as PEM. It is no CA: who trusts it trusts this machine only.
func selfSigned(names []string, now time.Time) ([]byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("making a certificate key: %w", err)
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 126))
	if err != nil {
		return nil, fmt.Errorf("making a certificate serial number: %w", err)
	}
	t := &x509.Certificate{
		SerialNumber:          serial.Add(serial, big.NewInt(1)),
		Subject:               pkix.Name{CommonName: commonName(names), Organization: []string{organisation}},
		NotBefore:             now.Add(-24 * time.Hour), // clocks of phones run behind
		NotAfter:              now.Add(validity),
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
	}
	for _, n := range names {
		if a, err := netip.ParseAddr(n); err == nil {
			t.IPAddresses = append(t.IPAddresses, net.IP(a.Unmap().WithZone("").AsSlice()))
		} else if n != "" {
			t.DNSNames = append(t.DNSNames, strings.ToLower(n))
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, t, t, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("signing a certificate: %w", err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("encoding a certificate key: %w", err)
	}
	out := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	return append(out, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})...), nil
}

// commonName is the first name that is not an address; X.520 allows 64
// characters.
func commonName(names []string) string {
	for _, n := range names {
		if _, err := netip.ParseAddr(n); err != nil && n != "" && len(n) <= 64 {
			return n
		}
	}
	return "ringfence"
}

// LocalNames are the host name and the addresses of this machine, as a
// self-signed certificate should name them. At most 32.
func LocalNames(hostname string) []string {
	names := []string{"localhost", "127.0.0.1", "::1"}
	if hostname != "" && hostname != "localhost" {
		names = append([]string{hostname}, names...)
		if !strings.Contains(hostname, ".") {
			names = append(names, hostname+".local")
		}
	}
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return names
	}
	for _, a := range addrs {
		n, ok := a.(*net.IPNet)
		if !ok || n.IP.IsLoopback() || n.IP.IsLinkLocalUnicast() || len(names) >= 32 {
			continue
		}
		names = append(names, n.IP.String())
	}
	return names
}
