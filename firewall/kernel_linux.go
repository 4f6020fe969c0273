package firewall

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
)

// chunk is how many elements travel in one message: attribute lengths are 16
// bits, and the library truncates longer lists without an error.
const chunk = 500

// Kernel is the packet filter of one network namespace. It writes to the table
// TableName only. It is safe for concurrent use; elements change beside an
// Apply or a listing, which may take seconds.
type Kernel struct {
	rules session // chains and content of sets
	quick session // elements of run-time sets
	reads session // listings

	mu     sync.Mutex
	loaded map[string]Set    // sets with content, as the last Apply left them
	prints map[string]string // chains as they were after it
}

// NewKernel returns the packet filter of the network namespace that the file
// descriptor netns refers to, or of the process if netns is 0.
func NewKernel(netns int) *Kernel {
	return &Kernel{rules: session{netns: netns}, quick: session{netns: netns}, reads: session{netns: netns}}
}

// Close closes the sockets to the kernel. What was loaded stays in force.
func (k *Kernel) Close() error {
	k.rules.Close()
	k.quick.Close()
	k.reads.Close()
	return nil
}

func ownTable() *nftables.Table {
	return &nftables.Table{Name: TableName, Family: nftables.TableFamilyINet}
}

// Apply makes the kernel enforce r. Chains are replaced in one transaction, so
// that every packet meets the old or the new rules; counters, meters, bans and
// media ports stay. If it fails, the old rules stay in force.
func (k *Kernel) Apply(r Ruleset) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	load := func(fresh bool) error {
		return k.rules.do(func(c *nftables.Conn) error { return k.apply(c, r, fresh) })
	}
	err := load(false)
	if err != nil && k.loaded != nil {
		// The sets may not hold what is to be changed.
		k.loaded = nil
		err = load(false)
	}
	if err != nil && k.exists() {
		// A table of an older version may hold sets of another shape. It is
		// replaced within one transaction too, only its run-time sets are lost.
		if load(true) == nil {
			err = nil
		}
	}
	if err != nil {
		return fmt.Errorf("loading the ruleset: %w", err)
	}
	err = k.rules.do(func(c *nftables.Conn) error { return k.readBack(c, r) })
	if err != nil {
		k.loaded = nil // the next Apply fills every set again
	}
	return err
}

// Remove takes our table away, with everything in it.
func (k *Kernel) Remove() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if !k.exists() {
		return nil
	}
	err := k.rules.do(func(c *nftables.Conn) error {
		c.DelTable(ownTable())
		return c.Flush()
	})
	if err != nil {
		return fmt.Errorf("removing the rules: %w", err)
	}
	return nil
}

func (k *Kernel) exists() bool {
	tables, err := k.tables()
	return err == nil && slices.ContainsFunc(tables, isOwn)
}

func (k *Kernel) tables() (tables []*nftables.Table, err error) {
	err = k.reads.do(func(c *nftables.Conn) error {
		tables, err = c.ListTables()
		return err
	})
	return tables, err
}

func isOwn(t *nftables.Table) bool {
	return t.Name == TableName && t.Family == nftables.TableFamilyINet
}

func (k *Kernel) apply(c *nftables.Conn, r Ruleset, fresh bool) error {
	t := ownTable()
	old := inventory{}
	if fresh {
		c.DelTable(t)
	} else {
		var err error
		if old, err = takeInventory(c, t); err != nil {
			return err
		}
	}
	c.AddTable(t)
	for _, name := range r.Counters {
		if !old.counters[name] {
			c.AddObj(&nftables.NamedObj{Table: t, Name: name, Type: nftables.ObjTypeCounter, Obj: &expr.Counter{}})
		}
	}
	for i, s := range r.Sets {
		set := kernelSet(t, s)
		set.ID = uint32(i + 1) // the library would take one from a global
		if err := c.AddSet(set, nil); err != nil {
			return fmt.Errorf("declaring set %s: %w", s.Name, err)
		}
	}
	for _, ch := range r.Chains {
		c.AddChain(kernelChain(t, ch))
		delete(old.chains, ch.Name)
	}
	if err := addRules(c, t, r, old); err != nil {
		return err
	}
	if len(old.counters) == 0 { // the table is new, and so are its sets
		k.loaded = nil
	}
	if err := k.fillSets(c, t, r); err != nil {
		return err
	}
	return c.Flush()
}

