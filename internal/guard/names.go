package guard

import (
	"slices"
	"time"
)

// names remembers which names somebody used and did not make good, each once and
// for a while.
type names []named

// named is a name by its hash, and when it was first used, in seconds.
type named struct {
	hash uint32
	at   uint32
}

func seconds(t time.Time) uint32 { return uint32(t.Unix()) }

// note remembers a name at now, unless room names are remembered, and forgets
// those that were first used before now less keep.
func (n *names) note(hash uint32, now time.Time, keep time.Duration, room int) {
	oldest := seconds(now.Add(-keep))
	*n = slices.DeleteFunc(*n, func(x named) bool { return x.at < oldest })
	if len(*n) < room && !slices.ContainsFunc(*n, func(x named) bool { return x.hash == hash }) {
		*n = append(*n, named{hash, seconds(now)})
	}
}

// forget forgets a name: it was made good.
func (n *names) forget(hash uint32) {
	if i := slices.IndexFunc(*n, func(x named) bool { return x.hash == hash }); i >= 0 {
		*n = slices.Delete(*n, i, i+1)
	}
}

// older counts the names that were first used before now less grace.
func (n names) older(now time.Time, grace time.Duration) int {
	limit := seconds(now.Add(-grace))
	count := 0
	for _, x := range n {
		if x.at <= limit {
			count++
		}
	}
	return count
}
