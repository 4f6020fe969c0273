package api

import (
	"context"
	"net/http"
	"net/url"
	"strings"

	"ringfence/firewall/cloudrules"
	"ringfence/internal/opsock"
	"ringfence/internal/ports"
	"ringfence/internal/telephony"
)

// PortRules are the rules of a cloud's own packet filter for the ports that
// are open.
type PortRules struct {
	Format string `json:"format"`
	Text   string `json:"text" doc:"A file for Terraform, or a script for a shell."`
}

type portRulesInput struct {
	Format     string `query:"format" default:"aws-terraform" enum:"aws-terraform,aws-cli,azure-terraform,azure-cli,google-terraform,google-cli"`
	Inside     string `query:"inside" maxLength:"2048" doc:"Networks of phones, separated by commas, for what is not for the world; empty is the inside networks of the settings."`
	Management string `query:"management" maxLength:"2048" doc:"Networks of administrators, separated by commas, for what is for them only; empty lets nobody in."`
}

func (s *Server) registerPortRules() {
	handle(s, operation{id: "get-port-rules", method: http.MethodGet, path: "/ports/rules", tag: "box", summary: "The open ports as inbound rules of AWS, Azure or Google Cloud", access: admin}, s.getPortRules)
}

func (s *Server) getPortRules(_ context.Context, in *portRulesInput) (*body[PortRules], error) {
	text, err := s.portRules(in.Format, in.Inside, in.Management)
	if err != nil {
		return nil, err
	}
	return &body[PortRules]{PortRules{in.Format, text}}, nil
}

// portRules tells the table as it is once set-up is done: a cloud's filter is
// not changed when the wizard ends.
func (s *Server) portRules(format, inside, management string) (string, error) {
	from, err := cloudrules.ParseSources(inside, management)
	if err != nil {
		field, reason, _ := strings.Cut(err.Error(), ": ")
		return "", &telephony.FieldError{Field: field, Reason: reason}
	}
	settings := s.cfg.Store.Snapshot().Settings
	if inside == "" {
		from.Inside = settings.InsideNetworks
	}
	rows, err := ports.Effective(settings.Ports, ports.InService)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	err = cloudrules.Write(&b, cloudrules.Format(format), cloudrules.Rules(rows, from))
	return b.String(), err
}

func (s *Server) operatorPortRules(r *http.Request) (any, error) {
	q, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, err
	}
	text, err := s.portRules(q.Get("format"), q.Get("inside"), q.Get("management"))
	return opsock.PortRules{Text: text}, err
}
