package guard

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"ringfence/internal/telephony"
)

var (
	start    = time.Unix(1_800_000_000, 0)
	attacker = netip.MustParseAddr("192.0.2.66")
	office   = netip.MustParseAddr("198.51.100.7")
)

func from(a netip.Addr, name string) Request {
	return Request{Source: a, Name: name, User: name, Proven: true, UserAgent: "tester"}
}

// forged is a request whose source nobody can prove.
func forged(a netip.Addr, name string) Request { return Request{Source: a, Name: name} }

func TestFiftiethWrongPasswordBans(t *testing.T) {
	t.Parallel()
	g := New(Config{})
	now := start
	for i := range 49 {
		now = now.Add(180 * time.Millisecond)
		if _, banned := g.Wrong(from(attacker, "101"), now); banned {
			t.Fatalf("banned after %d", i+1)
		}
	}
	v, banned := g.Wrong(from(attacker, "101"), now)
	if !banned || v.Source != attacker || v.Offence != WrongAnswers || !v.Proven || v.Evidence != (telephony.Evidence{UserAgent: "tester", Target: "101", Count: 50}) {
		t.Fatalf("%v %+v", banned, v)
	}
	if left := v.Until.Sub(now); left != time.Hour {
		t.Errorf("for %s", left)
	}
	if _, again := g.Wrong(from(attacker, "101"), now); again {
		t.Error("one ban is passed twice")
	}
	if _, other := g.Wrong(from(office, "101"), now); other {
		t.Error("somebody else is banned")
	}
	g.Pardon(attacker)
	if _, soon := g.Wrong(from(attacker, "101"), now); soon {
		t.Error("one wrong password after a pardon bans")
	}
}

// A phone on a bad line repeats its request: that is one guess. To give the same
// credentials over and over is no way around the limits either.
func TestRetransmissionIsNoOtherGuess(t *testing.T) {
	t.Parallel()
	g, now := New(Config{}), start
	tries := func(n int) (banned bool) {
		for i := range n {
			r := from(attacker, "101")
			r.Credentials = fmt.Sprintf("Digest response=%d", i/7)
			g.Challenged(forged(attacker, "101"), now)
			_, b := g.Wrong(r, now)
			banned = banned || b
		}
		return banned
	}
	if tries(7 * 49) {
		t.Error("49 guesses, each sent seven times, ban")
	}
	if !tries(7 * 50) {
		t.Error("50 more do not")
	}
	g, banned := New(Config{}), Offence("")
	for range 2000 {
		r := from(attacker, "101")
		r.Credentials = "Digest response=1"
		if v, b := g.Wrong(r, now); b {
			banned = v.Offence
		}
	}
	if banned != Unanswered {
		t.Errorf("2000 times the same: %q", banned)
	}
}

// A source that stays below a limit is never banned, however long it goes on.
func TestSlowerThanTheLimitIsNeverBanned(t *testing.T) {
	t.Parallel()
	p := telephony.DefaultProtection()
	for _, c := range []struct {
		limit int
		do    func(*Guard, time.Time) bool
	}{
		{p.WrongAnswers, func(g *Guard, now time.Time) bool { _, b := g.Wrong(from(attacker, "101"), now); return b }},
		{p.Unanswered, func(g *Guard, now time.Time) bool { _, b := g.Challenged(forged(attacker, "101"), now); return b }},
		{p.Malformed, func(g *Guard, now time.Time) bool { _, b := g.Malformed(forged(attacker, ""), now); return b }},
	} {
		for _, x := range []struct {
			rate float64
			bans bool
		}{{0.95, false}, {1.2, true}} {
			g := New(Config{})
			every := time.Duration(float64(p.Period) / (x.rate * float64(c.limit)))
			banned := false
			for now := start; now.Before(start.Add(time.Minute)); now = now.Add(every) {
				banned = c.do(g, now) || banned
			}
			if banned != x.bans {
				t.Errorf("limit %d, rate %.2f: banned %v", c.limit, x.rate, banned)
			}
		}
	}
}

