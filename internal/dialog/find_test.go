package dialog

import (
	"fmt"
	"sync"
	"testing"

	"ringfence/internal/sip"
)

// TestFind is RFC 3891 section 3.
func TestFind(t *testing.T) {
	t.Parallel()
	y := NewLayer(nil, nil)
	made := y.Call(sip.Flow{}, "<sip:a@x>", "<sip:b@x>", "sip:b@x", Params{Mailbox: &Mailbox{}})
	made.out = &Outbound{}
	if y.Find(made.callID, made.localTag, "0") != made || y.Find(made.callID, made.localTag, "peer") != nil {
		t.Error("a dialog without a remote tag is found as 0 and as nothing else")
	}
	made.know("peer")
	for _, c := range []struct {
		id, to, from string
		want         bool
	}{
		{made.callID, made.localTag, "peer", true},
		{made.callID, "peer", made.localTag, false},
		{made.callID, made.localTag, "0", false},
		{"other", made.localTag, "peer", false},
		{made.callID, made.localTag, "", false},
	} {
		if got := y.Find(c.id, c.to, c.from); (got == made) != c.want {
			t.Errorf("Find(%q, %q, %q) = %v", c.id, c.to, c.from, got)
		}
	}
	received := &Leg{layer: y, in: &Inbound{}}
	for _, c := range []struct {
		leg       *Leg
		state     state
		earlyOnly bool
		want      int
	}{
		{made, early, false, 0}, {made, early, true, 0}, {made, confirmed, false, 0}, {made, confirmed, true, 486},
		{made, ending, false, 603}, {made, ended, true, 603},
		{received, early, false, 481}, {received, early, true, 481}, {received, confirmed, false, 0}, {received, confirmed, true, 486},
	} {
		c.leg.state = c.state
		if got := c.leg.Replaceable(c.earlyOnly); got != c.want {
			t.Errorf("outgoing %v, state %d, early-only %v: %d, want %d", c.leg == made, c.state, c.earlyOnly, got, c.want)
		}
	}
}

// An alias names a leg in place of Call-ID and tags, as long as it lives.
func TestAlias(t *testing.T) {
	t.Parallel()
	y := NewLayer(nil, nil)
	l := y.Call(sip.Flow{}, "<sip:a@x>", "<sip:b@x>", "sip:b@x", Params{Mailbox: &Mailbox{}})
	a, ok := y.Alias(l.localTag)
	if again, _ := y.Alias(l.localTag); !ok || again != a || a == l.localTag || a == l.callID {
		t.Fatalf("alias %q, then %q of %q %q", a, again, l.localTag, l.callID)
	}
	if y.Find(a, a, a) != l || y.Find(a, a, "0") != nil || y.Find("", "", "") != nil {
		t.Error("found by something else than its alias alone")
	}
	l.end()
	if _, ok := y.Alias(l.localTag); ok || y.Find(a, a, a) != nil || len(y.aliases) != 0 {
		t.Error("the alias outlives its leg")
	}
}

// TestJoin: what waits in a mailbox that is taken over runs after the join, in
// its order, and never beside what runs in the other.
func TestJoin(t *testing.T) {
	t.Parallel()
	y := NewLayer(nil, nil)
	var from, into Mailbox
	var wg sync.WaitGroup
	var got []string // only ever touched in one mailbox at a time
	add := func(s string) func() {
		wg.Add(1)
		return func() { got = append(got, s); wg.Done() }
	}
	began := make(chan struct{})
	from.Post(func() {
		from.Post(add("waited"))
		from.Offer(add("offered"))
		close(began)
		y.Join(&from, &into, add("joined"))
	})
	<-began
	for i := range 100 {
		box := []*Mailbox{&from, &into}[i%2]
		wg.Add(1)
		go func() { defer wg.Done(); box.Post(add(fmt.Sprint(i))) }()
	}
	end := make(chan struct{})
	into.Post(func() { y.Join(&into, &from, func() { close(end) }) }) // a circle is none
	<-end
	wg.Wait()
	var order []string
	for _, s := range got {
		if s == "joined" || s == "waited" || s == "offered" {
			order = append(order, s)
		}
	}
	if fmt.Sprint(order) != "[joined waited offered]" || len(got) != 103 {
		t.Errorf("%d ran, in this order: %v", len(got), got)
	}
	if from.offered != 0 || into.offered != 0 {
		t.Errorf("%d and %d still count as offered", from.offered, into.offered)
	}
}
