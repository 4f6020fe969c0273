package firewall

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"ringfence/internal/netcfg"
	"ringfence/internal/ports"
	"ringfence/internal/telephony"
)

func TestServerStartsClosed(t *testing.T) {
	t.Parallel()
	k := &fakeKernel{}
	f := newFence(t, shortDir(t), k)
	if got, want := k.loaded(t), mustCompile(t, DefaultPolicy()).String(); got != want {
		t.Errorf("loaded\n%s", got)
	}
	st, err := f.dial(t).Status(t.Context())
	must(t, err)
	if !st.Active || !st.Standard || st.Rev != 0 || st.Mode != ModeFilter || st.Error != "" {
		t.Errorf("status %+v", st)
	}
}

func TestServerApplyConfirmRevert(t *testing.T) {
	t.Parallel()
	k := &fakeKernel{}
	dir := shortDir(t)
	f := newFence(t, dir, k)
	c := f.dial(t)
	p := inService(t)
	p.Rev = 4
	must(t, c.Apply(t.Context(), p, 0))
	p.Rev, p.Block = 5, prefixes("198.51.100.0/24")
	must(t, c.Apply(t.Context(), p, time.Minute))
	st, err := c.Status(t.Context())
	must(t, err)
	if st.Rev != 5 || st.Standard || time.Until(st.ConfirmUntil) < 50*time.Second {
		t.Errorf("status %+v", st)
	}
	wantErr(t, c.Confirm(t.Context(), 4), ErrRefused)
	must(t, c.Confirm(t.Context(), 5))

	p.Rev, p.Block = 6, nil
	must(t, c.Apply(t.Context(), p, 50*time.Millisecond))
	eventually(t, "the unconfirmed policy is taken back", func() bool {
		st, err := c.Status(t.Context())
		return err == nil && st.Rev == 5 && st.Reverted != nil && st.Reverted.Rev == 6
	})
	if !strings.Contains(k.loaded(t), "198.51.100.0/24") {
		t.Error("the confirmed policy is not in the kernel")
	}

	// A restart inside the window takes the change back as well.
	p.Rev = 7
	must(t, c.Apply(t.Context(), p, time.Minute))
	f.stop()
	f = newFence(t, dir, k)
	eventually(t, "the restarted fence reports the confirmed policy", func() bool {
		st, err := c.Status(t.Context())
		return err == nil && st.Rev == 5 && st.Reverted != nil && st.Reverted.Rev == 7
	})
	if !strings.Contains(k.loaded(t), "198.51.100.0/24") {
		t.Error("the confirmed policy is not in the kernel")
	}
}

func TestServerKeepsTheOldRulesWhenLoadingFails(t *testing.T) {
	t.Parallel()
	k := &fakeKernel{}
	c := newFence(t, shortDir(t), k).dial(t)
	must(t, c.Apply(t.Context(), inService(t), 0))
	before := k.loaded(t)
	k.mu.Lock()
	k.fail = errors.New("no memory")
	k.mu.Unlock()
	p := inService(t)
	p.Rev = 9
	if err := c.Apply(t.Context(), p, 0); err == nil || errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "no memory") {
		t.Errorf("error is %v", err)
	}
	p.Mode = "open"
	wantErr(t, c.Apply(t.Context(), p, 0), ErrRefused)
	st, err := c.Status(t.Context())
	must(t, err)
	if k.loaded(t) != before || st.Rev != 0 {
		t.Errorf("rules changed; status %+v", st)
	}
}

