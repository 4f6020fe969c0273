package store

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"ringfence/internal/telephony"
)

// fill gives a store rows in every table.
func fill(t *testing.T, s *Store) {
	t.Helper()
	var numbers []string
	for n := 100; n < 160; n++ {
		numbers = append(numbers, fmt.Sprint(n))
	}
	id := addTenant(t, s, "pbx.example", numbers...)
	other := addTenant(t, s, "other.example", "101")
	mustUpdate(t, s.System(), func(tx *Tx) error {
		_, err := tx.CreateUser(telephony.User{Name: "admin", Role: telephony.RoleSystemAdmin}, "$argon2id$x")
		v := telephony.DefaultSettings()
		v.SetupDone = true
		v.PublicAddress = netip.MustParseAddr("203.0.113.5")
		return errors.Join(err, tx.PutSettings(v))
	})
	var user telephony.User
	mustUpdate(t, s.ForTenant(id), func(tx *Tx) (err error) {
		user, err = tx.CreateUser(telephony.User{Name: "jo", Role: telephony.RoleAdmin, Extension: "101"}, "$argon2id$y")
		return err
	})
	now := time.Now()
	err := s.CreateSession(t.Context(), Session{Hash: sha256.Sum256([]byte("x")), Tenant: id, User: user.ID, CSRF: "c", Created: now, Seen: now, Expires: now.Add(time.Hour)})
	err = errors.Join(err, s.SaveLockouts(t.Context(), []Lockout{{Kind: LockoutAddress, Subject: "192.0.2.1", Failures: 3, Failed: now}}, nil))
	var bindings []telephony.Binding
	var records []telephony.CallRecord
	for i, n := range numbers {
		bindings = append(bindings, exampleBinding(id, n))
		for k := range 5 {
			records = append(records, exampleCall(id, fmt.Sprintf("call-%d-%d", i, k), n, "101", now.Add(time.Duration(i)*time.Second)))
		}
	}
	records = append(records, exampleCall(other, "call-x", "101", "102", now))
	err = errors.Join(err, s.SaveBindings(t.Context(), bindings, nil), s.AppendCallRecords(t.Context(), records))
	if err != nil {
		t.Fatal(err)
	}
}

func exampleBinding(id telephony.TenantID, number string) telephony.Binding {
	now := time.Now().UTC().Truncate(time.Microsecond)
	return telephony.Binding{
		Tenant: id, AOR: telephony.AOR{User: number, Domain: "pbx.example"}, Contact: "sip:" + number + "@192.0.2.10:5062",
		Q: 0.5, CallID: "abc", CSeq: 7, UserAgent: "test", Registered: now, Expires: now.Add(time.Hour),
		Flow: telephony.Flow{Node: "n", Epoch: 3, Listener: "sip-udp", Local: netip.MustParseAddrPort("192.0.2.1:5060"), Remote: netip.MustParseAddrPort("192.0.2.10:5062")},
	}
}

func exampleCall(id telephony.TenantID, call, from, to string, at time.Time) telephony.CallRecord {
	at = at.UTC().Truncate(time.Microsecond)
	return telephony.CallRecord{
		ID: telephony.CallID(call), Tenant: id, Node: "n", Direction: "internal",
		Caller:  telephony.Party{Number: from, Name: "Phone " + from, Addr: netip.MustParseAddrPort("192.0.2.10:5062")},
		Callee:  telephony.Party{Number: to, Name: "Phone " + to},
		Started: at, Rang: at.Add(time.Second), Answered: at.Add(2 * time.Second), Ended: at.Add(time.Minute),
		Reason: telephony.EndCallerHungUp, StatusCode: 200, Alarm: telephony.AlarmBad,
		CallerLeg: telephony.LegQuality{
			Codec: "PCMA", Suite: "AEAD_AES_256_GCM", Packets: 2900, LostRTP: 3, JitterMs: 1.25, MOS: 4.375, WorstMOS: 2.5,
			Sent: 2898, Reported: true, ToLost: 7, ToJitterMs: 3.5, ToMOS: 4.125, ToWorstMOS: 1.5, RTTMs: 20.25, Malformed: 1, Forged: 2,
			History: []telephony.MOSPoint{{From: 43, To: 0}, {From: 25, To: 15}}, Step: 5 * time.Second,
		},
		CalleeLeg: telephony.LegQuality{Codec: "PCMA", Packets: 2901, Dropped: 1},
	}
}

