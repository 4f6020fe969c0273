package events

import (
	"testing"

	"ringfence/internal/telephony"
)

func TestEverySubscriptionGetsEveryEventInOrder(t *testing.T) {
	t.Parallel()
	var bus Bus
	a, b := bus.Subscribe(4), bus.Subscribe(4)
	for i := range 3 {
		bus.Publish(RegistrationChanged{AOR: telephony.AOR{User: "101"}, Bindings: i})
	}
	for _, s := range []*Subscription{a, b} {
		for i := range 3 {
			if got := (<-s.C).(RegistrationChanged).Bindings; got != i {
				t.Fatalf("event %d carries %d", i, got)
			}
		}
	}
}

func TestSlowSubscriberLosesAndCounts(t *testing.T) {
	t.Parallel()
	var bus Bus
	slow := bus.Subscribe(1)
	for range 5 {
		bus.Publish(CallEnded{})
	}
	if slow.Lost() != 4 {
		t.Errorf("lost %d, want 4", slow.Lost())
	}
}

func TestClosedSubscriptionEndsItsChannel(t *testing.T) {
	t.Parallel()
	var bus Bus
	s := bus.Subscribe(1)
	s.Close()
	s.Close()
	bus.Publish(CallEnded{})
	if _, open := <-s.C; open {
		t.Error("a closed subscription received an event")
	}
}
