package ice

import (
	"errors"
	"net/netip"
	"strings"
	"testing"

	"github.com/pion/stun/v4"
)

var (
	phone    = netip.MustParseAddrPort("192.0.2.10:40000")
	elsehere = netip.MustParseAddrPort("[2001:db8::7]:40001")
)

// peer is the controlling agent of a test.
type peer struct{ local, remote Credentials }

func newPeer(a *Agent) peer { return peer{local: NewCredentials(), remote: a.Local()} }

// check builds a check of the peer with more attributes than it must have.
func (p peer) check(t testing.TB, more ...stun.Setter) []byte {
	t.Helper()
	list := []stun.Setter{stun.TransactionID, stun.BindingRequest,
		stun.NewUsername(p.remote.Ufrag + ":" + p.local.Ufrag),
		stun.RawAttribute{Type: stun.AttrPriority, Value: []byte{110, 0, 0, 1}}}
	list = append(list, more...)
	list = append(list, stun.MessageIntegrity(p.remote.Pwd), stun.Fingerprint)
	m, err := stun.Build(list...)
	if err != nil {
		t.Fatal(err)
	}
	return m.Raw
}

func controlling() stun.Setter {
	return stun.RawAttribute{Type: stun.AttrICEControlling, Value: []byte("tiebreak")}
}

func controlled() stun.Setter {
	return stun.RawAttribute{Type: stun.AttrICEControlled, Value: []byte("tiebreak")}
}

func useCandidate() stun.Setter { return stun.RawAttribute{Type: stun.AttrUseCandidate} }

// read checks integrity and fingerprint of a reply.
func read(t *testing.T, reply []byte, pwd string) *stun.Message {
	t.Helper()
	m := &stun.Message{}
	if err := stun.Decode(reply, m); err != nil {
		t.Fatalf("reading the reply: %v", err)
	}
	if err := stun.MessageIntegrity(pwd).Check(m); err != nil {
		t.Fatalf("reply: %v", err)
	}
	if err := stun.Fingerprint.Check(m); err != nil {
		t.Fatalf("reply: %v", err)
	}
	return m
}

func TestCheckIsAnsweredWithTheSourceItCameFrom(t *testing.T) {
	for _, from := range []netip.AddrPort{phone, elsehere} {
		a := NewAgent()
		p := newPeer(a)
		a.Offered(p.local)
		request := p.check(t, controlling())
		reply, nominated := a.Handle(request, from, nil)
		m := read(t, reply, a.Local().Pwd)
		if m.Type != stun.BindingSuccess || string(reply[8:20]) != string(request[8:20]) {
			t.Fatalf("reply is %v of another transaction", m.Type)
		}
		var mapped stun.XORMappedAddress
		if err := mapped.GetFrom(m); err != nil {
			t.Fatal(err)
		}
		addr, _ := netip.AddrFromSlice(mapped.IP)
		if got := netip.AddrPortFrom(addr.Unmap(), uint16(mapped.Port)); got != from {
			t.Errorf("XOR-MAPPED-ADDRESS is %v, want %v", got, from)
		}
		if nominated || a.Selected().IsValid() {
			t.Error("a check without USE-CANDIDATE selected a pair")
		}
	}
}

func TestUseCandidateSelectsAndRenominationMoves(t *testing.T) {
	a := NewAgent()
	p := newPeer(a)
	a.Offered(p.local)
	for _, step := range []struct {
		from netip.AddrPort
		want bool
	}{{phone, true}, {phone, false}, {elsehere, true}, {phone, true}} {
		if _, nominated := a.Handle(p.check(t, controlling(), useCandidate()), step.from, nil); nominated != step.want {
			t.Errorf("nomination from %v reported %v, want %v", step.from, nominated, step.want)
		}
		if a.Selected() != step.from {
			t.Errorf("selected %v, want %v", a.Selected(), step.from)
		}
	}
}

