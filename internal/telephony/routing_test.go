package telephony

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

func TestNumberRangeHasNumbersOfItsLengthOnly(t *testing.T) {
	t.Parallel()
	r := NumberRange{First: "+493012340", Last: "+493012349"}
	for number, want := range map[string]bool{"+493012340": true, "+493012345": true, "+493012349": true, "+49301234": false, "+4930123400": false, "+493012350": false, "": false} {
		if r.Has(number) != want {
			t.Errorf("%s: %v", number, !want)
		}
	}
	if one := (NumberRange{First: "110"}); !one.Has("110") || one.Has("111") || one.Has("") {
		t.Error("a range of one number")
	}
}

func TestSecretShowsNowhere(t *testing.T) {
	t.Parallel()
	trunk := Trunk{Name: "a", Password: "hunter22"}
	text, err := json.Marshal(trunk)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []string{string(text), fmt.Sprint(trunk), fmt.Sprintf("%+v %#v", trunk, trunk), trunk.Password.LogValue().String()} {
		if strings.Contains(s, "hunter22") {
			t.Errorf("shown in %s", s)
		}
	}
	if trunk.Password.Reveal() != "hunter22" {
		t.Error("lost")
	}
}

func TestRoutingIsSortedByPriority(t *testing.T) {
	t.Parallel()
	s := NewSnapshot(1, DefaultSettings(), nil, nil).WithRouting(
		[]Trunk{{Tenant: 1, ID: 7}, {Tenant: 2, ID: 1}, {Tenant: 1, ID: 3}},
		map[TenantID]Routing{1: {Outbound: []OutboundRule{{ID: 2, Priority: 5}, {ID: 1, Priority: 5}, {ID: 3, Priority: 1}}}})
	if r := s.Routing(1).Outbound; r[0].ID != 3 || r[1].ID != 1 || r[2].ID != 2 {
		t.Errorf("order %v", r)
	}
	if _, ok := s.Trunk(1, 7); !ok || len(s.Trunks(1)) != 2 {
		t.Error("trunk 7 of tenant 1 is lost")
	}
	if _, ok := s.Trunk(2, 7); ok {
		t.Error("a trunk of another tenant")
	}
	if s.Routing(9) == nil {
		t.Error("a tenant without routing has none")
	}
}
