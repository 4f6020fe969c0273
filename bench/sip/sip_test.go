package sip

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"ringfence/bench/host"
)

const (
	users     = 10_000
	callers   = 1000 // and as many callees
	rounds    = 3
	registers = 20_000
	calls     = 1500
	heldCalls = 500
	strangers = 20_000 // registrations a second
)

// TestSignalling prints the table of docs/performance.md.
func TestSignalling(t *testing.T) {
	host.Gate(t)
	var ours, theirs []figure
	for round := range rounds {
		t.Logf("round %d, load %s", round+1, host.Load())
		t.Run(fmt.Sprintf("ringfence %d", round+1), func(t *testing.T) { ours = append(ours, measure(t, ringfence(t, users))) })
		t.Run(fmt.Sprintf("kamailio %d", round+1), func(t *testing.T) { theirs = append(theirs, measure(t, kamailio(t, users))) })
	}
	if len(ours) == 0 || len(theirs) == 0 {
		t.Fatal("nothing to compare")
	}
	t.Logf("| %-42s | %10s | %10s | %6s |", "", "ringfence", "kamailio", "ratio")
	for _, f := range []struct {
		what  string
		scale float64
		of    func(figure) float64
	}{
		{"REGISTER 401/200 a second, 10,000 users", 1, func(f figure) float64 { return f.registerRate }},
		{"  share of it left at twice the rate", 1, func(f figure) float64 { return f.overload }},
		{"CPU of a registration, us", 1e6, func(f figure) float64 { return f.registerCPU.Seconds() }},
		{"memory of a registered phone, KB", 1e-3, func(f figure) float64 { return f.perPhone }},
		{"calls a second, set up and torn down", 1, func(f figure) float64 { return f.callRate }},
		{"CPU of a call, ms", 1e3, func(f figure) float64 { return f.callCPU.Seconds() }},
		{"INVITE to 180, quiet, p50, ms", 1e3, func(f figure) float64 { return f.quiet50.Seconds() }},
		{"INVITE to 180, quiet, p99, ms", 1e3, func(f figure) float64 { return f.quiet99.Seconds() }},
		{"calls of 60 beside 20,000 strange REGISTERs a second", 60, func(f figure) float64 { return f.flooded }},
		{"  INVITE to 180, p99, ms", 1e3, func(f figure) float64 { return f.flooded99.Seconds() }},
		{"INVITE to 180, half load, p99, ms", 1e3, func(f figure) float64 { return f.half99.Seconds() }},
		{"memory of a call, 500 held, KB", 1e-3, func(f figure) float64 { return f.perCall }},
		{"  of it kept 10 s after the last, KB", 1e-3, func(f figure) float64 { return f.kept }},
		{"memory idle, 10,000 users, MB", 1e-6, func(f figure) float64 { return f.idle }},
	} {
		a, b := host.Median(ours, f.of)*f.scale, host.Median(theirs, f.of)*f.scale
		t.Logf("| %-42s | %10.2f | %10.2f | %6.2f |", f.what, a, b, a/b)
	}
}

// figure is what was measured of one server in one round.
type figure struct {
	registerRate, overload, callRate float64
	registerCPU, callCPU             time.Duration
	perPhone, perCall, kept, idle    float64
	quiet50, quiet99, half99         time.Duration
	flooded                          float64
	flooded99                        time.Duration
}

type measurement struct {
	*testing.T
	s      *server
	callee *Callee
}

func measure(t *testing.T, s *server) (f figure) {
	t.Helper()
	callee, err := NewCallee()
	if err != nil {
		t.Fatal(err)
	}
	defer callee.Close()
	m := &measurement{t, s, callee}
	f.idle = m.settled()
	m.registrations(&f)
	m.calls(&f)
	m.Logf("%s: %+v", s.name, f)
	return f
}

// load is a load on the server, with its bar.
func (m *measurement) load(what string, users []User, count int, rate float64, inFlight int) *Load {
	return &Load{Server: m.s.addr, Users: users, Count: count, Rate: rate, InFlight: inFlight, Progress: bar(m.s.name+": "+what, count)}
}

func (m *measurement) register(what string, users []User, count int, rate float64, inFlight int) Result {
	m.Helper()
	l := m.load(what, users, count, rate, inFlight)
	l.Through = m.callee
	r, err := l.Register(m.Context(), m.callee.Contact())
	if err != nil {
		m.Fatal(err)
	}
	m.Logf("%s: %s: %s", m.s.name, what, r)
	return r
}

func (m *measurement) registrations(f *figure) {
	// Buffers and pools are filled by a few phones, so that what 10,000 add is theirs.
	m.register("warming up", m.s.users[:50], registers/4, 0, 50)
	before := m.settled()
	r := m.register("every user", m.s.users, len(m.s.users), 1500, 0)
	if r.Bad() > 0.01 {
		m.Logf("%s: does not hold 1,500 registrations a second: %s", m.s.name, r)
	}
	f.perPhone = (m.settled() - before) / float64(len(m.s.users))
	used := m.s.Used(m.T)
	r = m.register("steady, 2,000 a second", m.s.users, registers/2, 2000, 0)
	f.registerCPU = (m.s.Used(m.T) - used) / time.Duration(r.OK)
	r = m.register("as many as go", m.s.users, registers, 0, 100)
	f.registerRate = r.Rate()
	over := m.register("twice as many", m.s.users, int(10*f.registerRate), 2*f.registerRate, 0)
	f.overload = over.Rate() / f.registerRate
	time.Sleep(giveUp / 2)
	m.register("every user again", m.s.users, len(m.s.users), 1500, 0)
}

