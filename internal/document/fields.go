package document

import (
	"reflect"
	"strings"
	"unicode"

	"ringfence/internal/ports"
	"ringfence/internal/telephony"
)

// field is a field of a struct under its name in the document.
type field struct {
	name  string
	index []int
}

// left are fields that the machine makes itself, or that stand elsewhere in the
// document.
func left(t reflect.Type, name string) bool {
	switch t {
	case reflect.TypeFor[telephony.Settings]():
		return name == "SetupDone"
	case reflect.TypeFor[telephony.Tenant]():
		return name == "ID"
	case reflect.TypeFor[telephony.Extension]():
		return name == "Tenant" || name == "ID" || name == "HA1" || name == "HA1SHA256" || name == "ProvisionPath" || name == "Role" || name == "Groups"
	case reflect.TypeFor[telephony.User]():
		return name == "Tenant" || name == "ID" || name == "SecondFactor" || name == "CreatedAt" || name == "MustChangePassword"
	case reflect.TypeFor[telephony.AddressRule]():
		return name == "Created" || name == "By"
	case reflect.TypeFor[telephony.RoleDefinition]():
		return name == "Tenant" || name == "BuiltIn"
	case reflect.TypeFor[ports.Override]():
		return false
	case reflect.TypeFor[telephony.NumberingPlan]():
		return name == "Country" // of the tenant
	}
	return name == "Tenant" || name == "ID"
}

// fieldsOf lists the fields of a struct in their order. An outer field takes the
// place of an embedded one with its name.
func fieldsOf(t reflect.Type) []field {
	var out []field
	at := make(map[string]int)
	for i := range t.NumField() {
		f := t.Field(i)
		if f.Anonymous {
			for _, inner := range fieldsOf(f.Type) {
				if _, taken := at[inner.name]; !taken {
					at[inner.name] = len(out)
					out = append(out, field{inner.name, append([]int{i}, inner.index...)})
				}
			}
			continue
		}
		name := snake(f.Name)
		if left(t, f.Name) {
			continue
		}
		if place, taken := at[name]; taken {
			out[place].index = []int{i}
			continue
		}
		at[name] = len(out)
		out = append(out, field{name, []int{i}})
	}
	return out
}

// snake is a Go name as the document writes it.
func snake(name string) string {
	if name == "DIDs" {
		return "dids"
	}
	var b strings.Builder
	runes := []rune(name)
	for i, r := range runes {
		if i > 0 && unicode.IsUpper(r) && (!unicode.IsUpper(runes[i-1]) || i+1 < len(runes) && unicode.IsLower(runes[i+1])) {
			b.WriteByte('_')
		}
		b.WriteRune(unicode.ToLower(r))
	}
	return b.String()
}

// defaultOf is what a value of a type is where the document says nothing.
func defaultOf(t reflect.Type) reflect.Value {
	v := reflect.New(t).Elem()
	switch p := v.Addr().Interface().(type) {
	case *telephony.Settings:
		*p = telephony.DefaultSettings()
	case *telephony.SignIn:
		*p = telephony.DefaultSignIn()
	case *Tenant:
		p.Registration, p.Calls, p.TimeZone = telephony.Registration{}.Complete(), telephony.DefaultCallRules(), "UTC"
		p.SignIn, p.Routing = telephony.DefaultSignIn(), defaultOf(reflect.TypeFor[Routing]()).Interface().(Routing)
	case *Extension:
		p.NoAnswer, p.Media, p.DTMF, p.OwnRole = telephony.DefaultNoAnswer, telephony.SecurityOffer, telephony.DTMFAuto, telephony.RoleStandard
	case *User:
		p.Role = telephony.RoleStandard
	case *telephony.Trunk:
		*p = telephony.Trunk{Enabled: true}.Complete()
	case *Routing:
		p.Night, p.Currency = telephony.NightAuto, "EUR"
	case *OutboundRule:
		p.Enabled, p.Order = true, telephony.OrderListed
	case *InboundRule:
		p.Enabled = true
	}
	return v
}

// same compares values; an empty list is as good as none.
func same(a, b reflect.Value) bool {
	switch a.Kind() {
	case reflect.Slice:
		if a.Len() != b.Len() {
			return false
		}
		for i := range a.Len() {
			if !same(a.Index(i), b.Index(i)) {
				return false
			}
		}
		return true
	case reflect.Map:
		if a.Len() == 0 && b.Len() == 0 {
			return true
		}
	case reflect.Struct:
		if one, isText := textOf(a); isText {
			other, _ := textOf(b)
			return one == other
		}
		for _, f := range fieldsOf(a.Type()) {
			if !same(a.FieldByIndex(f.index), b.FieldByIndex(f.index)) {
				return false
			}
		}
		return true
	}
	return reflect.DeepEqual(a.Interface(), b.Interface())
}
