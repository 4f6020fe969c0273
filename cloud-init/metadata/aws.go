package metadata

import (
	"context"
	"errors"
	"net/http"
	"strings"
)

// Headers of IMDSv2: each request carries a token, which a request that was
// smuggled through a proxy of the machine cannot get.
const (
	awsTTL   = "X-aws-ec2-metadata-token-ttl-seconds"
	awsToken = "X-aws-ec2-metadata-token"
)

func readAWS(ctx context.Context, a *asker, base string) (f Facts, err error) {
	token, _, err := a.ask(ctx, http.MethodPut, base+"/latest/api/token", nil, awsTTL, "60")
	if err != nil {
		return f, err
	}
	// get returns nothing for what the machine does not have.
	get := func(path string) ([]byte, error) {
		data, _, err := a.ask(ctx, http.MethodGet, base+"/latest/"+path, nil, awsToken, strings.TrimSpace(string(token)))
		if missing(err) {
			return nil, nil
		}
		return data, err
	}
	var text []byte
	for path, to := range map[string]*string{"meta-data/instance-id": &f.InstanceID, "meta-data/local-hostname": &f.Hostname} {
		if text, err = get(path); err != nil {
			return f, err
		}
		*to = string(text)
	}
	if f.InstanceID = strings.TrimSpace(f.InstanceID); !strings.HasPrefix(f.InstanceID, "i-") || strings.Trim(f.InstanceID[2:], "0123456789abcdef") != "" {
		return f, errors.New("the instance-id is none of AWS") // not up yet, or somebody else
	}
	own, err := get("meta-data/local-ipv4")
	if err != nil {
		return f, err
	}
	public, err := get("meta-data/public-ipv4")
	if err != nil {
		return f, err
	}
	f.Public = []Address{{address(string(own)), address(string(public))}}
	// The list is "0=name" a line.
	list, err := get("meta-data/public-keys/")
	if err != nil {
		return f, err
	}
	for n, line := range strings.Split(strings.TrimSpace(string(list)), "\n") {
		index, _, ok := strings.Cut(line, "=")
		if !ok || n >= maxKeys || strings.Trim(index, "0123456789") != "" {
			continue
		}
		key, err := get("meta-data/public-keys/" + index + "/openssh-key")
		if err != nil {
			return f, err
		}
		f.SSHKeys = append(f.SSHKeys, strings.TrimSpace(string(key)))
	}
	f.UserData, err = get("user-data")
	return f, err
}
