package sip

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func ms(n ...int) (d []time.Duration) {
	for _, x := range n {
		d = append(d, time.Duration(x)*time.Millisecond)
	}
	return d
}

// held keeps the transactions a handler began.
type held struct{ txs chan *ServerTx }

func (h held) ServeSIP(tx *ServerTx) {
	if tx.Begin(func() { tx.Reply(Reply{Code: 487}) }) == nil {
		h.txs <- tx
	}
}

func inviteBench(t *testing.T, c Config, reliable bool) (*bench, held) {
	b := newBench(t, c, reliable)
	h := held{make(chan *ServerTx, 100)}
	b.Handle("", h)
	return b, h
}

func invite(branch, seq string) string {
	return msg("INVITE", branch, seq, "Contact: <sip:101@192.0.2.9>", "v=0\r\n")
}

func TestRefusalIsRepeatedUntilAck(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b, h := inviteBench(t, Config{}, false)
		defer b.Close()
		b.get(invite("z9hG4bKa", "1"))
		tx := <-h.txs
		synctest.Wait()
		if got := b.take(); len(got) != 1 || status(got[0]) != "100 Trying" {
			t.Fatalf("first answer %q", starts(got))
		}
		start := time.Now()
		tx.Reply(Reply{Code: 486})
		time.Sleep(8 * time.Second)
		// Timer G: T1, doubled up to T2.
		if got, want := fmt.Sprint(b.sentAt(start)), fmt.Sprint(ms(0, 500, 1500, 3500, 7500)); got != want {
			t.Errorf("sent at %s, want %s", got, want)
		}
		b.take()
		b.get(invite("z9hG4bKa", "1")) // a copy gets the same answer
		synctest.Wait()
		first := b.take()
		if len(first) != 1 || status(first[0]) != "486 Busy Here" {
			t.Errorf("copy answered with %q", starts(first))
		}
		ack := strings.Replace(msg("ACK", "z9hG4bKa", "1"), "To: <sip:102@a.test>", "To: "+header(first[0], "To"), 1)
		b.get(ack)
		time.Sleep(4 * time.Second)
		b.get(invite("z9hG4bKa", "1"))
		synctest.Wait()
		if got := b.take(); len(got) != 0 {
			t.Errorf("after the ACK: %q", starts(got))
		}
		time.Sleep(2 * time.Second) // timer I
		if n := b.kept(); n != 0 {
			t.Errorf("%d transactions left", n)
		}
		if p := b.Stats().Pending; p != 0 {
			t.Errorf("%d pending", p)
		}
	})
}

func TestRefusalGivesUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b, h := inviteBench(t, Config{}, false)
		defer b.Close()
		b.get(invite("z9hG4bKa", "1"))
		tx := <-h.txs
		tx.Reply(Reply{Code: 486})
		time.Sleep(33 * time.Second) // timer H
		b.take()
		time.Sleep(time.Minute)
		if got := b.take(); len(got) != 0 || b.kept() != 0 {
			t.Errorf("still sending %q", starts(got))
		}
	})
}

func TestReliableTransportDoesNotRepeat(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b, h := inviteBench(t, Config{}, true)
		defer b.Close()
		b.get(invite("z9hG4bKa", "1"))
		(<-h.txs).Reply(Reply{Code: 486})
		time.Sleep(time.Minute)
		if got := b.take(); len(got) != 2 {
			t.Errorf("sent %q", starts(got))
		}
	})
}

// TestAcceptedAbsorbs is RFC 6026: after a 2xx copies of the INVITE are
// swallowed, and the 2xx is sent again by the dialog only.
func TestAcceptedAbsorbs(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b, h := inviteBench(t, Config{}, false)
		defer b.Close()
		b.get(invite("z9hG4bKa", "1"))
		tx := <-h.txs
		tx.Reply(Reply{Code: 200})
		b.take()
		b.get(invite("z9hG4bKa", "1"))
		time.Sleep(10 * time.Second)
		if got := b.take(); len(got) != 0 || len(h.txs) != 0 {
			t.Errorf("sent %q, %d new calls", starts(got), len(h.txs))
		}
		tx.Resend()
		if got := b.take(); len(got) != 1 || status(got[0]) != "200 OK" {
			t.Errorf("resent %q", starts(got))
		}
		time.Sleep(23 * time.Second) // timer L
		synctest.Wait()
		if b.kept() != 0 {
			t.Error("transaction stays")
		}
	})
}

func TestCancel(t *testing.T) {
	t.Parallel()
	for name, branch := range map[string]string{"of the same branch": "z9hG4bKa", "of a phone with a branch of its own": "z9hG4bKb"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				b, h := inviteBench(t, Config{}, false)
				defer b.Close()
				b.get(invite("z9hG4bKa", "1"))
				<-h.txs
				b.take()
				b.get(msg("CANCEL", branch, "1"))
				synctest.Wait()
				got := b.take()
				if len(got) != 2 || status(got[0]) != "200 OK" || header(got[0], "CSeq") != "1 CANCEL" ||
					status(got[1]) != "487 Request Terminated" || header(got[1], "CSeq") != "1 INVITE" {
					t.Fatalf("answers %q", starts(got))
				}
				if header(got[0], "To") != header(got[1], "To") {
					t.Error("different To tags")
				}
				b.get(msg("CANCEL", branch, "1"))
				synctest.Wait()
				if got := b.take(); len(got) == 0 || status(got[0]) != "200 OK" {
					t.Errorf("a copy of the CANCEL: %q", starts(got))
				}
			})
		})
	}
}

