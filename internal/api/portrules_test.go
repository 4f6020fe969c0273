package api

import (
	"net/http"
	"strings"
	"testing"
)

// The rules are those of the table as it is set, also before set-up is done.
func TestPortRules(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	boss := b.setUp()
	var rules PortRules
	boss.must(http.StatusOK, "GET", "/ports/rules?format=azure-terraform", nil, &rules)
	if rules.Format != "azure-terraform" || !strings.Contains(rules.Text, "ringfence_sip_udp_ipv4") || strings.Contains(rules.Text, "ringfence_sip_tls_ipv4") {
		t.Errorf("%+v", rules)
	}
	boss.must(http.StatusCreated, "POST", "/transports", map[string]any{"side": "core", "protocol": "tls", "port": 5161, "digest": "default"}, nil)
	boss.must(http.StatusOK, "GET", "/ports/rules?format=google-cli", nil, &rules)
	if !strings.Contains(rules.Text, "tcp:5161") || strings.Contains(rules.Text, "5061") {
		t.Errorf("a transport on another port: %s", rules.Text)
	}
	boss.must(http.StatusUnprocessableEntity, "GET", "/ports/rules?format=ibm-cli", nil, nil)
	for query, field := range map[string]string{"inside=10.0.0.1/8": "inside", "management=office": "management"} {
		res := boss.must(http.StatusUnprocessableEntity, "GET", "/ports/rules?format=aws-cli&"+query, nil, nil)
		if !strings.Contains(res.Body.String(), field) {
			t.Errorf("%s: %s", query, res.Body)
		}
	}
	b.client().must(http.StatusUnauthorized, "GET", "/ports/rules?format=aws-cli", nil, nil)
}