func TestServerBans(t *testing.T) {
	t.Parallel()
	k := &fakeKernel{}
	f := newFence(t, shortDir(t), k)
	must(t, f.SetHost(Host{Addresses: prefixes("10.77.0.1/24", "fd77::1/64"), Gateways: []netip.Addr{netip.MustParseAddr("10.77.0.254")}}))
	c := f.dial(t)
	ctx := t.Context()
	ban := func(prefix string, scope telephony.BanScope, d time.Duration) error {
		return c.Ban(ctx, Ban{Prefix: netip.MustParsePrefix(prefix), Scope: scope, Until: time.Now().Add(d), Reason: "test"})
	}
	must(t, ban("192.0.2.7/32", telephony.BanSIP, time.Hour))
	must(t, ban("2001:db8:1:2:3::4/128", telephony.BanWeb, 2*time.Hour))
	must(t, ban("192.0.2.8/32", telephony.BanAll, 3*time.Hour))
	must(t, ban("192.0.2.9/32", telephony.BanSIP, -time.Second)) // ran out on the way
	if left := k.set("auto_sip_4")["\xc0\x00\x02\x07"]; left < 3590*time.Second || left > time.Hour {
		t.Errorf("the ban lasts %s", left)
	}
	list, err := c.Bans(ctx)
	must(t, err)
	var got []string
	for _, b := range list {
		got = append(got, b.Prefix.String()+" "+string(b.Scope))
	}
	if want := []string{"192.0.2.8/32 all", "2001:db8:1:2::/64 web", "192.0.2.7/32 sip"}; !slices.Equal(got, want) {
		t.Errorf("bans %q, want %q", got, want)
	}
	for name, err := range map[string]error{
		"own address":   ban("10.77.0.1/32", telephony.BanAll, time.Hour),
		"own /64":       ban("fd77::99/128", telephony.BanSIP, time.Hour),
		"gateway":       ban("10.77.0.254/32", telephony.BanSIP, time.Hour),
		"range":         ban("192.0.2.0/24", telephony.BanSIP, time.Hour),
		"loopback":      ban("127.0.0.1/32", telephony.BanSIP, time.Hour),
		"unknown scope": ban("192.0.2.7/32", "mail", time.Hour),
		"nothing":       c.Ban(ctx, Ban{Scope: telephony.BanSIP, Until: time.Now().Add(time.Hour)}),
	} {
		if !errors.Is(err, ErrRefused) {
			t.Errorf("%s: %v", name, err)
		}
	}
	must(t, c.Unban(ctx, telephony.BanSIP, netip.MustParsePrefix("192.0.2.7/32")))
	if len(k.set("auto_sip_4")) != 0 {
		t.Error("still banned")
	}
	must(t, c.Known(ctx, time.Minute, prefixes("192.0.2.20/32", "2001:db8::1/128")...))
	if len(k.set("known_4")) != 1 || len(k.set("known_6")) != 1 {
		t.Error("known sources are missing")
	}
	must(t, c.Forget(ctx, prefixes("192.0.2.20/32")...))
	if len(k.set("known_4")) != 0 {
		t.Error("not forgotten")
	}
	wantErr(t, c.Known(ctx, 0, prefixes("192.0.2.20/32")...), ErrRefused)

	p := inService(t)
	for _, bad := range []string{"10.0.0.0/8", "0.0.0.0/0", "fd77::/48"} {
		p.Block = prefixes(bad)
		wantErr(t, c.Apply(ctx, p, 0), ErrRefused)
	}
}

func TestServerMedia(t *testing.T) {
	t.Parallel()
	k := &fakeKernel{}
	c := newFence(t, shortDir(t), k).dial(t)
	ctx := t.Context()
	wantErr(t, c.MediaOpen(ctx, []uint16{45000}, time.Minute), ErrRefused) // before set-up there is no RTP
	must(t, c.Apply(ctx, inService(t), 0))
	must(t, c.MediaOpen(ctx, []uint16{45000, 45001, 64999}, time.Minute))
	must(t, c.MediaClose(ctx, []uint16{45001}))
	if got := k.set(setMedia); len(got) != 2 || got["\xaf\xc8"] != time.Minute {
		t.Errorf("open ports: %v", got)
	}
	for _, port := range []uint16{22, 5060, 8887, 44999, 65000} {
		wantErr(t, c.MediaOpen(ctx, []uint16{port}, time.Minute), ErrRefused)
	}
	wantErr(t, c.MediaOpen(ctx, []uint16{45000}, time.Hour), ErrRefused)
	wantErr(t, c.MediaOpen(ctx, []uint16{45000}, 0), ErrRefused)
}

