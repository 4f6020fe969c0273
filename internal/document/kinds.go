package document

import (
	"reflect"

	"ringfence/internal/ports"
	"ringfence/internal/telephony"
)

// keyField is the field that tells entries of a list apart, or empty.
func keyField(t reflect.Type) string {
	switch t {
	case reflect.TypeFor[Tenant]():
		return "domain"
	case reflect.TypeFor[Extension]():
		return "number"
	case reflect.TypeFor[ports.Override]():
		return "id"
	case reflect.TypeFor[telephony.CallerBlock]():
		return "caller"
	case reflect.TypeFor[telephony.AddressRule]():
		return "prefix"
	case reflect.TypeFor[User](), reflect.TypeFor[telephony.RoleDefinition](), reflect.TypeFor[telephony.Schedule](), reflect.TypeFor[telephony.Group](),
		reflect.TypeFor[telephony.Trunk](), reflect.TypeFor[OutboundRule](), reflect.TypeFor[InboundRule]():
		return "name"
	}
	return ""
}

// keyOf is the key of an entry of a list.
func keyOf(v reflect.Value) string {
	name := keyField(v.Type())
	for _, f := range fieldsOf(v.Type()) {
		if f.name == name {
			x := v.FieldByIndex(f.index)
			if text, ok := textOf(x); ok {
				return text
			}
			return x.String()
		}
	}
	return ""
}

// checkKeys refuses lists that name something twice, or not at all.
func (d *decoder) checkKeys() { d.keysOf(reflect.ValueOf(d.doc.Configuration), "") }

func (d *decoder) keysOf(v reflect.Value, path string) {
	switch {
	case v.Kind() == reflect.Struct && !isText(v.Type()):
		for _, f := range fieldsOf(v.Type()) {
			d.keysOf(v.FieldByIndex(f.index), join(path, f.name))
		}
	case v.Kind() == reflect.Slice && keyField(v.Type().Elem()) != "":
		seen := make(map[string]bool, v.Len())
		for i := range v.Len() {
			key := keyOf(v.Index(i))
			where := path + "[" + key + "]"
			switch {
			case len(d.faults) >= maxFaults:
				return
			case key == "":
				d.faults = append(d.faults, Fault{d.doc.Line(path), path, "has an entry without " + keyField(v.Type().Elem())})
			case seen[key]:
				d.faults = append(d.faults, Fault{d.doc.Line(where), where, "is there twice"})
			}
			seen[key] = true
			d.keysOf(v.Index(i), where)
		}
	}
}
