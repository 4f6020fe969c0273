package metadata

import (
	"context"
	"encoding/base64"
	"encoding/xml"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func TestDetect(t *testing.T) {
	t.Parallel()
	for want, firmware := range map[Cloud][]map[string]string{
		AWS:    {{"sys_vendor": "Amazon EC2"}, {"sys_vendor": "Xen", "product_uuid": "EC2A1B2C-0000", "bios_version": "4.11.amazon"}},
		Azure:  {{"sys_vendor": "Microsoft Corporation", "chassis_asset_tag": azureAssetTag}},
		Google: {{"sys_vendor": "Google", "product_name": "Google Compute Engine"}},
		"": {
			{}, {"sys_vendor": "QEMU", "product_name": "Standard PC"},
			{"sys_vendor": "Microsoft Corporation", "product_name": "Virtual Machine"}, // Hyper-V in a cellar
			{"product_uuid": "EC2A1B2C-0000", "bios_version": "1.0"},
		},
	} {
		for _, f := range firmware {
			root := t.TempDir()
			dir := filepath.Join(root, "sys/class/dmi/id")
			if err := os.MkdirAll(dir, 0o755); err != nil {
				t.Fatal(err)
			}
			for name, text := range f {
				if err := os.WriteFile(filepath.Join(dir, name), []byte(text+"\n"), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			if got := Detect(root); got != want {
				t.Errorf("%v: %q, want %q", f, got, want)
			}
		}
	}
}

// serve is a metadata service; its address is what Service takes.
func serve(t *testing.T, h http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return strings.TrimPrefix(s.URL, "http://")
}

// aws is IMDSv2: nothing without the token, which only a PUT gives.
func aws(t *testing.T, paths map[string]string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/latest/api/token" {
			if r.Method != http.MethodPut || r.Header.Get("X-aws-ec2-metadata-token-ttl-seconds") == "" {
				t.Errorf("token: %s %v", r.Method, r.Header)
			}
			if r.Header.Get("X-Forwarded-For") != "" {
				w.WriteHeader(http.StatusForbidden)
			}
			fmt.Fprint(w, "AQAEAtoken==")
			return
		}
		if r.Header.Get("X-aws-ec2-metadata-token") != "AQAEAtoken==" {
			t.Errorf("%s without the token", r.URL.Path)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		text, ok := paths[strings.TrimPrefix(r.URL.Path, "/latest/")]
		if !ok {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		fmt.Fprint(w, text)
	}
}

const (
	key1 = "ssh-ed25519 AAAAC3Nza one"
	key2 = "ssh-ed25519 AAAAC3Nzb two"
)

func TestAWS(t *testing.T) {
	t.Parallel()
	at := serve(t, aws(t, map[string]string{
		"meta-data/instance-id": "i-0123456789abcdef0", "meta-data/local-hostname": "ip-10-0-0-5.eu-central-1.compute.internal",
		"meta-data/local-ipv4": "10.0.0.5", "meta-data/public-ipv4": "203.0.113.7", "user-data": "#cloud-config\n",
		"meta-data/public-keys/": "0=one\n1=two\n../../x=three", "meta-data/public-keys/0/openssh-key": key1 + "\n", "meta-data/public-keys/1/openssh-key": key2,
	}))
	want := Facts{
		Cloud: AWS, InstanceID: "i-0123456789abcdef0", Hostname: "ip-10-0-0-5.eu-central-1.compute.internal",
		Public:  []Address{{netip.MustParseAddr("10.0.0.5"), netip.MustParseAddr("203.0.113.7")}},
		SSHKeys: []string{key1, key2}, UserData: []byte("#cloud-config\n"),
	}
	if got, err := (Service{Link: at}).Read(t.Context(), AWS); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%v\n%+v\n%+v", err, got, want)
	}
	bare := serve(t, aws(t, map[string]string{"meta-data/instance-id": "i-1"}))
	if got, err := (Service{Link: bare}).Read(t.Context(), AWS); err != nil || got.InstanceID != "i-1" || got.UserData != nil || len(got.Public)+len(got.SSHKeys) != 0 {
		t.Errorf("a machine without anything: %v %+v", err, got)
	}
}

func google(t *testing.T, text string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Metadata-Flavor") != "Google" || r.Host != "metadata.google.internal" {
			t.Errorf("asked as %s with %v", r.Host, r.Header)
		}
		w.Header().Set("Metadata-Flavor", "Google")
		fmt.Fprint(w, text)
	}
}