func TestChallengesThatNobodyAnswersBan(t *testing.T) {
	t.Parallel()
	g := New(Config{})
	now := start
	for range 999 {
		now = now.Add(time.Millisecond)
		if _, banned := g.Challenged(forged(attacker, "101"), now); banned {
			t.Fatal("banned too early")
		}
	}
	if v, banned := g.Challenged(forged(attacker, "101"), now); !banned || v.Offence != Unanswered || v.Evidence.Count != 1000 || v.Proven {
		t.Errorf("%v %+v", banned, v)
	}
}

// An office of 200 phones comes back after a power cut, twice, and calls: nobody
// is banned for being challenged.
func TestPhonesThatAnswerAreNeverBanned(t *testing.T) {
	t.Parallel()
	g := New(Config{})
	now := start
	for round := range 2 {
		for i := range 200 {
			now = now.Add(5 * time.Millisecond)
			if _, banned := g.Challenged(from(office, fmt.Sprint(i)), now); banned {
				t.Fatalf("round %d: phone %d", round, i)
			}
		}
		for i := range 200 {
			now = now.Add(5 * time.Millisecond)
			g.Right(from(office, fmt.Sprint(i)), now)
		}
	}
	for i := range 3000 {
		now = now.Add(3 * time.Millisecond)
		if _, banned := g.Challenged(from(office, "5551234"), now); banned {
			t.Fatalf("call %d", i)
		}
		g.Right(from(office, "5551234"), now)
	}
	// The same from one that never proves anything to begin with, but answers.
	for i := range 3000 {
		now = now.Add(3 * time.Millisecond)
		if _, banned := g.Challenged(from(attacker, "1"), now); banned {
			t.Fatalf("challenge %d", i)
		}
		g.Stale(from(attacker, "1"), now)
	}
}

func TestScanForNamesBans(t *testing.T) {
	t.Parallel()
	for _, every := range []time.Duration{time.Millisecond, 100 * time.Millisecond, 5 * time.Second} {
		g := New(Config{})
		now, names := start, 0
		for range 2000 {
			now = now.Add(every)
			names++
			v, banned := g.Challenged(forged(attacker, fmt.Sprint(names)), now)
			if banned {
				if v.Offence != Scan && v.Offence != Unanswered {
					t.Errorf("%+v", v)
				}
				break
			}
		}
		if took := now.Sub(start); names == 2000 || every > time.Millisecond && (took < grace || names > 70+int(grace/every)) {
			t.Errorf("one name in %s: banned after %d in %s", every, names, took)
		}
	}
	g := New(Config{}) // a phone with credentials it cannot use, for a day
	for now := start; now.Before(start.Add(24 * time.Hour)); now = now.Add(30 * time.Second) {
		if _, banned := g.Challenged(forged(office, "101"), now); banned {
			t.Fatal("one phone is taken for a scanner")
		}
	}
}

// Whoever proved a password is not banned by what anybody can write the source
// of; for wrong passwords it is.
func TestForgedEvidenceConvictsNobodyTrusted(t *testing.T) {
	t.Parallel()
	g := New(Config{})
	now := start
	g.Right(from(office, "101"), now)
	for i := range 5000 {
		now = now.Add(time.Millisecond)
		for _, f := range []func(Request, time.Time) (Verdict, bool){g.Challenged, g.Wrong, g.Malformed} {
			if v, banned := f(forged(office, fmt.Sprint(i)), now); banned {
				t.Fatalf("%+v", v)
			}
		}
	}
	banned := false
	for range 50 {
		_, b := g.Wrong(from(office, "101"), now)
		banned = banned || b
	}
	if !banned {
		t.Error("50 wrong passwords go unpunished")
	}
	later := now.Add(trust + time.Minute)
	banned = false
	for range 1000 {
		_, b := g.Challenged(forged(office, "x"), later)
		banned = banned || b
	}
	if !banned {
		t.Error("trust has no end")
	}
}

func TestSparedSourcesAreNotCounted(t *testing.T) {
	t.Parallel()
	g := New(Config{Spared: func(a netip.Addr) bool { return a == office }})
	for range 2000 {
		_, a := g.Wrong(from(office, "101"), start)
		_, b := g.Challenged(forged(office, "101"), start)
		if a || b || g.Worn(from(office, "101"), start) {
			t.Fatal("a source that is to be left alone is not")
		}
	}
}