// dump lists every row of every table but those each start changes.
func dump(t *testing.T, s *Store) string {
	t.Helper()
	names, err := tables(t.Context(), s.readers)
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for _, name := range names {
		if name == "meta" || name == "node" {
			continue
		}
		rows, err := s.readers.Query(`SELECT * FROM "` + name + `" ORDER BY 1, 2`)
		if err != nil {
			t.Fatal(err)
		}
		columns, _ := rows.Columns()
		row, dest := make([]any, len(columns)), make([]any, len(columns))
		for i := range row {
			dest[i] = &row[i]
		}
		for rows.Next() {
			if err := rows.Scan(dest...); err != nil {
				t.Fatal(err)
			}
			fmt.Fprintf(&b, "%s %q\n", name, row)
		}
		if err := rows.Err(); err != nil {
			t.Fatal(err)
		}
		rows.Close()
	}
	return b.String()
}

// fixture is a folder that was in use and closed properly.
func fixture(t *testing.T) (dir, content string) {
	t.Helper()
	dir = t.TempDir()
	s := openAt(t, dir)
	fill(t, s)
	content = dump(t, s)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return dir, content
}

// clone copies a folder.
func clone(t *testing.T, dir string) string {
	t.Helper()
	to := filepath.Join(t.TempDir(), "clone")
	if err := os.CopyFS(to, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Join(to, keyName), 0o600); err != nil {
		t.Fatal(err)
	}
	return to
}

