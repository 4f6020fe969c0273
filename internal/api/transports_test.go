package api

import (
	"net/http"
	"strings"
	"testing"

	"ringfence/internal/store"
	"ringfence/internal/telephony"
)

func TestTransports(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	boss := b.setUp()
	ids := func() string {
		t.Helper()
		var list TransportList
		if a := boss.do(http.MethodGet, "/transports", nil, &list); a.Code != http.StatusOK {
			t.Fatalf("%d %s", a.Code, a.Body)
		}
		var out []string
		for _, x := range list.Items {
			out = append(out, x.ID)
			if x.State != "listening" || x.Port == 0 {
				t.Errorf("%+v", x)
			}
		}
		return strings.Join(out, " ")
	}
	if got := ids(); got != "sip-udp edge-wss" {
		t.Fatalf("out of the box: %s", got)
	}
	for _, c := range []struct {
		name   string
		in     TransportCreate
		status int
		where  string
	}{
		{"exists", TransportCreate{Side: "core", Protocol: "udp"}, 409, "body.protocol"},
		{"RTP range", TransportCreate{Side: "edge", Protocol: "udp", Port: 45010}, 409, "body.port"},
		{"another transport", TransportCreate{Side: "core", Protocol: "tls", Port: 5065}, 409, "body.port"},
		{"a row that is off", TransportCreate{Side: "core", Protocol: "tls", Port: 8888}, 409, "body.port"},
		{"reserved", TransportCreate{Side: "core", Protocol: "tls", Port: 443}, 409, "body.port"},
		{"another program", TransportCreate{Side: "core", Protocol: "tls", Port: busyPort}, 409, "body.port"},
		{"no such", TransportCreate{Side: "core", Protocol: "wss"}, 422, "body.protocol"},
		{"no port", TransportCreate{Side: "core", Protocol: "tls", Port: 70000}, 422, "body.port"},
		{"standard port", TransportCreate{Side: "core", Protocol: "tls"}, 201, ""},
	} {
		a := boss.do(http.MethodPost, "/transports", c.in, nil)
		if a.Code != c.status || !strings.Contains(a.Body.String(), c.where) {
			t.Errorf("%s: %d %s", c.name, a.Code, a.Body)
		}
	}
	if got := ids(); got != "sip-udp sip-tls edge-wss" {
		t.Errorf("with TLS: %s", got)
	}
	if a := boss.do(http.MethodDelete, "/transports/sip-udp", nil, nil); a.Code != http.StatusNoContent {
		t.Errorf("deleting UDP: %d %s", a.Code, a.Body)
	}
	var made Transport
	if a := boss.do(http.MethodPost, "/transports", TransportCreate{Side: "core", Protocol: "udp", Port: 5080}, &made); a.Code != http.StatusCreated || made.Port != 5080 || made.ID != "sip-udp" {
		t.Errorf("%d %s", a.Code, a.Body)
	}
	for _, id := range []string{"edge-wss", "sip-tls"} {
		if a := boss.do(http.MethodDelete, "/transports/"+id, nil, nil); a.Code != http.StatusNoContent {
			t.Errorf("deleting %s: %d %s", id, a.Code, a.Body)
		}
	}
	if a := boss.do(http.MethodDelete, "/transports/sip-udp", nil, nil); a.Code != http.StatusConflict || !strings.Contains(a.Body.String(), "last SIP listener") {
		t.Errorf("deleting the last: %d %s", a.Code, a.Body)
	}
	for _, id := range []string{"sip-tls", "portal", "nothing"} {
		if a := boss.do(http.MethodDelete, "/transports/"+id, nil, nil); a.Code != http.StatusNotFound {
			t.Errorf("deleting %s: %d %s", id, a.Code, a.Body)
		}
	}
	ann := b.user(1, "ann", telephony.RoleAdmin, "")
	if a := ann.do(http.MethodDelete, "/transports/sip-udp", nil, nil); a.Code != http.StatusForbidden {
		t.Errorf("an administrator of a tenant: %d %s", a.Code, a.Body)
	}
	history, err := b.store.System().Audit(t.Context(), store.AuditFilter{Limit: 100})
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, e := range history {
		if e.Actor.Name == "boss" && strings.Contains(string(e.Payload), `"ports"`) {
			n++
		}
	}
	if n != 5 {
		t.Errorf("%d entries in the history, want 5: %+v", n, history)
	}
}
