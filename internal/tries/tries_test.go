package tries

import (
	"encoding/binary"
	"net/netip"
	"testing"
	"time"
)

func TestLimitBlocksAndBlockEnds(t *testing.T) {
	t.Parallel()
	c := New(3, time.Minute, time.Hour)
	a, b := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
	now := time.Unix(1000, 0)
	for i := 1; i <= 5; i++ {
		until, tripped := c.Wrong(a, now)
		if tripped != (i == 3) {
			t.Errorf("try %d: tripped = %v", i, tripped)
		}
		if i >= 3 && !until.Equal(now.Add(time.Hour)) {
			t.Errorf("try %d: until %v", i, until)
		}
	}
	if !c.Blocked(a, now.Add(time.Hour-time.Second)) || c.Blocked(b, now) {
		t.Error("wrong source blocked")
	}
	later := now.Add(time.Hour)
	if c.Blocked(a, later) {
		t.Error("block does not end")
	}
	if _, tripped := c.Wrong(a, later); tripped {
		t.Error("the first try after a block trips again")
	}
}

func TestWindowForgets(t *testing.T) {
	t.Parallel()
	c := New(2, time.Minute, time.Hour)
	a := netip.MustParseAddr("192.0.2.1")
	now := time.Unix(1000, 0)
	c.Wrong(a, now)
	if _, tripped := c.Wrong(a, now.Add(61*time.Second)); tripped {
		t.Error("tries of two windows were added up")
	}
	c.Forgive(a)
	if _, tripped := c.Wrong(a, now.Add(62*time.Second)); tripped {
		t.Error("forgiven tries were counted")
	}
}

func TestIPv6SourcesCountByNetwork(t *testing.T) {
	t.Parallel()
	c := New(2, time.Minute, time.Hour)
	now := time.Unix(1000, 0)
	c.Wrong(netip.MustParseAddr("2001:db8::1"), now)
	if _, tripped := c.Wrong(netip.MustParseAddr("2001:db8::2"), now); !tripped {
		t.Error("two addresses of one /64 count apart")
	}
	if Source(netip.MustParseAddr("::ffff:192.0.2.1")) != netip.MustParseAddr("192.0.2.1") {
		t.Error("mapped address is another source")
	}
}

func TestMemoryIsBoundedAndBlocksOutliveAFlood(t *testing.T) {
	t.Parallel()
	c := New(2, time.Minute, time.Hour)
	now := time.Unix(1000, 0)
	bad := netip.MustParseAddr("192.0.2.1")
	c.Wrong(bad, now)
	c.Wrong(bad, now)
	var raw [4]byte
	for i := range uint32(5 * maxSources) {
		binary.BigEndian.PutUint32(raw[:], 0x0a000000+i)
		c.Wrong(netip.AddrFrom4(raw), now)
	}
	if len(c.sources) > maxSources {
		t.Errorf("%d sources remembered", len(c.sources))
	}
	if !c.Blocked(bad, now) {
		t.Error("a flood made the counter forget a blocked source")
	}
}
