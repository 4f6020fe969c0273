package store

import (
	"fmt"
	"testing"
	"time"

	"ringfence/internal/telephony"
)

// tenThousand fills a store with 10,000 extensions.
func tenThousand(b *testing.B, s *Store) telephony.TenantID {
	b.Helper()
	var id telephony.TenantID
	_, err := s.System().Update(b.Context(), telephony.Actor{}, func(tx *Tx) (err error) {
		id, err = tx.CreateTenant(telephony.Tenant{Name: "x", Domain: "x.example", ExtensionFirst: "10000", ExtensionLast: "99999"})
		if err != nil {
			return err
		}
		in, err := tx.ForTenant(id)
		if err != nil {
			return err
		}
		for n := range 10_000 {
			if _, err := in.CreateExtension(telephony.Extension{Number: fmt.Sprint(10000 + n)}, testPassword); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
	return id
}

func BenchmarkWith10000Extensions(b *testing.B) {
	dir := b.TempDir()
	s, err := Open(b.Context(), dir, Options{Snapshots: -1})
	if err != nil {
		b.Fatal(err)
	}
	began := time.Now()
	id := tenThousand(b, s)
	b.Logf("created in %v", time.Since(began))
	b.Run("one more", func(b *testing.B) {
		n := 30000
		for b.Loop() {
			n++
			_, err := s.ForTenant(id).Update(b.Context(), telephony.Actor{}, func(tx *Tx) error {
				_, err := tx.CreateExtension(telephony.Extension{Number: fmt.Sprint(n)}, testPassword)
				return err
			})
			if err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("save 1000 bindings", func(b *testing.B) {
		var list []telephony.Binding
		for n := range 1000 {
			list = append(list, exampleBinding(id, fmt.Sprint(10000+n)))
		}
		for b.Loop() {
			for i := range list {
				list[i].CSeq++
			}
			if err := s.SaveBindings(b.Context(), list, nil); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("append 100 call records", func(b *testing.B) {
		k := 0
		for b.Loop() {
			var list []telephony.CallRecord
			for range 100 {
				k++
				list = append(list, exampleCall(id, fmt.Sprint("call", k, b.N), "10000", "10001", time.Now()))
			}
			if err := s.AppendCallRecords(b.Context(), list); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("restore point", func(b *testing.B) {
		for b.Loop() {
			if _, err := s.makePoint(b.Context()); err != nil {
				b.Fatal(err)
			}
		}
	})
	if err := s.Close(); err != nil {
		b.Fatal(err)
	}
	b.Run("open", func(b *testing.B) {
		for b.Loop() {
			s, err := Open(b.Context(), dir, Options{Snapshots: -1})
			if err != nil {
				b.Fatal(err)
			}
			s.Close()
		}
	})
}