// Guessing slowly ends, too: for the name and the source, not for the others
// there.
func TestSlowGuessingIsNotLookedAt(t *testing.T) {
	t.Parallel()
	g := New(Config{})
	now := start
	tries := 0
	for ; now.Before(start.Add(10 * time.Minute)); now = now.Add(2 * time.Second) {
		if g.Worn(from(attacker, "101"), now) {
			continue
		}
		tries++
		r := from(attacker, "101")
		r.Name = fmt.Sprint(tries) // whatever the request says it is about
		if _, banned := g.Wrong(r, now); banned {
			t.Fatal("banned; this test is about slower ones")
		}
	}
	if tries < 50 || tries > 60 {
		t.Errorf("%d of 300 guesses were looked at", tries)
	}
	if g.Worn(from(attacker, "102"), now) || g.Worn(from(office, "101"), now) {
		t.Error("others suffer")
	}
	if g.Worn(from(attacker, "101"), now.Add(15*time.Minute)) {
		t.Error("it has no end")
	}
}

func TestAttackToolsGetNoAnswer(t *testing.T) {
	t.Parallel()
	p := telephony.DefaultProtection()
	p.UserAgents = append(p.UserAgents, "scan*v2")
	g := New(Config{})
	g.Configure(p, telephony.DefaultPacketLimits())
	sdp := func(name string) []byte {
		return []byte("v=0\r\no=x\r\ns=" + name + "\r\nm=audio 1 RTP/AVP 0\r\ns=portsip.com\r\n")
	}
	for _, c := range []struct {
		agent string
		body  []byte
		drop  bool
	}{
		{"friendly-scanner", nil, true},
		{"My FRIENDLY-Scanner 1.0", nil, true},
		{"Yealink SIP-T46U 108.86", nil, false},
		{"", nil, false},
		{"scanner of v2", nil, true},
		{"v2 scan", nil, false},
		{"", sdp("portsip.com"), true},
		{"Zoiper", sdp("PORTSIP.COM"), true},
		{"Zoiper", sdp("-"), false},
	} {
		drop, _, banned := g.Screen(Request{Source: attacker, UserAgent: c.agent, Proven: true}, c.body, start)
		if drop != c.drop || banned {
			t.Errorf("%q, %q: drop %v, banned %v", c.agent, c.body, drop, banned)
		}
	}
	p.BanTools = true
	g.Configure(p, telephony.DefaultPacketLimits())
	if _, _, banned := g.Screen(Request{Source: attacker, UserAgent: "sipvicious"}, nil, start); banned {
		t.Error("a source that may be forged is banned")
	}
	if _, v, banned := g.Screen(Request{Source: attacker, UserAgent: "sipvicious", Proven: true}, nil, start); !banned || v.Offence != Tool {
		t.Error("a scanner over TCP is not banned")
	}
	g.Right(from(office, "101"), start)
	if drop, _, _ := g.Screen(Request{Source: office, UserAgent: "sipcli"}, nil, start); drop {
		t.Error("a phone that proved its password is dropped for its name")
	}
}

func TestCallersHaveLimits(t *testing.T) {
	t.Parallel()
	g := New(Config{})
	who, now := Caller{Tenant: 1, Number: "101"}, start
	told := 0
	for i := range 600 { // ten a second for a minute, six a second are possible
		now = now.Add(100 * time.Millisecond)
		offence, first := g.Call(who, "200", now)
		if i < 60 && offence != "" {
			t.Fatalf("call %d: %s", i, offence)
		}
		if first {
			told++
		}
	}
	if told < 1 || told > 6 {
		t.Errorf("told %d times", told)
	}
	if offence, _ := g.Call(Caller{Tenant: 2, Number: "101"}, "200", now); offence != "" {
		t.Error("another organisation's caller is refused")
	}
	if offence, _ := g.Call(who, "200", now.Add(20*time.Second)); offence != "" {
		t.Errorf("slower, and still refused: %s", offence)
	}
}