// inventory is what the table holds before an Apply.
type inventory struct {
	counters map[string]bool
	chains   map[string]bool
}

func takeInventory(c *nftables.Conn, t *nftables.Table) (inventory, error) {
	inv := inventory{counters: map[string]bool{}, chains: map[string]bool{}}
	tables, err := c.ListTables()
	if err != nil {
		return inv, fmt.Errorf("listing tables: %w", err)
	}
	if !slices.ContainsFunc(tables, isOwn) {
		return inv, nil
	}
	objects, err := c.GetNamedObjects(t)
	if err != nil {
		return inv, fmt.Errorf("listing counters: %w", err)
	}
	for _, o := range objects {
		if n, ok := o.(*nftables.NamedObj); ok {
			inv.counters[n.Name] = true
		}
	}
	chains, err := c.ListChainsOfTableFamily(t.Family)
	if err != nil {
		return inv, fmt.Errorf("listing chains: %w", err)
	}
	for _, ch := range chains {
		if ch.Table.Name == t.Name {
			inv.chains[ch.Name] = true
		}
	}
	return inv, nil
}

// addRules replaces the rules of every chain of r, and removes the chains of
// old, which r no longer has.
func addRules(c *nftables.Conn, t *nftables.Table, r Ruleset, old inventory) error {
	for name := range old.chains {
		c.FlushChain(&nftables.Chain{Table: t, Name: name})
	}
	for _, ch := range r.Chains {
		c.FlushChain(&nftables.Chain{Table: t, Name: ch.Name})
		for _, rule := range ch.Rules {
			exprs, err := lower(rule)
			if err != nil {
				return fmt.Errorf("chain %s: %w", ch.Name, err)
			}
			c.AddRule(&nftables.Rule{Table: t, Chain: &nftables.Chain{Table: t, Name: ch.Name}, Exprs: exprs})
		}
	}
	for name := range old.chains {
		c.DelChain(&nftables.Chain{Table: t, Name: name})
	}
	return nil
}

// fillSets brings the sets whose content changed to the new one: by what is
// gone and what is new, so that one entry more costs the same with 100,000
// others in place, or, where they hold something unknown, as a whole.
func (k *Kernel) fillSets(c *nftables.Conn, t *nftables.Table, r Ruleset) error {
	for _, s := range r.Sets {
		if !s.Content || k.unchanged(s) {
			continue
		}
		set := kernelSet(t, s)
		had := k.loaded[s.Name].Ranges // none if unknown
		gone, added := difference(had, s.Ranges)
		if len(gone) < len(had) {
			for part := range slices.Chunk(contentElements(Set{Single: s.Single, Ranges: gone}), chunk) {
				if err := c.SetDeleteElements(set, part); err != nil {
					return fmt.Errorf("emptying set %s: %w", s.Name, err)
				}
			}
			s.Ranges = added
		} else {
			c.FlushSet(set)
		}
		for part := range slices.Chunk(contentElements(s), chunk) {
			if err := c.SetAddElements(set, part); err != nil {
				return fmt.Errorf("filling set %s: %w", s.Name, err)
			}
		}
	}
	return nil
}

func (k *Kernel) unchanged(s Set) bool {
	had, ok := k.loaded[s.Name]
	return ok && slices.Equal(had.Ranges, s.Ranges) && slices.Equal(had.Ports, s.Ports) && slices.Equal(had.Links, s.Links)
}

func kernelSet(t *nftables.Table, s Set) *nftables.Set {
	types := map[KeyType]nftables.SetDatatype{IPv4Key: nftables.TypeIPAddr, IPv6Key: nftables.TypeIP6Addr, PortKey: nftables.TypeInetService, LinkKey: nftables.TypeIFName}
	out := &nftables.Set{Table: t, Name: s.Name, KeyType: types[s.Key], Interval: s.interval(),
		HasTimeout: s.Timeout, Dynamic: s.Dynamic, Size: s.Size}
	if s.Key == LinkKey { // for nft(8), which reads names backwards otherwise
		out.KeyByteOrder = binaryutil.NativeEndian
	}
	return out
}

