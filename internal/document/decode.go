package document

import (
	"errors"
	"fmt"
	"io"
	"reflect"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"ringfence/internal/telephony"
)

// Bounds of a document.
const (
	MaxSize   = 32 << 20 // bytes
	maxDepth  = 32
	maxFaults = 20
)

// Fault is one thing that is wrong with a document.
type Fault struct {
	Line   int    // 0 is not known
	Field  string // where in the document, such as tenants[a.test].extensions[101].no_answer
	Reason string
}

func (f Fault) String() string {
	var b strings.Builder
	if f.Line > 0 {
		fmt.Fprintf(&b, "line %d: ", f.Line)
	}
	if f.Field != "" {
		b.WriteString(f.Field + ": ")
	}
	return b.String() + f.Reason
}

// Error refuses a document whole; nothing of it was done.
type Error struct{ Faults []Fault } // at most 20

func (e *Error) Error() string {
	lines := make([]string, len(e.Faults))
	for i, f := range e.Faults {
		lines[i] = f.String()
	}
	return strings.Join(lines, "\n")
}

// Document is a configuration that was read, and where its parts stand.
type Document struct {
	Configuration
	lines map[string]int
}

// Line is where a field stands, or the nearest thing around it; 0 if it does not.
func (d *Document) Line(field string) int {
	for field != "" {
		if line, ok := d.lines[field]; ok {
			return line
		}
		i := strings.LastIndexAny(field, ".[")
		field = field[:max(i, 0)]
	}
	return 0
}

// Unmarshal reads a document. What it does not name is as it is by default. The
// error is an *Error that names line and field of all that is wrong.
func Unmarshal(text []byte, s Secrets) (*Document, error) {
	if len(text) > MaxSize {
		return nil, &Error{[]Fault{{Reason: fmt.Sprintf("the document is larger than %d MiB", MaxSize>>20)}}}
	}
	var root, more yaml.Node
	in := yaml.NewDecoder(strings.NewReader(string(text)))
	if err := in.Decode(&root); err != nil {
		return nil, &Error{[]Fault{{Line: lineIn(err), Reason: "is no YAML: " + strings.TrimPrefix(err.Error(), "yaml: ")}}}
	}
	if err := in.Decode(&more); !errors.Is(err, io.EOF) {
		return nil, &Error{[]Fault{{Line: more.Line, Reason: "there is more than one document"}}}
	}
	d := decoder{secrets: s, doc: &Document{lines: make(map[string]int)}}
	v := reflect.ValueOf(&d.doc.Configuration).Elem()
	if len(root.Content) == 1 {
		d.value(root.Content[0], v, "", 0)
	}
	if d.doc.Version != Version && len(d.faults) == 0 {
		d.fault(&root, "version", fmt.Sprintf("must be %d", Version))
	}
	settings := &d.doc.Box.Settings
	settings.Ports = byID(settings.Ports)
	d.checkKeys()
	if len(d.faults) > 0 {
		return nil, &Error{d.faults}
	}
	return d.doc, nil
}

// lineIn is the line that a syntax error names.
func lineIn(err error) int {
	_, rest, found := strings.Cut(err.Error(), "line ")
	if !found {
		return 0
	}
	n, _, _ := strings.Cut(rest, ":")
	line, err := strconv.Atoi(n)
	if err != nil {
		return 0
	}
	return line
}

type decoder struct {
	secrets Secrets
	doc     *Document
	faults  []Fault
}

func (d *decoder) fault(n *yaml.Node, path, reason string) {
	if len(d.faults) < maxFaults {
		d.faults = append(d.faults, Fault{n.Line, path, reason})
	}
}

func (d *decoder) value(n *yaml.Node, v reflect.Value, path string, depth int) {
	d.doc.lines[path] = n.Line
	switch {
	case n.Kind == yaml.AliasNode || n.Anchor != "":
		d.fault(n, path, "anchors and aliases are not used here")
		return
	case depth > maxDepth:
		d.fault(n, path, "is nested too deeply")
		return
	case n.ShortTag() == "!!null":
		return // as if it were not there
	}
	switch {
	case v.Type() == reflect.TypeFor[telephony.Secret](), isText(v.Type()):
		d.word(n, v, path)
	case v.Kind() == reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		d.value(n, v.Elem(), path, depth+1)
	case v.Kind() == reflect.Struct:
		d.mapping(n, v, path, depth)
	case v.Kind() == reflect.Slice || v.Kind() == reflect.Array:
		d.sequence(n, v, path, depth)
	case v.Kind() == reflect.Map:
		d.table(n, v, path, depth)
	default:
		d.word(n, v, path)
	}
}

