package store

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/big"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"ringfence/internal/telephony"
)

// TestSumsFollowEveryStatement runs random statements, also such that change
// many rows, cascade, upsert, roll back, and compares the kept sums with sums
// over the whole tables.
func TestSumsFollowEveryStatement(t *testing.T) {
	t.Parallel()
	s := open(t)
	fill(t, s)
	id := s.Snapshot().Tenants()[0].ID
	rnd := rand.New(rand.NewPCG(7, 8))
	n := 0
	statements := []func(tx *sql.Tx) error{
		func(tx *sql.Tx) error {
			n++
			_, err := tx.Exec(`INSERT INTO setting VALUES (?, ?)`, fmt.Sprint(n), "x")
			return err
		},
		func(tx *sql.Tx) error {
			_, err := tx.Exec(`INSERT OR REPLACE INTO setting VALUES (?, 'r')`, fmt.Sprint(rnd.IntN(n+1)))
			return err
		},
		func(tx *sql.Tx) error {
			_, err := tx.Exec(`INSERT INTO setting VALUES (?, 'u') ON CONFLICT DO UPDATE SET value = value || 'v'`, fmt.Sprint(rnd.IntN(n+1)))
			return err
		},
		func(tx *sql.Tx) error {
			_, err := tx.Exec(`UPDATE setting SET value = value || '!' WHERE name LIKE '%1'`)
			return err
		},
		func(tx *sql.Tx) error {
			_, err := tx.Exec(`UPDATE setting SET name = name || 'n' WHERE name LIKE '%2'`)
			return err
		},
		func(tx *sql.Tx) error { _, err := tx.Exec(`DELETE FROM setting WHERE name LIKE '%3'`); return err },
		func(tx *sql.Tx) error { _, err := tx.Exec(`DELETE FROM lockout`); return err },
		func(tx *sql.Tx) error { _, err := tx.Exec(`DELETE FROM user WHERE name = 'jo'`); return err }, // takes its session along
		func(tx *sql.Tx) error {
			_, err := tx.Exec(`UPDATE extension SET display_name = display_name || 'x' WHERE id % 7 = 0`)
			return err
		},
		func(tx *sql.Tx) error {
			_, err := tx.Exec(`UPDATE call_record SET rang_at = NULL WHERE id LIKE '%7'`)
			return err
		},
		func(tx *sql.Tx) error { _, err := tx.Exec(`UPDATE tenant SET id = id + 100 WHERE id = 77`); return err },
		func(tx *sql.Tx) error {
			_, err := tx.Exec(`DELETE FROM binding WHERE tenant_id = ? AND aor_user LIKE '1_4'`, id)
			return err
		},
	}
	errRollback := errors.New("roll back")
	for round := range 120 {
		err := s.write(t.Context(), func(_ context.Context, tx *sql.Tx) error {
			for range 1 + rnd.IntN(4) {
				if err := statements[rnd.IntN(len(statements))](tx); err != nil {
					return err
				}
			}
			if rnd.IntN(4) == 0 {
				return errRollback
			}
			return nil
		})
		if err != nil && !errors.Is(err, errRollback) && !isUnique(err) {
			t.Fatalf("round %d: %v", round, err)
		}
	}
	// The tenant with everything it owns.
	mustUpdate(t, s.System(), func(tx *Tx) error { return tx.DeleteTenant(id) })
	names, err := tables(t.Context(), s.readers)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if err := compareSum(t.Context(), s.readers, s.keys, name); err != nil {
			t.Error(err)
		}
	}
}

func TestRowSumArithmetic(t *testing.T) {
	t.Parallel()
	rnd := rand.New(rand.NewPCG(9, 10))
	modulus := new(big.Int).Lsh(big.NewInt(1), 256)
	var s rowSum
	want, count := new(big.Int), int64(0)
	for range 2000 {
		var h [32]byte
		for i := range h {
			h[i] = byte(rnd.Uint32())
			if rnd.IntN(3) == 0 {
				h[i] = 0xff
			}
		}
		n := new(big.Int).SetBytes(h[:])
		switch rnd.IntN(3) {
		case 0:
			s.add(h)
			want.Add(want, n)
			count++
		case 1:
			s.sub(h)
			want.Sub(want, n)
			count--
		default:
			s.merge(rowSum{count: 5, sum: h})
			want.Add(want, n)
			count += 5
		}
		want.Mod(want, modulus)
		if new(big.Int).SetBytes(s.sum[:]).Cmp(want) != 0 || s.count != count {
			t.Fatal("sums drifted apart")
		}
	}
}