func kernelChain(t *nftables.Table, ch Chain) *nftables.Chain {
	out := &nftables.Chain{Table: t, Name: ch.Name}
	if ch.Hook == nil {
		return out
	}
	hooks := map[HookType]*nftables.ChainHook{HookPrerouting: nftables.ChainHookPrerouting, HookInput: nftables.ChainHookInput,
		HookForward: nftables.ChainHookForward, HookOutput: nftables.ChainHookOutput}
	out.Type, out.Hooknum, out.Priority = nftables.ChainTypeFilter, hooks[ch.Hook.Type], nftables.ChainPriorityFilter
	if ch.Hook.Raw {
		out.Priority = nftables.ChainPriorityRaw
	}
	policy := nftables.ChainPolicyAccept
	if ch.Hook.Drop {
		policy = nftables.ChainPolicyDrop
	}
	out.Policy = &policy
	return out
}

// contentElements renders a set's content. Intervals are half open: a start,
// and an end that is the first address behind. Behind the last address there
// is none; the kernel refuses a wrapped end and takes a missing one for
// "until the end".
func contentElements(s Set) []nftables.SetElement {
	var out []nftables.SetElement
	for _, p := range s.Ports {
		out = append(out, nftables.SetElement{Key: binary.BigEndian.AppendUint16(nil, p)})
	}
	for _, l := range s.Links {
		out = append(out, nftables.SetElement{Key: linkName(l)})
	}
	for _, r := range s.Ranges {
		out = append(out, nftables.SetElement{Key: r.First.AsSlice()})
		if s.Single {
			continue
		}
		if end := r.Last.Next(); end.IsValid() {
			out = append(out, nftables.SetElement{Key: end.AsSlice(), IntervalEnd: true})
		}
	}
	return out
}

// change puts elements into run-time sets, refreshes their timeouts, or takes
// them out, in one transaction.
//
// Kernels before 6.12 do not refresh the timeout of an element that exists,
// and none takes out one that is missing without failing the whole batch. Add,
// delete, add does both on every kernel, and no packet sees the state between.
func (k *Kernel) change(elements []element) error {
	return k.quick.do(func(c *nftables.Conn) error { return changeElements(c, elements) })
}

func changeElements(c *nftables.Conn, elements []element) error {
	t := ownTable()
	bySet := map[string][]element{}
	for _, e := range elements {
		bySet[e.set] = append(bySet[e.set], e)
	}
	for _, name := range slices.Sorted(maps.Keys(bySet)) {
		set := &nftables.Set{Table: t, Name: name, HasTimeout: true}
		for part := range slices.Chunk(bySet[name], chunk) {
			all, stay := batchElements(part)
			if err := errors.Join(c.SetAddElements(set, all), c.SetDeleteElements(set, all)); err != nil {
				return fmt.Errorf("changing set %s: %w", name, err)
			}
			if len(stay) == 0 {
				continue
			}
			if err := c.SetAddElements(set, stay); err != nil {
				return fmt.Errorf("changing set %s: %w", name, err)
			}
		}
	}
	if err := c.Flush(); err != nil {
		return fmt.Errorf("changing set elements: %w", err)
	}
	return nil
}

func batchElements(part []element) (all, stay []nftables.SetElement) {
	for _, e := range part {
		all = append(all, nftables.SetElement{Key: []byte(e.key)})
		if !e.gone {
			stay = append(stay, nftables.SetElement{Key: []byte(e.key), Timeout: e.timeout})
		}
	}
	return all, stay
}

// listed is an element as the kernel holds it.
type listed struct {
	key     []byte
	left    time.Duration // until it expires
	packets uint64        // that a rule's element dropped
}