// TestCancelOfAStranger: another address cannot cancel, even if it knows all.
func TestCancelOfAStranger(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b, h := inviteBench(t, Config{}, false)
		defer b.Close()
		b.get(invite("z9hG4bKa", "1"))
		<-h.txs
		b.take()
		b.flow.Remote = netip.MustParseAddrPort("192.0.2.66:5062")
		b.get(msg("CANCEL", "z9hG4bKa", "1"))
		synctest.Wait()
		if got := b.take(); len(got) != 1 || status(got[0]) != "481 Call/Transaction Does Not Exist" {
			t.Errorf("answers %q", starts(got))
		}
	})
}

func TestMergedInvite(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b, h := inviteBench(t, Config{}, false)
		defer b.Close()
		b.get(invite("z9hG4bKa", "1"))
		b.get(invite("z9hG4bKb", "1"))
		synctest.Wait()
		if got := b.take(); len(h.txs) != 1 || len(got) != 2 || status(got[1]) != "482 Loop Detected" {
			t.Errorf("%d calls, answers %q", len(h.txs), starts(got))
		}
	})
}

// TestOldPeers: RFC 2543 had no branch; copies are found all the same.
func TestOldPeers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b, h := inviteBench(t, Config{}, false)
		defer b.Close()
		old := strings.Replace(strings.Replace(invite("X", "1"), ";branch=X", "", 1), ";tag=peer", "", 1)
		b.get(old)
		tx := <-h.txs
		tx.Reply(Reply{Code: 486})
		b.take()
		b.get(old)
		synctest.Wait()
		if got := b.take(); len(got) != 1 || status(got[0]) != "486 Busy Here" || len(h.txs) != 0 {
			t.Errorf("copy: %q", starts(got))
		}
		b.get(strings.Replace(strings.Replace(old, "INVITE", "ACK", 2), ";tag=peer", "", 1))
		time.Sleep(20 * time.Second)
		if got := b.take(); len(got) != 0 {
			t.Errorf("after the ACK: %q", starts(got))
		}
	})
}

func TestAnsweredRequestIsRemembered(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b, h := inviteBench(t, Config{}, false)
		defer b.Close()
		b.get(msg("INFO", "z9hG4bKa", "1"))
		(<-h.txs).Reply(Reply{Code: 200})
		first := b.take()
		for range 3 {
			b.get(msg("INFO", "z9hG4bKa", "1"))
		}
		synctest.Wait()
		got := b.take()
		if len(h.txs) != 0 || len(got) != 3 || got[2] != first[0] {
			t.Errorf("%d handled again, answers %q", len(h.txs), starts(got))
		}
	})
}

func TestTransactionLimit(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b, h := inviteBench(t, Config{Limits: Limits{Transactions: 3}}, false)
		defer b.Close()
		for i := range 5 {
			b.get(strings.Replace(invite(fmt.Sprint("z9hG4bK", i), "1"), "call-1", fmt.Sprint("call-", i), 1))
		}
		synctest.Wait()
		refused := 0
		for _, r := range b.take() {
			if status(r) == "503 Service Unavailable" && header(r, "Retry-After") != "" {
				refused++
			}
		}
		if len(h.txs) != 3 || refused != 2 {
			t.Errorf("%d taken, %d refused", len(h.txs), refused)
		}
		(<-h.txs).Reply(Reply{Code: 200})
		b.get(strings.Replace(invite("z9hG4bK9", "1"), "call-1", "call-9", 1))
		synctest.Wait()
		if len(h.txs) != 3 {
			t.Error("the limit does not free what is answered")
		}
	})
}

func TestCompletedAreBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b, h := inviteBench(t, Config{Limits: Limits{Completed: 320}}, false)
		defer b.Close()
		for i := range 2000 {
			b.get(strings.Replace(msg("INFO", fmt.Sprint("z9hG4bK", i), "1"), "call-1", fmt.Sprint("call-", i), 1))
			(<-h.txs).Reply(Reply{Code: 200})
		}
		if _, n := b.txs.size(); n > 320 {
			t.Errorf("%d kept", n)
		}
	})
}

// TestRingingIsRefreshed is RFC 3261 section 13.3.1.1.
func TestRingingIsRefreshed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b, h := inviteBench(t, Config{}, false)
		defer b.Close()
		b.get(invite("z9hG4bKa", "1"))
		tx := <-h.txs
		tx.Reply(Reply{Code: 180})
		b.take()
		time.Sleep(150 * time.Second)
		if got := b.take(); len(got) != 2 || status(got[1]) != "180 Ringing" {
			t.Errorf("%q", starts(got))
		}
	})
}

func TestPanickingHandlerDoesNotEndTheWorker(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, Config{Workers: 1}, false)
		defer b.Close()
		b.Handle("", HandlerFunc(func(tx *ServerTx) {
			if tx.Request().CSeq.Seq == 1 {
				panic("test")
			}
			tx.Reply(Reply{Code: 200})
		}))
		b.get(msg("INFO", "z9hG4bKa", "1"))
		b.get(msg("INFO", "z9hG4bKb", "2"))
		synctest.Wait()
		if got := b.take(); len(got) != 1 || b.Stats().Panics != 1 {
			t.Errorf("%d answers, %d panics", len(got), b.Stats().Panics)
		}
	})
}
