package pbx_test

import (
	"fmt"
	"testing"
	"time"

	"ringfence/internal/pbx"
	"ringfence/internal/pbxtest"
	"ringfence/internal/ports"
	"ringfence/internal/siptest"
)

// Every transport registers, and calls every other with audio both ways.
func TestCallsAcrossTransports(t *testing.T) {
	t.Parallel()
	rows := []ports.ID{ports.SIPUDP, ports.SIPTCP, ports.SIPTLS, ports.EdgeUDP, ports.EdgeTCP, ports.EdgeWSS}
	p := pbxtest.Open(t, pbx.Options{DataDir: t.TempDir(), Extensions: 2 * len(rows)})
	tone := func(i int) float64 { return 300 + 100*float64(i) }
	number := func(i int) string { return fmt.Sprint(101 + i) }
	var phones []*siptest.Phone
	for i := range 2 * len(rows) { // two on each listener
		phones = append(phones, p.PhoneOn(rows[i%len(rows)], number(i), tone(i)))
	}
	for shift := range rows { // all callers at once, each round with other callees
		t.Run(fmt.Sprint(shift), func(t *testing.T) {
			for a := range rows {
				b := (a + shift) % len(rows)
				t.Run(fmt.Sprintf("%s calls %s", rows[a], rows[b]), func(t *testing.T) {
					t.Parallel()
					callee := len(rows) + b
					out, in := connect(t, phones[a], phones[callee], number(callee))
					talk(t, out, in, (a+b)%2 == 1, tone(a), tone(callee))
				})
			}
		})
	}
}

// talk lets both speak for a while, has one hang up, and checks what was heard.
func talk(t *testing.T, out, in *siptest.Call, calleeEnds bool, caller, callee float64) {
	t.Helper()
	time.Sleep(1200 * time.Millisecond)
	ends, other := out, in
	if calleeEnds {
		ends, other = in, out
	}
	if err := ends.HangUp(); err != nil {
		t.Fatal(err)
	}
	if err := other.Wait(within(t, 10*time.Second), siptest.Ended); err != nil {
		t.Fatal(err)
	}
	if h := out.Heard(); h.Share(callee) < 0.9 || h.Share(caller) > 0.01 {
		t.Errorf("the caller heard the callee's tone with %.3f, its own with %.3f", h.Share(callee), h.Share(caller))
	}
	if h := in.Heard(); h.Share(caller) < 0.9 || h.Share(callee) > 0.01 {
		t.Errorf("the callee heard the caller's tone with %.3f, its own with %.3f", h.Share(caller), h.Share(callee))
	}
}

// A phone whose connection is lost is not registered any more, and its
// bindings on other transports stay.
func TestBindingEndsWithItsConnection(t *testing.T) {
	t.Parallel()
	p := pbxtest.New(t)
	p.Phone("101", 440)
	for _, id := range []ports.ID{ports.SIPTCP, ports.SIPTLS, ports.EdgeWSS} {
		phone := p.PhoneOn(id, "101", 440)
		if n := p.Registered(); n != 2 {
			t.Fatalf("%s: %d registrations, want 2", id, n)
		}
		phone.Close()
		for deadline := time.Now().Add(5 * time.Second); p.Registered() != 1; time.Sleep(10 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("%s: %d registrations without the connection, want 1", id, p.Registered())
			}
		}
	}
}