func TestGoogle(t *testing.T) {
	t.Parallel()
	at := serve(t, google(t, `{"id": 7520871235012936482, "hostname": "pbx.c.project.internal", "attributes": {"user-data": "#cloud-config\n", "ssh-keys": "ada:`+key1+`\nbob:`+key2+`\nnonsense"},
		"networkInterfaces": [{"ip": "10.10.1.2", "accessConfigs": [{"externalIp": "203.0.113.9"}]}, {"ip": "10.20.0.2", "accessConfigs": [{"externalIp": ""}]}]}`))
	want := Facts{
		Cloud: Google, InstanceID: "7520871235012936482", Hostname: "pbx.c.project.internal",
		Public:  []Address{{netip.MustParseAddr("10.10.1.2"), netip.MustParseAddr("203.0.113.9")}},
		SSHKeys: []string{key1, key2}, UserData: []byte("#cloud-config\n"),
	}
	if got, err := (Service{Link: at}).Read(t.Context(), Google); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%v\n%+v\n%+v", err, got, want)
	}
}

func TestAzure(t *testing.T) {
	t.Parallel()
	var standard atomic.Bool
	at := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Metadata") != "true" || r.URL.Query().Get("api-version") == "" {
			t.Errorf("asked %s with %v", r.URL, r.Header)
		}
		public := "203.0.113.8"
		if standard.Load() {
			public = ""
		}
		switch r.URL.Path {
		case "/metadata/instance":
			fmt.Fprintf(w, `{"compute": {"vmId": "02aab8a4", "name": "pbx", "userData": %q, "publicKeys": [{"keyData": %q}]},
				"network": {"interface": [{"ipv4": {"ipAddress": [{"privateIpAddress": "10.1.0.4", "publicIpAddress": %q}]}, "ipv6": {"ipAddress": []}}]}}`,
				base64.StdEncoding.EncodeToString([]byte("#cloud-config\n")), key1+"\r\n", public)
		case "/metadata/loadbalancer":
			fmt.Fprint(w, `{"loadbalancer": {"publicIpAddresses": [{"frontendIpAddress": "203.0.113.8", "privateIpAddress": "10.1.0.4"}]}}`)
		default:
			t.Errorf("asked %s", r.URL)
		}
	})
	want := Facts{
		Cloud: Azure, InstanceID: "02aab8a4", Hostname: "pbx",
		Public:  []Address{{netip.MustParseAddr("10.1.0.4"), netip.MustParseAddr("203.0.113.8")}},
		SSHKeys: []string{key1}, UserData: []byte("#cloud-config\n"),
	}
	for _, kind := range []bool{false, true} {
		standard.Store(kind)
		if got, err := (Service{Link: at}).Read(t.Context(), Azure); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("standard address %v: %v\n%+v\n%+v", kind, err, got, want)
		}
	}
}

