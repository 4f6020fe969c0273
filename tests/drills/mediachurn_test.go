package drills

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"ringfence/internal/pbx"
	"ringfence/internal/siptest"
	"ringfence/internal/siptest/impair"
)

// churn is many calls at once, each of which hears whether its media are right.
type churn struct {
	*soak
	shortest, longest time.Duration // of calls
	windows, packets  atomic.Int64  // that were listened to
	stalled           atomic.Int64  // when the machine last stood still, by the clock of the process
}

// 100 calls at once for an hour, in the clear, under SDES and DTLS-SRTP, relayed
// and converted, with holds, new keys, streams and ports, and loss one way: no
// packet is lost that arrived, everybody hears the other alone, and nothing is
// left of it afterwards.
func TestMediaChurnIsHeardAndLeavesNothingBehind(t *testing.T) {
	slots := share(t, 100, 12)
	length := time.Duration(share(t, 3600, 0)) * time.Second
	shortest, longest := 5*time.Second, 60*time.Second
	if length < 10*time.Minute { // in every test run
		length, shortest, longest = 16*time.Second, 2*time.Second, 8*time.Second
	}
	rnd := random(t)
	c := &churn{soak: newSoak(t, slots, length, 0), shortest: shortest, longest: longest}
	done := make(chan struct{})
	defer close(done)
	go c.feel(done)
	before := c.take()
	var wg sync.WaitGroup
	all := make([]*couple, slots)
	for i := range all {
		all[i] = c.couple(i, rnd.Uint64())
		wg.Go(all[i].run)
	}
	c.watch(slots)
	wg.Wait()
	t.Logf("the last call is over after %s; %d windows heard, %d packets", time.Since(c.start).Round(time.Second), c.windows.Load(), c.packets.Load())
	for _, k := range all {
		k.out.phone.Close()
		k.in.phone.Close()
	}
	c.verdict()
	c.nothingLeft(before)
}

// feel notes when the machine stands still: what is made by timers sounds bad
// then, and it is not the PBX that is to blame.
func (c *churn) feel(done chan struct{}) {
	last := time.Now()
	for {
		select {
		case <-done:
			return
		case <-time.After(10 * time.Millisecond):
		}
		if now := time.Now(); now.Sub(last) > 60*time.Millisecond {
			c.stalled.Store(int64(now.Sub(c.start)))
		}
		last = time.Now()
	}
}

// maxTold bounds what is told of what went wrong.
const maxTold = 50

func (c *churn) verdict() {
	c.t.Helper()
	c.t.Logf("done: %v", c.counts)
	if len(c.odd) > maxTold {
		c.t.Errorf("%d things went wrong; the first of them:", len(c.odd))
		c.odd = c.odd[:maxTold]
	}
	// On a busy machine its own fault cannot be told from ours once in a while.
	tolerated := int(c.windows.Load() / 10_000)
	for i, what := range c.odd {
		if len(c.odd) > tolerated {
			c.t.Error(what)
		} else {
			c.t.Logf("tolerated, %d of %d: %s", i+1, tolerated, what)
		}
	}
	for _, what := range []string{"call", "relayed", "recoded", "converted", "plain", "SDES", "DTLS", "DTLS, no mux", "hold", "new keys", "new stream", "new port", "late offer", "loss", "digits"} {
		if c.counts[what] == 0 {
			c.t.Errorf("nobody did %q", what)
		}
	}
}

// party is a phone with a tone of its own.
type party struct {
	phone  *siptest.Phone
	facts  pbx.PhoneFacts
	tone   float64
	kind   string
	codecs []string
	since  time.Time // when it registered
}

// couple is two phones that call each other until the time is over.
type couple struct {
	c       *churn
	rnd     *rand.Rand
	out, in *party
	changes int
}

// protections are the kinds of phones.
func protections() []string { return []string{"plain", "SDES", "DTLS", "DTLS, no mux"} }

func (c *churn) couple(i int, seed uint64) *couple {
	k := &couple{c: c, rnd: rand.New(rand.NewPCG(seed, uint64(i))), changes: i}
	kinds, codecs := protections(), [][]string{{"PCMU"}, {"PCMA"}, {"PCMU", "PCMA"}}
	from := codecs[i%3]
	if opusCouple(i) {
		from = []string{"opus"}
	}
	k.out = k.plug(2*i, kinds[i%4], from)
	k.in = k.plug(2*i+1, kinds[i/4%4], codecs[(i+i/3)%3])
	return k
}

// opusCouple reports whether a couple's calls are converted by way of samples, which
// is dear: an encoder and a decoder each way.
func opusCouple(i int) bool { return i%6 == 5 }

