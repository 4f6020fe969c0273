package store

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"ringfence/internal/telephony"
)

// withPoint is a folder with a restore point that holds all but one extension.
func withPoint(t *testing.T) (dir string, id telephony.TenantID, rev uint64) {
	t.Helper()
	dir = t.TempDir()
	s := openAt(t, dir)
	fill(t, s)
	id = s.Snapshot().Tenants()[0].ID
	rev = s.Snapshot().Rev
	if _, err := s.makePoint(t.Context()); err != nil {
		t.Fatal(err)
	}
	mustUpdate(t, s.ForTenant(id), func(tx *Tx) error {
		_, err := tx.CreateExtension(telephony.Extension{Number: "199"}, testPassword)
		return err
	})
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return dir, id, rev
}

func TestRecoverFromDamage(t *testing.T) {
	t.Parallel()
	whole, id, rev := withPoint(t)
	size := func(dir string) int64 {
		info, err := os.Stat(filepath.Join(dir, databaseName))
		if err != nil {
			t.Fatal(err)
		}
		return info.Size()
	}
	for name, damage := range map[string]func(dir string) error{
		"cut":      func(dir string) error { return os.Truncate(filepath.Join(dir, databaseName), size(dir)/2) },
		"empty":    func(dir string) error { return os.Truncate(filepath.Join(dir, databaseName), 0) },
		"flipped":  func(dir string) error { return flipAt(filepath.Join(dir, databaseName), 4096*3) },
		"schema":   func(dir string) error { return flipAt(filepath.Join(dir, databaseName), 47) },
		"missing":  func(dir string) error { return os.Remove(filepath.Join(dir, databaseName)) },
		"no-files": func(dir string) error { return removeAll(databaseFiles(filepath.Join(dir, databaseName))...) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := clone(t, whole)
			if err := damage(dir); err != nil {
				t.Fatal(err)
			}
			if s, err := Open(t.Context(), dir, Options{}); err == nil {
				s.Close()
				t.Fatal("damage was not noticed")
			}
			r, err := Recover(t.Context(), dir, Options{})
			if err != nil {
				t.Fatal(err)
			}
			if r.Rev != rev || r.Taken.IsZero() || !strings.Contains(r.From, pointPrefix) {
				t.Errorf("recovered %+v, want revision %d", r, rev)
			}
			if have, _ := exists(filepath.Join(dir, databaseName)); !have {
				t.Fatal("no database after recovery")
			}
			checkRecovered(t, dir, id, rev, name, r)
		})
	}
}

func checkRecovered(t *testing.T, dir string, id telephony.TenantID, rev uint64, name string, r Recovery) {
	t.Helper()
	damagedFileWasThere := name != "missing" && name != "no-files"
	kept := slices.ContainsFunc(r.Kept, func(p string) bool { return strings.Contains(p, databaseName+".corrupt-") })
	if kept != damagedFileWasThere {
		t.Errorf("kept %v", r.Kept)
	}
	if name == "flipped" && r.CallRecords < 290 {
		t.Errorf("saved only %d call records of a database with one bad page", r.CallRecords)
	}
	s := openAt(t, dir)
	snap := s.Snapshot()
	if snap.Rev != rev || len(snap.Extensions(id)) != 60 || !snap.Settings.SetupDone {
		t.Errorf("after recovery: revision %d, %d extensions", snap.Rev, len(snap.Extensions(id)))
	}
	if password, err := s.ForTenant(id).SIPPassword(t.Context(), admin(), "101"); err != nil || password != testPassword {
		t.Errorf("SIP password after recovery: %v", err)
	}
	if err := s.VerifyChain(t.Context()); err != nil {
		t.Error(err)
	}
	var sessions int
	if err := s.readers.QueryRow(`SELECT count(*) FROM session`).Scan(&sessions); err != nil || sessions != 0 {
		t.Errorf("%d sessions came back to life, %v", sessions, err)
	}
	if _, epoch := s.Node(); epoch < 1000 {
		t.Errorf("epoch %d may have been used before", epoch)
	}
	entries, err := s.System().Audit(t.Context(), AuditFilter{})
	if err != nil || !slices.ContainsFunc(entries, func(e AuditEntry) bool { return e.Kind == "store.recover" }) {
		t.Errorf("the recovery is not in the history: %v", err)
	}
}

func TestRecoverSkipsBadPoints(t *testing.T) {
	t.Parallel()
	dir, _, rev := withPoint(t)
	s := openAt(t, dir)
	newest, err := s.makePoint(t.Context())
	s.Close()
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(flipAt(newest, 4096*2), os.Truncate(filepath.Join(dir, databaseName), 5000)); err != nil {
		t.Fatal(err)
	}
	r, err := Recover(t.Context(), dir, Options{})
	if err != nil || r.Rev != rev || r.From == newest {
		t.Fatalf("recovered %+v, %v", r, err)
	}
}

