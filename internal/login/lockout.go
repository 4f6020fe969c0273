package login

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"ringfence/internal/store"
)

// A source that fails LoginFailures times is refused for LoginBlock. That does
// not stop guesses at one account from many sources, so an account that fails
// that often, from anywhere, is slowed down: each further failure doubles the
// wait. The wait is short enough that nobody can shut an honest user out for
// long, and it does not apply to sources the user is or was logged in from.
const (
	maxTracked     = 10_000 // sources, and accounts: the oldest are forgotten first
	firstBackoff   = 2 * time.Second
	longestBackoff = 5 * time.Minute
)

type lockoutKey struct {
	kind    store.LockoutKind
	subject string
}

// tally counts failures of one source or account.
type tally struct {
	failures []failure // of a source, at most as many as block it
	count    int
	last     time.Time
	until    time.Time
}

// failure remembers the account, so that a user who gets the password right in
// the end takes the own mistakes back and nobody else's.
type failure struct {
	account string
	at      time.Time
}

// lockouts is the bounded table of failures. Time is passed in.
type lockouts struct {
	mu     sync.Mutex
	table  map[lockoutKey]*tally
	size   map[store.LockoutKind]int // of the table, by kind
	flying map[lockoutKey]int        // attempts whose password is being checked
	dirty  map[lockoutKey]bool       // to be saved
}

func newLockouts(saved []store.Lockout) *lockouts {
	l := &lockouts{
		table: make(map[lockoutKey]*tally, len(saved)), size: make(map[store.LockoutKind]int),
		flying: make(map[lockoutKey]int), dirty: make(map[lockoutKey]bool),
	}
	for _, v := range saved {
		t := &tally{count: v.Failures, last: v.Failed, until: v.Until}
		if v.Kind == store.LockoutAddress {
			t.failures = make([]failure, min(v.Failures, 100))
			for i := range t.failures {
				t.failures[i].at = v.Failed
			}
		}
		l.table[lockoutKey{v.Kind, v.Subject}] = t
		l.size[v.Kind]++
	}
	return l
}

// source is what an address is counted as: an IPv6 /64 belongs to one
// subscriber, who can pick any address in it.
func source(addr netip.Addr) string {
	addr = addr.Unmap().WithZone("")
	if addr.Is6() {
		return netip.PrefixFrom(addr, 64).Masked().String()
	}
	return addr.String()
}

func addressKey(addr netip.Addr) lockoutKey { return lockoutKey{store.LockoutAddress, source(addr)} }

// accountKey names an account, existing or not, in bounded space.
func accountKey(name string) lockoutKey {
	name = strings.ToLower(name)
	if len(name) > 64 || strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r > '~' }) {
		sum := sha256.Sum256([]byte(name))
		name = "sha256:" + hex.EncodeToString(sum[:16])
	}
	return lockoutKey{store.LockoutAccount, name}
}

// begin admits an attempt, to be ended by succeeded, failed or abandoned. It
// returns a *BlockedError if source or account must wait, and ErrBusy if the
// attempts being checked would use up what is left. known lets the attempt past
// the account's wait.
func (l *lockouts) begin(now time.Time, addr netip.Addr, name string, known bool, limit int, block time.Duration) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	from, account := addressKey(addr), accountKey(name)
	if t := l.table[from]; t != nil {
		t.bound(now, block)
		if now.Before(t.until) {
			return &BlockedError{Until: t.until, Address: true}
		}
		t.forget(now, block)
		limit -= len(t.failures)
	}
	if t := l.table[account]; t != nil && !known {
		if t.bound(now, longestBackoff); now.Before(t.until) {
			return &BlockedError{Until: t.until}
		}
	}
	if l.flying[from] >= max(limit, 1) || !known && l.flying[account] >= max(limit, 1) {
		return ErrBusy
	}
	l.flying[from]++
	l.flying[account]++
	return nil
}

// land ends an attempt; l.mu is held.
func (l *lockouts) land(keys ...lockoutKey) {
	for _, k := range keys {
		if l.flying[k]--; l.flying[k] <= 0 {
			delete(l.flying, k)
		}
	}
}

// abandoned ends an attempt whose password was not looked at.
func (l *lockouts) abandoned(addr netip.Addr, name string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.land(addressKey(addr), accountKey(name))
}

// bound keeps a block that was saved before the clock went back from lasting
// longer than any block does.
func (t *tally) bound(now time.Time, longest time.Duration) {
	if t.until.Sub(now) > longest {
		t.until = now.Add(longest)
	}
}

// forget drops failures that are too old to count.
func (t *tally) forget(now time.Time, block time.Duration) {
	t.failures = slices.DeleteFunc(t.failures, func(f failure) bool { return now.Sub(f.at) >= block })
}

