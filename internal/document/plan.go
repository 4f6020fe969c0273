package document

import (
	"bytes"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"reflect"
	"strings"

	"go.yaml.in/yaml/v3"

	"ringfence/internal/telephony"
)

// Verb is what becomes of a part of the configuration.
type Verb string

// What becomes of parts.
const (
	Add    Verb = "add"
	Alter  Verb = "change"
	Remove Verb = "remove"
)

// Change is what becomes of one part of the configuration.
type Change struct {
	Verb   Verb
	Object string // such as tenants[a.test].extensions[101]
	Line   int    // of the document; 0 if it does not stand there
	Fields []Difference
}

// Difference is a field that is to be another one. Secrets show as words that
// say whether they are equal, and nothing of themselves.
type Difference struct{ Field, Was, Is string }

// Compare says what would have to change for a box that is configured in one way
// to be configured as a document says, which has been filled. Secrets that the
// document does not tell stay.
func Compare(was Configuration, d *Document) []Change {
	key := make([]byte, 32)
	rand.Read(key)
	before, after := newListing(key), newListing(key)
	before.list(reflect.ValueOf(was), "")
	after.list(reflect.ValueOf(d.Configuration), "")
	var out []Change
	for _, object := range after.order {
		is, there := after.fields[object], before.fields[object]
		verb := Alter
		if there == nil {
			verb = Add
		}
		if c := (Change{verb, object, d.Line(object), differences(there, is)}); verb == Add || len(c.Fields) > 0 {
			out = append(out, c)
		}
	}
	gone := ""
	for _, object := range before.order {
		if after.fields[object] != nil || gone != "" && strings.HasPrefix(object, gone) {
			continue // within something that goes as a whole
		}
		gone = object
		out = append(out, Change{Verb: Remove, Object: object})
	}
	return out
}

func differences(was, is *object) (out []Difference) {
	for _, name := range is.order {
		now := is.text[name]
		before := ""
		if was != nil {
			before = was.text[name]
		}
		if now == before || now == untold {
			continue
		}
		out = append(out, Difference{name, before, now})
	}
	return out
}

// untold stands for a secret that the document does not tell.
const untold = "\x00"

type object struct {
	order []string
	text  map[string]string
}

// listing is a configuration as objects with words for fields.
type listing struct {
	key    []byte
	order  []string
	fields map[string]*object
}

func newListing(key []byte) *listing { return &listing{key: key, fields: make(map[string]*object)} }

// list notes an object and those in its lists. The whole has none of its own.
func (l *listing) list(v reflect.Value, path string) {
	if path != "" {
		o := &object{text: make(map[string]string)}
		l.order = append(l.order, path)
		l.fields[path] = o
		l.describe(o, v, "")
	}
	for _, f := range fieldsOf(v.Type()) {
		x := v.FieldByIndex(f.index)
		where := join(path, f.name)
		switch {
		case x.Kind() == reflect.Slice && keyField(x.Type().Elem()) != "":
			for i := range x.Len() {
				l.list(x.Index(i), where+"["+keyOf(x.Index(i))+"]")
			}
		case isPart(x.Type()):
			l.list(x, where)
		}
	}
}

// isSection reports whether a block or list is left as it is by a document that
// leaves it out.
func isSection(t reflect.Type) bool {
	return isPart(t) || t.Kind() == reflect.Slice && (keyField(t.Elem()) != "" || t == reflect.TypeFor[[]telephony.Contact]())
}

// Fill takes over from a configuration what the document leaves out.
func (d *Document) Fill(was Configuration) {
	d.fill(reflect.ValueOf(&d.Configuration).Elem(), reflect.ValueOf(was), "")
}

func (d *Document) fill(v, was reflect.Value, path string) {
	for _, f := range fieldsOf(v.Type()) {
		x, y, where := v.FieldByIndex(f.index), was.FieldByIndex(f.index), join(path, f.name)
		if !isSection(x.Type()) {
			continue
		}
		switch _, said := d.lines[where]; {
		case !said:
			x.Set(y)
		case x.Kind() == reflect.Struct:
			d.fill(x, y, where)
		case x.Type() == reflect.TypeFor[[]Tenant]():
			for i := range x.Len() {
				old := reflect.ValueOf(Tenant{})
				for k := range y.Len() {
					if keyOf(y.Index(k)) == keyOf(x.Index(i)) {
						old = y.Index(k)
					}
				}
				if keyOf(old) != "" {
					d.fill(x.Index(i), old, where+"["+keyOf(x.Index(i))+"]")
				}
			}
		}
	}
}

// isPart reports whether a struct is shown as a part of its own.
func isPart(t reflect.Type) bool {
	switch t {
	case reflect.TypeFor[Box](), reflect.TypeFor[telephony.Settings](), reflect.TypeFor[telephony.SignIn](), reflect.TypeFor[telephony.Keeping](), reflect.TypeFor[Routing]():
		return true
	}
	return false
}

func (l *listing) describe(o *object, v reflect.Value, prefix string) {
	for _, f := range fieldsOf(v.Type()) {
		x := v.FieldByIndex(f.index)
		name := join(prefix, f.name)
		switch {
		case x.Kind() == reflect.Slice && keyField(x.Type().Elem()) != "", isPart(x.Type()):
		case x.Kind() == reflect.Struct && !isText(x.Type()):
			l.describe(o, x, name)
		default:
			o.order = append(o.order, name)
			o.text[name] = l.word(x)
		}
	}
}

// maxWord bounds the text of a field in a plan, in bytes.
const maxWord = 400

func (l *listing) word(v reflect.Value) string {
	if s, ok := v.Interface().(telephony.Secret); ok {
		if s == "" {
			return untold
		}
		m := hmac.New(sha256.New, l.key)
		m.Write([]byte(s.Reveal()))
		return "secret " + hex.EncodeToString(m.Sum(nil)[:3])
	}
	n, err := encoder{}.value(v, defaultOf(v.Type()))
	switch {
	case err != nil:
		return err.Error()
	case n == nil:
		return ""
	case n.Kind == yaml.ScalarNode:
		return n.Value
	}
	flow(n)
	text, err := yaml.Marshal(n)
	if err != nil {
		return err.Error()
	}
	text = bytes.TrimSpace(text)
	if len(text) > maxWord {
		sum := sha256.Sum256(text)
		return fmt.Sprintf("%s... (%d bytes, %x)", strings.ToValidUTF8(string(text[:maxWord]), ""), len(text), sum[:3])
	}
	return string(text)
}

func flow(n *yaml.Node) {
	n.Style = yaml.FlowStyle
	for _, c := range n.Content {
		if c.Kind != yaml.ScalarNode {
			flow(c)
		}
	}
}