// Many calls at once cost few transactions, and each gets its own answer.
func TestServerGathersMedia(t *testing.T) {
	t.Parallel()
	k := &fakeKernel{block: make(chan struct{})}
	c := newFence(t, shortDir(t), k).dial(t)
	must(t, c.Apply(t.Context(), inService(t), 0))
	const calls = 200
	var failed atomic.Int64
	var all sync.WaitGroup
	for i := range calls {
		all.Go(func() {
			l, err := c.await(t.Context())
			if err != nil {
				failed.Add(1)
				return
			}
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			if _, err := l.call(ctx, methodMedia, mediaRequest{Open: []uint16{uint16(45000 + i)}, TTL: time.Minute}); err != nil {
				failed.Add(1)
			}
		})
	}
	time.Sleep(100 * time.Millisecond)
	close(k.block)
	all.Wait()
	if failed.Load() > 0 || len(k.set(setMedia)) != calls {
		t.Errorf("%d of %d failed, %d ports open", failed.Load(), calls, len(k.set(setMedia)))
	}
	if k.batches > 10 {
		t.Errorf("%d transactions for %d calls", k.batches, calls)
	}
}

func TestMediaWaitIsBounded(t *testing.T) {
	t.Parallel()
	k := &fakeKernel{block: make(chan struct{})}
	f := newFence(t, shortDir(t), k)
	c := f.dial(t)
	must(t, c.Apply(t.Context(), inService(t), 0))
	began := time.Now()
	wantErr(t, c.MediaOpen(t.Context(), []uint16{45000}, time.Minute), ErrUnavailable)
	if took := time.Since(began); took < MediaWait || took > 2*MediaWait {
		t.Errorf("waited %s", took)
	}
	close(k.block)
	f.stop()
	began = time.Now()
	wantErr(t, c.MediaOpen(t.Context(), []uint16{45000}, time.Minute), ErrUnavailable)
	if took := time.Since(began); took > 2*MediaWait {
		t.Errorf("waited %s for a fence that is away", took)
	}
}

func TestServerCountersAndInterfaces(t *testing.T) {
	t.Parallel()
	states := []netcfg.State{{Name: "eth0", Up: true, MTU: 1500, Addresses: prefixes("10.0.0.1/24")}}
	f := newFence(t, shortDir(t), &fakeKernel{}, func(o *Options) {
		o.Interfaces = func() ([]netcfg.State, error) { return states, nil }
	})
	c := f.dial(t)
	n, err := c.Counters(t.Context())
	must(t, err)
	if n.Ports[ports.Portal] != (Counter{3, 180}) || n.Drops["rest"] != (Counter{1, 40}) {
		t.Errorf("counters %+v", n)
	}
	got, err := c.Interfaces(t.Context())
	must(t, err)
	if len(got) != 1 || got[0].Name != "eth0" || got[0].Addresses[0] != states[0].Addresses[0] {
		t.Errorf("interfaces %+v", got)
	}
}

type fakeNetwork struct {
	mu   sync.Mutex
	list []netcfg.Config
}

func (n *fakeNetwork) Configure(c netcfg.Config) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.list = append(n.list, c)
	return nil
}

func (n *fakeNetwork) last() netcfg.Config {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.list[len(n.list)-1]
}

func TestServerAddressesAreTriedFirst(t *testing.T) {
	t.Parallel()
	n := &fakeNetwork{}
	f := newFence(t, shortDir(t), &fakeKernel{}, func(o *Options) { o.Network, o.StandardNetwork = n, netcfg.Standard() })
	must(t, f.StartNetwork())
	if !n.last().Interfaces[0].DHCP4 {
		t.Errorf("standard network: %+v", n.last())
	}
	c := f.dial(t)
	static := netcfg.Config{Rev: 2, Interfaces: []netcfg.Interface{{Name: "eth0", Addresses: prefixes("10.9.9.9/24")}}}
	must(t, c.SetAddresses(t.Context(), static, 50*time.Millisecond))
	eventually(t, "the unconfirmed addresses are taken back", func() bool { return n.last().Rev == 0 })
	must(t, c.SetAddresses(t.Context(), static, time.Minute))
	must(t, c.ConfirmAddresses(t.Context(), 2))
	if s, err := c.Network(t.Context()); err != nil || !s.Managed || s.Standard || s.Config.Rev != 2 || !s.ConfirmUntil.IsZero() || s.Reverted == nil {
		t.Errorf("confirmed: %+v, %v", s, err)
	}
	static.Rev = 3
	must(t, c.SetAddresses(t.Context(), static, time.Minute))
	if s, err := c.Network(t.Context()); err != nil || s.Config.Rev != 3 || s.Confirmed.Rev != 2 || s.ConfirmUntil.IsZero() {
		t.Errorf("waiting: %+v, %v", s, err)
	}
	wantErr(t, c.RevertAddresses(t.Context(), 2), ErrRefused)
	must(t, c.RevertAddresses(t.Context(), 3))
	wantErr(t, c.RevertAddresses(t.Context(), 3), ErrRefused)
	static.Interfaces[0].Name = "no name/at all"
	wantErr(t, c.SetAddresses(t.Context(), static, 0), ErrRefused)
	if n.last().Rev != 2 {
		t.Errorf("in effect: %+v", n.last())
	}
}