// failed counts a failure and reports whether it blocked the source, and until
// when. Failures older than block are forgotten.
func (l *lockouts) failed(now time.Time, addr netip.Addr, name string, limit int, block time.Duration) (until time.Time, blocked bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	account := accountKey(name)
	l.land(addressKey(addr), account)
	from := l.entry(addressKey(addr), now)
	from.forget(now, block)
	from.failures = append(from.failures, failure{account.subject, now})
	from.count, from.last = len(from.failures), now
	if len(from.failures) >= limit {
		from.failures = nil // the next block takes as many failures again
		from.count = 0
		from.until = now.Add(block)
		until, blocked = from.until, true
	}
	of := l.entry(account, now)
	if now.Sub(of.last) >= block {
		of.count = 0
	}
	of.count, of.last = of.count+1, now
	if over := of.count - limit; over >= 0 {
		of.until = now.Add(min(firstBackoff<<min(over, 16), longestBackoff))
	}
	return until, blocked
}

// entry finds or makes a tally and marks it to be saved.
func (l *lockouts) entry(key lockoutKey, now time.Time) *tally {
	l.dirty[key] = true
	if t := l.table[key]; t != nil {
		return t
	}
	if l.size[key.kind] >= maxTracked {
		l.evict(key.kind, now)
	}
	t := &tally{last: now}
	l.table[key] = t
	l.size[key.kind]++
	return t
}

// remove forgets a tally; l.mu is held.
func (l *lockouts) remove(key lockoutKey) {
	delete(l.table, key)
	l.size[key.kind]--
	l.dirty[key] = true
}

// evict makes room for a tenth of the table, the least important first: what
// refuses nobody, then what is oldest.
func (l *lockouts) evict(kind store.LockoutKind, now time.Time) {
	var keys []lockoutKey
	for k := range l.table {
		if k.kind == kind {
			keys = append(keys, k)
		}
	}
	refusing := func(k lockoutKey) int {
		if now.Before(l.table[k].until) {
			return 1
		}
		return 0
	}
	slices.SortFunc(keys, func(a, b lockoutKey) int {
		return cmp.Or(cmp.Compare(refusing(a), refusing(b)), l.table[a].last.Compare(l.table[b].last))
	})
	for _, k := range keys[:maxTracked/10] {
		l.remove(k)
	}
}

// succeeded takes back the account's failures, and those it caused at the
// source. A source cannot clear its guesses at one account by logging in to
// another.
func (l *lockouts) succeeded(addr netip.Addr, name string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	account, from := accountKey(name), addressKey(addr)
	l.land(from, account)
	if l.table[account] != nil {
		l.remove(account)
	}
	t := l.table[from]
	if t == nil {
		return
	}
	before := len(t.failures)
	t.failures = slices.DeleteFunc(t.failures, func(f failure) bool { return f.account == account.subject })
	if t.count = len(t.failures); t.count != before {
		l.dirty[from] = true
	}
}

// forgive lifts the block of a source and reports whether there was one.
func (l *lockouts) forgive(now time.Time, key lockoutKey) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	t := l.table[key]
	if t == nil {
		return false
	}
	l.remove(key)
	return now.Before(t.until)
}

// prune forgets what has no effect any more.
func (l *lockouts) prune(now time.Time, block time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for k, t := range l.table {
		if now.Sub(t.last) >= block && !now.Before(t.until) {
			l.remove(k)
		}
	}
}

// unsaved takes the changes since the last call.
func (l *lockouts) unsaved() (put, removed []store.Lockout) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for k := range l.dirty {
		v := store.Lockout{Kind: k.kind, Subject: k.subject}
		if t := l.table[k]; t != nil {
			v.Failures, v.Failed, v.Until = t.count, t.last, t.until
			put = append(put, v)
		} else {
			removed = append(removed, v)
		}
	}
	clear(l.dirty)
	return put, removed
}

// again marks changes whose saving failed.
func (l *lockouts) again(changes ...[]store.Lockout) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, list := range changes {
		for _, v := range list {
			l.dirty[lockoutKey{v.Kind, v.Subject}] = true
		}
	}
}

// blocked lists the sources that are refused.
func (l *lockouts) blocked(now time.Time) []Block {
	l.mu.Lock()
	defer l.mu.Unlock()
	var out []Block
	for k, t := range l.table {
		if k.kind != store.LockoutAddress || !now.Before(t.until) {
			continue
		}
		p, err := netip.ParsePrefix(k.subject)
		if err != nil {
			a, err := netip.ParseAddr(k.subject)
			if err != nil {
				continue
			}
			p = netip.PrefixFrom(a, a.BitLen())
		}
		out = append(out, Block{p, t.until})
	}
	slices.SortFunc(out, func(a, b Block) int { return a.Source.Addr().Compare(b.Source.Addr()) })
	return out
}
