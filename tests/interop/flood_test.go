package interop

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"ringfence/firewall/nstest"
	"ringfence/internal/siptest"
	"ringfence/tests/apiclient"
	"ringfence/tests/netlab"
	"ringfence/tests/pbxproc"
)

// siege is a PBX with phones in an office and an attacker elsewhere, who can
// forge any source.
type siege struct {
	host, office, attacker *netlab.Namespace
	pbx                    *pbxproc.Process
	api                    *apiclient.Client
	extensions             []apiclient.Extension
	at                     netip.AddrPort // SIP over UDP
	fence                  bool
}

const (
	siegePBX    = "10.77.0.1"
	officeAddr  = "10.77.0.3"
	officeAdmin = "10.77.0.2"
	attackerIP  = "10.79.0.2"
)

func startSiege(t *testing.T, fence bool, extensions int) *siege {
	t.Helper()
	netlab.Need(t)
	s := &siege{host: netlab.New(t, "pbx"), office: netlab.New(t, "ph"), attacker: netlab.New(t, "at"), fence: fence}
	for _, err := range []error{
		netlab.Join(s.host, "ph0", []string{siegePBX + "/24"}, s.office, "pbx0", []string{officeAdmin + "/24", officeAddr + "/24"}),
		netlab.Join(s.host, "at0", []string{"10.79.0.1/24"}, s.attacker, "pbx1", []string{attackerIP + "/24"}),
		s.attacker.IP("route", "add", "default", "via", "10.79.0.1"),
		s.host.IP("route", "add", "default", "via", attackerIP),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	// What is answered to forged sources is not to come back as errors.
	if err := s.attacker.IP("route", "add", "blackhole", "10.80.0.0/15"); err != nil {
		t.Fatal(err)
	}
	guarded := s.host
	if !fence { // one that filters where nobody is: the PBX itself makes no difference
		guarded = netlab.New(t, "no")
	}
	s.pbx = pbxproc.StartFresh(t, s.host, siegePBX, "-run", startFence(t, guarded).run)
	s.api = apiclient.New(s.pbx.Facts.Admin.URL, "", from(s.office, officeAdmin))
	s.api.Token = s.pbx.Facts.Admin.Token
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	setup := apiclient.DefaultSetup()
	setup.Extensions = extensions
	var err error
	if s.extensions, err = s.api.RunSetup(ctx, setup); err != nil {
		t.Fatal(err)
	}
	s.at = netip.AddrPortFrom(netip.MustParseAddr(siegePBX), sipPort(t, s.api))
	return s
}

func (s *siege) phone(t *testing.T, i int) *siptest.Phone {
	t.Helper()
	e := s.extensions[i]
	p := siptest.NewPhone(t, siptest.Config{
		Server: s.at, User: e.SIPUser, Password: e.SIPPassword, Domain: e.Domain, AutoAnswer: true, Keep: -1,
		Listen: netip.MustParseAddrPort(officeAddr + ":0"), ListenUDP: s.office.ListenUDP,
	})
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for end := time.Now().Add(20 * time.Second); ; {
		err := p.Register(ctx)
		if err == nil {
			return p
		}
		if time.Now().After(end) {
			t.Fatalf("registering extension %s: %v", e.Number, err)
		}
	}
}

// assault is a flood: what it sends, and from whom.
type assault struct {
	name   string
	text   func(i int) []byte // always of one length
	source func(i int) netip.Addr
}

func assaults() []assault {
	one := func(a string) func(int) netip.Addr {
		addr := netip.MustParseAddr(a)
		return func(int) netip.Addr { return addr }
	}
	many := func(i int) netip.Addr {
		return netip.AddrFrom4([4]byte{10, 80, byte(i % 60_000 >> 8), byte(i % 60_000)})
	}
	noise := func(i int) []byte {
		b := make([]byte, 400)
		for j := range b {
			b[j] = byte(i*31 + j*j*17)
		}
		return b
	}
	stranger := func(i int) []byte {
		return fmt.Appendf(nil, "REGISTER sip:pbx.example SIP/2.0\r\nVia: SIP/2.0/UDP %s:5062;rport;branch=z9hG4bKf%09d\r\nMax-Forwards: 70\r\n"+
			"From: <sip:101@pbx.example>;tag=f\r\nTo: <sip:101@pbx.example>\r\nCall-ID: flood-%09d\r\nCSeq: 1 REGISTER\r\nContact: <sip:x@%s:5062>\r\nContent-Length: 0\r\n\r\n", attackerIP, i, i, attackerIP)
	}
	return []assault{
		{"nothing", nil, nil},
		{"junk of one address", noise, one(attackerIP)},
		{"REGISTERs of one address", stranger, one(attackerIP)},
		{"REGISTERs of 60,000 forged sources", stranger, many},
		{"REGISTERs with the phones' own address forged", stranger, one(officeAddr)},
	}
}

// storm sends an assault at a rate for a time; it says how many packets a second
// really left.
func (s *siege) storm(ctx context.Context, t *testing.T, a assault, rate float64, length time.Duration) float64 {
	if a.text == nil {
		select {
		case <-ctx.Done():
		case <-time.After(length):
		}
		return 0
	}
	var out *nstest.Spoofer
	err := s.attacker.Do(func() (err error) {
		out, err = nstest.NewSpoofer(s.at, a.text(0))
		return err
	})
	if err != nil {
		t.Error(err)
		return 0
	}
	defer out.Close()
	sent, err := nstest.Pace(ctx, rate, length, func(i int) error {
		out.Payload(a.text(i))
		return out.Send(a.source(i))
	})
	if err != nil {
		t.Error(err)
	}
	return sent.Rate()
}

// outcome is what became of the phones' calls.
type outcome struct {
	rate        float64 // packets of the flood a second
	tried, up   int
	setUp       []time.Duration // INVITE to 200
	sent, heard int             // RTP of the calls in progress
	before      int             // resident memory of pbxd, KiB
	most        int
	cpu         float64 // of one core, that pbxd used
}

func (o outcome) quantile(q float64) time.Duration {
	if len(o.setUp) == 0 {
		return 0
	}
	return o.setUp[min(len(o.setUp)-1, int(q*float64(len(o.setUp))))]
}

func (o outcome) loss() float64 {
	if o.sent == 0 {
		return 0
	}
	return max(0, 100*(1-float64(o.heard)/float64(o.sent)))
}

// endure lets a flood run beside four calls in progress and new calls of four
// phones, about four a second.
func (s *siege) endure(t *testing.T, a assault, rate float64, length time.Duration, held []*siptest.Call, callers []*siptest.Phone, numbers []string) outcome {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), length+time.Minute)
	defer cancel()
	o := outcome{before: rss(t, s.pbx.PID())}
	spent := processorTime(t, s.pbx.PID())
	count := func() (sent, heard int) {
		for _, c := range held {
			sent += c.Sent()
			heard += c.Heard().Packets
		}
		return sent, heard
	}
	sent, heard := count()
	var flooding sync.WaitGroup
	began := time.Now()
	flooding.Go(func() { o.rate = s.storm(ctx, t, a, rate, length) })
	var mu sync.Mutex
	var calling sync.WaitGroup
	var most atomic.Int64
	for i, p := range callers {
		calling.Go(func() {
			for time.Since(began) < length-time.Second {
				took, err := oneCall(ctx, p, numbers[i])
				mu.Lock()
				o.tried++
				if err == nil {
					o.up++
					o.setUp = append(o.setUp, took)
				} else {
					t.Logf("%s: a call: %v", a.name, err)
				}
				mu.Unlock()
				if err != nil {
					time.Sleep(time.Second)
				}
			}
		})
	}
	flooding.Go(func() {
		for time.Since(began) < length {
			most.Store(max(most.Load(), int64(rss(t, s.pbx.PID()))))
			time.Sleep(200 * time.Millisecond)
		}
	})
	flooding.Wait()
	sentAfter, heardAfter := count()
	o.cpu = (processorTime(t, s.pbx.PID()) - spent).Seconds() / time.Since(began).Seconds()
	calling.Wait()
	o.sent, o.heard, o.most = sentAfter-sent, heardAfter-heard, int(most.Load())
	slices.Sort(o.setUp)
	return o
}

