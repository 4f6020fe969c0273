package sip

import (
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"ringfence/internal/ports"
)

// counting is a transport that only counts.
type counting struct{ n atomic.Uint64 }

func (c *counting) Send(Flow, []byte) error { c.n.Add(1); return nil }
func (c *counting) Protocol() string        { return "UDP" }
func (c *counting) Reliable() bool          { return false }

// TestOrderOfOneCallID: 1,000 dialogs send ACK, re-INVITE and BYE back to back
// over a real socket; every message arrives, in its order.
func TestOrderOfOneCallID(t *testing.T) {
	t.Parallel()
	e := New(Config{Logger: quiet(), Workers: 4})
	defer e.Close()
	var mu sync.Mutex
	got := make(map[string]string)
	e.Handle("", HandlerFunc(func(tx *ServerTx) {
		r := tx.Request()
		mu.Lock()
		got[r.CallID] += r.Method + " "
		mu.Unlock()
		tx.Reply(Reply{Code: 200})
	}))
	if err := e.Reconcile([]Bind{{sipPort(), netip.MustParseAddr("127.0.0.1")}}); err != nil {
		t.Fatal(err)
	}
	c := dial(t, e.Listening()[0].Addr)
	go func() { // read the answers, so that no buffer fills
		buf := make([]byte, 2048)
		for {
			if _, err := c.Read(buf); err != nil {
				return
			}
		}
	}()
	const calls = 1000
	for i := range calls {
		for n, method := range []string{"ACK", "INVITE", "BYE"} {
			m := msg(method, fmt.Sprintf("z9hG4bK%d.%d", i, n), fmt.Sprint(n+1))
			m = strings.Replace(m, "call-1", fmt.Sprint("call-", i), 1)
			fmt.Fprint(c, strings.Replace(m, "<sip:102@a.test>\r\n", "<sip:102@a.test>;tag=us\r\n", 1))
		}
		if i%50 == 49 {
			time.Sleep(time.Millisecond) // the kernel's buffer is not what is tested
		}
	}
	deadline := time.Now().Add(10 * time.Second)
	for time.Now().Before(deadline) && e.Stats().Requests < 3*calls {
		time.Sleep(time.Millisecond)
	}
	time.Sleep(20 * time.Millisecond)
	mu.Lock()
	defer mu.Unlock()
	for i := range calls {
		if s := got[fmt.Sprint("call-", i)]; s != "ACK INVITE BYE " {
			t.Fatalf("call %d: %q", i, s)
		}
	}
}

// TestOrderOfResponses: 180, 183 and 200 of 1,000 INVITEs, back to back.
func TestOrderOfResponses(t *testing.T) {
	t.Parallel()
	b := newBench(t, Config{Workers: 4}, false)
	const calls = 1000
	logs := make([][]int, calls)
	var done sync.WaitGroup
	done.Add(calls)
	for i := range calls {
		o := outgoing(INVITE)
		o.CallID = fmt.Sprint("out-", i)
		if _, err := b.Request(b.flow, o, func(r *Response) {
			logs[i] = append(logs[i], r.Code)
			if r.Success() {
				done.Done()
			}
		}); err != nil {
			t.Fatal(err)
		}
	}
	for _, sent := range b.take() {
		for _, code := range []int{180, 183, 200} {
			b.get(answer(sent, code))
		}
		for b.Stats().Responses+500 < b.Stats().Received {
			time.Sleep(time.Millisecond)
		}
	}
	done.Wait()
	for i, l := range logs {
		if fmt.Sprint(l) != "[180 183 200]" {
			t.Fatalf("INVITE %d: %v", i, l)
		}
	}
}

// TestRegistrationsDoNotDelayCalls: with the queue full of REGISTERs an INVITE
// is handled next, and registrations that waited too long are dropped.
func TestRegistrationsDoNotDelayCalls(t *testing.T) {
	t.Parallel()
	e := New(Config{Logger: quiet(), Workers: 1})
	defer e.Close()
	var order []string
	gate := make(chan struct{})
	e.Handle("", HandlerFunc(func(tx *ServerTx) {
		<-gate
		order = append(order, tx.Request().Method)
	}))
	f, err := e.Attach(ports.SIPUDP, ports.Core, here, &counting{})
	if err != nil {
		t.Fatal(err)
	}
	f.Remote = there
	for i := range 10 {
		e.Receive(f, []byte(register(i)))
	}
	for e.Stats().Requests == 0 {
		time.Sleep(time.Millisecond)
	}
	e.Receive(f, []byte(msg("INFO", "z9hG4bKa", "1")))
	time.Sleep(maxAge + 50*time.Millisecond)
	close(gate)
	for e.Stats().Late+e.Stats().Requests < 11 {
		time.Sleep(time.Millisecond)
	}
	if fmt.Sprint(order) != "[REGISTER INFO]" || e.Stats().Late != 9 {
		t.Errorf("handled %v, %d late", order, e.Stats().Late)
	}
}