func TestRecoverWithoutPointChangesNothing(t *testing.T) {
	t.Parallel()
	dir, _ := fixture(t)
	if err := os.Truncate(filepath.Join(dir, databaseName), 5000); err != nil {
		t.Fatal(err)
	}
	before := fileSums(t, dir)
	if _, err := Recover(t.Context(), dir, Options{}); !errors.Is(err, ErrNoSnapshot) {
		t.Fatalf("got %v", err)
	}
	for name, sum := range fileSums(t, dir) {
		if before[name] != sum {
			t.Errorf("%s was changed", name)
		}
	}
}

func TestRecoverRefusesHealthyDatabase(t *testing.T) {
	t.Parallel()
	dir, id, _ := withPoint(t)
	if _, err := Recover(t.Context(), dir, Options{}); err == nil {
		t.Fatal("replaced a database that is in order")
	}
	s := openAt(t, dir)
	if _, ok := s.Snapshot().Extension(id, "199"); !ok {
		t.Fatal("the newest extension is gone")
	}
	if _, err := Recover(t.Context(), dir, Options{}); !errors.Is(err, ErrInUse) {
		t.Fatalf("while in use: %v", err)
	}
}

func TestBackupAndRestore(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := openAt(t, dir)
	fill(t, s)
	id := s.Snapshot().Tenants()[0].ID
	backup := filepath.Join(t.TempDir(), "backup.db")
	if err := s.Backup(t.Context(), backup); err != nil {
		t.Fatal(err)
	}
	if err := s.Backup(t.Context(), backup); !errors.Is(err, ErrExists) {
		t.Errorf("over an existing file: %v", err)
	}
	rev := s.Snapshot().Rev
	mustUpdate(t, s.ForTenant(id), func(tx *Tx) error { return tx.DeleteExtension("101") })
	s.Close()
	if _, err := Restore(t.Context(), dir, filepath.Join(dir, keyName), Options{}); !errors.Is(err, ErrNoSnapshot) {
		t.Errorf("restoring something else: %v", err)
	}
	r, err := Restore(t.Context(), dir, backup, Options{})
	if err != nil || r.Rev != rev {
		t.Fatalf("restored %+v, %v", r, err)
	}
	s = openAt(t, dir)
	if _, ok := s.Snapshot().Extension(id, "101"); !ok {
		t.Error("the extension did not come back")
	}
	records, _, err := s.ForTenant(id).CallRecords(t.Context(), CallRecordFilter{Limit: 1000})
	if err != nil || len(records) != 300 {
		t.Errorf("%d call records, %v", len(records), err)
	}
}

func TestRestorePointsRotate(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s, err := Open(t.Context(), dir, Options{Snapshots: 3})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	fill(t, s)
	var last string
	for range 5 {
		if last, err = s.makePoint(t.Context()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Millisecond)
	}
	entries, err := os.ReadDir(filepath.Join(dir, snapshotDir))
	if err != nil || len(entries) != 3 {
		t.Fatalf("%d files, %v", len(entries), err)
	}
	if entries[2].Name() != filepath.Base(last) {
		t.Errorf("the newest is %s, want %s", entries[2].Name(), last)
	}
	// A point holds no call records, and says so in its sums.
	report, err := check(t.Context(), last, s.keys, nil, false)
	if err != nil || report.progress.Commits == 0 {
		t.Errorf("%+v, %v", report, err)
	}
	db := openForCheck(last)
	defer db.Close()
	var calls int
	if err := db.QueryRow(`SELECT count(*) FROM call_record`).Scan(&calls); err != nil || calls != 0 {
		t.Errorf("%d call records, %v", calls, err)
	}
}

// One that is given up, as when the store closes, does not spoil the next.
func TestRestorePointAfterOneThatWasGivenUp(t *testing.T) {
	t.Parallel()
	s := open(t)
	fill(t, s)
	for i := range 60 {
		ctx, cancel := context.WithTimeout(t.Context(), time.Duration(i)*time.Millisecond)
		_, err := s.makePoint(ctx)
		cancel()
		if _, again := s.makePoint(t.Context()); again != nil {
			t.Fatalf("after one that was given up after %d ms (%v): %v", i, err, again)
		}
	}
}

func TestRestorePointIsMadeAtStart(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s, err := Open(t.Context(), dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	waitForPoint(t, dir)
	// A second start without a change makes none.
	s.Close()
	if s, err = Open(t.Context(), dir, Options{}); err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	at, rev, err := newestPoint(filepath.Join(dir, snapshotDir))
	if err != nil || rev != s.Snapshot().Rev || s.pointDue(time.Now(), at, rev) {
		t.Errorf("made at %v of revision %d, %v: another one is due", at, rev, err)
	}
	if !s.pointDue(at.Add(pointEvery), at, rev) || !s.pointDue(at.Add(pointAfterChange), at, rev+1) ||
		s.pointDue(at.Add(time.Minute), at, rev+1) || !s.pointDue(at.Add(-time.Hour), at, rev) {
		t.Error("points are due at other times than promised")
	}
}

func waitForPoint(t *testing.T, dir string) {
	t.Helper()
	for range 500 {
		if found, err := points(filepath.Join(dir, snapshotDir), pointPrefix); err != nil || len(found) == 1 {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Fatal("no restore point after the start")
}
