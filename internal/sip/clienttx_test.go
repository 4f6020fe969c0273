package sip

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func outgoing(method string) Outgoing {
	return Outgoing{Method: method, URI: "sip:102@192.0.2.9", From: "<sip:101@a.test>;tag=us", To: "<sip:102@a.test>", CallID: "c", CSeq: 7}
}

// answer writes the peer's response to a request of ours.
func answer(request string, code int, extra ...string) string {
	to := header(request, "To")
	if code > 100 && !strings.Contains(to, "tag=") {
		to += ";tag=them"
	}
	lines := append([]string{
		fmt.Sprintf("SIP/2.0 %d %s", code, Reason(code)),
		"Via: " + header(request, "Via"), "From: " + header(request, "From"), "To: " + to,
		"Call-ID: " + header(request, "Call-ID"), "CSeq: " + header(request, "CSeq"),
	}, extra...)
	return strings.Join(lines, "\r\n") + "\r\nContent-Length: 0\r\n\r\n"
}

// log keeps what a transaction told its user.
type log struct {
	mu    sync.Mutex
	codes []int
}

func (l *log) add(r *Response) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.codes = append(l.codes, r.Code)
}

func (l *log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return fmt.Sprint(l.codes)
}

func request(t *testing.T, b *bench, method string, l *log) *ClientTx {
	t.Helper()
	tx, err := b.Request(b.flow, outgoing(method), l.add)
	if err != nil {
		t.Fatal(err)
	}
	return tx
}

func TestInviteIsRepeatedAndTimesOut(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, Config{}, false)
		defer b.Close()
		var l log
		start := time.Now()
		request(t, b, INVITE, &l)
		time.Sleep(40 * time.Second)
		// Timer A doubles without a bound, timer B ends it.
		if got, want := fmt.Sprint(b.sentAt(start)), fmt.Sprint(ms(0, 500, 1500, 3500, 7500, 15500, 31500)); got != want {
			t.Errorf("sent at %s, want %s", got, want)
		}
		if l.String() != "[408]" || b.Stats().Pending != 0 {
			t.Errorf("told %v, %d pending", &l, b.Stats().Pending)
		}
	})
}

func TestOtherRequestIsRepeatedAndTimesOut(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, Config{}, false)
		defer b.Close()
		var l log
		start := time.Now()
		request(t, b, BYE, &l)
		time.Sleep(40 * time.Second)
		want := ms(0, 500, 1500, 3500, 7500, 11500, 15500, 19500, 23500, 27500, 31500)
		if got := fmt.Sprint(b.sentAt(start)); got != fmt.Sprint(want) {
			t.Errorf("sent at %s, want %s", got, want)
		}
		if l.String() != "[408]" {
			t.Errorf("told %v", &l)
		}
	})
}

func TestReliableRequestIsNotRepeated(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, Config{}, true)
		defer b.Close()
		var l log
		request(t, b, INVITE, &l)
		time.Sleep(40 * time.Second)
		if len(b.take()) != 1 || l.String() != "[408]" {
			t.Errorf("told %v", &l)
		}
	})
}

func TestRefusalIsAcknowledged(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, Config{}, false)
		defer b.Close()
		var l log
		request(t, b, INVITE, &l)
		sent := b.take()[0]
		b.get(answer(sent, 100))
		b.get(answer(sent, 486))
		b.get(answer(sent, 486))
		synctest.Wait()
		got := b.take()
		if l.String() != "[100 486]" || len(got) != 2 {
			t.Fatalf("told %v, sent %q", &l, starts(got))
		}
		for _, a := range got {
			if !strings.HasPrefix(a, "ACK sip:102@192.0.2.9 SIP/2.0\r\n") || header(a, "Via") != header(sent, "Via") ||
				header(a, "CSeq") != "7 ACK" || header(a, "To") != "<sip:102@a.test>;tag=them" {
				t.Errorf("ACK:\n%s", a)
			}
		}
		time.Sleep(33 * time.Second) // timer D
		b.get(answer(sent, 486))
		synctest.Wait()
		if len(b.take()) != 0 || b.Stats().Stray != 1 {
			t.Error("transaction stays")
		}
	})
}

