package metadata

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
)

const (
	googleHost   = "metadata.google.internal"
	googleFlavor = "Metadata-Flavor"
)

func readGoogle(ctx context.Context, a *asker, base string) (f Facts, err error) {
	data, header, err := a.ask(ctx, http.MethodGet, base+"/computeMetadata/v1/instance/?recursive=true&alt=json", nil, googleFlavor, "Google", "Host", googleHost)
	if err != nil {
		return f, err
	}
	if header.Get(googleFlavor) != "Google" {
		return f, errors.New("the answer does not say that it is Google's")
	}
	var in struct {
		ID         json.Number `json:"id"`
		Hostname   string      `json:"hostname"`
		Attributes struct {
			UserData string `json:"user-data"`
			SSHKeys  string `json:"ssh-keys"`
		} `json:"attributes"`
		Interfaces []struct {
			IP            string `json:"ip"`
			AccessConfigs []struct {
				ExternalIP string `json:"externalIp"`
			} `json:"accessConfigs"`
		} `json:"networkInterfaces"`
	}
	if err := json.Unmarshal(data, &in); err != nil {
		return f, fmt.Errorf("reading the answer: %w", err)
	}
	f.InstanceID, f.Hostname, f.UserData = in.ID.String(), in.Hostname, []byte(in.Attributes.UserData)
	for _, i := range in.Interfaces {
		for _, c := range i.AccessConfigs {
			f.Public = append(f.Public, Address{address(i.IP), address(c.ExternalIP)})
		}
	}
	// Each line is "user:key".
	for line := range strings.SplitSeq(in.Attributes.SSHKeys, "\n") {
		if _, key, ok := strings.Cut(line, ":"); ok {
			f.SSHKeys = append(f.SSHKeys, strings.TrimSpace(key))
		}
	}
	return f, nil
}
