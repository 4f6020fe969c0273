package sip

import (
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"ringfence/internal/ports"
)

// registerAnswering is a REGISTER with credentials for a challenge; the
// password is not looked at before its turn has come.
func registerAnswering(i int, nonce string) string {
	return register(i, fmt.Sprintf(`Authorization: Digest username="101", realm="%s", cnonce="nonce", nonce="%s", uri="sip:a.test", response="0"`, realm, nonce))
}

// TestAnswersGoFirstInACrowd: while registrations wait, those that answer a
// challenge of ours overtake new ones, and those with a made-up nonce do not.
func TestAnswersGoFirstInACrowd(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		auth := NewAuthenticator(AuthConfig{})
		b := newBench(t, Config{Workers: 1, Answers: auth.Answers}, false)
		var order []string
		hold := make(chan struct{})
		b.Handle(REGISTER, HandlerFunc(func(tx *ServerTx) {
			<-hold
			order = append(order, tx.Request().CallID)
		}))
		nonce := auth.nonce(&Request{message: message{Flow: b.flow}}, realm, time.Now())
		b.get(register(0))
		synctest.Wait() // that one is at work
		for i := range 2 * crowd {
			b.get(register(1 + i))
		}
		b.get(registerAnswering(1001, nonce))
		b.get(registerAnswering(1002, strings.ToLower(nonce)))
		b.get(registerAnswering(1003, nonce))
		close(hold)
		synctest.Wait()
		if len(order) != 2*crowd+4 {
			t.Fatalf("%d handled", len(order))
		}
		if got := fmt.Sprint(order[1:3]); got != "[reg-1001 reg-1003]" {
			t.Errorf("after the one at work came %s", got)
		}
		if last := order[len(order)-1]; last != "reg-1002" {
			t.Errorf("last came %s", last)
		}
	})
}

// TestAnswersKnowsItsNonces, for the source they were given to and the realm.
func TestAnswersKnowsItsNonces(t *testing.T) {
	t.Parallel()
	auth := NewAuthenticator(AuthConfig{Lifetime: time.Minute})
	f := Flow{Remote: there}
	nonce := func(age time.Duration) string {
		return auth.nonce(&Request{message: message{Flow: f}}, realm, time.Now().Add(-age))
	}
	good := registerAnswering(1, nonce(0))
	for name, c := range map[string]struct {
		raw  string
		from netip.AddrPort
		want bool
	}{
		"ours":           {good, there, true},
		"other port":     {good, netip.AddrPortFrom(there.Addr(), 9), true},
		"no blanks":      {strings.ReplaceAll(good, ", ", ","), there, true},
		"other source":   {good, here, false},
		"other realm":    {strings.Replace(good, `realm="a.test"`, `realm="b.test"`, 1), there, false},
		"old":            {registerAnswering(1, nonce(2*time.Minute)), there, false},
		"made up":        {registerAnswering(1, strings.Repeat("A", 43)), there, false},
		"none":           {register(1), there, false},
		"nonce of a UA":  {register(1, `User-Agent: nonce="`+nonce(0)+`", realm="a.test"`), there, false},
		"cut short":      {good[:strings.Index(good, `, nonce="`)+9], there, false},
		"ends in a name": {good[:strings.Index(good, `, nonce="`)+7], there, false},
	} {
		if got := auth.Answers(Flow{Remote: c.from}, []byte(c.raw)); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// TestBusyWorkerTakesWhatWaits: a call that comes while a worker is busy with
// registrations is seen within milliseconds, though the reader gets no turn.
func TestBusyWorkerTakesWhatWaits(t *testing.T) {
	t.Parallel()
	e := New(Config{Logger: quiet(), Workers: 1})
	defer e.Close()
	var before atomic.Int64
	seen := make(chan int64, 1)
	e.Handle("", HandlerFunc(func(*ServerTx) { seen <- before.Load() }))
	e.Handle(REGISTER, HandlerFunc(func(*ServerTx) {
		before.Add(1)
		time.Sleep(2 * restEvery)
	}))
	// A listener without a reader: only a worker can take what comes.
	conn, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(netip.AddrPortFrom(loopback, 0)))
	if err != nil {
		t.Fatal(err)
	}
	raw, err := conn.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	udp := &udpTransport{conn: conn, raw: raw, id: ports.SIPUDP, addr: conn.LocalAddr().(*net.UDPAddr).AddrPort(), batch: newBatch()}
	if err := e.add(&listener{id: udp.id, addr: udp.addr, transport: udp, close: conn.Close}); err != nil {
		t.Fatal(err)
	}
	f := Flow{Listener: udp.id, Local: udp.addr, Remote: there, transport: udp}
	c := dial(t, udp.addr)
	for i := range 50 {
		e.Receive(f, []byte(register(i)))
	}
	fmt.Fprint(c, msg("INFO", "z9hG4bK1", "1"))
	select {
	case n := <-seen:
		if n > 10 {
			t.Errorf("%d registrations went before", n)
		}
	case <-time.After(5 * time.Second):
		t.Fatal("never seen")
	}
}

// TestCloseUnderFlood: a listener closes while datagrams keep coming.
func TestCloseUnderFlood(t *testing.T) {
	t.Parallel()
	e, on := listen(t, Config{Workers: 1}, loopback)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for range 2 {
		c := dial(t, on[0].Addr)
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					_, _ = c.Write([]byte(register(1)))
				}
			}
		})
	}
	time.Sleep(20 * time.Millisecond)
	closed := make(chan error)
	go func() { closed <- e.Reconcile(nil) }()
	select {
	case err := <-closed:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(10 * time.Second):
		t.Error("not closed in 10 s")
	}
	close(stop)
	wg.Wait()
}
