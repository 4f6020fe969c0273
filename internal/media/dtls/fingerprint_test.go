package dtls

import (
	"errors"
	"strings"
	"testing"
)

func TestFingerprintIsReadBackAsWritten(t *testing.T) {
	t.Parallel()
	c := certificate(t)
	der := c.tls.Certificate[0]
	for _, h := range []hash{sha2_256, sha2_384, sha2_512} {
		f := Fingerprint{h, string(h.of(der))}
		for _, text := range []string{f.String(), strings.ToUpper(f.String()), strings.ToLower(f.String())} {
			got, err := ParseFingerprint(text)
			if err != nil || got != f || verify([]Fingerprint{got}, der) != nil {
				t.Errorf("%s: %v", text, err)
			}
		}
		other := certificate(t).tls.Certificate[0]
		if err := verify([]Fingerprint{f}, other); !errors.Is(err, ErrFingerprint) {
			t.Errorf("%s matches another certificate: %v", f, err)
		}
	}
	if verify(nil, der) == nil {
		t.Error("no fingerprint matches any certificate")
	}
}

func TestWeakAndMalformedFingerprintsAreRefused(t *testing.T) {
	t.Parallel()
	pairs := func(n int) string { return strings.TrimSuffix(strings.Repeat("AB:", n), ":") }
	for _, value := range []string{
		"", "sha-256", "sha-256 ", "md5 " + pairs(16), "sha-1 " + pairs(20), "sha-224 " + pairs(28), "md2 " + pairs(16),
		"sha-256 " + pairs(31), "sha-256 " + pairs(33), "sha-512 " + pairs(32), "sha-256 " + strings.ReplaceAll(pairs(32), "B", "G"),
		"sha-256 " + strings.ReplaceAll(pairs(32), ":", "-"), "sha-256 " + strings.Repeat("AB", 47) + "A", pairs(32),
	} {
		if f, err := ParseFingerprint(value); !errors.Is(err, ErrFingerprint) || !f.IsZero() {
			t.Errorf("%q passed: %v", value, err)
		}
	}
}

func TestStrongestFingerprintsStay(t *testing.T) {
	t.Parallel()
	f := func(h hash, sum string) Fingerprint { return Fingerprint{h, sum} }
	got := Strongest([]Fingerprint{f(sha2_256, "a"), f(sha2_384, "b"), f(sha2_256, "c"), f(sha2_384, "d")})
	if len(got) != 2 || got[0].sum != "b" || got[1].sum != "d" {
		t.Errorf("stayed: %v", got)
	}
	if len(Strongest(nil)) != 0 || len(Strongest([]Fingerprint{{}})) != 0 {
		t.Error("nothing became something")
	}
}

func TestSetupIsAnsweredPassiveWherePossible(t *testing.T) {
	t.Parallel()
	for offer, want := range map[string]Setup{"actpass": Passive, "passive": Active, "ACTIVE ": Passive} {
		s, err := ParseSetup(offer)
		if err != nil || s.Answer() != want {
			t.Errorf("%s is answered %s: %v", offer, s.Answer(), err)
		}
		if role := s.Answer().Role(); role.Setup() != s.Answer() || role.Peer() == role {
			t.Errorf("%s: role %v", offer, role)
		}
	}
	for _, bad := range []string{"", "holdconn", "both"} {
		if _, err := ParseSetup(bad); !errors.Is(err, ErrSetup) {
			t.Errorf("%q passed", bad)
		}
	}
}

func FuzzSift(f *testing.F) {
	f.Add([]byte{22, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 1, 0, 12, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12})
	f.Add([]byte{21, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 1, 0, 2, 2, 40, 23, 0xfe, 0xfd, 0, 1, 0, 0, 0, 0, 0, 1, 0, 1, 0})
	f.Fuzz(func(t *testing.T, datagram []byte) {
		n := len(datagram)
		kept, _ := sift(datagram)
		if len(kept) > n {
			t.Fatalf("%d bytes became %d", n, len(kept))
		}
		again, alerted := sift(append([]byte(nil), kept...))
		if string(again) != string(kept) || alerted {
			t.Fatal("what was kept is not kept again")
		}
	})
}
