package document

import (
	"bytes"
	"fmt"
	"reflect"
	"slices"
	"strconv"

	"go.yaml.in/yaml/v3"

	"ringfence/internal/telephony"
)

// Secrets says how a document tells the secrets in it; nil leaves them out.
type Secrets interface {
	// Tell is what stands for a secret in the document.
	Tell(telephony.Secret) (string, error)
	// Hear is the secret again.
	Hear(string) (telephony.Secret, error)
}

// Marshal writes a configuration. What is as it is by default is left out.
func Marshal(c Configuration, s Secrets) ([]byte, error) {
	c.Version = Version
	e := encoder{s}
	root, err := e.value(reflect.ValueOf(c), usually(reflect.ValueOf(Configuration{})))
	if err != nil {
		return nil, fmt.Errorf("writing the configuration: %w", err)
	}
	var b bytes.Buffer
	w := yaml.NewEncoder(&b)
	w.SetIndent(2)
	if err := w.Encode(root); err != nil {
		return nil, fmt.Errorf("writing the configuration: %w", err)
	}
	return b.Bytes(), w.Close()
}

type encoder struct{ secrets Secrets }

func scalar(tag, text string) *yaml.Node {
	return &yaml.Node{Kind: yaml.ScalarNode, Tag: tag, Value: text}
}

// usually is the default of a value within what is around it, or its type's.
func usually(v reflect.Value) reflect.Value {
	if v.IsZero() {
		return defaultOf(v.Type())
	}
	return v
}

// value is the node of a value; nil for a secret that is not told.
func (e encoder) value(v, usual reflect.Value) (*yaml.Node, error) {
	if s, ok := v.Interface().(telephony.Secret); ok {
		if e.secrets == nil || s == "" {
			return nil, nil
		}
		text, err := e.secrets.Tell(s)
		return scalar("!!str", text), err
	}
	if text, ok := textOf(v); ok {
		return scalar("!!str", text), nil
	}
	switch v.Kind() {
	case reflect.Pointer:
		if v.IsNil() {
			return nil, nil
		}
		return e.value(v.Elem(), defaultOf(v.Type().Elem()))
	case reflect.Struct:
		return e.mapping(v, usually(usual))
	case reflect.Slice, reflect.Array:
		return e.sequence(v)
	case reflect.Map:
		return e.table(v)
	case reflect.String:
		return scalar("!!str", v.String()), nil
	case reflect.Bool:
		return scalar("!!bool", strconv.FormatBool(v.Bool())), nil
	case reflect.Int, reflect.Int64:
		return scalar("!!int", strconv.FormatInt(v.Int(), 10)), nil
	case reflect.Uint16, reflect.Uint64:
		return scalar("!!int", strconv.FormatUint(v.Uint(), 10)), nil
	}
	return nil, fmt.Errorf("a value of type %s has no form in the document", v.Type())
}

func (e encoder) mapping(v, usual reflect.Value) (*yaml.Node, error) {
	out := &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"}
	for _, f := range fieldsOf(v.Type()) {
		x := v.FieldByIndex(f.index)
		if !isSection(x.Type()) && same(x, usual.FieldByIndex(f.index)) {
			continue // sections are written even if they are empty: left out, they would stay as they are
		}
		n, err := e.value(x, usual.FieldByIndex(f.index))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", f.name, err)
		}
		if n != nil {
			out.Content = append(out.Content, scalar("!!str", f.name), n)
		}
	}
	return out, nil
}

func (e encoder) sequence(v reflect.Value) (*yaml.Node, error) {
	out := &yaml.Node{Kind: yaml.SequenceNode, Tag: "!!seq"}
	for i := range v.Len() {
		n, err := e.value(v.Index(i), defaultOf(v.Type().Elem()))
		if err != nil {
			return nil, err
		}
		out.Content = append(out.Content, n)
	}
	if short(out) {
		out.Style = yaml.FlowStyle
	}
	return out, nil
}

// short reports whether a list fits on a line.
func short(n *yaml.Node) bool {
	const few = 60
	length := 0
	for _, c := range n.Content {
		if c.Kind == yaml.MappingNode || c.Kind == yaml.SequenceNode && c.Style != yaml.FlowStyle {
			return false
		}
		length += len(c.Value) + 2
	}
	return length < few && len(n.Content) < 8
}

// table is a map by its keys in order.
func (e encoder) table(v reflect.Value) (*yaml.Node, error) {
	out := &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"}
	keys := v.MapKeys()
	slices.SortFunc(keys, func(a, b reflect.Value) int { return bytes.Compare([]byte(a.String()), []byte(b.String())) })
	for _, k := range keys {
		n, err := e.value(v.MapIndex(k), defaultOf(v.Type().Elem()))
		if err != nil {
			return nil, err
		}
		out.Content = append(out.Content, scalar("!!str", k.String()), n)
	}
	return out, nil
}