// A telephone does not ring without end because several callers take turns; other
// telephones, and the same number of another organisation, do not suffer.
func TestManyCallersOfOneNumberAreRefused(t *testing.T) {
	t.Parallel()
	g := New(Config{})
	limit := telephony.DefaultProtection().Calls
	now, let, told := start, 0, 0
	for i := range 4 * limit { // 48 a second, of five callers
		now = now.Add(time.Second / 48)
		offence, first := g.Call(Caller{1, fmt.Sprint(i % 5)}, "200", now)
		switch {
		case offence == "":
			let++
		case offence != TooManyTo:
			t.Fatalf("call %d: %s", i, offence)
		case first:
			told++
		}
	}
	if let != limit || told != 1 {
		t.Errorf("%d of %d calls let through, told %d times", let, 4*limit, told)
	}
	if offence, _ := g.Call(Caller{1, "1"}, "201", now); offence != "" {
		t.Errorf("another number: %s", offence)
	}
	if offence, _ := g.Call(Caller{2, "1"}, "200", now); offence != "" {
		t.Errorf("another organisation: %s", offence)
	}
	if offence, _ := g.Call(Caller{1, "1"}, "200", now.Add(11*time.Second)); offence != "" {
		t.Errorf("a period later: %s", offence)
	}
}

func TestDiallingNumbersNobodyHas(t *testing.T) {
	t.Parallel()
	g := New(Config{})
	who, now := Caller{Tenant: 1, Number: "101"}, start
	for range 300 { // somebody redials a number that is gone
		now = now.Add(time.Second)
		if _, refused := g.Unknown(who, "555", now); refused {
			t.Fatal("one wrong number is taken for war dialling")
		}
	}
	refused := 0
	for i := range 60 {
		now = now.Add(2 * time.Second)
		if until, yes := g.Unknown(who, fmt.Sprint(i), now); yes {
			refused++
			if until != now.Add(time.Hour) {
				t.Error(until)
			}
		}
	}
	if offence, _ := g.Call(who, "200", now); refused != 1 || offence != WarDialling {
		t.Errorf("refused %d times, then %q", refused, offence)
	}
	g.Forgive(who)
	if offence, _ := g.Call(who, "200", now); offence != "" {
		t.Error("not forgiven")
	}
}

// S03: there is a switch.
func TestDetectionCanBeSwitchedOff(t *testing.T) {
	t.Parallel()
	g := New(Config{})
	p := telephony.DefaultProtection()
	p.Detect = false
	g.Configure(p, telephony.DefaultPacketLimits())
	for i := range 5000 {
		_, a := g.Wrong(from(attacker, fmt.Sprint(i)), start)
		_, b := g.Challenged(forged(attacker, fmt.Sprint(i)), start)
		offence, _ := g.Call(Caller{1, "101"}, "200", start)
		if a || b || offence != "" {
			t.Fatal("it is off")
		}
	}
	if len(g.sources.members)+len(g.guesses.members)+len(g.callers.members)+len(g.called.members) != 0 {
		t.Error("it counts nevertheless")
	}
}

// S07, S08 for connections: below the limit for a minute nobody is banned, above
// it for 30 seconds, and who goes on four times as fast for an hour.
func TestMessagesOfConnectionsHaveLimits(t *testing.T) {
	t.Parallel()
	l := telephony.DefaultPacketLimits()
	rate := func(g *Guard, a netip.Addr, from time.Time, perSecond float64, length time.Duration) (bans []Verdict) {
		every := time.Duration(float64(time.Second) / perSecond)
		for now := from; now.Before(from.Add(length)); now = now.Add(every) {
			if v, banned := g.Message(a, now); banned {
				bans = append(bans, v)
			}
		}
		return bans
	}
	g := New(Config{})
	if bans := rate(g, attacker, start, 0.95*float64(l.L1), time.Minute); len(bans) != 0 {
		t.Errorf("below the limit: %+v", bans)
	}
	bans := rate(g, attacker, start.Add(2*time.Minute), 1.3*float64(l.L1), 5*time.Second)
	if len(bans) != 1 || bans[0].Offence != Flood || !bans[0].Proven || bans[0].Evidence.Count != l.L1+1 {
		t.Fatalf("above level 1: %+v", bans)
	}
	bans = rate(g, attacker, start.Add(2*time.Minute+5*time.Second), 1.3*float64(l.L2), 2*time.Second)
	if len(bans) != 1 || bans[0].Until.Sub(start) < 50*time.Minute {
		t.Errorf("above level 2: %+v", bans)
	}
	g.Right(from(office, "101"), start)
	if bans := rate(g, office, start, 4*float64(l.L1), 2*time.Second); len(bans) != 0 {
		t.Errorf("an office whose phones proved their passwords: %+v", bans)
	}
}

