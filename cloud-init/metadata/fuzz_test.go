package metadata

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"testing"
)

// says answers every request alike.
type says struct{ body []byte }

func (s says) RoundTrip(r *http.Request) (*http.Response, error) {
	return &http.Response{
		StatusCode: http.StatusOK, Header: http.Header{googleFlavor: {"Google"}}, Request: r, Body: io.NopCloser(bytes.NewReader(s.body)),
	}, nil
}

// FuzzRead reads whatever a service says, as each cloud.
func FuzzRead(f *testing.F) {
	for _, text := range []string{
		"i-0123456789abcdef0", "0=one\n1=two", `{"id": 7, "hostname": "pbx", "attributes": {"user-data": "#cloud-config\n", "ssh-keys": "ada:` + key1 + `"}, "networkInterfaces": [{"ip": "10.0.0.5", "accessConfigs": [{"externalIp": "203.0.113.9"}]}]}`,
		`{"compute": {"vmId": "02aab8a4", "name": "pbx", "userData": "I2Nsb3VkLWNvbmZpZwo=", "publicKeys": [{"keyData": "k"}]}, "network": {"interface": [{"ipv4": {"ipAddress": [{"privateIpAddress": "10.1.0.4", "publicIpAddress": ""}]}}]}, "loadbalancer": {"publicIpAddresses": [{"frontendIpAddress": "203.0.113.8", "privateIpAddress": "[10.1.0.4]"}]}}`,
		`<GoalState><Incarnation>1</Incarnation><Container><ContainerId>c</ContainerId><RoleInstanceList><RoleInstance><InstanceId>r</InstanceId></RoleInstance></RoleInstanceList></Container></GoalState>`,
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		a := &asker{&http.Client{Transport: says{body}}}
		for name, read := range map[Cloud]func(context.Context, *asker, string) (Facts, error){AWS: readAWS, Azure: readAzure, Google: readGoogle} {
			facts, err := read(t.Context(), a, "http://x")
			if err != nil {
				continue
			}
			facts.bound()
			if len(facts.InstanceID) > maxText || len(facts.Hostname) > maxText || len(facts.SSHKeys) > maxKeys || len(facts.Public) > maxAddresses || len(facts.UserData) > maxBody {
				t.Errorf("%s: %+v", name, facts)
			}
			for _, p := range facts.Public {
				if !p.Public.IsGlobalUnicast() || p.Public.Zone() != "" {
					t.Errorf("%s: %v", name, p)
				}
			}
		}
		_ = reportReady(t.Context(), a, "http://x")
	})
}
