package dialog

import (
	"fmt"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
)

func TestMailboxKeepsOrder(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var m Mailbox
		var got []int
		for i := range 1000 {
			m.Post(func() {
				got = append(got, i)
				if i == 500 {
					m.Post(func() { got = append(got, -1) }) // from inside
				}
			})
		}
		synctest.Wait()
		if len(got) != 1001 {
			t.Fatalf("%d ran", len(got))
		}
		for i, n := range got {
			if n == -1 {
				if i <= 500 {
					t.Errorf("posted at 500, ran at %d", i)
				}
				got = append(got[:i], got[i+1:]...)
				break
			}
		}
		for i, n := range got {
			if n != i {
				t.Fatalf("place %d has %d", i, n)
			}
		}
	})
}

func TestMailboxRunsOneAtATime(t *testing.T) {
	t.Parallel()
	var m Mailbox
	var wg sync.WaitGroup
	inside, worst := 0, 0 // no lock: the race detector watches
	for range 8 {
		wg.Go(func() {
			for range 200 {
				wg.Add(1)
				m.Post(func() {
					defer wg.Done()
					inside++
					worst = max(worst, inside)
					runtime.Gosched()
					inside--
				})
			}
		})
	}
	wg.Wait()
	if worst != 1 {
		t.Errorf("%d at a time", worst)
	}
}

func TestMailboxBoundsWhatPeersSend(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var m Mailbox
		gate := make(chan struct{})
		m.Post(func() { <-gate })
		synctest.Wait()
		taken, own := 0, 0
		for range 10 * maxOffered {
			if m.Offer(func() {}) {
				taken++
			}
			m.Post(func() { own++ })
		}
		close(gate)
		synctest.Wait()
		if taken != maxOffered || own != 10*maxOffered {
			t.Errorf("%d of the peers', %d of our own", taken, own)
		}
		if !m.Offer(func() {}) {
			t.Error("still full after it ran empty")
		}
		synctest.Wait()
	})
}

func TestMailboxSurvivesPanic(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		told := ""
		m := Mailbox{Panicked: func(r any) { told = fmt.Sprint(r) }}
		ran := false
		m.Post(func() { panic("test") })
		m.Post(func() { ran = true })
		synctest.Wait()
		if told != "test" || !ran {
			t.Errorf("told %q, went on: %v", told, ran)
		}
	})
}
