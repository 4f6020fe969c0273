package bans

import (
	"net/netip"
	"testing"
	"time"

	"ringfence/internal/telephony"
)

var (
	now  = time.Unix(1_800_000_000, 0)
	bad  = netip.MustParseAddr("192.0.2.66")
	hour = now.Add(time.Hour)
)

func ban(a netip.Addr, until time.Time) telephony.Ban {
	return telephony.Ban{Source: a, Scope: telephony.BanSIP, Reason: "test", Since: now, Until: until}
}

func TestBanHoldsUntilItsEnd(t *testing.T) {
	t.Parallel()
	b := New(nil)
	b.Put(ban(bad, hour))
	b.Put(ban(bad, now.Add(time.Minute))) // does not shorten it
	if !b.Holds(bad, telephony.BanSIP, hour.Add(-time.Second)) || b.Holds(bad, telephony.BanSIP, hour) || b.Holds(bad, telephony.BanWeb, now) {
		t.Error("a ban holds in its scope until its end, and no longer")
	}
	if len(b.List(now)) != 1 || len(b.List(hour)) != 0 || len(b.List(now)) != 0 {
		t.Error("the list shows what is over, or not what is in force")
	}
	b.Put(ban(netip.MustParseAddr("2001:db8::5"), hour))
	if !b.Holds(netip.MustParseAddr("2001:db8::ffff"), telephony.BanSIP, now) || b.Holds(netip.MustParseAddr("2001:db8:0:1::5"), telephony.BanSIP, now) {
		t.Error("IPv6 is banned by its /64")
	}
	if !b.Remove(netip.MustParseAddr("2001:db8::9"), telephony.BanSIP) || b.Remove(bad, telephony.BanSIP) {
		t.Error("what is there can be taken back, once")
	}
}

// What is taken and cannot be stored comes again, unless it changed since.
func TestWhatIsToBeStored(t *testing.T) {
	t.Parallel()
	b := New([]telephony.Ban{ban(bad, hour)})
	if c := b.Take(); len(c.Put)+len(c.Removed) != 0 {
		t.Fatalf("what was stored is stored again: %+v", c)
	}
	other := netip.MustParseAddr("192.0.2.67")
	b.Put(ban(other, hour))
	b.Remove(bad, telephony.BanSIP)
	c := b.Take()
	if len(c.Put) != 1 || c.Put[0].Source != other || len(c.Removed) != 1 || c.Removed[0].Source != bad {
		t.Fatalf("%+v", c)
	}
	b.Put(ban(bad, hour)) // again, while the store was busy
	b.Return(c)
	c = b.Take()
	if len(c.Put) != 2 || len(c.Removed) != 0 {
		t.Errorf("%+v", c)
	}
}

func TestBookIsBounded(t *testing.T) {
	t.Parallel()
	b := New(nil)
	for i := range maxBans + 1000 {
		b.Put(ban(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), hour))
	}
	if n := len(b.List(now)); n != maxBans {
		t.Errorf("%d bans", n)
	}
}

// What the packet filter's meters decide is shown and repeated, but holds in the
// packet filter only, which spares the sources it knows; and it takes no verdict
// away.
func TestBansOfMetersHoldInThePacketFilterOnly(t *testing.T) {
	t.Parallel()
	level := func(n int, until time.Time) telephony.Ban {
		x := ban(bad, until)
		x.Level = n
		return x
	}
	b := New(nil)
	b.Put(level(1, hour))
	if _, ok := b.Get(bad, telephony.BanSIP, now); !ok || b.Holds(bad, telephony.BanSIP, now) || len(b.List(now)) != 1 {
		t.Error("a ban of a meter is not shown, or holds in SIP")
	}
	b.Put(ban(bad, now.Add(time.Minute)))
	if x, _ := b.Get(bad, telephony.BanSIP, now); !b.Holds(bad, telephony.BanSIP, now) || !x.Until.Equal(hour) {
		t.Errorf("a verdict does not hold, or shortens: %+v", x)
	}
	b.Put(level(2, hour.Add(time.Hour)))
	if x, _ := b.Get(bad, telephony.BanSIP, now); !b.Holds(bad, telephony.BanSIP, hour) || x.Level != 0 {
		t.Errorf("the packet filter took a verdict away: %+v", x)
	}
	c := b.Take()
	if len(c.Put) != 1 || len(New(c.Put).List(now)) != 1 {
		t.Errorf("%+v", c)
	}
	for i := range 60_000 {
		x := level(1, hour.Add(time.Duration(i)))
		x.Source = netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})
		b.Put(x)
		x.Source = netip.AddrFrom4([4]byte{11, byte(i >> 16), byte(i >> 8), byte(i)})
		b.Put(x)
	}
	if n := len(b.List(now)); n > maxBans {
		t.Errorf("%d bans are kept", n)
	}
}

// A store that takes nothing does not let the list of what it is to forget grow.
func TestForgottenBansAreBounded(t *testing.T) {
	t.Parallel()
	b, now := New(nil), time.Now()
	for i := range 3*maxBans + 1000 {
		a := netip.AddrFrom4([4]byte{11, byte(i >> 16), byte(i >> 8), byte(i)})
		b.Put(telephony.Ban{Source: a, Scope: telephony.BanSIP, Since: now, Until: now.Add(time.Hour)})
	}
	if c := b.Take(); len(c.Removed) > 2*maxBans || len(c.Put) > maxBans {
		t.Errorf("%d to store, %d to forget", len(c.Put), len(c.Removed))
	}
}
