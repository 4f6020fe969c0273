package drills

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net/netip"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"ringfence/internal/pbx"
	"ringfence/internal/ports"
	"ringfence/internal/siptest"
)

// soakAddress keeps clear of a PBX that somebody runs on 127.0.0.1, and of
// other soaks.
func soakAddress() netip.Addr {
	pid := os.Getpid()
	return netip.AddrFrom4([4]byte{127, 6, byte(pid >> 8), byte(pid) | 1})
}

// maxOdd bounds what is kept to be told.
const maxOdd = 1000

// soak is many calls at once that do what people do, and what networks do to
// them.
type soak struct {
	t      *testing.T
	pbx    *pbx.PBX
	server netip.AddrPort
	start  time.Time
	chaos  time.Duration // how long phones vanish and packets get lost
	end    time.Time

	mu     sync.Mutex
	counts map[string]int
	odd    []string // what must not happen to calls of a clean network
}

// 200 calls at once for 30 minutes, with holds, transfers, refusals, glare,
// loss and phones that vanish: nothing is left of them afterwards.
func TestSoakLeavesNothingBehind(t *testing.T) {
	slots := share(t, 200, 20)
	length := time.Duration(share(t, 1800, 0)) * time.Second
	chaos := length * 5 / 6
	if length < 3*time.Minute { // in every test run: 40 s, most of them for what was abandoned to time out
		length, chaos = 10*time.Second, 5*time.Second
	}
	rnd := random(t)
	s := newSoak(t, slots, length, chaos)
	before := s.take()
	var wg sync.WaitGroup
	all := make([]*slot, slots)
	for i := range all {
		all[i] = s.slot(i, rnd.Uint64())
		wg.Go(all[i].run)
	}
	s.watch(slots)
	wg.Wait()
	t.Logf("the last call is over after %s", time.Since(s.start).Round(time.Second))
	for _, l := range all {
		l.close()
	}
	s.report()
	s.nothingLeft(before)
}

func newSoak(t *testing.T, slots int, length, chaos time.Duration) *soak {
	t.Helper()
	p, err := pbx.Start(t.Context(), pbx.Options{
		DataDir: t.TempDir(), Dev: true, Alone: true, Listen: soakAddress(), Extensions: slots*phonesPerSlot + 1,
		Logger: slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelError})),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Errorf("closing the PBX: %v", err)
		}
	})
	s := &soak{t: t, pbx: p, start: time.Now(), chaos: chaos, counts: map[string]int{}}
	for _, l := range p.Facts().Listeners {
		if l.ID == ports.SIPUDP {
			s.server = netip.AddrPortFrom(l.Addr, l.Port)
		}
	}
	s.warm(length)
	return s
}

// warm has phones register, so that what is made once, such as connections to
// the database, is there before the first count.
func (s *soak) warm(length time.Duration) {
	s.t.Helper()
	l := s.slot(0, 1)
	for _, p := range l.phones {
		if err := p.Unregister(s.t.Context()); err != nil {
			s.t.Fatal(err)
		}
	}
	l.close()
	time.Sleep(1500 * time.Millisecond) // bindings are written behind, within a second
	s.start, s.end = time.Now(), time.Now().Add(length)
}

func (s *soak) count(what string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.counts[what]++
}

func (s *soak) strange(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.odd) < maxOdd {
		s.odd = append(s.odd, fmt.Sprintf("%s: ", time.Since(s.start).Round(time.Millisecond))+fmt.Sprintf(format, args...))
	}
}

// wild reports whether phones may vanish and packets get lost now.
func (s *soak) wild() bool { return time.Since(s.start) < s.chaos }

// state is what the process holds.
type state struct {
	held       pbx.Held
	goroutines int
	files      int
	heap       uint64
}

func (s *soak) take() state {
	s.t.Helper()
	runtime.GC()
	debug.FreeOSMemory()
	files, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		s.t.Fatal(err)
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return state{s.pbx.Held(), runtime.NumGoroutine(), len(files), m.HeapAlloc}
}

// watch logs how it goes once a minute, and how many calls there are at most.
func (s *soak) watch(slots int) {
	most, last := 0, time.Now()
	for time.Now().Before(s.end) {
		time.Sleep(time.Second)
		h := s.pbx.Held()
		most = max(most, h.Calls)
		if time.Since(last) > time.Minute {
			last = time.Now()
			s.t.Logf("%s: %+v", time.Since(s.start).Round(time.Second), h)
		}
	}
	if s.t.Logf("at most %d calls at once", most); most < slots/2 {
		s.t.Errorf("only %d calls at once of %d", most, slots)
	}
}

