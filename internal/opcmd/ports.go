package opcmd

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"text/tabwriter"

	"ringfence/firewall/cloudrules"
	"ringfence/internal/opsock"
	"ringfence/internal/ports"
)

func portWords() []string {
	words := []string{"-format", "-inside", "-management", "-documented", "table", "md", "json"}
	for _, f := range cloudrules.Formats() {
		words = append(words, string(f))
	}
	return words
}

func portsCommand(e Env, args []string) error {
	flags := newFlags("ports")
	format := flags.String("format", "table", "")
	inside := flags.String("inside", "", "")
	management := flags.String("management", "", "")
	documented := flags.Bool("documented", false, "")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if err := none(flags.Args()); err != nil {
		return err
	}
	if slices.Contains(cloudrules.Formats(), cloudrules.Format(*format)) {
		return portRules(e, *format, *inside, *management, *documented)
	}
	if *inside != "" || *management != "" || *documented {
		return fmt.Errorf("-inside, -management and -documented go with rules of a cloud, not with -format %s", *format)
	}
	if *format == "md" {
		// The documented table needs no running PBX.
		_, err := io.WriteString(e.Out, ports.Markdown())
		return err
	}
	var list []opsock.Port
	if err := e.call(http.MethodGet, opsock.PathPorts, nil, &list); err != nil {
		return err
	}
	switch *format {
	case "json":
		enc := json.NewEncoder(e.Out)
		enc.SetIndent("", "  ")
		return enc.Encode(list)
	case "table":
		return portTable(e.Out, list)
	}
	return fmt.Errorf("unknown format %q; try: help", *format)
}

// portRules writes the rules of a cloud's packet filter.
func portRules(e Env, format, inside, management string, documented bool) error {
	if documented {
		from, err := cloudrules.ParseSources(inside, management)
		if err != nil {
			return err
		}
		rows, err := ports.Effective(nil, ports.InService)
		if err != nil {
			return err
		}
		return cloudrules.Write(e.Out, cloudrules.Format(format), cloudrules.Rules(rows, from))
	}
	q := url.Values{"format": {format}, "inside": {inside}, "management": {management}}
	var rules opsock.PortRules
	if err := e.call(http.MethodGet, opsock.PathPortRules+"?"+q.Encode(), nil, &rules); err != nil {
		return err
	}
	_, err := io.WriteString(e.Out, rules.Text)
	return err
}

func portTable(out io.Writer, list []opsock.Port) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "SERVICE\tPORT\tSTATE\tPACKETS\tBYTES\t")
	for _, p := range list {
		state := p.State
		if p.Error != "" {
			state += ": " + p.Error
		}
		fmt.Fprintf(w, "%s\t%s/%s\t%s\t%d\t%d\t\n", p.ID, p.Ports, p.Proto, state, p.Packets, p.Bytes)
	}
	return w.Flush()
}