// plug starts and registers a phone. Tones 10 Hz apart are told apart by windows
// of 100 ms.
func (k *couple) plug(n int, kind string, codecs []string) *party {
	p := &party{facts: k.c.pbx.Facts().Extensions[n], tone: float64(400 + 10*n), kind: kind, codecs: codecs}
	if opusCouple(n / 2) { // high tones come out of an encoder of narrow-band speech as anything
		p.tone = float64(440 + 220*(n%2))
	}
	conf := siptest.Config{
		Server: k.c.server, User: p.facts.SIPUser, Password: p.facts.SIPPassword, Domain: p.facts.Domain, Tone: p.tone, Codecs: codecs,
		Listen: netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), 0), Keep: time.Second, T1: 200 * time.Millisecond, Opportunistic: k.rnd.IntN(2) == 0,
	}
	switch kind {
	case "SDES":
		suites := []string{"AES_CM_128_HMAC_SHA1_80", "AES_256_CM_HMAC_SHA1_80", "AEAD_AES_128_GCM", "AEAD_AES_256_GCM"}
		k.rnd.Shuffle(len(suites), func(i, j int) { suites[i], suites[j] = suites[j], suites[i] })
		conf.Suites = suites[:1+k.rnd.IntN(len(suites))]
	case "DTLS", "DTLS, no mux":
		conf.DTLS, conf.NoMux = true, kind != "DTLS"
	}
	if k.rnd.IntN(2) == 0 {
		conf.FirstSequence = 65400 // wraps in most calls
	}
	var err error
	if p.phone, err = siptest.Start(conf); err != nil {
		k.c.t.Fatal(err)
	}
	k.register(p)
	return p
}

// register registers a phone again, in good time.
func (k *couple) register(p *party) {
	if time.Since(p.since) < 4*time.Minute {
		return
	}
	ctx, cancel := context.WithTimeout(k.c.t.Context(), 30*time.Second)
	defer cancel()
	if err := p.phone.Register(ctx); err != nil {
		k.c.strange("%s registering: %v", p.facts.Number, err)
		return
	}
	p.since = time.Now()
	k.c.count("registered")
}

func (k *couple) run() {
	time.Sleep(time.Duration(k.rnd.Int64N(int64(k.c.shortest))))
	for time.Now().Before(k.c.end) {
		k.register(k.out)
		k.register(k.in)
		if err := k.call(); err != nil {
			k.c.strange("%s (%s, %v) calls %s (%s, %v): %v", k.out.facts.Number, k.out.kind, k.out.codecs, k.in.facts.Number, k.in.kind, k.in.codecs, err)
			k.drain()
		}
		if k.rnd.IntN(2) == 0 {
			k.out, k.in = k.in, k.out
		}
		time.Sleep(time.Duration(k.rnd.IntN(1000)) * time.Millisecond)
	}
}

// drain ends what a call that went wrong left at the phones.
func (k *couple) drain() {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	for {
		in, err := k.in.phone.WaitCall(ctx)
		if err != nil {
			return
		}
		_ = in.HangUp()
	}
}

// talk is a call both sides of which are held.
type talk struct {
	*couple
	out, in   *siptest.Call
	converted bool // by way of samples, and not octet by octet as between the laws of G.711
}

// call is one call, from its INVITE to its end.
func (k *couple) call() error {
	length := k.c.shortest + time.Duration(k.rnd.Int64N(int64(k.c.longest-k.c.shortest)))
	end := time.Now().Add(length)
	ctx, cancel := context.WithTimeout(k.c.t.Context(), length+time.Minute)
	defer cancel()
	out, err := k.out.phone.Call(ctx, k.in.facts.Number)
	if err != nil {
		return err
	}
	defer func() { _ = out.HangUp() }()
	in, err := k.in.phone.WaitCall(ctx)
	if err != nil {
		return fmt.Errorf("no INVITE came, the caller's status is %d: %w", out.Status(), err)
	}
	defer func() { _ = in.HangUp() }()
	if err := in.Answer(); err != nil {
		return err
	}
	if err := out.Wait(ctx, siptest.Answered); err != nil {
		return err
	}
	k.c.count("call")
	k.c.count(k.out.kind)
	k.c.count(k.in.kind)
	t := &talk{couple: k, out: out, in: in}
	switch {
	case common(k.out.codecs, k.in.codecs):
		k.c.count("relayed")
	case k.out.codecs[0] == "opus" || k.in.codecs[0] == "opus":
		t.converted = true
		k.c.count("converted")
	default:
		k.c.count("recoded")
	}
	if err := t.hear(ctx, "answered"); err != nil {
		return err
	}
	for time.Until(end) > 2*time.Second {
		if what, err := t.change(ctx); err != nil {
			return fmt.Errorf("%s: %w", what, err)
		} else if err := t.hear(ctx, what); err != nil {
			return err
		}
		time.Sleep(min(time.Until(end), time.Duration(k.rnd.IntN(6000))*time.Millisecond))
	}
	a, b := out, in
	if k.rnd.IntN(2) == 0 {
		a, b = in, out
	}
	if err := a.HangUp(); err != nil {
		return err
	}
	return b.Wait(ctx, siptest.Ended)
}

