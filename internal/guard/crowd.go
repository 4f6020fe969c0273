package guard

import "time"

// crowd is a bounded number of records by key.
type crowd[K comparable, V any] struct {
	most    int
	members map[K]*member[V]
}

type member[V any] struct {
	value V
	seen  time.Time
}

func newCrowd[K comparable, V any](most int) crowd[K, V] {
	return crowd[K, V]{most, make(map[K]*member[V])}
}

// find is the record of k, or nil.
func (c crowd[K, V]) find(k K) *V {
	if m := c.members[k]; m != nil {
		return &m.value
	}
	return nil
}

// at finds or makes the record of k, which was seen at now. If there are too
// many, the one that was seen longest ago gives way, of a few (the map's order is
// random): a spoofed flood must not make every packet a full scan.
func (c crowd[K, V]) at(k K, now time.Time) *V {
	m := c.members[k]
	if m == nil {
		if len(c.members) >= c.most {
			c.makeRoom()
		}
		m = new(member[V])
		c.members[k] = m
	}
	m.seen = now
	return &m.value
}

func (c crowd[K, V]) makeRoom() {
	const few = 16
	var victim K
	var oldest time.Time
	looked := 0
	for k, m := range c.members {
		if looked == 0 || m.seen.Before(oldest) {
			victim, oldest = k, m.seen
		}
		if looked++; looked == few {
			break
		}
	}
	delete(c.members, victim)
}

func (c crowd[K, V]) remove(k K) { delete(c.members, k) }