func TestReportReady(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var reports []string
	down := 2
	at := serve(t, func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		if r.Header.Get("x-ms-version") != "2012-11-30" || r.URL.Path != "/machine" {
			t.Errorf("asked %s with %v", r.URL, r.Header)
		}
		if down--; down >= 0 {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		switch r.Method + " " + r.URL.Query().Get("comp") {
		case "GET goalstate":
			fmt.Fprint(w, `<?xml version="1.0" encoding="utf-8"?><GoalState xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"><Version>2012-11-30</Version><Incarnation>1</Incarnation>
				<Container><ContainerId>c-1</ContainerId><RoleInstanceList><RoleInstance><InstanceId>r-1</InstanceId></RoleInstance></RoleInstanceList></Container></GoalState>`)
		case "POST health":
			body, _ := io.ReadAll(r.Body)
			reports = append(reports, string(body))
		default:
			t.Errorf("asked %s %s", r.Method, r.URL)
		}
	})
	if err := (Service{Wire: at}).ReportReady(t.Context()); err != nil {
		t.Fatal(err)
	}
	if len(reports) != 1 {
		t.Fatalf("%d reports", len(reports))
	}
	var h struct {
		Incarnation string `xml:"GoalStateIncarnation"`
		Container   struct {
			ID    string `xml:"ContainerId"`
			Roles []struct {
				ID    string `xml:"InstanceId"`
				State string `xml:"Health>State"`
			} `xml:"RoleInstanceList>Role"`
		} `xml:"Container"`
	}
	if err := xml.Unmarshal([]byte(reports[0]), &h); err != nil || h.Incarnation != "1" || h.Container.ID != "c-1" || len(h.Container.Roles) != 1 || h.Container.Roles[0].ID != "r-1" || h.Container.Roles[0].State != "Ready" {
		t.Errorf("%v %s", err, reports[0])
	}
}

// A service that comes up after the machine is waited for.
func TestLateService(t *testing.T) {
	t.Parallel()
	var asked atomic.Int32
	whole := aws(t, map[string]string{"meta-data/instance-id": "i-1"})
	at := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if asked.Add(1) < 4 {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		whole(w, r)
	})
	if f, err := (Service{Link: at}).Read(t.Context(), AWS); err != nil || f.InstanceID != "i-1" {
		t.Errorf("%v %+v", err, f)
	}
}

// Whatever a service does, the machine is told an error in time.
func TestHostileService(t *testing.T) {
	t.Parallel()
	elsewhere := serve(t, func(http.ResponseWriter, *http.Request) { t.Error("a redirect was followed") })
	for name, h := range map[string]http.HandlerFunc{
		"huge": func(w http.ResponseWriter, _ *http.Request) { _, _ = io.Copy(w, io.LimitReader(zeros{}, 64<<20)) },
		"slow": func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
		"redirects": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://"+elsewhere, http.StatusFound)
		},
		"malformed": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Metadata-Flavor", "Google")
			fmt.Fprint(w, `{"id": [`)
		},
		"refuses":       func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusForbidden) },
		"somebody else": func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{"id": 1}`) },
		"cuts off":      func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
	} {
		at := serve(t, h)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		start := time.Now()
		for _, c := range []Cloud{AWS, Azure, Google} {
			if name == "somebody else" && c != Google {
				continue // nothing tells such an answer from theirs
			}
			if f, err := (Service{Link: at}).Read(ctx, c); err == nil {
				t.Errorf("%s, %s: %+v", name, c, f)
			}
		}
		cancel()
		if took := time.Since(start); took > 5*time.Second {
			t.Errorf("%s: took %s", name, took)
		}
	}
	if _, err := (Service{}).Read(t.Context(), "cellar"); err == nil {
		t.Error("a cloud that nobody knows was asked")
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil }

// What a service says does not reach a log or a file as it is.
func TestFactsAreBounded(t *testing.T) {
	t.Parallel()
	f := Facts{
		InstanceID: "i-1\nforged=line", Hostname: strings.Repeat("x", 300),
		SSHKeys: append([]string{"a\nb", "", strings.Repeat("k", 9<<10)}, strings.Split(strings.Repeat("key ", 40), " ")...),
		Public:  []Address{{Public: netip.MustParseAddr("127.0.0.1")}, {Public: netip.MustParseAddr("169.254.1.1")}, {}, {Public: netip.MustParseAddr("203.0.113.7")}},
	}
	if f.bound(); f.InstanceID != "" || f.Hostname != "" || len(f.SSHKeys) != maxKeys || f.SSHKeys[0] != "key" || len(f.Public) != 1 || f.UserData != nil {
		t.Errorf("%+v", f)
	}
}
