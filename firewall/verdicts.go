package firewall

import (
	"context"
	"net/netip"
	"sync"
	"time"

	"ringfence/internal/ports"
	"ringfence/internal/telephony"
)

const (
	// maxVerdicts is how many bans of meters wait for those who ask.
	maxVerdicts = 1024
	// followAgain is the pause after the packet log failed.
	followAgain = 5 * time.Second
)

// Verdict is a ban that a meter set.
type Verdict struct {
	Prefix netip.Prefix       `json:"prefix"`
	Scope  telephony.BanScope `json:"scope"`
	// Level is the meter, 1 or 2, and Rate its limit in packets per second; of
	// TCP in new connections.
	Level int    `json:"level"`
	Rate  uint32 `json:"rate"`
	// Proto and Port are those of the packet that was one too many.
	Proto ports.Proto `json:"proto"`
	Port  uint16      `json:"port"`
	At    time.Time   `json:"at"`
	Until time.Time   `json:"until"`
}

// Verdicts are the bans of meters since a place in their order.
type Verdicts struct {
	// Run tells one life of the fence from the next; the order begins anew.
	Run int64 `json:"run"`
	// Next is the place to ask from the next time. Lost is how many were
	// forgotten before they were asked for.
	Next uint64    `json:"next"`
	Lost uint64    `json:"lost,omitempty"`
	List []Verdict `json:"list,omitempty"`
}

type verdictsRequest struct {
	Run   int64  `json:"run"`
	Since uint64 `json:"since"`
}

// verdictLog keeps the newest bans of meters.
type verdictLog struct {
	run int64

	mu   sync.Mutex
	next uint64
	ring [maxVerdicts]Verdict
}

func (v *verdictLog) add(x Verdict) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.ring[v.next%maxVerdicts] = x
	v.next++
}

func (v *verdictLog) since(r verdictsRequest) Verdicts {
	v.mu.Lock()
	defer v.mu.Unlock()
	out := Verdicts{Run: v.run, Next: v.next}
	from := r.Since
	if r.Run != v.run || from > v.next {
		from = 0
	}
	if v.next > maxVerdicts && from < v.next-maxVerdicts {
		out.Lost = v.next - maxVerdicts - from
		from = v.next - maxVerdicts
	}
	for ; from < v.next; from++ {
		out.List = append(out.List, v.ring[from%maxVerdicts])
	}
	return out
}

// listen keeps the packet log open until ctx ends. Without it the bans hold all
// the same, and are found in the sets.
func (s *Server) listen(ctx context.Context) {
	for ctx.Err() == nil {
		if err := s.o.Kernel.follow(ctx, s.tell); err != nil {
			s.log.Warn("bans of meters are not told", "err", err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(followAgain):
		}
	}
}

// tell notes a ban that a meter set.
func (s *Server) tell(l logged) {
	limits := s.limits.Load()
	p, err := hostPrefix(netip.PrefixFrom(l.source, l.source.BitLen()))
	if err != nil || limits == nil {
		return
	}
	rate, ban := limits.L1, limits.L1Block
	if l.level == 2 {
		rate, ban = limits.L2, limits.L2Block
	}
	now := time.Now()
	s.verdicts.add(Verdict{Prefix: p, Scope: l.scope, Level: l.level, Rate: rate, Proto: l.proto, Port: l.port, At: now, Until: now.Add(ban)})
}