// elements lists a run-time set.
func (k *Kernel) elements(name string) ([]listed, error) {
	var got []nftables.SetElement
	err := k.reads.do(func(c *nftables.Conn) (err error) {
		got, err = c.GetSetElements(&nftables.Set{Table: ownTable(), Name: name})
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("listing set %s: %w", name, err)
	}
	out := make([]listed, 0, len(got))
	for _, e := range got {
		l := listed{key: e.Key, left: e.Expires}
		if e.Counter != nil {
			l.packets = e.Counter.Packets
		}
		out = append(out, l)
	}
	return out, nil
}

// counters reads every named counter.
func (k *Kernel) counters() (map[string]Counter, error) {
	var objects []nftables.Obj
	err := k.reads.do(func(c *nftables.Conn) (err error) {
		objects, err = c.GetNamedObjects(ownTable())
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("reading counters: %w", err)
	}
	out := make(map[string]Counter, len(objects))
	for _, o := range objects {
		n, ok := o.(*nftables.NamedObj)
		if !ok {
			continue
		}
		if v, ok := n.Obj.(*expr.Counter); ok {
			out[n.Name] = Counter{Packets: v.Packets, Bytes: v.Bytes}
		}
	}
	return out, nil
}

// survey reports whether our table is there, and names the tables that are not
// ours.
func (k *Kernel) survey() (present bool, foreign []string, err error) {
	tables, err := k.tables()
	if err != nil {
		return false, nil, fmt.Errorf("listing tables: %w", err)
	}
	families := map[nftables.TableFamily]string{nftables.TableFamilyINet: "inet", nftables.TableFamilyIPv4: "ip",
		nftables.TableFamilyIPv6: "ip6", nftables.TableFamilyARP: "arp", nftables.TableFamilyNetdev: "netdev", nftables.TableFamilyBridge: "bridge"}
	for _, t := range tables {
		if isOwn(t) {
			present = true
			continue
		}
		foreign = append(foreign, families[t.Family]+" "+t.Name)
	}
	slices.Sort(foreign)
	return present, foreign, nil
}

// readBack checks that the kernel holds what r says, and remembers it for
// intact.
func (k *Kernel) readBack(c *nftables.Conn, r Ruleset) error {
	prints, counts, err := fingerprints(c)
	if err != nil {
		return err
	}
	for _, ch := range r.Chains {
		if counts[ch.Name] != len(ch.Rules) {
			return fmt.Errorf("chain %s holds %d rules after loading %d", ch.Name, counts[ch.Name], len(ch.Rules))
		}
	}
	loaded := map[string]Set{}
	for _, s := range r.Sets {
		if !s.Content {
			continue
		}
		if !k.unchanged(s) {
			if err := checkContent(c, s); err != nil {
				return err
			}
		}
		loaded[s.Name] = s
	}
	k.loaded, k.prints = loaded, prints
	return nil
}

// maxReadBack bounds what is listed to check an Apply: the kernel takes
// seconds to list 100,000 intervals. Beyond it the messages' own
// acknowledgements have to do.
const maxReadBack = 10_000

func checkContent(c *nftables.Conn, s Set) error {
	if len(s.Ranges) > maxReadBack {
		return nil
	}
	got, err := c.GetSetElements(&nftables.Set{Table: ownTable(), Name: s.Name})
	if err != nil {
		return fmt.Errorf("reading set %s back: %w", s.Name, err)
	}
	n := 0
	for _, e := range got {
		if !e.IntervalEnd {
			n++
		}
	}
	if want := len(s.Ranges) + len(s.Ports) + len(s.Links); n != want {
		return fmt.Errorf("set %s holds %d elements after loading %d", s.Name, n, want)
	}
	return nil
}

// fingerprints describes each of our chains by its policy and the handles of
// its rules, which the kernel never uses twice, and counts the rules.
func fingerprints(c *nftables.Conn) (prints map[string]string, counts map[string]int, err error) {
	t := ownTable()
	chains, err := c.ListChainsOfTableFamily(t.Family)
	if err != nil {
		return nil, nil, fmt.Errorf("listing chains: %w", err)
	}
	prints, counts = map[string]string{}, map[string]int{}
	for _, ch := range chains {
		if ch.Table.Name != t.Name {
			continue
		}
		rules, err := c.GetRules(t, ch)
		if err != nil {
			return nil, nil, fmt.Errorf("listing rules of %s: %w", ch.Name, err)
		}
		var b strings.Builder
		if ch.Policy != nil {
			fmt.Fprintf(&b, "policy %d", *ch.Policy)
		}
		for _, r := range rules {
			fmt.Fprintf(&b, " %d", r.Handle)
		}
		prints[ch.Name], counts[ch.Name] = b.String(), len(rules)
	}
	return prints, counts, nil
}

// intact reports whether the kernel still holds what the last Apply loaded:
// another program may have flushed the whole ruleset.
func (k *Kernel) intact() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	var prints map[string]string
	err := k.reads.do(func(c *nftables.Conn) (err error) {
		prints, _, err = fingerprints(c)
		return err
	})
	if err != nil {
		return err
	}
	if !maps.Equal(prints, k.prints) {
		k.loaded = nil
		return errTampered
	}
	return nil
}
