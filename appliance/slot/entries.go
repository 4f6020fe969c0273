package slot

import (
	"fmt"
	"sort"
	"strconv"
	"strings"
)

// entryPrefix begins the name of every loader entry of ours; other entries are
// left alone.
const entryPrefix = "ringfence-"

// LoaderConfig returns /loader/loader.conf. There is deliberately no "default"
// line: with one, systemd-boot would boot a slot that has no tries left.
func LoaderConfig() string {
	return "timeout 0\neditor no\nauto-entries no\nconsole-mode keep\n"
}

// entry is one file of /loader/entries, Boot Loader Specification type 1 with
// the boot counting that systemd-boot adds to the file name.
type entry struct {
	slot   Name
	left   int // tries left, -1 for an entry without a counter
	done   int // tries used
	serial uint64
	image  Image
}

// name returns the file name, in the form in which systemd-boot renames it.
func (e entry) name() string {
	switch {
	case e.left < 0:
		return fmt.Sprintf("%s%s.conf", entryPrefix, e.slot)
	case e.done == 0:
		return fmt.Sprintf("%s%s+%d.conf", entryPrefix, e.slot, e.left)
	}
	return fmt.Sprintf("%s%s+%d-%d.conf", entryPrefix, e.slot, e.left, e.done)
}

func (e entry) content() string {
	return fmt.Sprintf("title Ringfence %s (slot %s)\nsort-key ringfence\nversion %d\nlinux %s\noptions %s\n",
		e.image.Version, e.slot, e.serial, e.slot.KernelPath(), Cmdline(e.slot, e.image.Root))
}

// parseEntryName reads the slot and the counters from a file name; ok is false
// for files that are not ours.
func parseEntryName(name string) (e entry, ok bool) {
	rest, isOurs := strings.CutPrefix(name, entryPrefix)
	rest, isEntry := strings.CutSuffix(rest, ".conf")
	if !isOurs || !isEntry {
		return entry{}, false
	}
	slot, counter, counted := strings.Cut(rest, "+")
	e = entry{slot: Name(slot), left: -1}
	if !e.slot.Valid() {
		return entry{}, false
	}
	if !counted {
		return e, true
	}
	left, done, used := strings.Cut(counter, "-")
	if e.left, ok = parseCount(left); !ok {
		return entry{}, false
	}
	if used {
		if e.done, ok = parseCount(done); !ok {
			return entry{}, false
		}
	}
	return e, true
}

func parseCount(s string) (int, bool) {
	n, err := strconv.ParseUint(s, 10, 16)
	return int(n), err == nil
}

// parseEntry reads an entry from its file name and its content.
func parseEntry(name, content string) (entry, bool) {
	e, ok := parseEntryName(name)
	if !ok {
		return entry{}, false
	}
	for _, line := range strings.Split(content, "\n") {
		key, value, _ := strings.Cut(line, " ")
		switch key {
		case "title":
			e.image.Version = strings.TrimSuffix(strings.TrimPrefix(value, "Ringfence "), fmt.Sprintf(" (slot %s)", e.slot))
		case "version":
			serial, err := strconv.ParseUint(value, 10, 32)
			if err != nil {
				return entry{}, false
			}
			e.serial = serial
		case "options":
			for _, word := range strings.Fields(value) {
				if root, found := strings.CutPrefix(word, "root="); found {
					e.image.Root = root
				}
			}
		}
	}
	return e, e.image.Version != "" && e.image.check() == nil
}

// newest returns the one entry that counts for each slot: the one with the
// higher serial number, and among equals the one without a counter, which a
// commit has just written.
func newest(list []entry) map[Name]entry {
	sort.SliceStable(list, func(i, j int) bool {
		if list[i].serial != list[j].serial {
			return list[i].serial > list[j].serial
		}
		return list[i].left < list[j].left
	})
	best := make(map[Name]entry)
	for _, e := range list {
		if _, seen := best[e.slot]; !seen {
			best[e.slot] = e
		}
	}
	return best
}

// stateOf works out the state from the entries that exist.
func stateOf(list []entry) (State, error) {
	s := Factory("")
	best := newest(list)
	a, haveA := best[A]
	b, haveB := best[B]
	switch {
	case haveA && haveB:
		s.Committed = committedOf(a, b)
	case haveA:
		s.Committed = A
	case haveB:
		s.Committed = B
	}
	for n, e := range best {
		s = s.WithImage(n, e.image)
		if n != s.Committed && e.left >= 0 {
			s.Trial, s.Tries = n, min(e.left, MaxTries)
		}
	}
	return s, s.Check()
}

// committedOf tells which of two entries is the committed one: the one without
// a counter; of two without, the newer.
func committedOf(a, b entry) Name {
	switch {
	case a.left < 0 && b.left >= 0:
		return A
	case b.left < 0 && a.left >= 0:
		return B
	case b.serial > a.serial:
		return B
	}
	return A
}

// entriesFor returns the entries that express a state, given those that exist:
// serial numbers are kept where the order is already right.
func entriesFor(s State, existing []entry) []entry {
	best := newest(existing)
	var top uint64
	for _, e := range existing {
		top = max(top, e.serial)
	}
	other := s.Committed.Other()
	base := entry{slot: s.Committed, left: -1, serial: best[s.Committed].serial, image: s.Image(s.Committed)}
	rival := entry{slot: other, left: -1, serial: best[other].serial, image: s.Image(other)}
	if base.serial == 0 {
		top++
		base.serial = top
	}
	if rival.image.Version == "" {
		return []entry{base}
	}
	if s.Trial == other {
		rival.left = s.Tries
		if old := best[other]; old.left == s.Tries {
			rival.done = old.done
		}
		if rival.serial <= base.serial {
			rival.serial = top + 1
		}
		return []entry{base, rival}
	}
	if rival.serial == 0 {
		rival.serial, base.serial = top+1, top+2
	} else if base.serial <= rival.serial {
		base.serial = top + 1
	}
	return []entry{base, rival}
}