func (s *soak) report() {
	s.t.Helper()
	var b strings.Builder
	for _, what := range slices.Sorted(maps.Keys(s.counts)) {
		fmt.Fprintf(&b, " %s=%d", what, s.counts[what])
	}
	s.t.Logf("done:%s", b.String())
	for _, what := range s.odd {
		s.t.Log(what)
	}
	// A machine that stands still for seconds loses calls; a PBX that does
	// loses more of them.
	rounds := s.counts["busy"] + s.counts["decline"] + s.counts["cancel"] + s.counts["talk"]
	if len(s.odd) > 1+rounds/100 {
		s.t.Errorf("%d of %d calls did not go as their phones wanted", len(s.odd), rounds)
	}
	for _, what := range []string{"talk", "encrypted", "busy", "cancel", "hold", "reregister", "offer"} {
		if s.counts[what] == 0 {
			s.t.Errorf("nobody did %q", what)
		}
	}
}

// traceBound is what package trace keeps of ended calls, and of noise.
const traceBound = 20 << 20

// nothingLeft waits as long as the longest timer of what was abandoned:
// 64*T1 for a BYE that nobody answers, the rest of media ports after it, and
// dead media where both phones vanished.
func (s *soak) nothingLeft(before state) {
	s.t.Helper()
	patience := time.Minute
	if s.counts["both vanish"] > 0 {
		patience = 11 * time.Minute
	}
	var now state
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(500 * time.Millisecond) {
		if now = s.take(); now.held.Empty() && now.goroutines <= before.goroutines && now.files <= before.files {
			break
		}
	}
	s.t.Logf("before %+v, after %+v", before, now)
	if !now.held.Empty() {
		s.t.Errorf("still held: %+v", now.held)
	}
	if now.files > before.files {
		s.t.Errorf("%d file descriptors, %d before", now.files, before.files)
	}
	if now.goroutines > before.goroutines {
		stacks := make([]byte, 1<<20)
		s.t.Errorf("%d goroutines, %d before:\n%s", now.goroutines, before.goroutines, stacks[:runtime.Stack(stacks, true)])
	}
	// The trace of calls and the nonces in use stay, within their bounds.
	if now.heap > before.heap+traceBound+8<<20 {
		s.t.Errorf("heap grew from %d to %d bytes", before.heap, now.heap)
	}
}

// phonesPerSlot: who calls, who is called, and who is brought in.
const phonesPerSlot = 3

// slot is three phones that call each other until the time is over.
type slot struct {
	s      *soak
	rnd    *rand.Rand
	facts  [phonesPerSlot]pbx.PhoneFacts
	phones [phonesPerSlot]*siptest.Phone
	// wild: what the last round left may still ring in the next one.
	wild bool
}

func (s *soak) slot(i int, seed uint64) *slot {
	l := &slot{s: s, rnd: rand.New(rand.NewPCG(seed, uint64(i)))}
	copy(l.facts[:], s.pbx.Facts().Extensions[i*phonesPerSlot:])
	for k := range l.phones {
		l.plug(k, netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), 0))
	}
	return l
}

// plug starts and registers a phone, at the address it had before if it can.
func (l *slot) plug(k int, at netip.AddrPort) {
	f := l.facts[k]
	c := siptest.Config{
		Server: l.s.server, User: f.SIPUser, Password: f.SIPPassword, Domain: f.Domain, Tone: float64(400 + 100*k),
		Listen: at, Keep: -1, T1: 200 * time.Millisecond,
	}
	l.protect(&c)
	p, err := siptest.Start(c)
	if err != nil {
		c.Listen = netip.AddrPortFrom(at.Addr(), 0)
		p, err = siptest.Start(c)
	}
	if err != nil {
		l.s.strange("starting a phone: %v", err)
		return
	}
	l.phones[k] = p
	ctx, cancel := context.WithTimeout(l.s.t.Context(), 20*time.Second)
	defer cancel()
	if err := p.Register(ctx); err != nil {
		l.s.strange("%s registering: %v", f.Number, err)
	}
}

// protect gives three phones of four SRTP: with what they insist on, or on offer.
// Sequence numbers wrap in every other call, as they do in long ones.
func (l *slot) protect(c *siptest.Config) {
	suites := []string{"AES_CM_128_HMAC_SHA1_80", "AES_256_CM_HMAC_SHA1_80", "AEAD_AES_128_GCM", "AEAD_AES_256_GCM"}
	if l.rnd.IntN(4) > 0 {
		l.rnd.Shuffle(len(suites), func(i, j int) { suites[i], suites[j] = suites[j], suites[i] })
		c.Suites, c.Opportunistic = suites[:1+l.rnd.IntN(len(suites))], l.rnd.IntN(2) == 0
	}
	if l.rnd.IntN(2) == 0 {
		c.FirstSequence = 65500
	}
}

func (l *slot) close() {
	for _, p := range l.phones {
		p.Close()
	}
}

// vanish takes a phone off the network in the middle of what it does.
func (l *slot) vanish(k int) {
	l.wild = true
	l.phones[k].Close()
}

// back is the phone that vanished, switched on again.
func (l *slot) back(k int) { l.plug(k, l.phones[k].Addr()) }

func (l *slot) run() {
	l.pause(1000)
	for time.Now().Before(l.s.end) {
		l.round()
	}
}

// pause is a moment of a conversation.
func (l *slot) pause(most int) { time.Sleep(time.Duration(l.rnd.IntN(most)) * time.Millisecond) }
