package store

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"ringfence/internal/telephony"
)

// killedStore names the data folder for the child of TestKilledWriterLosesNothing.
const killedStore = "RINGFENCE_TEST_KILLED_STORE"

func TestMain(m *testing.M) {
	if dir := os.Getenv(killedStore); dir != "" {
		if err := writeForEver(dir, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// writeForEver adds and removes extensions and call records and says so on the
// pipe, each only after the store acknowledged it.
func writeForEver(dir string, ack io.Writer) error {
	ctx := context.Background()
	s, err := Open(ctx, dir, Options{})
	if err != nil {
		return err
	}
	fmt.Fprintln(ack, "open", s.Snapshot().Rev)
	id := s.Snapshot().Tenants()[0].ID
	var mu sync.Mutex
	say := func(args ...any) {
		mu.Lock()
		defer mu.Unlock()
		fmt.Fprintln(ack, args...)
	}
	_, epoch := s.Node()
	go func() {
		for n := 0; ; n++ {
			call := fmt.Sprintf("call-%d-%d", epoch, n)
			if err := s.AppendCallRecords(ctx, []telephony.CallRecord{exampleCall(id, call, "101", "102", time.Now())}); err == nil {
				say("call", call)
			}
		}
	}()
	for n := 0; ; n++ {
		number := strconv.Itoa(10000 + int(epoch)*1000 + n%1000)
		verb := "add"
		_, err := s.ForTenant(id).Update(ctx, telephony.Actor{Kind: telephony.ActorSystem}, func(tx *Tx) error {
			if n%3 == 2 {
				verb, number = "delete", strconv.Itoa(10000+int(epoch)*1000+(n-1)%1000)
				return tx.DeleteExtension(number)
			}
			_, err := tx.CreateExtension(telephony.Extension{Number: number}, testPassword)
			return err
		})
		if err != nil {
			return err
		}
		say(verb, number)
	}
}

// TestKilledWriterLosesNothing kills a writing process with SIGKILL at random
// moments, during opening too, and looks for every commit it acknowledged.
func TestKilledWriterLosesNothing(t *testing.T) {
	t.Parallel()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	s := openAt(t, dir)
	var id telephony.TenantID
	mustUpdate(t, s.System(), func(tx *Tx) (err error) {
		id, err = tx.CreateTenant(telephony.Tenant{Name: "x", Domain: "x.example", ExtensionFirst: "10000", ExtensionLast: "99999"})
		return err
	})
	s.Close()
	rounds := 20
	if testing.Short() || raceDetector {
		rounds = 5
	}
	rnd := rand.New(rand.NewPCG(5, 6))
	want := make(map[string]bool) // number or call -> there
	acked, opened := 0, 0
	for round := range rounds {
		// Every fourth time it dies while it is opening.
		lines := runAndKill(t, exe, dir, moment{
			acks:  []int{1 + rnd.IntN(40), 1 + rnd.IntN(40), 1 + rnd.IntN(40), 0}[round%4],
			after: time.Duration(rnd.IntN(30)) * time.Millisecond,
		})
		for _, line := range lines {
			verb, what, _ := strings.Cut(line, " ")
			switch verb {
			case "open":
				opened++
				continue
			case "add", "call":
				want[what] = true
			case "delete":
				want[what] = false
			}
			acked++
		}
		s, err := Open(t.Context(), dir, Options{Snapshots: -1})
		if err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		checkAcked(t, s, id, want, round)
		s.Close()
	}
	t.Logf("%d kills, %d of them after the store was open, %d acknowledged commits", rounds, opened, acked)
	if acked < rounds || opened < rounds/2 {
		t.Error("hardly anything was written: the test shows nothing")
	}
}

// moment is when a child dies: some time after that many lines, the first of
// which says that the store is open.
type moment struct {
	acks  int
	after time.Duration
}

// runAndKill runs a child and returns what it said until it was killed.
func runAndKill(t *testing.T, exe, dir string, at moment) (lines []string) {
	t.Helper()
	cmd := exec.Command(exe)
	cmd.Env = append(os.Environ(), killedStore+"="+dir)
	var errText strings.Builder
	cmd.Stderr = &errText
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	kill := func() { time.AfterFunc(at.after, func() { cmd.Process.Kill() }) }
	if at.acks == 0 {
		kill()
	}
	in := bufio.NewReader(out)
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			break // a line cut short was never read by anybody
		}
		lines = append(lines, strings.TrimSuffix(line, "\n"))
		if len(lines) == at.acks {
			kill()
		}
	}
	cmd.Wait()
	if errText.Len() > 0 {
		t.Fatalf("child: %s", errText.String())
	}
	return lines
}

func checkAcked(t *testing.T, s *Store, id telephony.TenantID, want map[string]bool, round int) {
	t.Helper()
	var calls []string
	calls, err := collect(t.Context(), s.readers, func(scan func(...any) error) (c string, err error) { return c, scan(&c) }, `SELECT id FROM call_record`)
	if err != nil {
		t.Fatal(err)
	}
	have := make(map[string]bool, len(calls))
	for _, c := range calls {
		have[c] = true
	}
	for what, there := range want {
		if strings.HasPrefix(what, "call-") {
			if !have[what] {
				t.Fatalf("round %d: acknowledged %s is lost", round, what)
			}
			continue
		}
		// The change after the last acknowledged one may have happened too: the
		// next to be deleted may be gone, never one that is not its turn.
		if _, ok := s.Snapshot().Extension(id, what); ok != there && (!there || !lastAdded(want, what)) {
			t.Fatalf("round %d: extension %s: there %v, acknowledged %v", round, what, ok, there)
		}
	}
	if err := s.VerifyChain(t.Context()); err != nil {
		t.Fatalf("round %d: %v", round, err)
	}
}

// lastAdded reports whether number is the newest of its start, which a delete
// without acknowledgement may have taken.
func lastAdded(want map[string]bool, number string) bool {
	n, err := strconv.Atoi(number)
	if err != nil {
		return false
	}
	_, later := want[strconv.Itoa(n+1)]
	return !later
}