func TestServerAddressesNotManaged(t *testing.T) {
	t.Parallel()
	c := newFence(t, shortDir(t), &fakeKernel{}).dial(t)
	wantErr(t, c.SetAddresses(t.Context(), netcfg.Standard(), 0), ErrRefused)
	_, err := c.Interfaces(t.Context())
	wantErr(t, err, ErrRefused)
	if s, err := c.Network(t.Context()); err != nil || s.Managed {
		t.Errorf("%+v, %v", s, err)
	}
}

// The rules follow the machine's addresses, without a new policy.
func TestServerFollowsConnectedNetworks(t *testing.T) {
	t.Parallel()
	k := &fakeKernel{}
	f := newFence(t, shortDir(t), k)
	must(t, f.SetHost(Host{Addresses: prefixes("192.168.7.3/24", "203.0.113.5/24", "fe80::1/64", "2001:db8::1/64", "fd00:1::5/64")}))
	got := k.loaded(t)
	for _, want := range []string{"192.168.7.0/24", "fe80::/64", "fd00:1::/64"} {
		if !strings.Contains(got, want) {
			t.Errorf("%s does not count as local", want)
		}
	}
	for _, stranger := range []string{"203.0.113.0/24", "2001:db8::/64"} {
		if strings.Contains(got, stranger) {
			t.Errorf("%s counts as local: strangers live there", stranger)
		}
	}
	loads := len(k.rules)
	must(t, f.SetHost(Host{Addresses: prefixes("192.168.7.3/24", "203.0.113.5/24", "fe80::1/64", "2001:db8::1/64", "fd00:1::5/64")}))
	if len(k.rules) != loads {
		t.Error("the same addresses loaded the rules again")
	}
}

// zoneAtStart notes which rules are in force when the network is configured.
type zoneAtStart struct {
	k    *fakeKernel
	t    *testing.T
	seen []string
}

func (n *zoneAtStart) Configure(netcfg.Config) error {
	n.seen = append(n.seen, n.k.loaded(n.t))
	return nil
}

// An interface gets its zone before it is up, and one that lost it is free after
// the change.
func TestServerKnowsZonesBeforeTheInterfaces(t *testing.T) {
	t.Parallel()
	k := &fakeKernel{}
	n := &zoneAtStart{k: k, t: t}
	states := []netcfg.State{{Name: "eth0", MAC: "52:54:00:00:00:01"}}
	f := newFence(t, shortDir(t), k, func(o *Options) {
		o.Network, o.StandardNetwork = n, netcfg.Standard()
		o.Interfaces = func() ([]netcfg.State, error) { return states, nil }
	})
	must(t, f.StartNetwork())
	c := f.dial(t)
	must(t, c.SetAddresses(t.Context(), netcfg.Config{Rev: 2, Interfaces: []netcfg.Interface{
		{MAC: "52:54:00:00:00:01", Zone: netcfg.ZoneManagement, DHCP4: true}, {VLAN: 20, Link: "eth0", Zone: netcfg.ZoneVoice, DHCP4: true}, {Name: "phones", VLAN: 21, Link: "52:54:00:00:00:01", Zone: netcfg.ZoneVoice, DHCP4: true},
	}}, 0))
	if got := n.seen[1]; !strings.Contains(got, `"eth0.20", "phones"`) || !strings.Contains(got, `elements = { "eth0" }`) {
		t.Errorf("when the interfaces come up the rules are\n%s", got)
	}
	if got := k.loaded(t); strings.Contains(got, "links_") {
		t.Errorf("interfaces that did not come are in the rules\n%s", got)
	}
}

