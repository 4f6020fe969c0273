package cloudinit

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strconv"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

const (
	maxProblems = 16 // reported per document
	maxKeys     = 256
)

// document collects what is wrong while a document is read.
type document struct {
	name     string
	problems []Problem
	failed   bool
}

func (d *document) add(line int, key string, warning bool, format string, args ...any) {
	d.failed = d.failed || !warning
	if len(d.problems) < maxProblems {
		d.problems = append(d.problems, Problem{Document: d.name, Line: line, Key: key, Reason: fmt.Sprintf(format, args...), Warning: warning})
	}
}

// parse reads one YAML document whose root is a mapping. An empty document is
// nothing to read, not an error.
func (d *document) parse(data []byte) (node, bool) {
	if len(data) > MaxDocument {
		d.add(0, "", false, "is larger than %d bytes", MaxDocument)
		return node{}, false
	}
	if !utf8.Valid(data) {
		d.add(0, "", false, "is not UTF-8 text")
		return node{}, false
	}
	dec := yaml.NewDecoder(bytes.NewReader(data))
	var root yaml.Node
	switch err := dec.Decode(&root); {
	case errors.Is(err, io.EOF):
		return node{}, false
	case err != nil:
		d.add(0, "", false, "is not YAML: %s", printable(strings.TrimPrefix(err.Error(), "yaml: ")))
		return node{}, false
	}
	if err := dec.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		d.add(0, "", false, "holds more than one YAML document")
		return node{}, false
	}
	n := node{d: d, yaml: root.Content[0]}
	if n.empty() {
		return node{}, false
	}
	return n, true
}

// node is one value of a document with the path that leads to it.
type node struct {
	d    *document
	yaml *yaml.Node
	path string
}

func (n node) refuse(format string, args ...any) {
	n.d.add(n.yaml.Line, n.path, false, format, args...)
}

// empty reports null: a key with nothing after it.
func (n node) empty() bool { return n.yaml.Kind == yaml.ScalarNode && n.yaml.Tag == "!!null" }

// each calls f for every key of a mapping, in order. Anchors, aliases, tags
// and merge keys are refused: nobody needs them here, and they are how a
// small document becomes a large one.
func (n node) each(f func(key string, value node)) {
	if n.yaml.Kind != yaml.MappingNode {
		n.refuse("must be a mapping of keys to values")
		return
	}
	if len(n.yaml.Content)/2 > maxKeys {
		n.refuse("has more than %d keys", maxKeys)
		return
	}
	seen := make(map[string]bool)
	for i := 0; i+1 < len(n.yaml.Content); i += 2 {
		k := n.yaml.Content[i]
		value := node{n.d, n.yaml.Content[i+1], n.path}
		if k.Kind != yaml.ScalarNode || k.Tag == "!!merge" || len(k.Value) > 64 {
			n.d.add(k.Line, n.path, false, "has a key that is not a plain word")
			return
		}
		if value.path != "" {
			value.path += "."
		}
		value.path += printable(k.Value)
		switch {
		case seen[k.Value]:
			value.refuse("appears twice")
		case value.yaml.Kind == yaml.AliasNode || value.yaml.Anchor != "":
			value.refuse("uses a YAML anchor or alias")
		default:
			f(k.Value, value)
		}
		seen[k.Value] = true
	}
}

// fields calls the reader of each key. Unknown keys are an error, or a warning
// where documents made for other systems are to be accepted.
func (n node) fields(known map[string]func(node), lenient bool) {
	var ignored []string
	n.each(func(key string, value node) {
		read, ok := known[key]
		switch {
		case ok && !value.empty():
			read(value)
		case !ok && lenient:
			ignored = append(ignored, printable(key))
		case !ok:
			value.refuse("is not a key of this section")
		}
	})
	if len(ignored) > 0 {
		if len(ignored) > 8 {
			ignored = append(ignored[:8], "...")
		}
		n.d.add(0, "", true, "keys without a meaning here: %s", strings.Join(ignored, ", "))
	}
}

// list returns the items of a sequence of at most limit.
func (n node) list(limit int) []node {
	if n.yaml.Kind != yaml.SequenceNode {
		n.refuse("must be a list")
		return nil
	}
	if len(n.yaml.Content) > limit {
		n.refuse("has more than %d items", limit)
		return nil
	}
	items := make([]node, 0, len(n.yaml.Content))
	for i, c := range n.yaml.Content {
		item := node{n.d, c, fmt.Sprintf("%s[%d]", n.path, i)}
		if c.Kind == yaml.AliasNode || c.Anchor != "" {
			item.refuse("uses a YAML anchor or alias")
			return nil
		}
		items = append(items, item)
	}
	return items
}

// text returns a scalar as written, without control characters.
func (n node) text(limit int) string {
	v := n.yaml.Value
	switch {
	case n.yaml.Kind != yaml.ScalarNode || n.yaml.Tag == "!!binary":
		n.refuse("must be one value")
	case utf8.RuneCountInString(v) > limit:
		n.refuse("is longer than %d characters", limit)
	case printable(v) != v:
		n.refuse("holds a control character")
	default:
		return v
	}
	return ""
}

func (n node) boolean() bool {
	switch strings.ToLower(n.text(8)) {
	case "true", "yes", "on":
		return true
	case "false", "no", "off":
		return false
	}
	n.refuse("must be true or false")
	return false
}

func (n node) integer(low, high int) int {
	v, err := strconv.Atoi(n.text(12))
	if err != nil || v < low || v > high {
		n.refuse("must be a number from %d to %d", low, high)
		return 0
	}
	return v
}

func (n node) addr() netip.Addr {
	a, err := netip.ParseAddr(n.text(64))
	if err != nil || a.Zone() != "" || a.Is4In6() {
		n.refuse("must be an IP address")
		return netip.Addr{}
	}
	return a
}

// prefix reads address/length, keeping the host part.
func (n node) prefix() netip.Prefix {
	p, err := netip.ParsePrefix(n.text(64))
	if err != nil || p.Addr().Is4In6() {
		n.refuse("must be an IP address with its prefix length, such as 192.0.2.10/24")
		return netip.Prefix{}
	}
	return p
}

// printable replaces control and invisible characters, which have no business
// on a console.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if !strconv.IsPrint(r) {
			return '.'
		}
		return r
	}, s)
}
