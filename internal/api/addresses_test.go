package api

import (
	"net/http"
	"net/netip"
	"reflect"
	"strings"
	"testing"

	"ringfence/internal/telephony"
)

func TestAddresses(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	boss := b.setUp()
	var have Addresses
	boss.must(http.StatusOK, "GET", "/addresses", nil, &have)
	detected := []OwnAddress{{"10.0.0.5", "eth0", true, true}, {"2001:db8::5", "eth0", false, false}}
	private := []string{"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7"}
	cloud := []PublicAddress{{"", "203.0.113.9"}}
	if want := (Addresses{PublicAddresses: []PublicAddress{}, InsideNetworks: private, Detected: detected, Cloud: cloud}); !reflect.DeepEqual(have, want) {
		t.Errorf("of a new box: %+v", have)
	}
	in := AddressesUpdate{
		PublicAddress: " 203.0.113.7 ", PublicAddresses: []PublicAddress{{"10.2.0.5", "203.0.113.8"}},
		AdvertiseAlways: true, InsideNetworks: []string{"198.51.100.0/24", "2001:db8::5"},
	}
	boss.must(http.StatusOK, "PUT", "/addresses", in, &have)
	detected = []OwnAddress{{"10.0.0.5", "eth0", false, true}, {"2001:db8::5", "eth0", true, false}}
	want := Addresses{
		PublicAddress: "203.0.113.7", PublicAddresses: in.PublicAddresses, AdvertiseAlways: true,
		InsideNetworks: []string{"198.51.100.0/24", "2001:db8::5/128"}, Detected: detected, Cloud: cloud,
	}
	if !reflect.DeepEqual(have, want) {
		t.Errorf("changed: %+v", have)
	}
	if got := b.store.Snapshot().Settings.Advertised(netip.MustParseAddr("10.2.0.5"), netip.MustParseAddr("192.0.2.1")); got.String() != "203.0.113.8" {
		t.Errorf("in force: %s", got)
	}
	for what, x := range map[string]struct {
		change func(*AddressesUpdate)
		field  string
	}{
		"a name":       {func(v *AddressesUpdate) { v.PublicAddress = "pbx.example" }, "body.public_address"},
		"nobody's":     {func(v *AddressesUpdate) { v.PublicAddress = "0.0.0.0" }, "body.public_address"},
		"none for all": {func(v *AddressesUpdate) { v.PublicAddress, v.PublicAddresses = "", []PublicAddress{} }, "body.public_address"},
		"an entry's local": {func(v *AddressesUpdate) {
			v.PublicAddresses = append(in.PublicAddresses, PublicAddress{"eth0", "203.0.113.9"})
		}, "body.public_addresses[1].local"},
		"an entry's public": {func(v *AddressesUpdate) { v.PublicAddresses = []PublicAddress{{"10.2.0.5", ""}} }, "body.public_addresses[0].public"},
		"two of one":        {func(v *AddressesUpdate) { v.PublicAddresses = append(in.PublicAddresses, in.PublicAddresses...) }, "body.public_addresses[1].local"},
		"no network":        {func(v *AddressesUpdate) { v.InsideNetworks = []string{"10.0.0.0/8", "office"} }, "body.inside_networks"},
		"host bits":         {func(v *AddressesUpdate) { v.InsideNetworks = []string{"10.0.0.1/8"} }, "body.inside_networks"},
	} {
		bad := in
		x.change(&bad)
		a := boss.do("PUT", "/addresses", bad, nil)
		if a.Code != http.StatusUnprocessableEntity || len(a.Problem.Errors) != 1 || a.Problem.Errors[0].Location != x.field {
			t.Errorf("%s: %d %s", what, a.Code, a.Body)
		}
	}
	in.InsideNetworks = []string{}
	boss.must(http.StatusOK, "PUT", "/addresses", in, &have)
	if len(have.InsideNetworks) != 0 || have.InsideNetworks == nil {
		t.Errorf("emptied: %+v", have)
	}
	ann := b.user(1, "ann", telephony.RoleAdmin, "")
	for _, method := range []string{"GET", "PUT"} {
		if a := ann.do(method, "/addresses", in, nil); a.Code != http.StatusForbidden || strings.Contains(a.Body.String(), "203.0.113.7") {
			t.Errorf("an administrator of a tenant: %s %d %s", method, a.Code, a.Body)
		}
	}
}
