package login

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"
)

func TestHasherIsBounded(t *testing.T) {
	t.Parallel()
	h := newHasher(usualCost())
	for range maxHashing {
		if err := h.enter(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	errs := make(chan error, maxWaiting)
	for range maxWaiting {
		go func() { errs <- h.enter(ctx) }()
	}
	for len(h.waiting) < maxHashing+maxWaiting {
		time.Sleep(time.Millisecond)
	}
	if _, err := h.verify(t.Context(), "", "x"); !errors.Is(err, ErrBusy) {
		t.Errorf("beyond the queue: %v", err)
	}
	cancel()
	for range maxWaiting {
		if err := <-errs; !errors.Is(err, context.Canceled) {
			t.Errorf("a cancelled wait: %v", err)
		}
	}
	for range maxHashing {
		h.leave()
	}
	if len(h.waiting)+len(h.running) != 0 {
		t.Error("places are not given back")
	}
}

func TestHashes(t *testing.T) {
	t.Parallel()
	h := newHasher(usualCost())
	encoded, err := h.hash(t.Context(), "Kv7#mqu\u0308zp")
	if err != nil || !strings.HasPrefix(encoded, "$argon2id$v=19$m=19456,t=2,p=1$") {
		t.Fatalf("%s, %v", encoded, err)
	}
	verify := func(encoded, password string) bool {
		t.Helper()
		ok, err := h.verify(t.Context(), encoded, password)
		if err != nil {
			t.Fatal(err)
		}
		return ok
	}
	if !verify(encoded, "Kv7#mq\u00fczp") {
		t.Error("the same password typed in other code points is refused")
	}
	if verify(encoded, "Kv7#mquzp") || verify(encoded, "") || verify("", "x") || verify("", "") || verify(encoded, strings.Repeat("x", 2000)) {
		t.Error("a wrong password is taken")
	}
	if again, _ := h.hash(t.Context(), "Kv7#mqu\u0308zp"); again == encoded {
		t.Error("two hashes of one password look equal")
	}
	for _, bad := range []string{
		"x", "$argon2id$", "$argon2i$v=19$m=19456,t=2,p=1$c2FsdHNhbHQ$a2V5a2V5a2V5a2V5a2V5a2V5",
		"$argon2id$v=16$m=19456,t=2,p=1$c2FsdHNhbHQ$a2V5a2V5a2V5a2V5a2V5a2V5",
		"$argon2id$v=19$m=4194304,t=2,p=1$c2FsdHNhbHQ$a2V5a2V5a2V5a2V5a2V5a2V5",
		"$argon2id$v=19$m=19456,t=0,p=1$c2FsdHNhbHQ$a2V5a2V5a2V5a2V5a2V5a2V5",
		"$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHQ$YQ", "$argon2id$v=19$m=19456,t=2,p=1$!$a2V5a2V5a2V5a2V5a2V5a2V5",
	} {
		if ok, err := h.verify(t.Context(), bad, "x"); ok || err == nil {
			t.Errorf("%q: %v, %v", bad, ok, err)
		}
	}
}