func TestRowHashTellsRowsApart(t *testing.T) {
	t.Parallel()
	k, err := newKeys(bytes.Repeat([]byte{1}, 32))
	if err != nil {
		t.Fatal(err)
	}
	seen := make(map[[32]byte]int)
	for i, row := range [][]any{
		{nil}, {}, {nil, nil}, {int64(0)}, {""}, {[]byte{}}, {"a", "b"}, {"ab", ""}, {"", "ab"}, {"a\x00", "b"}, {[]byte("a"), "b"},
		{int64(1)}, {int64(-1)}, {"1"}, {"\x00\x00\x00\x00\x00\x00\x00\x01"},
	} {
		for _, table := range []string{"t", "tt"} {
			h := rowHasher{mac: k.rowMAC()}
			sum, err := h.hash(table, row)
			if err != nil {
				t.Fatal(err)
			}
			if other, ok := seen[sum]; ok {
				t.Errorf("rows %d and %d have one hash", i, other)
			}
			seen[sum] = i
		}
	}
	h := rowHasher{mac: k.rowMAC()}
	if _, err := h.hash("t", []any{1.5}); err == nil {
		t.Error("a value without an exact encoding was hashed")
	}
}

// TestManyWritersAndReaders is for the race detector and for lost updates.
func TestManyWritersAndReaders(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := openAt(t, dir)
	id := addTenant(t, s, "pbx.example", "100", "199")
	sub := s.Subscribe()
	defer sub.Close()
	const each = 15
	var wg sync.WaitGroup
	fail := func(err error) {
		if err != nil {
			t.Error(err)
		}
	}
	for w := range 4 {
		wg.Go(func() {
			for n := range each {
				_, err := s.ForTenant(id).Update(t.Context(), admin(), func(tx *Tx) error {
					_, err := tx.CreateExtension(telephony.Extension{Number: fmt.Sprint(101 + w*each + n)}, testPassword)
					return err
				})
				fail(err)
				fail(s.AppendCallRecords(t.Context(), []telephony.CallRecord{exampleCall(id, fmt.Sprintf("%d-%d", w, n), "100", "199", time.Now())}))
			}
		})
		wg.Go(func() {
			last := uint64(0)
			for range each {
				snap := s.Snapshot()
				if snap.Rev < last {
					t.Error("the revision went back")
				}
				last = snap.Rev
				_, _, err := s.ForTenant(id).CallRecords(t.Context(), CallRecordFilter{Extension: "100"})
				fail(err)
				_, err = s.System().Audit(t.Context(), AuditFilter{})
				fail(err)
				fail(s.VerifyChain(t.Context()))
			}
		})
	}
	wg.Go(func() { _, err := s.makePoint(t.Context()); fail(err) })
	wg.Wait()
	if n := len(s.Snapshot().Extensions(id)); n != 4*each+2 {
		t.Errorf("%d extensions, want %d", n, 4*each+2)
	}
	if c := sub.Take(); c.Rev != s.Snapshot().Rev {
		t.Errorf("told of revision %d, want %d", c.Rev, s.Snapshot().Rev)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); !errors.Is(err, ErrClosed) {
		t.Errorf("closed twice: %v", err)
	}
	if _, err := s.System().Update(t.Context(), admin(), func(*Tx) error { return nil }); !errors.Is(err, ErrClosed) {
		t.Errorf("update after close: %v", err)
	}
	openAt(t, dir)
}

func TestUpdateWaitsNoLongerThanItsContext(t *testing.T) {
	t.Parallel()
	s := open(t)
	held, release := make(chan struct{}), make(chan struct{})
	go s.write(context.Background(), func(context.Context, *sql.Tx) error { close(held); <-release; return nil })
	<-held
	defer close(release)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := s.System().Update(ctx, admin(), func(*Tx) error { return nil }); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
}
