package srtp

import (
	"errors"
	"strings"
	"testing"
)

func TestCryptoRoundTrip(t *testing.T) {
	t.Parallel()
	for s := AES128CM32; s <= AES256GCM; s++ {
		for _, mki := range [][]byte{nil, {7}, {1, 2, 3, 4}, {0, 0, 0, 0, 0, 0, 0, 0, 0, 9}} {
			key := NewKey(s)
			key.MKI = mki
			c := Crypto{Tag: 3, Key: key}
			got, err := ParseCrypto(c.String())
			if err != nil || got.Tag != 3 || !got.Key.Equal(key) {
				t.Errorf("%s: %v %v", c, got, err)
			}
		}
	}
}

// Phones pad the key or do not, write lifetimes in two ways, and one library
// spells the 256-bit suites its own way.
func TestCryptoOfTheField(t *testing.T) {
	t.Parallel()
	key30 := "d0RmdmcmVCspeEc3QGZiNWpVLFJhQX1cfHAwJSoj"
	key46 := strings.Repeat("QUJDRA", 10) + "Q"
	for value, want := range map[string]Suite{
		"1 AES_CM_128_HMAC_SHA1_80 inline:" + key30:                                     AES128CM80,
		"1 AES_CM_128_HMAC_SHA1_80 inline:" + key30 + "|2^20|1:32":                      AES128CM80,
		"7 AES_CM_128_HMAC_SHA1_32 inline:" + key30 + "|2147483648":                     AES128CM32,
		"1 AES_CM_128_HMAC_SHA1_80  inline:" + key30 + " WSH=128 KDR=0":                 AES128CM80,
		"2 AES_CM_256_HMAC_SHA1_80 inline:" + strings.Repeat("QUJD", 15) + "QQ==":       AES256CM80,
		"2 AES_256_CM_HMAC_SHA1_80 inline:" + strings.Repeat("QUJD", 15) + "QQ":         AES256CM80,
		"999999999 AEAD_AES_256_GCM inline:" + strings.Repeat("QUJD", 14) + "QUI=|2^48": AES256GCM,
	} {
		if c, err := ParseCrypto(value); err != nil || c.Key.Suite != want {
			t.Errorf("%s: %v, %v", value, c, err)
		}
	}
	for value, unsupported := range map[string]bool{
		"": false, "1": false, "x AES_CM_128_HMAC_SHA1_80 inline:" + key30: false,
		"1 F8_128_HMAC_SHA1_80 inline:" + key30:                           true,
		"1 AES_CM_128_HMAC_SHA1_80 inline:" + key30[4:]:                   false,
		"1 AES_256_CM_HMAC_SHA1_80 inline:" + key46:                       false,
		"1 AES_CM_128_HMAC_SHA1_80 inline:" + key30 + ";inline:" + key30:  true,
		"1 AES_CM_128_HMAC_SHA1_80 uri:" + key30:                          true,
		"1 AES_CM_128_HMAC_SHA1_80 inline:" + key30 + "|1:0":              false,
		"1 AES_CM_128_HMAC_SHA1_80 inline:" + key30 + "|1:129":            false,
		"1 AES_CM_128_HMAC_SHA1_80 inline:" + key30 + " UNENCRYPTED_SRTP": true,
		"1 AES_CM_128_HMAC_SHA1_80 inline:" + key30 + " KDR=1":            true,
		"1 AES_CM_128_HMAC_SHA1_80 inline:" + key30 + "|1|1:1|1":          false,
		"1000000000 AES_CM_128_HMAC_SHA1_80 inline:" + key30:              false,
	} {
		if c, err := ParseCrypto(value); err == nil || errors.Is(err, ErrUnsupported) != unsupported {
			t.Errorf("%q: %v, %v", value, c, err)
		}
	}
}

func TestChoosePrefersAES256WhateverTheOrder(t *testing.T) {
	t.Parallel()
	offer := func(suites ...Suite) (all []Crypto) {
		for i, s := range suites {
			all = append(all, Crypto{Tag: i + 1, Key: NewKey(s)})
		}
		return all
	}
	for _, c := range []struct {
		offered []Crypto
		bits    int
		want    Suite
	}{
		{offer(AES128CM80, AES128CM32, AES256CM80, AES256CM32), 0, AES256CM80},
		{offer(AES256CM80, AES256GCM, AES128GCM), 0, AES256GCM},
		{offer(AES128CM32, AES128CM80, AES128GCM), 0, AES128GCM},
		{offer(AES128CM80, AES128GCM), 256, None},
		{offer(AES128CM80, AES256CM32), 256, AES256CM32},
		{nil, 0, None},
	} {
		if got, ok := Choose(c.offered, c.bits); got.Key.Suite != c.want || ok != (c.want != None) {
			t.Errorf("%v with %d bits: %s", c.offered, c.bits, got.Key.Suite)
		}
	}
	twice := offer(AES256GCM, AES256GCM)
	if got, _ := Choose(twice, 0); got.Tag != 1 {
		t.Errorf("of equal suites the one with tag %d is taken, not the peer's first", got.Tag)
	}
}

func FuzzParseCrypto(f *testing.F) {
	f.Add("1 AES_CM_128_HMAC_SHA1_80 inline:d0RmdmcmVCspeEc3QGZiNWpVLFJhQX1cfHAwJSoj|2^20|1:32")
	f.Add(Crypto{Tag: 1, Key: NewKey(AES256GCM)}.String())
	f.Fuzz(func(t *testing.T, value string) {
		c, err := ParseCrypto(value)
		if err != nil {
			return
		}
		again, err := ParseCrypto(c.String())
		if err != nil || again.Tag != c.Tag || !again.Key.Equal(c.Key) {
			t.Fatalf("%q is read as %q, then as %q: %v", value, c, again, err)
		}
		if _, err := NewInbound(c.Key); err != nil {
			t.Fatal(err)
		}
	})
}