// word reads what is one word.
func (d *decoder) word(n *yaml.Node, v reflect.Value, path string) {
	if n.Kind != yaml.ScalarNode {
		d.fault(n, path, "must be a single value")
		return
	}
	var err error
	switch {
	case v.Type() == reflect.TypeFor[telephony.Secret]():
		err = d.secret(n.Value, v)
	case isText(v.Type()):
		err = setText(v, n.Value)
	case v.Kind() == reflect.String:
		v.SetString(n.Value)
	case v.Kind() == reflect.Bool:
		if n.ShortTag() != "!!bool" {
			err = errors.New("must be true or false")
			break
		}
		var b bool
		if err = n.Decode(&b); err == nil {
			v.SetBool(b)
		}
	case v.CanInt():
		var i int64
		if i, err = strconv.ParseInt(n.Value, 10, v.Type().Bits()); err == nil {
			v.SetInt(i)
		} else {
			err = errors.New("must be a whole number")
		}
	case v.CanUint():
		var u uint64
		if u, err = strconv.ParseUint(n.Value, 10, v.Type().Bits()); err == nil {
			v.SetUint(u)
		} else {
			err = fmt.Errorf("must be a whole number from 0 to %d", uint64(1)<<v.Type().Bits()-1)
		}
	}
	if err != nil {
		d.fault(n, path, err.Error())
	}
}

func (d *decoder) secret(text string, v reflect.Value) error {
	if d.secrets == nil {
		return errors.New("is not taken here")
	}
	s, err := d.secrets.Hear(text)
	if err == nil {
		v.SetString(string(s))
	}
	return err
}

func (d *decoder) mapping(n *yaml.Node, v reflect.Value, path string, depth int) {
	if n.Kind != yaml.MappingNode {
		d.fault(n, path, "must be a block of fields")
		return
	}
	if v.IsZero() { // else it has what is usual within what is around it
		v.Set(defaultOf(v.Type()))
	}
	fields := fieldsOf(v.Type())
	seen := make(map[string]bool, len(n.Content)/2)
	for i := 0; i+1 < len(n.Content); i += 2 {
		name := n.Content[i].Value
		where := join(path, name)
		known := false
		for _, f := range fields {
			if f.name != name {
				continue
			}
			if known = true; seen[name] {
				d.fault(n.Content[i], where, "is there twice")
				break
			}
			seen[name] = true
			d.value(n.Content[i+1], v.FieldByIndex(f.index), where, depth+1)
		}
		if !known {
			d.fault(n.Content[i], path, fmt.Sprintf("has no field %.60q", name))
		}
	}
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

func (d *decoder) sequence(n *yaml.Node, v reflect.Value, path string, depth int) {
	if n.Kind != yaml.SequenceNode {
		d.fault(n, path, "must be a list")
		return
	}
	if v.Kind() == reflect.Array && len(n.Content) != v.Len() {
		d.fault(n, path, fmt.Sprintf("must have %d entries", v.Len()))
		return
	}
	if v.Kind() == reflect.Slice {
		v.Set(reflect.MakeSlice(v.Type(), len(n.Content), len(n.Content)))
	}
	for i, c := range n.Content {
		// A path names an entry by its key, if the entry tells one.
		d.value(c, v.Index(i), path+"["+nameOf(c, v.Index(i).Type(), i)+"]", depth+1)
	}
}

// nameOf is what an entry of a list is called in paths.
func nameOf(n *yaml.Node, t reflect.Type, i int) string {
	key := keyField(t)
	if key != "" && n.Kind == yaml.MappingNode {
		for k := 0; k+1 < len(n.Content); k += 2 {
			if v := n.Content[k+1]; n.Content[k].Value == key && v.Kind == yaml.ScalarNode && len(v.Value) <= 100 {
				return v.Value
			}
		}
	}
	return strconv.Itoa(i)
}

func (d *decoder) table(n *yaml.Node, v reflect.Value, path string, depth int) {
	if n.Kind != yaml.MappingNode {
		d.fault(n, path, "must be a block of fields")
		return
	}
	v.Set(reflect.MakeMap(v.Type()))
	for i := 0; i+1 < len(n.Content); i += 2 {
		key := n.Content[i].Value
		one := reflect.New(v.Type().Elem()).Elem()
		d.value(n.Content[i+1], one, join(path, key), depth+1)
		k := reflect.ValueOf(key).Convert(v.Type().Key())
		if v.MapIndex(k).IsValid() {
			d.fault(n.Content[i], join(path, key), "is there twice")
		}
		v.SetMapIndex(k, one)
	}
}
