package location

import (
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"ringfence/internal/telephony"
)

var alice = telephony.AOR{User: "101", Domain: "a.test"}

func bind(aor telephony.AOR, contact string, q float64, life time.Duration) telephony.Binding {
	return telephony.Binding{Tenant: 1, AOR: aor, Contact: contact, Q: q, Registered: time.Now(), Expires: time.Now().Add(life)}
}

func add(t *testing.T, m *Memory, b telephony.Binding) {
	t.Helper()
	_, err := m.Update(b.AOR, func(l []telephony.Binding) ([]telephony.Binding, error) { return append(l, b), nil })
	if err != nil {
		t.Fatal(err)
	}
}

func contacts(list []telephony.Binding) string {
	s := ""
	for _, b := range list {
		s += b.Contact + " "
	}
	return s
}

func TestBindingsInOrder(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := NewMemory(Config{})
		defer m.Close()
		add(t, m, bind(alice, "sip:old@h", 0.5, time.Hour))
		time.Sleep(time.Second)
		add(t, m, bind(alice, "sip:new@h", 0.5, time.Hour))
		add(t, m, bind(alice, "sip:best@h", 1, time.Hour))
		if got, want := contacts(m.Bindings(alice)), "sip:best@h sip:new@h sip:old@h "; got != want {
			t.Errorf("order %q, want %q", got, want)
		}
		if n := len(m.Bindings(telephony.AOR{User: "102", Domain: "a.test"})); n != 0 {
			t.Errorf("%d bindings of somebody else", n)
		}
	})
}

func TestExpiryIsReportedAndHidden(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var heard []string
		m := NewMemory(Config{Sweep: 10 * time.Second, OnChange: func(tenant telephony.TenantID, aor telephony.AOR, n int) {
			heard = append(heard, fmt.Sprint(tenant, aor, n))
		}})
		defer m.Close()
		add(t, m, bind(alice, "sip:short@h", 1, 11*time.Second))
		add(t, m, bind(alice, "sip:long@h", 1, time.Hour))
		m.Take()
		time.Sleep(12 * time.Second)
		if got := contacts(m.Bindings(alice)); got != "sip:long@h " {
			t.Errorf("an expired binding is still found before the sweep: %q", got)
		}
		time.Sleep(10 * time.Second)
		synctest.Wait()
		c := m.Take()
		if len(c.Put) != 0 || contacts(c.Removed) != "sip:short@h " {
			t.Errorf("writer was told %+v", c)
		}
		if len(heard) != 3 || heard[2] != "1 sip:101@a.test 1" {
			t.Errorf("heard %q", heard)
		}
		if m.Len() != 1 {
			t.Errorf("%d bindings kept", m.Len())
		}
	})
}

func TestRefreshIsStoredButNotAnnounced(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		heard := 0
		m := NewMemory(Config{OnChange: func(telephony.TenantID, telephony.AOR, int) { heard++ }})
		defer m.Close()
		add(t, m, bind(alice, "sip:a@h", 1, time.Minute))
		m.Take()
		_, err := m.Update(alice, func(l []telephony.Binding) ([]telephony.Binding, error) {
			l[0].Expires = l[0].Expires.Add(time.Minute)
			return l, nil
		})
		if err != nil || heard != 1 {
			t.Errorf("err %v, announced %d times", err, heard)
		}
		if c := m.Take(); len(c.Put) != 1 {
			t.Errorf("refresh not stored: %+v", c)
		}
		if !m.Take().Empty() {
			t.Error("taken twice")
		}
	})
}

func TestFailedUpdateChangesNothing(t *testing.T) {
	t.Parallel()
	m := NewMemory(Config{})
	defer m.Close()
	add(t, m, bind(alice, "sip:a@h", 1, time.Minute))
	m.Take()
	want := errors.New("no")
	got, err := m.Update(alice, func(l []telephony.Binding) ([]telephony.Binding, error) { l[0].Contact = "x"; return nil, want })
	if err != want || contacts(got) != "sip:a@h " || contacts(m.Bindings(alice)) != "sip:a@h " || !m.Take().Empty() {
		t.Errorf("got %v, %v", got, err)
	}
}

func TestReturnDoesNotOverrideNewer(t *testing.T) {
	t.Parallel()
	m := NewMemory(Config{})
	defer m.Close()
	add(t, m, bind(alice, "sip:a@h", 1, time.Minute))
	add(t, m, bind(alice, "sip:b@h", 1, time.Minute))
	failed := m.Take()
	if _, err := m.Update(alice, func(l []telephony.Binding) ([]telephony.Binding, error) { return nil, nil }); err != nil {
		t.Fatal(err)
	}
	m.Return(failed)
	if c := m.Take(); len(c.Put) != 0 || len(c.Removed) != 2 {
		t.Errorf("after the return: %d put, %d removed", len(c.Put), len(c.Removed))
	}
}

func TestRestore(t *testing.T) {
	t.Parallel()
	m := NewMemory(Config{})
	defer m.Close()
	bob := telephony.AOR{User: "102", Domain: "b.test"}
	other := bind(bob, "sip:b@h", 1, time.Minute)
	other.Tenant = 2
	m.Restore([]telephony.Binding{bind(alice, "sip:a@h", 1, time.Minute), bind(alice, "sip:dead@h", 1, -time.Minute), other})
	if contacts(m.All(1)) != "sip:a@h " || contacts(m.All(2)) != "sip:b@h " {
		t.Errorf("tenants mixed: %v, %v", m.All(1), m.All(2))
	}
	if c := m.Take(); contacts(c.Removed) != "sip:dead@h " || len(c.Put) != 0 {
		t.Errorf("to be stored: %+v", c)
	}
	select {
	case <-m.Changes():
	default:
		t.Error("no signal")
	}
}

func TestConcurrentUse(t *testing.T) {
	t.Parallel()
	m := NewMemory(Config{Sweep: time.Millisecond})
	defer m.Close()
	done := make(chan struct{})
	for i := range 8 {
		go func() {
			defer func() { done <- struct{}{} }()
			for n := range 200 {
				aor := telephony.AOR{User: fmt.Sprint(n % 20), Domain: "a.test"}
				add(t, m, bind(aor, fmt.Sprintf("sip:%d@h", i), 1, time.Millisecond))
				m.Bindings(aor)
				m.Take()
			}
		}()
	}
	for range 8 {
		<-done
	}
}