func TestWhatDoesNotVerifyGetsNothingAndChangesNothing(t *testing.T) {
	a := NewAgent()
	p := newPeer(a)
	a.Offered(p.local)
	a.Handle(p.check(t, useCandidate()), phone, nil)
	other := func(change func(*peer)) []byte {
		q := p
		change(&q)
		return q.check(t, controlling(), useCandidate())
	}
	good := p.check(t, useCandidate())
	plain := func(list ...stun.Setter) []byte {
		return stun.MustBuild(append([]stun.Setter{stun.TransactionID}, list...)...).Raw
	}
	flipped := append([]byte(nil), good...)
	flipped[30] ^= 1
	for name, datagram := range map[string][]byte{
		"another password":       other(func(q *peer) { q.remote.Pwd = NewCredentials().Pwd }),
		"another local ufrag":    other(func(q *peer) { q.remote.Ufrag = "guess" }),
		"another remote ufrag":   other(func(q *peer) { q.local.Ufrag = "guess" }),
		"a changed byte":         flipped,
		"no integrity":           plain(stun.BindingRequest, stun.NewUsername(p.remote.Ufrag+":"+p.local.Ufrag), stun.Fingerprint),
		"no user name":           plain(stun.BindingRequest, stun.MessageIntegrity(p.remote.Pwd), stun.Fingerprint),
		"no fingerprint":         plain(stun.BindingRequest, stun.NewUsername(p.remote.Ufrag+":"+p.local.Ufrag), stun.MessageIntegrity(p.remote.Pwd)),
		"a bare request":         plain(stun.BindingRequest, stun.Fingerprint),
		"a response":             plain(stun.BindingSuccess, stun.Fingerprint),
		"an indication":          plain(stun.NewType(stun.MethodBinding, stun.ClassIndication), stun.Fingerprint),
		"an allocation":          plain(stun.NewType(stun.MethodAllocate, stun.ClassRequest), stun.Fingerprint),
		"bytes behind":           append(append([]byte(nil), good...), 0, 0, 0, 0),
		"a cut":                  good[:len(good)-4],
		"nothing":                {},
		"a header that promises": {0, 1, 0xff, 0xfc},
	} {
		before := a.Stats()
		reply, nominated := a.Handle(datagram, elsehere, nil)
		if len(reply) > 0 || nominated || a.Selected() != phone {
			t.Errorf("%s: reply of %d bytes, nominated %v, selected %v", name, len(reply), nominated, a.Selected())
		}
		if now := a.Stats(); now.Strangers+now.Malformed != before.Strangers+before.Malformed+1 || now.Answered != before.Answered {
			t.Errorf("%s: counted %+v after %+v", name, now, before)
		}
	}
}

func TestErrorResponsesGoOnlyToWhoVerifies(t *testing.T) {
	a := NewAgent()
	p := newPeer(a)
	a.Offered(p.local)
	noPriority := stun.MustBuild(stun.TransactionID, stun.BindingRequest, stun.NewUsername(p.remote.Ufrag+":"+p.local.Ufrag),
		useCandidate(), stun.MessageIntegrity(p.remote.Pwd), stun.Fingerprint).Raw
	for name, c := range map[string]struct {
		request []byte
		want    stun.ErrorCode
	}{
		"role conflict":               {p.check(t, controlled(), useCandidate()), 487},
		"unknown attribute to comply": {p.check(t, controlling(), useCandidate(), stun.RawAttribute{Type: 0x7abc, Value: []byte("x")}), 420},
		"no priority":                 {noPriority, 400},
	} {
		reply, nominated := a.Handle(c.request, phone, nil)
		m := read(t, reply, a.Local().Pwd)
		var code stun.ErrorCodeAttribute
		if err := code.GetFrom(m); err != nil || m.Type != stun.BindingError || code.Code != c.want {
			t.Errorf("%s: %v with code %d, want error %d", name, m.Type, code.Code, c.want)
		}
		if nominated || a.Selected().IsValid() {
			t.Errorf("%s selected a pair", name)
		}
	}
	if reply, _ := a.Handle(p.check(t, controlling(), stun.RawAttribute{Type: 0xc057, Value: []byte("abcd")}), phone, nil); read(t, reply, a.Local().Pwd).Type != stun.BindingSuccess {
		t.Error("an attribute that need not be understood was refused")
	}
}

func TestRestartKeepsTheOldPairUntilTheNewOneIsNominated(t *testing.T) {
	a := NewAgent()
	old := newPeer(a)
	a.Offered(old.local)
	a.Handle(old.check(t, useCandidate()), phone, nil)
	renewed := peer{local: NewCredentials()}
	if !a.Offered(renewed.local) || a.Offered(renewed.local) {
		t.Fatal("a restart is reported once")
	}
	renewed.remote = a.Local()
	if renewed.remote == old.remote {
		t.Fatal("our credentials stayed the same in a restart")
	}
	if reply, _ := a.Handle(old.check(t), phone, nil); len(reply) == 0 || a.Selected() != phone {
		t.Fatal("the old pair ended before the new one was nominated")
	}
	a.Handle(renewed.check(t), elsehere, nil)
	if a.Selected() != phone {
		t.Fatal("a check without nomination moved the pair")
	}
	if _, nominated := a.Handle(renewed.check(t, useCandidate()), elsehere, nil); !nominated || a.Selected() != elsehere {
		t.Fatal("the new pair was not selected")
	}
	if reply, nominated := a.Handle(old.check(t, useCandidate()), phone, nil); len(reply) > 0 || nominated || a.Selected() != elsehere {
		t.Fatal("the old session outlived the restart")
	}
}

func TestRollbackOfARestartGoesOnWithTheOldSession(t *testing.T) {
	a := NewAgent()
	p := newPeer(a)
	a.Offered(p.local)
	a.Handle(p.check(t, useCandidate()), phone, nil)
	a.Offered(NewCredentials())
	a.Offered(NewCredentials())
	a.Rollback()
	if a.Local() != p.remote {
		t.Fatal("the credentials of the failed restart stayed")
	}
	if reply, _ := a.Handle(p.check(t, useCandidate()), elsehere, nil); len(reply) == 0 || a.Selected() != elsehere {
		t.Fatal("the old session ended")
	}
	a.Rollback()
	if a.Local() != p.remote {
		t.Fatal("rolling back nothing changed something")
	}
}