func TestServerRepairsWhatOthersFlush(t *testing.T) {
	t.Parallel()
	k := &fakeKernel{}
	f := newFence(t, shortDir(t), k)
	var connects atomic.Int64
	c := Dial(f.socket, ClientOptions{OnConnect: func(context.Context, *Client) error { connects.Add(1); return nil }})
	defer c.Close()
	_, err := c.Status(t.Context())
	must(t, err)
	k.mu.Lock()
	k.gone, k.others = true, []string{"ip filter"}
	k.mu.Unlock()
	eventually(t, "the fence loads its rules again and lets its clients report anew", func() bool {
		k.mu.Lock()
		back := !k.gone
		k.mu.Unlock()
		return back && connects.Load() == 2
	})
	st, err := c.Status(t.Context())
	must(t, err)
	if st.Repaired != 1 || !st.Active || !slices.Equal(st.Foreign, []string{"ip filter"}) {
		t.Errorf("status %+v", st)
	}
}

func TestServerTurnsOthersAway(t *testing.T) {
	t.Parallel()
	f := newFence(t, shortDir(t), &fakeKernel{}, func(o *Options) { o.UIDs = []uint32{uint32(os.Geteuid()) + 1} })
	conn, err := net.Dial("unix", f.socket)
	must(t, err)
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
	_ = writeFrame(conn, request{ID: 1, Method: methodStatus})
	if n, err := conn.Read(make([]byte, 1)); n != 0 || err == nil {
		t.Error("a stranger was served")
	}
	if mode := stat(t, f.socket).Mode().Perm(); mode != 0o660 {
		t.Errorf("socket mode is %o", mode)
	}
}

func stat(t *testing.T, path string) os.FileInfo {
	t.Helper()
	i, err := os.Stat(path)
	must(t, err)
	return i
}

func TestListenReplacesDeadSocketsOnly(t *testing.T) {
	t.Parallel()
	path := filepath.Join(shortDir(t), "s")
	l, err := Listen(path)
	must(t, err)
	if _, err := Listen(path); err == nil {
		t.Fatal("took the socket of a live process")
	}
	l.(*net.UnixListener).SetUnlinkOnClose(false) // as if killed
	must(t, l.Close())
	again, err := Listen(path)
	must(t, err)
	must(t, again.Close())
}

func TestServerBoundsItsClients(t *testing.T) {
	t.Parallel()
	f := newFence(t, shortDir(t), &fakeKernel{})
	var held []net.Conn
	for range maxConns {
		conn, err := net.Dial("unix", f.socket)
		must(t, err)
		defer conn.Close()
		must(t, writeFrame(conn, request{ID: 1, Method: methodStatus}))
		var r response
		must(t, readFrame(conn, &r, func() {}))
		held = append(held, conn)
	}
	extra, err := net.Dial("unix", f.socket)
	must(t, err)
	defer extra.Close()
	_ = extra.SetReadDeadline(time.Now().Add(5 * time.Second))
	if _, err := extra.Read(make([]byte, 1)); err == nil || os.IsTimeout(err) {
		t.Errorf("client %d got in: %v", maxConns+1, err)
	}
	_ = held[0].Close()
	eventually(t, "a freed place is given away", func() bool {
		conn, err := net.Dial("unix", f.socket)
		if err != nil {
			return false
		}
		defer conn.Close()
		var r response
		_ = conn.SetDeadline(time.Now().Add(time.Second))
		return writeFrame(conn, request{ID: 1, Method: methodStatus}) == nil && readFrame(conn, &r, func() {}) == nil
	})
}