// TestEvery2xxIsTold is RFC 6026: retransmissions and forks reach the user.
func TestEvery2xxIsTold(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, Config{}, false)
		defer b.Close()
		var l log
		request(t, b, INVITE, &l)
		sent := b.take()[0]
		b.get(answer(sent, 180))
		b.get(answer(sent, 200))
		b.get(answer(sent, 200))
		b.get(answer(sent, 180)) // late: dropped
		synctest.Wait()
		time.Sleep(31 * time.Second)
		b.get(answer(sent, 200))
		synctest.Wait()
		time.Sleep(2 * time.Second)
		b.get(answer(sent, 200)) // after timer M
		synctest.Wait()
		if l.String() != "[180 200 200 200]" || len(b.take()) != 0 {
			t.Errorf("told %v", &l)
		}
	})
}

func TestCancelWaitsForProvisional(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, Config{}, false)
		defer b.Close()
		var l log
		tx := request(t, b, INVITE, &l)
		sent := b.take()[0]
		tx.Cancel(Header{"Reason", "SIP;cause=200"})
		tx.Cancel()
		if got := b.take(); len(got) != 0 {
			t.Errorf("too early: %q", starts(got))
		}
		b.get(answer(sent, 180))
		synctest.Wait()
		got := b.take()
		if len(got) != 1 || !strings.HasPrefix(got[0], "CANCEL sip:102@192.0.2.9 SIP/2.0") || header(got[0], "Via") != header(sent, "Via") ||
			header(got[0], "CSeq") != "7 CANCEL" || header(got[0], "Reason") == "" || header(got[0], "To") != header(sent, "To") {
			t.Fatalf("%q", got)
		}
		b.get(answer(got[0], 200))
		b.get(answer(sent, 487))
		synctest.Wait()
		if got := b.take(); l.String() != "[180 487]" || len(got) != 1 || !strings.HasPrefix(got[0], "ACK ") {
			t.Errorf("told %v, sent %q", &l, starts(got))
		}
	})
}

func TestCancelledAndNeverAnswered(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, Config{}, false)
		defer b.Close()
		var l log
		tx := request(t, b, INVITE, &l)
		sent := b.take()[0]
		b.get(answer(sent, 180))
		synctest.Wait()
		time.Sleep(100 * time.Second) // rings as long as its user wants
		if l.String() != "[180]" {
			t.Fatalf("told %v", &l)
		}
		tx.Cancel()
		time.Sleep(33 * time.Second)
		if l.String() != "[180 408]" || b.Stats().Pending != 0 {
			t.Errorf("told %v, %d pending", &l, b.Stats().Pending)
		}
	})
}

func TestResponsesOfOthersAreDropped(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, Config{}, false)
		defer b.Close()
		var l log
		request(t, b, INVITE, &l)
		sent := b.take()[0]
		b.get(strings.Replace(answer(sent, 200), "branch=z9hG4bK", "branch=z9hG4bKx", 1))
		b.get(strings.Replace(answer(sent, 200), "7 INVITE", "7 BYE", 1))
		b.get(strings.Replace(answer(sent, 200), "From:", "Via: SIP/2.0/UDP x\r\nFrom:", 1))
		synctest.Wait()
		if l.String() != "[]" {
			t.Errorf("told %v", &l)
		}
	})
}

func TestBrokenConnection(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, Config{}, true)
		defer b.Close()
		var l log
		b.memory.fail = errors.New("reset")
		b.flow.Token = "1"
		request(t, b, BYE, &l)
		time.Sleep(time.Second)
		if l.String() != "[503]" {
			t.Errorf("told %v", &l)
		}
		if _, err := b.Request(Flow{}, outgoing(BYE), l.add); !errors.Is(err, ErrFlowGone) {
			t.Errorf("no flow: %v", err)
		}
	})
}

func TestClientLimit(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, Config{Limits: Limits{Transactions: 1}}, false)
		defer b.Close()
		var l log
		request(t, b, BYE, &l)
		if _, err := b.Request(b.flow, outgoing(BYE), l.add); !errors.Is(err, ErrBusy) {
			t.Errorf("over the limit: %v", err)
		}
	})
}
