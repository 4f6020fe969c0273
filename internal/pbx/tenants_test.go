package pbx_test

import (
	"net/http"
	"testing"
	"time"

	"ringfence/internal/pbxtest"
	"ringfence/internal/ports"
	"ringfence/internal/siptest"
	"ringfence/tests/apiclient"
)

// neighbour is a second tenant with the numbers of the first.
func neighbour(t *testing.T, p *pbxtest.PBX) *apiclient.Client {
	t.Helper()
	ctx, admin := within(t, 20*time.Second), p.Admin()
	in := map[string]any{"name": "Neighbour", "domain": "neighbour.example", "extension_first": "101", "extension_last": "199"}
	if err := admin.Do(ctx, "POST", "/tenants", in, nil); err != nil {
		t.Fatal(err)
	}
	admin.Tenant = "2"
	return admin
}

// neighbourPhone registers a new extension of the second tenant.
func neighbourPhone(t *testing.T, p *pbxtest.PBX, admin *apiclient.Client, number string, tone float64) *siptest.Phone {
	t.Helper()
	var c struct {
		User     string `json:"sip_user"`
		Password string `json:"sip_password"`
		Domain   string `json:"domain"`
	}
	ctx := within(t, 20*time.Second)
	if err := admin.Do(ctx, "POST", "/extensions", map[string]any{"number": number}, &c); err != nil {
		t.Fatal(err)
	}
	phone := siptest.NewPhone(t, siptest.Config{Server: p.Addr(ports.SIPUDP), Transport: "UDP", User: c.User, Password: c.Password, Domain: c.Domain, Tone: tone})
	if err := phone.Register(ctx); err != nil {
		t.Fatal(err)
	}
	return phone
}

// Two tenants have an extension 101 and 102 each: calls, lists and passwords
// stay apart, and removing one ends what it has and nothing of the other's.
func TestTenantsWithTheSameNumbersStayApart(t *testing.T) {
	t.Parallel()
	p := pbxtest.New(t)
	one, oneToo := p.Phone("101", 440), p.Phone("102", 550)
	admin := neighbour(t, p)
	two, twoToo := neighbourPhone(t, p, admin, "101", 660), neighbourPhone(t, p, admin, "102", 770)
	calls := map[string]*siptest.Call{}
	for domain, pair := range map[string][2]*siptest.Phone{"dev": {one, oneToo}, "neighbour": {two, twoToo}} {
		ctx := within(t, 20*time.Second)
		out, err := pair[0].Call(ctx, "102")
		if err != nil {
			t.Fatal(err)
		}
		in, err := pair[1].WaitCall(ctx)
		if err != nil {
			t.Fatalf("%s: 102 does not ring: %v", domain, err)
		}
		if err := in.Answer(); err != nil {
			t.Fatal(err)
		}
		if err := out.Wait(ctx, siptest.Answered); err != nil {
			t.Fatal(err)
		}
		calls[domain] = out
	}
	var list struct {
		Items []struct {
			ID string `json:"id"`
		} `json:"items"`
	}
	ctx := within(t, 20*time.Second)
	first := p.Admin()
	for _, c := range []*apiclient.Client{admin, first} {
		if err := c.Do(ctx, "GET", "/calls", nil, &list); err != nil || len(list.Items) != 1 {
			t.Fatalf("tenant %q sees %d calls, %v", c.Tenant, len(list.Items), err)
		}
	}
	if err := admin.Do(ctx, "DELETE", "/calls/"+list.Items[0].ID, nil, nil); apiclient.Status(err) != http.StatusNotFound {
		t.Errorf("the other tenant's call: %v", err)
	}
	// The neighbour's password is none of ours.
	mixed := siptest.Config{User: "101", Password: p.Extension("101").SIPPassword, Domain: "neighbour.example"}
	if code := registers(t, p, ports.SIPUDP, mixed); code == 200 {
		t.Error("a phone registers in the other tenant")
	}

	if err := first.Do(ctx, "DELETE", "/tenants/2", nil, nil); err != nil {
		t.Fatal(err)
	}
	if err := calls["neighbour"].Wait(ctx, siptest.Ended); err != nil {
		t.Errorf("the call of the removed tenant goes on: %v", err)
	}
	if calls["dev"].State() != siptest.Answered {
		t.Error("the other tenant's call ended too")
	}
	if err := two.Register(ctx); err == nil {
		t.Error("a phone of the removed tenant registers")
	}
}