func TestServerRefusesHostileMessages(t *testing.T) {
	t.Parallel()
	f := newFence(t, shortDir(t), &fakeKernel{})
	for name, raw := range map[string]string{
		"empty":          "\x00\x00\x00\x00",
		"too long":       "\xff\xff\xff\xff",
		"no json":        "\x00\x00\x00\x03abc",
		"two values":     "\x00\x00\x00\x04{}{}",
		"unknown fields": "\x00\x00\x00\x0a{\"evil\":1}",
		"array":          "\x00\x00\x00\x02[]",
	} {
		conn, err := net.Dial("unix", f.socket)
		must(t, err)
		_, err = conn.Write([]byte(raw))
		must(t, err)
		_ = conn.SetReadDeadline(time.Now().Add(5 * time.Second))
		if _, err := conn.Read(make([]byte, 1)); err == nil || os.IsTimeout(err) {
			t.Errorf("%s: connection goes on: %v", name, err)
		}
		_ = conn.Close()
	}
	// Bad bodies and unknown methods are answered, and the connection lives.
	conn, err := net.Dial("unix", f.socket)
	must(t, err)
	defer conn.Close()
	for i, r := range []request{
		{Method: "flush"}, {Method: methodApply}, {Method: methodApply, Body: []byte(`{"policy":{"mode":"filter","hole":true}}`)},
		{Method: methodMedia, Body: []byte(`{"open":[70000]}`)}, {Method: methodBan, Body: []byte(`{"bans":[{"prefix":"x"}]}`)},
	} {
		r.ID = uint64(i + 1)
		must(t, writeFrame(conn, r))
		var resp response
		must(t, readFrame(conn, &resp, func() {}))
		if resp.ID != r.ID || !resp.Refused || resp.Error == "" {
			t.Errorf("%s: answer %+v", r.Method, resp)
		}
	}
}

// A message that stops half-way does not hold its connection for ever.
func TestReadFrameKeepsMemoryWithWhatArrives(t *testing.T) {
	t.Parallel()
	ours, theirs := net.Pipe()
	defer ours.Close()
	go func() {
		_, _ = theirs.Write([]byte("\x00\xff\xff\xff{"))
		_ = theirs.Close()
	}()
	var begun bool
	var r request
	if err := readFrame(ours, &r, func() { begun = true }); err == nil || !begun {
		t.Errorf("half a message was taken: %v", err)
	}
}

func TestClientReconnects(t *testing.T) {
	t.Parallel()
	dir := shortDir(t)
	k := &fakeKernel{}
	var connects atomic.Int64
	socket := filepath.Join(dir, "s")
	c := Dial(socket, ClientOptions{OnConnect: func(ctx context.Context, c *Client) error {
		connects.Add(1)
		return c.Apply(ctx, DefaultPolicy(), 0) // the hook can use the client
	}})
	defer c.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	_, err := c.Status(ctx)
	cancel()
	wantErr(t, err, ErrUnavailable)
	for n := int64(1); n <= 3; n++ {
		f := newFence(t, dir, k)
		eventually(t, "the client is back", func() bool { return connects.Load() == n && c.Connected() })
		_, err := c.Status(t.Context())
		must(t, err)
		f.stop()
		eventually(t, "the client notices", func() bool { return !c.Connected() })
	}
	must(t, c.Close())
	_, err = c.Status(t.Context())
	wantErr(t, err, ErrUnavailable)
}

func TestClientTriesAgainWhenItsHookFails(t *testing.T) {
	t.Parallel()
	f := newFence(t, shortDir(t), &fakeKernel{})
	var tries atomic.Int64
	c := Dial(f.socket, ClientOptions{OnConnect: func(context.Context, *Client) error {
		if tries.Add(1) < 3 {
			return errors.New("not yet")
		}
		return nil
	}})
	defer c.Close()
	eventually(t, "the third try succeeds", func() bool { return tries.Load() == 3 && c.Connected() })
}

func TestPanicDoesNotEndTheFence(t *testing.T) {
	t.Parallel()
	f := newFence(t, shortDir(t), &fakeKernel{}, func(o *Options) {
		o.Interfaces = func() ([]netcfg.State, error) { panic("fault") }
	})
	c := f.dial(t)
	if _, err := c.Interfaces(t.Context()); err == nil {
		t.Error("no error")
	}
	_, err := c.Status(t.Context())
	must(t, err)
}
