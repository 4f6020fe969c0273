package registrar

import (
	"fmt"
	"runtime"
	"testing"
	"time"

	"ringfence/internal/sip"
)

func heap() uint64 {
	runtime.GC()
	runtime.GC()
	var s runtime.MemStats
	runtime.ReadMemStats(&s)
	return s.HeapAlloc
}

// BenchmarkRegister is a whole registration: challenge, answer, binding; without
// the system calls.
func BenchmarkRegister(b *testing.B) {
	r := newRig(b, Config{})
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		i++
		r.nonce = ""
		if code, _ := r.register(ask{cseq: i, lines: []string{"Contact: <sip:101@192.0.2.50:5062>;expires=300", "User-Agent: Yealink SIP-T46U 108.86.0.20",
			"Allow: INVITE, INFO, PRACK, ACK, BYE, CANCEL, OPTIONS, NOTIFY, REGISTER, SUBSCRIBE, REFER, PUBLISH, UPDATE, MESSAGE"}}); code != "200 OK" {
			b.Fatal(code)
		}
	}
}

// FuzzRegister: whatever an authenticated phone puts into its Contact, it is
// refused or can be read back.
func FuzzRegister(f *testing.F) {
	for _, s := range []string{"<sip:a@h>;q=0.5;expires=60", "*", `"x" <sip:a@[::1]:5060;lr?x=y>;+sip.instance="<urn:uuid:1>";reg-id=1`, "sip:a@h, <sips:b@c>"} {
		f.Add(s)
	}
	r := newRig(f, Config{})
	seq := 0
	f.Fuzz(func(t *testing.T, contact string) {
		r.t = t
		for _, c := range contact {
			if c == '\r' || c == '\n' {
				return
			}
		}
		seq++
		code, _ := r.register(ask{cseq: seq, callID: fmt.Sprint(seq), lines: []string{"Contact: " + contact}})
		if code[0] == '5' {
			t.Errorf("%q: %s", contact, code)
		}
		for _, b := range r.loc.All(1) {
			if _, err := sip.ParseURI(b.Contact); err != nil || b.Expires.Before(time.Now()) {
				t.Errorf("%q: kept %+v", contact, b)
			}
		}
	})
}
