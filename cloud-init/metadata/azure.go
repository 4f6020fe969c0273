package metadata

import (
	"bytes"
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"
)

const azureVersion = "2021-12-13"

func readAzure(ctx context.Context, a *asker, base string) (f Facts, err error) {
	data, _, err := a.ask(ctx, http.MethodGet, base+"/metadata/instance?api-version="+azureVersion, nil, "Metadata", "true")
	if err != nil {
		return f, err
	}
	type addresses struct {
		Addresses []struct {
			Private string `json:"privateIpAddress"`
			Public  string `json:"publicIpAddress"`
		} `json:"ipAddress"`
	}
	var in struct {
		Compute struct {
			VMID       string `json:"vmId"`
			Name       string `json:"name"`
			UserData   string `json:"userData"`
			PublicKeys []struct {
				KeyData string `json:"keyData"`
			} `json:"publicKeys"`
		} `json:"compute"`
		Network struct {
			Interface []struct {
				IPv4 addresses `json:"ipv4"`
				IPv6 addresses `json:"ipv6"`
			} `json:"interface"`
		} `json:"network"`
	}
	if err := json.Unmarshal(data, &in); err != nil {
		return f, fmt.Errorf("reading the answer: %w", err)
	}
	f.InstanceID, f.Hostname = in.Compute.VMID, in.Compute.Name
	if f.UserData, err = base64.StdEncoding.DecodeString(in.Compute.UserData); err != nil {
		return f, fmt.Errorf("reading userData: %w", err)
	}
	for _, k := range in.Compute.PublicKeys {
		f.SSHKeys = append(f.SSHKeys, strings.TrimSpace(k.KeyData))
	}
	for _, i := range in.Network.Interface {
		for _, x := range append(i.IPv4.Addresses, i.IPv6.Addresses...) {
			f.Public = append(f.Public, Address{address(x.Private), address(x.Public)})
		}
	}
	if f.bound(); len(f.Public) > 0 {
		return f, nil
	}
	f.Public, err = azureStandard(ctx, a, base)
	return f, err
}

// azureStandard reads public addresses of the Standard kind, which the
// instance's own document leaves out.
func azureStandard(ctx context.Context, a *asker, base string) ([]Address, error) {
	data, _, err := a.ask(ctx, http.MethodGet, base+"/metadata/loadbalancer?api-version=2020-10-01", nil, "Metadata", "true")
	if missing(err) {
		return nil, nil // none
	}
	if err != nil {
		return nil, err
	}
	var in struct {
		LoadBalancer struct {
			Public []struct {
				Frontend string `json:"frontendIpAddress"`
				Private  string `json:"privateIpAddress"`
			} `json:"publicIpAddresses"`
		} `json:"loadbalancer"`
	}
	if err := json.Unmarshal(data, &in); err != nil {
		return nil, fmt.Errorf("reading the load balancer: %w", err)
	}
	var all []Address
	for _, p := range in.LoadBalancer.Public {
		all = append(all, Address{address(strings.Trim(p.Private, "[]")), address(strings.Trim(p.Frontend, "[]"))})
	}
	return all, nil
}

// longestPause is the longest time between two reports that fail.
const longestPause = 10 * time.Second

// wireVersion is that of the protocol between machine and wire server.
const wireVersion = "2012-11-30"

// goalState is what the wire server wants of a machine.
type goalState struct {
	Incarnation string `xml:"Incarnation"`
	Container   string `xml:"Container>ContainerId"`
	Instance    string `xml:"Container>RoleInstanceList>RoleInstance>InstanceId"`
}

// health is the report of a machine.
type health struct {
	XMLName     xml.Name `xml:"Health"`
	Incarnation string   `xml:"GoalStateIncarnation"`
	Container   string   `xml:"Container>ContainerId"`
	Instance    string   `xml:"Container>RoleInstanceList>Role>InstanceId"`
	State       string   `xml:"Container>RoleInstanceList>Role>Health>State"`
}

// ReportReady tells Azure that the machine is up, until ctx ends. Without it a
// machine made from a generalized image counts as failed.
func (s Service) ReportReady(ctx context.Context) error {
	a := newAsker()
	defer a.close()
	base := "http://" + cmp.Or(s.Wire, wireAddress) + "/machine"
	for next := pause; ; next = min(2*next, longestPause) {
		err := reportReady(ctx, a, base)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("reporting to Azure that the machine is up: %w", err)
		case <-time.After(next):
		}
	}
}

func reportReady(ctx context.Context, a *asker, base string) error {
	data, _, err := a.ask(ctx, http.MethodGet, base+"?comp=goalstate", nil, "x-ms-version", wireVersion, "x-ms-agent-name", "ringfence")
	if err != nil {
		return err
	}
	var goal goalState
	if err := xml.Unmarshal(data, &goal); err != nil {
		return fmt.Errorf("reading the goal state: %w", err)
	}
	if goal.Container == "" || goal.Instance == "" {
		return errors.New("the goal state names no container or no instance")
	}
	report, err := xml.Marshal(health{Incarnation: goal.Incarnation, Container: goal.Container, Instance: goal.Instance, State: "Ready"})
	if err != nil {
		return fmt.Errorf("writing the report: %w", err)
	}
	_, _, err = a.ask(ctx, http.MethodPost, base+"?comp=health", bytes.NewReader(append([]byte(xml.Header), report...)),
		"x-ms-version", wireVersion, "x-ms-agent-name", "ringfence", "Content-Type", "text/xml;charset=utf-8")
	return err
}
