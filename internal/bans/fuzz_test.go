package bans

import (
	"net/netip"
	"testing"
	"time"

	"ringfence/internal/telephony"
)

// FuzzBook compares the book, and what it has stored, with a plain list, over
// any order of orders; some that were to be stored could not be.
func FuzzBook(f *testing.F) {
	f.Add([]byte("\x00\x01\x02\x03\x04\x05\x06\x07\x0f\x17\x20\x28\x30\x38\x40\x48"))
	f.Fuzz(func(t *testing.T, ops []byte) {
		now := time.Unix(1_800_000_000, 0)
		b := New(nil)
		model, stored := map[key]time.Time{}, map[key]telephony.Ban{}
		for i, op := range ops {
			now = now.Add(time.Duration(op>>5) * time.Second)
			scope := []telephony.BanScope{telephony.BanSIP, telephony.BanWeb}[op>>3&1]
			a := netip.AddrFrom4([4]byte{192, 0, 2, op >> 4 & 3})
			if op>>4&1 == 1 {
				a = netip.AddrFrom16([16]byte{0x20, 1, 15: byte(i)}) // one /64
			}
			k := keyOf(a, scope)
			switch op % 8 {
			case 0, 1, 2:
				until := now.Add(time.Duration(int(op)%7-1) * time.Second)
				b.Put(telephony.Ban{Source: a, Scope: scope, Until: until})
				if old, ok := model[k]; !ok || !old.After(until) {
					model[k] = until
				}
			case 3:
				_, want := model[k]
				if b.Remove(a, scope) != want {
					t.Fatalf("removing %v: want %t", k, want)
				}
				delete(model, k)
			case 4:
				for k, until := range model {
					if !now.Before(until) {
						delete(model, k)
					}
				}
				if got := b.List(now); len(got) != len(model) {
					t.Fatalf("%d bans, want %d", len(got), len(model))
				}
			case 5:
				b.Return(b.Take()) // the disk is full
			default:
				store(stored, b.Take())
			}
			if got, want := b.Holds(a, scope, now), now.Before(model[k]); got != want {
				t.Fatalf("%v is banned: %t, want %t", k, got, want)
			}
		}
		store(stored, b.Take())
		if len(stored) != len(model) {
			t.Fatalf("%d stored, want %d", len(stored), len(model))
		}
		for k, x := range stored {
			if !x.Until.Equal(model[k]) {
				t.Fatalf("%v stored until %s, want %s", k, x.Until, model[k])
			}
		}
	})
}

func store(all map[key]telephony.Ban, c Changed) {
	for _, x := range c.Removed {
		delete(all, key{x.Source, x.Scope})
	}
	for _, x := range c.Put {
		all[key{x.Source, x.Scope}] = x
	}
}
