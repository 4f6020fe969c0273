package trunk

import (
	"context"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"ringfence/internal/b2bua"
	"ringfence/internal/sip"
	"ringfence/internal/telephony"
)

const (
	// patience is how long a server may take to answer REGISTER or OPTIONS: three
	// datagrams go out in it, and a call that waits for another server is not yet
	// given up.
	patience = 3 * time.Second
	// lookEvery is how often a trunk looks whether something is due that no timer
	// says: an address of ours that changed.
	lookEvery = 5 * time.Second
	// maxPosted bounds what waits to be told to a trunk of its calls.
	maxPosted = 1024
)

// line is a trunk that we reach out to: its servers, its registration, its
// health. One goroutine runs it, and everything that is not behind mu belongs to
// that goroutine.
type line struct {
	s     *Service
	key   key
	log   *slog.Logger
	auth  *sip.ClientAuth
	token string // user part of the Contact: who sends to it was told of it by us
	stop  context.CancelFunc
	ended chan struct{}

	view  atomic.Pointer[view]
	asked atomic.Pointer[telephony.Trunk] // the settings, for other goroutines
	heard atomic.Int64                    // when it last sent us a request, in Unix nanoseconds

	mu     sync.Mutex
	posted []func()
	gone   bool
	signal chan struct{}

	t         telephony.Trunk
	servers   []*server
	resolving bool
	resolveAt time.Time
	unknown   error // why no server is known
	reg       registration
	dials     sync.WaitGroup
}

// view is what others see of a line. It is replaced, never changed.
type view struct {
	state telephony.TrunkState
	ways  []b2bua.Way
	addrs []netip.Addr // of all its servers
	flows []string     // tokens of its connections
}

func newLine(s *Service, t telephony.Trunk) *line {
	user := t.AuthUser
	if user == "" {
		user = t.User
	}
	l := &line{
		s: s, key: key{t.Tenant, t.ID}, t: t, token: "t" + sip.NewTag(), ended: make(chan struct{}), signal: make(chan struct{}, 1),
		log: s.c.Logger.With("tenant", int64(t.Tenant), "trunk", t.Name),
	}
	if user != "" && t.Password != "" {
		l.auth = sip.NewClientAuth(user, t.Password)
	}
	l.reg.reset(t)
	l.asked.Store(&t)
	l.view.Store(&view{state: telephony.TrunkState{Tenant: t.Tenant, Trunk: t.ID, Name: t.Name, Condition: telephony.TrunkStarting, Since: time.Now()}})
	return l
}

// start runs the line until its context ends; then it un-registers.
func (l *line) start(ctx context.Context) {
	ctx, l.stop = context.WithCancel(ctx)
	go func() {
		defer close(l.ended)
		l.run(ctx)
	}()
}

// post has f run in the line's goroutine. It never waits, and reports whether f
// will run.
func (l *line) post(f func()) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.gone {
		return false
	}
	l.posted = append(l.posted, f)
	select {
	case l.signal <- struct{}{}:
	default:
	}
	return true
}

// offer is post for what may be left out when there is too much of it.
func (l *line) offer(f func()) {
	l.mu.Lock()
	full := len(l.posted) >= maxPosted
	l.mu.Unlock()
	if !full {
		l.post(f)
	}
}

func (l *line) work() {
	l.mu.Lock()
	list := l.posted
	l.posted = nil
	l.mu.Unlock()
	for _, f := range list {
		f()
	}
}

func (l *line) run(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			l.leave()
			return
		case <-l.signal:
		case <-timer.C:
		}
		l.work()
		now := time.Now()
		next := l.step(ctx, now)
		l.show(now)
		timer.Reset(max(next.Sub(now), time.Millisecond))
	}
}

// step does what is due, and says when it must be called again.
func (l *line) step(ctx context.Context, now time.Time) (next time.Time) {
	l.resolve(ctx, now)
	next = now.Add(lookEvery)
	soonest := func(at time.Time) {
		if at.After(now) && at.Before(next) {
			next = at
		}
	}
	soonest(l.resolveAt)
	for _, s := range l.servers {
		l.keep(ctx, s, now)
		soonest(s.due(l.t))
	}
	if l.t.Kind == telephony.TrunkRegister {
		l.keepRegistered(now)
		soonest(l.reg.at)
	}
	return next
}

// resolve finds the servers anew when what DNS said has run out.
func (l *line) resolve(ctx context.Context, now time.Time) {
	if l.resolving || now.Before(l.resolveAt) {
		return
	}
	l.resolving = true
	t := l.t
	l.dials.Go(func() {
		ctx, cancel := context.WithTimeout(ctx, 4*dnsTime)
		defer cancel()
		host, port, err := hop(t)
		var list []target
		ttl := minTTL
		if err == nil {
			list, ttl, err = locate(ctx, l.s.c.Resolver, host, port, t.Transport)
		}
		l.post(func() { l.located(list, ttl, err) })
	})
}