func TestChecksFasterThanTheAnswerAreRemembered(t *testing.T) {
	a := NewAgent()
	p := newPeer(a)
	reply, nominated := a.Handle(p.check(t, useCandidate()), phone, nil)
	if len(reply) == 0 || nominated || a.Selected().IsValid() {
		t.Fatal("an early check is answered, and selects nothing yet")
	}
	if a.Answered(p.local); a.Selected() != phone {
		t.Fatal("the early nomination was forgotten")
	}
	b := NewAgent()
	q := newPeer(b)
	b.Handle(q.check(t, useCandidate()), phone, nil)
	if b.Answered(NewCredentials()); b.Selected().IsValid() {
		t.Fatal("the nomination of another agent than the one that answered was taken")
	}
}

func TestAnswerOfAnotherDeviceKeepsOurCredentials(t *testing.T) {
	a := NewAgent()
	p := newPeer(a)
	a.Answered(p.local)
	a.Handle(p.check(t, useCandidate()), phone, nil)
	q := peer{local: NewCredentials(), remote: p.remote}
	a.Answered(q.local)
	if a.Local() != p.remote {
		t.Fatal("our credentials changed after we had offered them")
	}
	if a.Handle(q.check(t, useCandidate()), elsehere, nil); a.Selected() != elsehere {
		t.Fatal("the other device was not followed")
	}
}

func TestCredentialsKeepTheGrammar(t *testing.T) {
	seen := map[string]bool{}
	for range 100 {
		c := NewCredentials()
		if err := c.Validate(); err != nil || seen[c.Ufrag] || seen[c.Pwd] {
			t.Fatalf("%d, %d characters: %v", len(c.Ufrag), len(c.Pwd), err)
		}
		seen[c.Ufrag], seen[c.Pwd] = true, true
	}
	pwd := strings.Repeat("p", 22)
	for _, bad := range []Credentials{{}, {"abc", pwd}, {"abcd", pwd[1:]}, {"ab:d", pwd}, {"abcd", pwd + " "}, {strings.Repeat("u", 257), pwd}, {"abcd", strings.Repeat("p", 257)}} {
		if err := bad.Validate(); !errors.Is(err, ErrCredentials) {
			t.Errorf("%d and %d characters passed: %v", len(bad.Ufrag), len(bad.Pwd), err)
		}
	}
	if err := (Credentials{"a+/9", pwd}).Validate(); err != nil {
		t.Error(err)
	}
}

func TestCandidateIsOneHost(t *testing.T) {
	if got, want := Candidate(RTP, phone), "1 1 udp 2130706431 192.0.2.10 40000 typ host"; got != want {
		t.Errorf("candidate %q, want %q", got, want)
	}
	if got, want := Candidate(RTCP, elsehere), "1 2 udp 2130706430 2001:db8::7 40001 typ host"; got != want {
		t.Errorf("candidate %q, want %q", got, want)
	}
}

func TestStrangersCostNoHash(t *testing.T) {
	a := NewAgent()
	p := newPeer(a)
	a.Offered(p.local)
	guess := p
	guess.remote.Ufrag = "guess"
	flood, out := guess.check(t, useCandidate()), make([]byte, 0, 256)
	if n := testing.AllocsPerRun(100, func() { a.Handle(flood, phone, out) }); n > 4 {
		t.Errorf("a stranger's check costs %v allocations", n)
	}
}

func BenchmarkCheck(b *testing.B) {
	a := NewAgent()
	p := newPeer(a)
	a.Offered(p.local)
	request, out := p.check(b, controlling(), useCandidate()), make([]byte, 0, 256)
	b.ReportAllocs()
	for b.Loop() {
		if out, _ = a.Handle(request, phone, out); len(out) == 0 {
			b.Fatal("no reply")
		}
	}
}

func FuzzHandle(f *testing.F) {
	a := NewAgent()
	p := newPeer(a)
	a.Offered(p.local)
	f.Add(p.check(f, controlling(), useCandidate()))
	f.Add([]byte{0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12})
	f.Fuzz(func(t *testing.T, datagram []byte) {
		mine := NewAgent()
		mine.Offered(p.local)
		if reply, nominated := mine.Handle(datagram, phone, nil); len(reply) > 0 || nominated {
			t.Fatalf("%x was answered by an agent nobody told its sender of", datagram)
		}
		// The agent that told its password must survive whatever it parses,
		// integrity aside.
		if c, ok := a.parse.request(datagram); ok {
			a.parse.verify(p.remote.Pwd)
			a.parse.refuse(check{fault: stun.CodeUnknownAttribute, unknown: c.unknown}, p.remote.Pwd, nil)
			if reply := a.parse.accept(phone, p.remote.Pwd, nil); len(reply) > 128 {
				t.Fatalf("reply of %d bytes", len(reply))
			}
		}
	})
}