func (m *measurement) call(what string, count int, rate float64, inFlight int) Result {
	m.Helper()
	c := &Calls{Callees: m.s.users[callers : 2*callers]}
	r, err := c.Run(m.Context(), m.load(what, m.s.users[:callers], count, rate, inFlight))
	if err != nil {
		m.Fatal(err)
	}
	m.Logf("%s: %s: %s; 180 after %s, 99 %% %s", m.s.name, what, r, r.Wait(0.5), r.Wait(0.99))
	if r.OK == 0 {
		m.Fatal("no call")
	}
	return r
}

func (m *measurement) calls(f *figure) {
	m.call("warming up calls", calls/5, 50, 0)
	r := m.call("quiet, 10 calls a second", 200, 10, 0)
	f.quiet50, f.quiet99 = r.Wait(0.5), r.Wait(0.99)
	m.flooded(f)
	m.held(f) // before memory is stretched by the loads below
	f.callRate = m.ladder()
	used := m.s.Used(m.T)
	r = m.call("half as many", calls, f.callRate/2, 0)
	f.callCPU, f.half99 = (m.s.Used(m.T)-used)/time.Duration(r.OK), r.Wait(0.99)
}

// flooded places calls while strangers send registrations that nobody knows.
func (m *measurement) flooded(f *figure) {
	flood, err := NewFlood(m.s.addr, m.s.users[0].Domain, strangers)
	if err != nil {
		m.Fatal(err)
	}
	r := m.call("10 calls a second beside a flood", 60, 10, 0)
	sent := flood.Close()
	m.Logf("%s: beside %d registrations a second", m.s.name, int(float64(sent)/r.Took.Seconds()))
	f.flooded, f.flooded99 = float64(r.OK)/60, r.Wait(0.99)
	time.Sleep(giveUp / 2)
}

// ladder finds the highest rate that holds. It rises in steps, for a server
// that is far behind refuses calls faster than it takes them. A step that
// fails is tried once more: the machine has other things to do.
func (m *measurement) ladder() (held float64) {
	const step, top, seconds = 100, 2000, 3
	for rate := step; rate <= top; rate += step {
		what := fmt.Sprintf("%d calls a second", rate)
		r := m.call(what, rate*seconds, float64(rate), 0)
		if r.Bad() > 0.01 || r.Rate() < 0.9*float64(rate) {
			time.Sleep(giveUp)
			if r = m.call(what+", again", rate*seconds, float64(rate), 0); r.Bad() > 0.01 || r.Rate() < 0.9*float64(rate) {
				break
			}
		}
		held = r.Rate()
	}
	if held == 0 {
		m.Fatalf("%s: not even %d calls a second", m.s.name, step)
	}
	time.Sleep(giveUp)
	return held
}

// held keeps calls up, and looks again when they are over.
func (m *measurement) held(f *figure) {
	before := m.settled()
	c := &Calls{Callees: m.s.users[callers : 2*callers], Hold: true, Release: make(chan struct{})}
	all := make(chan struct{})
	c.Up = func(n int) {
		if n == heldCalls {
			close(all)
		}
	}
	ended := make(chan Result, 1)
	go func() {
		r, err := c.Run(m.Context(), m.load("calls held", m.s.users[:callers], heldCalls, 50, 0))
		if err != nil {
			m.Error(err)
		}
		ended <- r
	}()
	select {
	case <-all:
	case r := <-ended:
		m.Fatalf("%s: not all calls came up: %s", m.s.name, r)
	case <-time.After(time.Minute):
		m.Fatalf("%s: not all calls came up in a minute", m.s.name)
	}
	f.perCall = (m.settled() - before) / heldCalls
	close(c.Release)
	m.Logf("%s: held: %s", m.s.name, <-ended)
	time.Sleep(10 * time.Second)
	f.kept = (m.settled() - before) / heldCalls
}

// settled is the memory once what the last load left has been swept.
func (m *measurement) settled() float64 {
	time.Sleep(3 * time.Second)
	return float64(m.s.Memory(m.T))
}

// bar draws how far a load is on the terminal, if there is one.
func bar(what string, count int) func(done int) {
	tty, err := os.OpenFile("/dev/tty", os.O_WRONLY, 0)
	if err != nil {
		return nil
	}
	drawn := -1
	return func(done int) {
		const width = 30
		full := done * width / count
		if full == drawn {
			return
		}
		drawn = full
		fmt.Fprintf(tty, "\r%-50s [%s%s] %3d %%", what, strings.Repeat("#", full), strings.Repeat(".", width-full), done*100/count)
		if done >= count {
			fmt.Fprintf(tty, "\r%90s\r", "")
			tty.Close()
		}
	}
}
