package opcmd

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"ringfence/internal/opsock"
)

func TestComplete(t *testing.T) {
	t.Parallel()
	for line, want := range map[string]string{
		"st": "status ", "s": "s", "se": "setup-token ", "": "", "xyz": "xyz", "ssh e": "ssh enable ",
		"ports -format az": "ports -format azure-", "ports -d": "ports -documented ", "e": "exit ", "nonsense s": "nonsense s",
	} {
		if got := Complete(Table(), line); got != want {
			t.Errorf("%q became %q, want %q", line, got, want)
		}
	}
}

func TestSSHCommand(t *testing.T) {
	t.Parallel()
	for line, want := range map[string]struct {
		asks string
		fail string
	}{
		"ssh":                              {asks: "GET"},
		"ssh enable":                       {asks: "POST on"},
		"ssh disable":                      {asks: "POST off"},
		"ssh add-key boss ssh-ed25519 AAA": {asks: "POST boss=ssh-ed25519 AAA"},
		"ssh remove-key 0123":              {asks: "POST -0123"},
		"ssh add-key boss":                 {fail: "takes a label"},
		"ssh remove-key":                   {fail: "takes the id"},
		"ssh enable now":                   {fail: "unexpected argument"},
		"ssh root":                         {fail: "unknown argument"},
	} {
		asks := ""
		call := func(_ context.Context, method, path string, in, out any) error {
			if path != opsock.PathSSH {
				return errors.New("wrong path")
			}
			asks = method
			if c, ok := in.(opsock.SSHChange); ok {
				switch {
				case c.Enabled != nil && *c.Enabled:
					asks += " on"
				case c.Enabled != nil:
					asks += " off"
				case c.RemoveKey != "":
					asks += " -" + c.RemoveKey
				default:
					asks += " " + c.AddLabel + "=" + c.AddKey
				}
			}
			*out.(*opsock.SSH) = opsock.SSH{Enabled: true, State: "listening", Port: 10210, User: "operator", HostKey: "SHA256:host",
				Keys: []opsock.SSHKey{{ID: "0123", Label: "boss", Cloud: true, LastUsed: time.Unix(0, 0)}}}
			return nil
		}
		var out strings.Builder
		err := Run(Env{Context: t.Context(), Call: call, Out: &out}, Table(), strings.Fields(line))
		if want.fail != "" {
			if err == nil || !strings.Contains(err.Error(), want.fail) || asks != "" {
				t.Errorf("%s: %v, asked %q", line, err, asks)
			}
			continue
		}
		if err != nil || asks != want.asks || !strings.Contains(out.String(), "SHA256:host") || !strings.Contains(out.String(), "the cloud") {
			t.Errorf("%s: %v, asked %q\n%s", line, err, asks, out.String())
		}
	}
}
