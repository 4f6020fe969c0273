package telephony

import (
	"crypto/dsa" //nolint:staticcheck // to be refused
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/pem"
	"math/big"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"
)

// line is a key as a .pub file has it.
func line(t testing.TB, key any) string {
	t.Helper()
	p, err := ssh.NewPublicKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(ssh.MarshalAuthorizedKey(p)))
}

func TestSSHKeysThatAreTaken(t *testing.T) {
	t.Parallel()
	edKey, _, _ := ed25519.GenerateKey(rand.Reader)
	p384, _ := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	strong, _ := rsa.GenerateKey(rand.Reader, 3072)
	for bits, key := range map[int]any{256: edKey, 384: p384.Public(), 3072: strong.Public()} {
		text := line(t, key)
		k, err := ParseSSHKey("  " + text + " boss@laptop of mine\n")
		if err != nil || k.Bits != bits || k.Comment != "boss@laptop of mine" || k.String() != text || len(k.ID()) != 16 {
			t.Errorf("%d bits: %+v, %v", bits, k, err)
		}
		if p, _ := ssh.ParsePublicKey(k.Wire); p == nil || ssh.FingerprintSHA256(p) != k.Fingerprint() {
			t.Errorf("%d bits: fingerprint %s", bits, k.Fingerprint())
		}
	}
}

func TestSSHKeysThatAreRefused(t *testing.T) {
	t.Parallel()
	pub, private, _ := ed25519.GenerateKey(rand.Reader)
	good := line(t, pub)
	blob := strings.Fields(good)[1]
	block, err := ssh.MarshalPrivateKey(private, "")
	if err != nil {
		t.Fatal(err)
	}
	weak, _ := rsa.GenerateKey(rand.Reader, 2048)
	// Numbers of the right size; nobody computes with them.
	big1024 := new(big.Int).Lsh(big.NewInt(1), 1023)
	old := line(t, &dsa.PublicKey{Parameters: dsa.Parameters{P: big1024, Q: new(big.Int).Lsh(big.NewInt(1), 159), G: big.NewInt(2)}, Y: big.NewInt(3)})
	even := line(t, &rsa.PublicKey{N: new(big.Int).Lsh(big.NewInt(1), 3071), E: 65537})
	cut, _ := base64.StdEncoding.DecodeString(blob)
	for text, want := range map[string]string{
		"":                                "empty",
		string(pem.EncodeToMemory(block)): "private key",
		line(t, weak.Public()):            "2048 bits; it needs 3072",
		old:                               "DSA",
		even:                              "unusable numbers",
		`command="/bin/sh" ` + good:       "options",
		`restrict,pty ` + good:            "options",
		"no-pty " + good:                  "options",
		"restrict " + good:                "options",
		`from="10.0.0.0/8" ` + good:       "options",
		good + "\n" + good:                "one line",
		"ssh-ed25519":                     "base64",
		"ssh-ed25519 !!!!":                "base64",
		"ssh-rsa " + blob:                 "damaged",
		"ecdsa-sha2-nistp256 " + blob:     "damaged",
		"ssh-ed25519 " + base64.StdEncoding.EncodeToString(cut[:40]):                "damaged",
		"ssh-ed25519 " + base64.StdEncoding.EncodeToString(append(cut, 0, 0, 0, 0)): "damaged",
		"ssh-ed25519-cert-v01@openssh.com " + blob:                                  "certificate",
		"sk-ssh-ed25519@openssh.com " + blob:                                        "security token",
		"hello world":                                                               "does not begin",
		"ssh-rsa " + strings.Repeat("A", 9000):                                      "longer",
	} {
		_, err := ParseSSHKey(text)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.40q: %v, want %q", text, err, want)
		}
		if err != nil && len(text) > 60 && strings.Contains(err.Error(), text[40:60]) {
			t.Errorf("the error repeats the key: %v", err)
		}
	}
}

func TestSSHKeySettings(t *testing.T) {
	t.Parallel()
	pub, _, _ := ed25519.GenerateKey(rand.Reader)
	s := DefaultSettings()
	s.ShellKeys = []SSHKey{{Label: "boss", Key: line(t, pub)}}
	if err := s.Validate(); err != nil {
		t.Error(err)
	}
	for want, change := range map[string]func(*Settings){
		"shell_keys[0].label": func(s *Settings) { s.ShellKeys[0].Label = "" },
		"shell_keys[0].key":   func(s *Settings) { s.ShellKeys[0].Key = "x" },
		"shell_keys[1].key":   func(s *Settings) { s.ShellKeys = append(s.ShellKeys, s.ShellKeys[0]) },
		"shell_keys":          func(s *Settings) { s.ShellKeys = make([]SSHKey, MaxSSHKeys+1) },
	} {
		bad := s
		bad.ShellKeys = append([]SSHKey{}, s.ShellKeys...)
		change(&bad)
		if fe, ok := AsFieldError(bad.Validate()); !ok || fe.Field != want {
			t.Errorf("%s: %v", want, fe)
		}
	}
}

// What is taken is a key for x/crypto/ssh too, and the same one.
func FuzzParseSSHKey(f *testing.F) {
	pub, _, _ := ed25519.GenerateKey(rand.Reader)
	p256, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	f.Add(line(f, pub))
	f.Add(line(f, p256.Public()) + " comment")
	f.Add("ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAAA")
	f.Fuzz(func(t *testing.T, text string) {
		k, err := ParseSSHKey(text)
		if err != nil {
			return
		}
		p, err := ssh.ParsePublicKey(k.Wire)
		if err != nil || p.Type() != k.Type || string(p.Marshal()) != string(k.Wire) {
			t.Fatalf("%q: %v", text, err)
		}
	})
}