func TestSpoofedSourcesStayBounded(t *testing.T) {
	t.Parallel()
	g := New(Config{})
	for i := range 200_000 {
		a := netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})
		g.Challenged(forged(a, fmt.Sprint(i)), start.Add(time.Duration(i)*time.Microsecond))
		g.Wrong(from(a, "101"), start)
		g.Trust(a, start.Add(time.Hour))
		g.Call(Caller{1, a.String()}, a.String(), start)
	}
	if len(g.sources.members) > maxSources || len(g.guesses.members) > maxSources || len(g.trusted.members) > maxTrusted || len(g.callers.members) > maxCallers || len(g.called.members) > maxCallers {
		t.Errorf("%d sources, %d guesses, %d trusted, %d callers", len(g.sources.members), len(g.guesses.members), len(g.trusted.members), len(g.callers.members))
	}
}

func TestIPv6CountsByNetwork(t *testing.T) {
	t.Parallel()
	g := New(Config{})
	banned := false
	for i := range 50 {
		a := netip.MustParseAddr(fmt.Sprintf("2001:db8:1:2::%x", i))
		v, b := g.Wrong(from(a, "101"), start)
		if banned = b; b && v.Source != netip.MustParseAddr("2001:db8:1:2::") {
			t.Error(v.Source)
		}
	}
	if !banned {
		t.Error("an attacker with a /64 has a limit for each address of it")
	}
}

// FuzzGuard feeds any order of events and times.
func FuzzGuard(f *testing.F) {
	f.Add([]byte("\x00\x01\x02\x03\x04\x05\x06\x07\x08\x10\x20\x30"))
	f.Fuzz(func(t *testing.T, ops []byte) {
		g := New(Config{})
		now := start
		for i, op := range ops {
			now = now.Add(time.Duration(int8(op)) * time.Duration(i) * 10 * time.Millisecond) // backwards, too
			r := Request{Source: netip.AddrFrom4([4]byte{192, 0, 2, op >> 4}), Name: fmt.Sprint(op >> 3), Proven: op&1 == 0, UserAgent: string(ops[:i])}
			var v Verdict
			var banned bool
			switch op % 8 {
			case 0, 1:
				v, banned = g.Challenged(r, now)
			case 2, 3:
				v, banned = g.Wrong(r, now)
			case 4:
				g.Right(r, now)
			case 5:
				v, banned = g.Malformed(r, now)
			case 6:
				g.Unknown(Caller{1, r.Name}, r.Name, now)
			case 7:
				g.Screen(r, ops, now)
			}
			if banned && (v.Offence == "" || !v.Until.After(now) || len(v.Evidence.UserAgent) > maxEvidence) {
				t.Fatalf("%+v", v)
			}
		}
		for _, m := range g.sources.members {
			if len(m.value.names) > telephony.DefaultProtection().Names {
				t.Fatal(len(m.value.names))
			}
		}
	})
}

// A phone whose password was changed asks every minute for a day; so do forty in
// one office, among others that are right. None of it bans the office or stops
// the others.
func TestPhonesWithAnOldPasswordBanNobody(t *testing.T) {
	t.Parallel()
	g := New(Config{})
	for second := range 24 * 3600 {
		now := start.Add(time.Duration(second) * time.Second)
		phone := second % 60
		if phone >= 40 {
			continue
		}
		name := fmt.Sprint(phone)
		g.Challenged(from(office, name), now)
		r := from(office, name)
		r.Credentials = fmt.Sprint(second)
		if _, banned := g.Wrong(r, now); banned || g.Worn(r, now) {
			t.Fatalf("after %s: banned %v", now.Sub(start), banned)
		}
	}
}
