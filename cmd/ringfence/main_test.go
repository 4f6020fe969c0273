package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"ringfence/internal/opsock"
	"ringfence/internal/ports"
)

// fakePBX serves canned answers on a socket.
func fakePBX(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "s")
	ln, err := opsock.Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	srv := opsock.Server(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var out any
		switch r.Method + " " + r.URL.Path {
		case "GET " + opsock.PathStatus:
			out = opsock.Status{Version: "1.2.3", Calls: 7, UptimeSeconds: 61, Applied: []opsock.Applied{{Subsystem: "sip", Rev: 4, Error: "port in use"}}}
		case "GET " + opsock.PathPorts:
			out = []opsock.Port{{ID: "sip-udp", Proto: "udp", Ports: "5060", State: "open", Packets: 9}}
		case "GET " + opsock.PathPortRules:
			out = opsock.PortRules{Text: r.URL.RawQuery + "\n"}
		case "GET " + opsock.PathSetupToken:
			out = opsock.Token{Token: "old"}
		case "POST " + opsock.PathSetupToken:
			out = opsock.Token{Token: "new"}
		case "GET " + opsock.PathNetwork:
			out = opsock.Network{Managed: true, SecondsLeft: 42, Interfaces: []opsock.Interface{{Name: "eth0.20", State: "no cable", MTU: 1400, Addresses: []string{"10.88.0.1/24"}, Error: "no lease"}}}
		case "POST " + opsock.PathNetworkConfirm, "POST " + opsock.PathNetworkRevert:
			out = struct{}{}
		case "POST " + opsock.PathDialplanTry:
			var in opsock.DialTry
			_ = json.NewDecoder(r.Body).Decode(&in)
			out = opsock.DialPlan{Text: fmt.Sprintf("%s|%s|%s|%s|%s\n", in.Tenant, in.Trunk, in.At, in.From, in.Number)}
		case "GET " + opsock.PathConfiguration:
			out = opsock.Configuration{YAML: "secrets: " + r.URL.Query().Get("secrets") + "\n"}
		case "POST " + opsock.PathPlan, "POST " + opsock.PathApply:
			var in opsock.Configuration
			_ = json.NewDecoder(r.Body).Decode(&in)
			out = opsock.ConfigurationPlan{Text: fmt.Sprintf("~ %s %v\n", in.YAML, in.RemoveTenants), Changes: len(in.YAML), Rev: 9}
		case "POST " + opsock.PathResetAdmin:
			var in opsock.ResetAdmin
			_ = json.NewDecoder(r.Body).Decode(&in)
			if in.Name == "nobody" {
				w.WriteHeader(http.StatusConflict)
				out = opsock.Error{Message: "no such administrator"}
				break
			}
			out = opsock.NewPassword{Name: in.Name, Password: "pw"}
		}
		_ = json.NewEncoder(w).Encode(out)
	}))
	done := make(chan struct{})
	go func() { defer close(done); _ = srv.Serve(ln) }()
	t.Cleanup(func() { _ = srv.Close(); <-done })
	return path
}

func TestCommands(t *testing.T) {
	t.Parallel()
	socket := fakePBX(t)
	file, empty := filepath.Join(t.TempDir(), "f"), filepath.Join(t.TempDir(), "e")
	for name, text := range map[string]string{file: "version: 1", empty: ""} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		args  string
		wants []string
		fails string
	}{
		{"", []string{"Usage"}, ""},
		{"help", []string{"reset-admin"}, ""},
		{"status", []string{"1.2.3", "NOT ACTIVE", "setup-token", "1m1s", "port in use"}, ""},
		{"ports", []string{"sip-udp", "5060/udp", "open", "9"}, ""},
		{"ports -format json", []string{`"ports": "5060"`}, ""},
		{"ports --format md", []string{ports.Markdown()}, ""},
		{"ports -format xml", nil, "unknown format"},
		{"ports -format aws-cli -inside 10.0.0.0/8", []string{"format=aws-cli&inside=10.0.0.0%2F8&management=\n"}, ""},
		{"ports -format google-terraform -documented", []string{"google_compute_firewall", `"5060"`}, ""},
		{"ports -format aws-cli -documented -management office", nil, `management: "office"`},
		{"ports -documented", nil, "-documented go with rules of a cloud"},
		{"setup-token", []string{"old\n"}, ""},
		{"setup-token -new", []string{"new\n"}, ""},
		{"reset-admin Boss", []string{"boss", "pw"}, ""},
		{"reset-admin nobody", nil, "no such administrator"},
		{"reset-admin a b", nil, "unexpected argument"},
		{"version x", nil, "unexpected argument"},
		{"version", []string{"dev"}, ""},
		{"dialplan try -tenant a.example -trunk main -at noon 101 +4930", []string{"a.example|main|noon|101|+4930\n"}, ""},
		{"dialplan try 101", nil, "takes who calls"},
		{"dialplan dial 101 102", nil, "try FROM NUMBER"},
		{"export", []string{"secrets: none\n"}, ""},
		{"export -secrets sealed", []string{"secrets: sealed\n"}, ""},
		{"export -secrets plain", nil, "-secrets none"},
		{"plan -f " + file, []string{"~ version: 1 false\n"}, ""},
		{"plan -f " + empty, []string{"nothing would change"}, ""},
		{"plan", nil, "plan takes -f FILE"},
		{"apply -f " + file + " -remove-tenants", []string{"~ version: 1 true\n", "applied, revision 9"}, ""},
		{"apply -f " + file + "x", nil, "reading the document"},
		{"frobnicate", nil, "unknown command"},
		{args: "network", wants: []string{"eth0.20", "no cable", "10.88.0.1/24", "eth0.20: no lease", "taken back in 42 s"}},
		{args: "network confirm", wants: []string{"is kept"}},
		{args: "network revert", wants: []string{"was taken back"}},
		{args: "network forget", fails: "unexpected argument"},
		{args: "network confirm now", fails: "unexpected argument"},
	} {
		var out strings.Builder
		err := run(t.Context(), append([]string{"-socket", socket}, strings.Fields(c.args)...), &out)
		if (err != nil) != (c.fails != "") || err != nil && !strings.Contains(err.Error(), c.fails) {
			t.Errorf("%s: %v", c.args, err)
		}
		for _, want := range c.wants {
			if !strings.Contains(out.String(), want) {
				t.Errorf("%s: %q is not in\n%s", c.args, want, out.String())
			}
		}
	}
	if err := run(t.Context(), []string{"-socket", socket + "x", "status"}, &strings.Builder{}); err == nil || !strings.Contains(err.Error(), "talking to pbxd") {
		t.Errorf("%v", err)
	}
}