func fileSums(t *testing.T, dir string) map[string]string {
	t.Helper()
	sums := make(map[string]string)
	err := fs.WalkDir(os.DirFS(dir), ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || strings.HasSuffix(path, "-shm") {
			return err
		}
		data, err := os.ReadFile(filepath.Join(dir, path))
		sums[path] = fmt.Sprintf("%x", sha256.Sum256(data))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return sums
}

// verdict opens a damaged folder: it must be refused, and left as it is, or
// be whole.
func verdict(t *testing.T, dir, content, what string) (detected bool) {
	t.Helper()
	before := fileSums(t, dir)
	s, err := Open(t.Context(), dir, Options{Snapshots: -1})
	if err == nil {
		defer s.Close()
		if got := dump(t, s); got != content {
			t.Errorf("%s: opened without a word with other content", what)
		}
		return false
	}
	var ce *CorruptError
	if !errors.As(err, &ce) {
		t.Errorf("%s: want a *CorruptError, got %v", what, err)
	}
	if after := fileSums(t, dir); !maps.Equal(before, after) {
		t.Errorf("%s: the refused folder was changed: %v", what, err)
	}
	return true
}

// flips is how many more flips each page gets; make drills sets it higher.
func flips(t *testing.T) int {
	n, err := strconv.Atoi(cmp.Or(os.Getenv("RINGFENCE_FLIPS"), "0"))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestFlippedByteInEveryPage(t *testing.T) {
	t.Parallel()
	dir, content := fixture(t)
	file := filepath.Join(dir, databaseName)
	good, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	const page = 4096
	rnd := rand.New(rand.NewPCG(1, 2))
	var offsets []int
	for i := range 100 { // the whole header
		offsets = append(offsets, i)
	}
	if raceDetector {
		offsets = offsets[:20]
	}
	for at := 0; at < len(good); at += page {
		if raceDetector && at/page%8 != 0 {
			continue
		}
		offsets = append(offsets, at+rnd.IntN(8), at+page-1-rnd.IntN(200))
		for range flips(t) {
			offsets = append(offsets, at+rnd.IntN(page))
		}
	}
	detected := 0
	for _, at := range offsets {
		bad := bytes.Clone(good)
		bad[at] ^= byte(1 << rnd.IntN(8))
		if err := os.WriteFile(file, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		if verdict(t, dir, content, fmt.Sprintf("flip at %d (page %d, byte %d)", at, at/page+1, at%page)) {
			detected++
			continue
		}
		// It was opened and written to: begin anew from the fixture.
		dir = clone(t, dir)
		file = filepath.Join(dir, databaseName)
		if good, err = os.ReadFile(file); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%d flips in %d pages: %d detected, the others changed nothing", len(offsets), len(good)/page, detected)
	if detected < len(offsets)/3 {
		t.Error("hardly any flip was detected: the test does not hit the content")
	}
}

func TestTruncatedDatabase(t *testing.T) {
	t.Parallel()
	dir, content := fixture(t)
	info, err := os.Stat(filepath.Join(dir, databaseName))
	if err != nil {
		t.Fatal(err)
	}
	size := info.Size()
	cuts := []int64{0, 1, 99, 100, 511, 512, 4095, 4096, 4097, size - 1, size - 4095, size - 4096, size - 4097}
	for i := range int64(25) {
		cuts = append(cuts, size*i/25)
	}
	for _, cut := range cuts {
		c := clone(t, dir)
		if err := os.Truncate(filepath.Join(c, databaseName), cut); err != nil {
			t.Fatal(err)
		}
		if !verdict(t, c, content, fmt.Sprintf("cut to %d of %d bytes", cut, size)) {
			t.Errorf("cut to %d of %d bytes was not noticed", cut, size)
		}
	}
}

// fewer is n, or a tenth of it under the race detector.
func fewer(n int) int {
	if raceDetector {
		return max(n/10, 1)
	}
	return n
}

// crashed is a folder as a killed process leaves it: acknowledged commits in
// the write-ahead log only.
func crashed(t *testing.T) (dir, content string) {
	t.Helper()
	live := t.TempDir()
	s := openAt(t, live)
	fill(t, s)
	content = dump(t, s)
	return clone(t, live), content
}

func TestDamagedWriteAheadLog(t *testing.T) {
	t.Parallel()
	dir, content := crashed(t)
	wal := filepath.Join(dir, databaseName+"-wal")
	good, err := os.ReadFile(wal)
	if err != nil {
		t.Fatal(err)
	}
	if verdict(t, clone(t, dir), content, "nothing") {
		t.Fatal("an undamaged folder after a crash was refused")
	}
	try := func(what string, damage func(c string, wal string) error) {
		c := clone(t, dir)
		if err := damage(c, filepath.Join(c, databaseName+"-wal")); err != nil {
			t.Fatal(err)
		}
		if !verdict(t, c, content, what) {
			t.Errorf("%s: not noticed", what)
		}
	}
	try("zeroed log", func(_, wal string) error { return os.WriteFile(wal, make([]byte, len(good)), 0o600) })
	try("empty log", func(_, wal string) error { return os.WriteFile(wal, nil, 0o600) })
	try("missing log", func(_, wal string) error { return os.Remove(wal) })
	rnd := rand.New(rand.NewPCG(3, 4))
	for range fewer(20) {
		at := rnd.IntN(len(good) - 4096)
		try(fmt.Sprintf("log cut to %d of %d", at, len(good)), func(_, wal string) error { return os.Truncate(wal, int64(at)) })
		try(fmt.Sprintf("log zeroed from %d of %d", at, len(good)), func(_, wal string) error {
			return os.WriteFile(wal, append(bytes.Clone(good[:at]), make([]byte, len(good)-at)...), 0o600)
		})
	}
	// A flip in a frame that a later one replaces may do no harm.
	for range fewer(60) {
		c := clone(t, dir)
		bad := bytes.Clone(good)
		at := rnd.IntN(len(good))
		bad[at] ^= 1 << rnd.IntN(8)
		if err := os.WriteFile(filepath.Join(c, databaseName+"-wal"), bad, 0o600); err != nil {
			t.Fatal(err)
		}
		verdict(t, c, content, fmt.Sprintf("log flipped at %d of %d", at, len(good)))
	}
}

func TestMissingFilesAreNoFreshSystem(t *testing.T) {
	t.Parallel()
	dir, _ := fixture(t)
	for _, gone := range []string{databaseName, keyName} {
		c := clone(t, dir)
		if err := os.Remove(filepath.Join(c, gone)); err != nil {
			t.Fatal(err)
		}
		before := fileSums(t, c)
		_, err := Open(t.Context(), c, Options{})
		var me *MissingError
		if !errors.As(err, &me) || filepath.Base(me.Path) != gone {
			t.Errorf("without %s: %v", gone, err)
		}
		if !maps.Equal(before, fileSums(t, c)) {
			t.Errorf("without %s: the folder was changed", gone)
		}
	}
	c := clone(t, dir)
	if err := errors.Join(os.Remove(filepath.Join(c, databaseName)), os.Remove(filepath.Join(c, keyName))); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), c, Options{}); err == nil {
		t.Error("began anew although the witness says that a system was here")
	}
}

func TestKeyFile(t *testing.T) {
	t.Parallel()
	dir, _ := fixture(t)
	key := filepath.Join(dir, keyName)
	if err := os.Chmod(key, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), dir, Options{}); err == nil || !strings.Contains(err.Error(), "0600") {
		t.Errorf("a key file others can read: %v", err)
	}
	text, err := os.ReadFile(key)
	if err != nil {
		t.Fatal(err)
	}
	for at := range fewer(len(text)) {
		c := clone(t, dir)
		bad := bytes.Clone(text)
		bad[at] ^= 1
		if err := os.WriteFile(filepath.Join(c, keyName), bad, 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := Open(t.Context(), c, Options{})
		var ce *CorruptError
		if !errors.As(err, &ce) {
			t.Errorf("key file flipped at %d: %v", at, err)
		}
		if s != nil {
			s.Close()
		}
	}
}

func TestInterruptedCreation(t *testing.T) {
	t.Parallel()
	// What a power cut may leave of a first start: any part of the files, with
	// the marker still there.
	whole := t.TempDir()
	openAt(t, whole).Close()
	for _, missing := range [][]string{nil, {databaseName}, {databaseName, keyName}, {witnessName}, {keyName}} {
		c := clone(t, whole)
		for _, name := range missing {
			if err := os.Remove(filepath.Join(c, name)); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.WriteFile(filepath.Join(c, creatingName), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		s := openAt(t, c)
		if s.Snapshot().Rev != 0 {
			t.Error("an unfinished creation left settings")
		}
		if have, _ := exists(filepath.Join(c, creatingName)); have {
			t.Error("the marker stays after creation")
		}
	}
}

func TestWitnessDamaged(t *testing.T) {
	t.Parallel()
	dir, content := fixture(t)
	for name, damage := range map[string]func(string) error{
		"one slot":   func(p string) error { return flipAt(p, 20) },
		"both slots": func(p string) error { return errors.Join(flipAt(p, 20), flipAt(p, witnessSlot+20)) },
		"empty":      func(p string) error { return os.Truncate(p, 0) },
		"missing":    os.Remove,
	} {
		c := clone(t, dir)
		if err := damage(filepath.Join(c, witnessName)); err != nil {
			t.Fatal(err)
		}
		if verdict(t, c, content, name) {
			t.Errorf("witness damaged (%s): the good database was refused", name)
		}
	}
}

func flipAt(path string, at int64) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	var b [1]byte
	_, err1 := f.ReadAt(b[:], at)
	b[0] ^= 0x10
	_, err2 := f.WriteAt(b[:], at)
	return errors.Join(err1, err2, f.Close())
}

func TestSecondProcessIsKeptOut(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	openAt(t, dir)
	if _, err := Open(context.Background(), dir, Options{}); !errors.Is(err, ErrInUse) {
		t.Fatalf("got %v", err)
	}
}