// common reports whether two lists have something in common.
func common(a, b []string) bool {
	for _, x := range a {
		for _, y := range b {
			if x == y {
				return true
			}
		}
	}
	return false
}

// change does one thing to the call, of either side.
func (t *talk) change(ctx context.Context) (what string, err error) {
	c := t.out
	if t.rnd.IntN(2) == 0 {
		c = t.in
	}
	t.changes++ // each in its turn: short drills have all of them too
	switch t.changes % 7 {
	case 0:
		what = "hold"
		if err = c.Hold(ctx); err == nil {
			time.Sleep(time.Duration(t.rnd.IntN(1500)) * time.Millisecond)
			err = c.Resume(ctx)
		}
	case 1:
		what, err = "new keys", c.ReInvite(ctx, siptest.Offer{Rekey: true})
	case 2:
		what, err = "new stream", c.ReInvite(ctx, siptest.Offer{NewStream: true})
	case 3:
		what, err = "new port", c.ReInvite(ctx, siptest.Offer{Move: true})
	case 4:
		what, err = "late offer", c.ReInvite(ctx, siptest.Offer{Late: true})
	case 5:
		what, err = "loss", t.lose()
	case 6:
		what, err = "digits", t.dial(ctx)
	}
	t.c.count(what)
	return what, err
}

// lose loses packets of the caller for a while: the callee misses those and no
// others, or none where they are made good.
func (t *talk) lose() error {
	before := t.in.Heard().Lost
	t.out.Impair(impair.Profile{Loss: 0.05}, impair.Profile{}, t.rnd.Uint64())
	time.Sleep(1500 * time.Millisecond)
	lost, _ := t.out.Impaired()
	t.out.Impair(impair.Profile{}, impair.Profile{}, 0)
	time.Sleep(300 * time.Millisecond) // the next packets tell what was lost
	want := lost.Lost
	if t.converted {
		want = 0
	}
	if got := t.in.Heard().Lost - before; got != want {
		return fmt.Errorf("%d packets of the caller were lost, the callee misses %d", lost.Lost, got)
	}
	return nil
}

func (t *talk) dial(ctx context.Context) error {
	before := t.out.Heard().Digits
	if err := t.in.SendDigits(ctx, "4"); err != nil {
		return err
	}
	if t.converted {
		return nil // such phones would need a clock of 48000 Hz
	}
	time.Sleep(200 * time.Millisecond)
	if got := t.out.Heard().Digits; got != before+"4" && len(before) < 60 {
		return fmt.Errorf("digits %q after %q", got, before)
	}
	return nil
}

// window is how long is listened to.
const window = 1200 * time.Millisecond

// hear listens to both sides: nothing is lost, everything decrypts, and each hears
// the other alone.
func (t *talk) hear(ctx context.Context, when string) error {
	for _, c := range []*siptest.Call{t.out, t.in} {
		if err := c.WaitKeys(ctx); err != nil {
			return fmt.Errorf("%s: %w", when, err)
		}
	}
	time.Sleep(400 * time.Millisecond) // what was on its way, and what a jitter buffer holds
	begun := time.Since(t.c.start)
	a, b := t.out.Heard(), t.in.Heard()
	time.Sleep(window)
	for _, x := range []struct {
		side          string
		call          *siptest.Call
		before        siptest.Heard
		wanted, other float64
	}{{"caller", t.out, a, t.couple.in.tone, t.couple.out.tone}, {"callee", t.in, b, t.couple.out.tone, t.couple.in.tone}} {
		h := x.call.Heard()
		t.c.windows.Add(1)
		t.c.packets.Add(int64(h.Packets - x.before.Packets))
		at := x.call.Remote().Addr
		if h.Lost != x.before.Lost || h.ForgedFrom(at) != x.before.ForgedFrom(at) {
			return fmt.Errorf("%s: the %s with %q at %s, we at %s, misses %d packets, and %d do not decrypt: %v",
				when, x.side, x.call.Suite(), x.call.MediaAddr(), at, h.Lost-x.before.Lost, h.ForgedFrom(at)-x.before.ForgedFrom(at), h.Forgeries)
		}
		if t.converted && time.Duration(t.c.stalled.Load()) > begun-time.Second {
			t.c.count("machine stood still")
			continue
		}
		want, bound := 0.9, 0.01
		if t.converted {
			want, bound = 0.7, 0.15
		}
		if h.Duration() < window/2 || h.Share(x.wanted) < want || h.Share(x.other) > bound {
			return fmt.Errorf("%s: the %s with %q hears %.3f of %g Hz and %.3f of %g Hz: %s", when, x.side, x.call.Suite(), h.Share(x.wanted), x.wanted, h.Share(x.other), x.other, h)
		}
	}
	return nil
}