// located takes what DNS said. Servers that stay keep their connections and
// what is known of them; without an answer, the old ones serve on.
func (l *line) located(list []target, ttl time.Duration, err error) {
	l.resolving = false
	l.resolveAt = time.Now().Add(ttl)
	if err == nil {
		list, err = l.allowed(list)
	}
	if err != nil {
		if len(l.servers) > 0 {
			l.log.Warn("servers of a trunk are not resolved; the old ones are kept", "err", err)
		}
		l.unknown = err
		return
	}
	l.unknown = nil
	var kept []*server
	for _, x := range list {
		s := l.server(x.addr)
		if s == nil {
			s = &server{}
		}
		s.target = x
		kept = append(kept, s)
	}
	for _, s := range l.servers {
		if !slices.Contains(kept, s) {
			s.flow.Close()
			if l.reg.home == s {
				l.reg.lost(time.Now())
			}
		}
	}
	l.servers = kept
}

// allowed leaves out addresses that must not be connected to.
func (l *line) allowed(list []target) (ok []target, err error) {
	for _, x := range list {
		if e := l.s.c.Dial.Check(x.addr.Addr()); e != nil {
			err = e
			continue
		}
		ok = append(ok, x)
	}
	if len(ok) > 0 {
		err = nil
	}
	return ok, err
}

func (l *line) server(addr netip.AddrPort) *server {
	for _, s := range l.servers {
		if s.addr == addr {
			return s
		}
	}
	return nil
}

// leave un-registers, and ends the connections.
func (l *line) leave() {
	late := time.NewTimer(time.Second)
	defer late.Stop()
	left := !l.unregister()
	for !left {
		select {
		case <-l.signal:
			l.work()
			left = l.reg.left
		case <-late.C:
			left = true
		}
	}
	l.mu.Lock()
	l.gone = true
	l.mu.Unlock()
	l.dials.Wait()
	for _, s := range l.servers {
		s.flow.Close()
	}
}

// show tells others how the trunk is.
func (l *line) show(now time.Time) {
	old := l.view.Load()
	v := &view{state: l.state(now, old.state)}
	for _, s := range l.preferred(now) {
		v.ways = append(v.ways, l.way(s))
	}
	for _, s := range l.servers {
		v.addrs = append(v.addrs, s.addr.Addr())
		if s.flow.Token != "" && s.flow.Live() {
			v.flows = append(v.flows, s.flow.Token)
		}
	}
	l.view.Store(v)
	if !slices.Equal(old.addrs, v.addrs) {
		l.s.learn()
	}
	if v.state.Condition == telephony.TrunkStarting {
		return
	}
	if v.state.Condition != old.state.Condition || v.state.Reason != old.state.Reason || v.state.Target != old.state.Target {
		l.s.changed(v.state)
	}
}

// state is what is known now.
func (l *line) state(now time.Time, old telephony.TrunkState) telephony.TrunkState {
	st := telephony.TrunkState{Tenant: l.t.Tenant, Trunk: l.t.ID, Name: l.t.Name, Since: old.Since}
	st.Condition, st.Reason = l.condition(now)
	if st.Condition == telephony.TrunkStarting && old.Condition != telephony.TrunkStarting {
		st.Condition, st.Reason = old.Condition, old.Reason // until more is known
	}
	if st.Condition != old.Condition {
		st.Since = now
	}
	if l.reg.until.After(now) {
		st.Registered = l.reg.until
	}
	best := l.reg.home
	if list := l.preferred(now); best == nil && len(list) > 0 {
		best = list[0]
	}
	if best != nil {
		st.Target, st.RTT = best.String(), best.rtt
	}
	return st
}

// condition is whether the trunk carries calls, and if not, why.
func (l *line) condition(now time.Time) (telephony.TrunkCondition, string) {
	usable, asked, reason := false, true, ""
	for _, s := range l.servers {
		usable = usable || s.usable(l.t)
		asked = asked && !s.fresh(l.t)
		if s.reason != "" && reason == "" {
			reason = s.String() + ": " + s.reason
		}
	}
	registers := l.t.Kind == telephony.TrunkRegister
	switch {
	case registers && l.reg.refused != "":
		return telephony.TrunkRefused, l.reg.refused
	case len(l.servers) == 0 && l.unknown != nil:
		return telephony.TrunkDown, l.unknown.Error()
	case len(l.servers) == 0:
		return telephony.TrunkStarting, ""
	case registers && l.reg.until.After(now) && usable:
		return telephony.TrunkUp, ""
	case registers && reason == "" && l.reg.reason != "":
		return telephony.TrunkDown, l.reg.reason
	case registers && reason == "":
		return telephony.TrunkStarting, ""
	case !registers && usable && asked:
		return telephony.TrunkUp, ""
	case !asked && reason == "":
		return telephony.TrunkStarting, ""
	}
	return telephony.TrunkDown, reason
}