// oneCall sets a call up, talks a little and hangs up.
func oneCall(ctx context.Context, p *siptest.Phone, number string) (time.Duration, error) {
	began := time.Now()
	c, err := p.Call(ctx, number)
	if err != nil {
		return 0, err
	}
	one, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	if err := c.Wait(one, siptest.Answered); err != nil {
		return 0, err
	}
	took := time.Since(began)
	time.Sleep(time.Second)
	return took, c.HangUp()
}

// processorTime is what a process has used.
func processorTime(t *testing.T, pid int) time.Duration {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), ") ")
	f := strings.Fields(rest)
	var ticks int
	for _, field := range f[11:13] { // proc(5): utime, stime
		n, err := strconv.Atoi(field)
		if err != nil {
			t.Fatal(err)
		}
		ticks += n
	}
	return time.Duration(ticks) * 10 * time.Millisecond
}

// Calls are made and go on while 20,000 packets a second arrive: junk, or
// requests of strangers, of one address, of 60,000, or with the address of the
// phones themselves. RINGFENCE_DRILL makes it a minute each, with the fence and
// without, and prints the table; else it is a sample.
func TestCallsGoOnBesideFloods(t *testing.T) {
	full := os.Getenv("RINGFENCE_DRILL") != ""
	length, fences := 3*time.Second, []bool{true}
	if full {
		length, fences = time.Minute, []bool{true, false}
	}
	if text := os.Getenv("RINGFENCE_FLOOD"); text != "" { // shorter drills, for those who work on them
		d, err := time.ParseDuration(text)
		if err != nil {
			t.Fatal(err)
		}
		length = d
	}
	const rate = 20_000
	table := []string{"| flood | fence | packets a second | calls | set up in, p50 | p99 | RTP lost | CPU of pbxd | memory before, most |", "|---|---|---|---|---|---|---|---|---|"}
	for _, fence := range fences {
		s := startSiege(t, fence, 16)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		var phones []*siptest.Phone
		for i := range s.extensions {
			phones = append(phones, s.phone(t, i))
		}
		var held []*siptest.Call
		for i := range 4 {
			out, err := phones[i].Call(ctx, s.extensions[4+i].Number)
			if err != nil {
				t.Fatal(err)
			}
			in, err := phones[4+i].WaitCall(ctx)
			if err != nil {
				t.Fatal(err)
			}
			if err := out.Wait(ctx, siptest.Answered); err != nil {
				t.Fatal(err)
			}
			held = append(held, out, in)
		}
		if fence {
			s.waitKnown(t)
		}
		var numbers []string
		for i, e := range s.extensions[12:] {
			numbers = append(numbers, e.Number)
			go func() { // answers by itself; a phone keeps 64 calls that nobody looks at
				for {
					if _, err := phones[12+i].WaitCall(t.Context()); err != nil {
						return
					}
				}
			}()
		}
		for _, a := range assaults() {
			if !full && a.name != "REGISTERs of one address" {
				continue
			}
			o := s.endure(t, a, rate, length, held, phones[8:12], numbers)
			word := map[bool]string{true: "on", false: "off"}[fence]
			table = append(table, fmt.Sprintf("| %s | %s | %.0f | %d of %d | %v | %v | %.2f %% | %.0f %% | %d, %d MB |", a.name, word, o.rate, o.up, o.tried,
				o.quantile(0.5).Round(time.Millisecond), o.quantile(0.99).Round(time.Millisecond), o.loss(), 100*o.cpu, o.before>>10, o.most>>10))
			t.Log(table[len(table)-1])
			if a.text != nil && o.rate < 0.9*rate {
				t.Logf("%s: the machine sent %.0f of %d packets a second", a.name, o.rate, rate)
			}
			if o.most > o.before*3/2+64<<10 {
				t.Errorf("%s: resident memory grew from %d to %d KiB", a.name, o.before, o.most)
			}
			if !fence {
				continue // to compare with
			}
			if o.up != o.tried || o.tried == 0 {
				t.Errorf("%s: %d of %d calls came up behind the fence", a.name, o.up, o.tried)
			}
			if full && o.loss() >= 1 {
				t.Errorf("%s: calls in progress lost %.2f %% behind the fence", a.name, o.loss())
			}
			for _, c := range held {
				if c.State() != siptest.Answered {
					t.Errorf("%s: a call in progress ended", a.name)
				}
			}
		}
		for _, c := range held {
			_ = c.HangUp()
		}
		s.unbanned(t)
	}
	t.Logf("\n%s", strings.Join(table, "\n"))
}

// waitKnown waits until the packet filter knows the phones' address.
func (s *siege) waitKnown(t *testing.T) {
	t.Helper()
	for end := time.Now().Add(90 * time.Second); ; time.Sleep(100 * time.Millisecond) {
		out, err := s.host.Command(t.Context(), "nft", "list", "set", "inet", "ringfence", "known_4").CombinedOutput()
		if err != nil {
			t.Fatalf("nft: %v: %s", err, out)
		}
		if strings.Contains(string(out), officeAddr) {
			return
		}
		if time.Now().After(end) {
			t.Fatal("the phones' address is not known to the packet filter")
		}
	}
}

// unbanned checks that nobody in the office is banned.
func (s *siege) unbanned(t *testing.T) {
	t.Helper()
	var list struct {
		Items []struct{ Source, Scope, Reason string }
	}
	if err := s.api.Do(t.Context(), "GET", "/security/bans", nil, &list); err != nil {
		t.Fatal(err)
	}
	for _, b := range list.Items {
		if strings.HasPrefix(b.Source, "10.77.") {
			t.Errorf("%s is banned from %s: %s", b.Source, b.Scope, b.Reason)
		}
	}
}
