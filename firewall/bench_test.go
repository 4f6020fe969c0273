package firewall

import (
	"context"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"ringfence/firewall/nstest"
)

// BenchmarkMediaOpen is what a call waits for: socket, queue, kernel, and back.
func BenchmarkMediaOpen(b *testing.B) {
	k := NewKernel(nstest.New(b).FD())
	c := newFence(b, shortDir(b), k).dial(b)
	must(b, c.Apply(b.Context(), inService(b), 0))
	var next atomic.Uint32
	b.Run("one", func(b *testing.B) {
		for b.Loop() {
			must(b, c.MediaOpen(b.Context(), []uint16{45000, 45001}, time.Minute))
		}
	})
	b.Run("many", func(b *testing.B) { // calls beside each other share transactions
		b.SetParallelism(50)
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				port := uint16(45000 + next.Add(2)%20000)
				if err := c.MediaOpen(context.Background(), []uint16{port, port + 1}, time.Minute); err != nil {
					b.Error(err)
				}
			}
		})
	})
}

// BenchmarkApply is a change of policy, with and without a large block list.
func BenchmarkApply(b *testing.B) {
	k := NewKernel(nstest.New(b).FD())
	large := inService(b)
	for i := range 100_000 {
		large.Block = append(large.Block, netip.PrefixFrom(netip.AddrFrom4([4]byte{11, byte(i >> 15), byte(i >> 7), byte(i << 1)}), 32))
	}
	for name, p := range map[string]Policy{"small": inService(b), "block100k": large} {
		b.Run(name, func(b *testing.B) {
			r := mustCompile(b, p)
			for b.Loop() {
				k.mu.Lock()
				k.loaded = nil // fill the sets each time
				k.mu.Unlock()
				must(b, k.Apply(r))
			}
		})
	}
}
