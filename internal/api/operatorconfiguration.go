package api

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"ringfence/internal/document"
	"ringfence/internal/opsock"
	"ringfence/internal/store"
)

// operatorExport is the configuration as a document.
func (s *Server) operatorExport(r *http.Request) (any, error) {
	c, err := document.Read(r.Context(), s.cfg.Store)
	if err != nil {
		return nil, err
	}
	var secrets document.Secrets
	sealed := "none"
	if r.URL.Query().Get("secrets") == "sealed" {
		sealed, secrets = "sealed", s.cfg.Store
	}
	text, err := document.Marshal(c, secrets)
	if err != nil {
		return nil, err
	}
	err = s.cfg.Store.System().Record(r.Context(), operatorActor(r), "configuration.export", "", map[string]string{"secrets": sealed})
	return opsock.Configuration{YAML: string(text)}, err
}

func readConfiguration(r *http.Request) (in opsock.Configuration, err error) {
	if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
		return in, errors.New("reading the request: not the expected JSON, or too long")
	}
	return in, nil
}

func (s *Server) operatorPlan(r *http.Request) (any, error) {
	in, err := readConfiguration(r)
	if err != nil {
		return nil, err
	}
	_, _, plan, err := s.compare(r.Context(), []byte(in.YAML))
	return planText(plan), err
}

// operatorApply needs no trial: who may open the socket is at the machine, and
// not cut off.
func (s *Server) operatorApply(r *http.Request) (any, error) {
	in, err := readConfiguration(r)
	if err != nil {
		return nil, err
	}
	who := operatorActor(r)
	plan, err := s.applyBy(r.Context(), who.Name, []byte(in.YAML), in.RemoveTenants, func(change func(*store.Tx) error) (*SettingsTrial, error) {
		_, err := s.cfg.Store.System().Update(r.Context(), who, change)
		return nil, err
	})
	return planText(plan), err
}

// planText is a plan for the eyes.
func planText(p ConfigurationPlan) opsock.ConfigurationPlan {
	var b strings.Builder
	signs := map[string]string{"add": "+", "change": "~", "remove": "-"}
	for _, c := range p.Changes {
		fmt.Fprintf(&b, "%s %s", signs[c.Verb], c.Object)
		if c.Line > 0 {
			fmt.Fprintf(&b, "  (line %d)", c.Line)
		}
		b.WriteString("\n")
		for _, f := range c.Fields {
			if c.Verb == "add" {
				fmt.Fprintf(&b, "    %s: %s\n", f.Field, f.Is)
			} else {
				fmt.Fprintf(&b, "    %s: %s -> %s\n", f.Field, f.Was, f.Is)
			}
		}
	}
	if p.More {
		b.WriteString("... and more\n")
	}
	return opsock.ConfigurationPlan{Text: b.String(), Changes: len(p.Changes), Rev: p.Rev}
}
