// Command ringfence is the operator's command line: it asks pbxd over a local
// socket that root and pbxd's group may open.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"ringfence/firewall/cloudrules"
	"ringfence/internal/opsock"
	"ringfence/internal/ports"
	"ringfence/internal/version"
)

const usage = `Usage: ringfence [-socket FILE] COMMAND

  status                       how the PBX is doing
  ports [-format table|md|json] the ports: as they stand now, or (md) as documented
  ports -format CLOUD-HOW      as inbound rules: aws, azure or google, -terraform or -cli;
    [-inside NETWORKS]           who may reach what is not for the world (inside networks)
    [-management NETWORKS]       who may reach what is for administrators only (nobody)
    [-documented]                of a fresh system, without asking a running one
  setup-token [-new]           the one-time token of the set-up wizard
  reset-admin [NAME]           a new password for an administrator, to be changed at log-in
  network                      the interfaces, and whether a change waits
  network confirm|revert       keep the change that waits, or take it back now
  version                      which build this is
`

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := run(ctx, os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "ringfence:", err)
		os.Exit(1)
	}
}

// command is one invocation.
type command struct {
	ctx    context.Context
	socket string
	out    io.Writer
}

func run(ctx context.Context, args []string, out io.Writer) error {
	flags := flag.NewFlagSet("ringfence", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	socket := flags.String("socket", "/run/ringfence/"+opsock.FileName, "")
	err := flags.Parse(args)
	if errors.Is(err, flag.ErrHelp) || err == nil && flags.NArg() == 0 {
		fmt.Fprint(out, usage)
		return nil
	}
	if err != nil {
		return err
	}
	c := command{ctx, *socket, out}
	rest := flags.Args()[1:]
	switch name := flags.Arg(0); name {
	case "status":
		return c.status(rest)
	case "ports":
		return c.ports(rest)
	case "setup-token":
		return c.setupToken(rest)
	case "reset-admin":
		return c.resetAdmin(rest)
	case "network":
		return c.network(rest)
	case "version":
		fmt.Fprintln(out, version.String())
		return none(rest)
	case "help":
		fmt.Fprint(out, usage)
		return none(rest)
	default:
		return fmt.Errorf("unknown command %q; try: ringfence help", name)
	}
}

func none(args []string) error {
	if len(args) > 0 {
		return fmt.Errorf("unexpected argument %q", args[0])
	}
	return nil
}

func (c command) status(args []string) error {
	if err := none(args); err != nil {
		return err
	}
	var s opsock.Status
	if err := opsock.Call(c.ctx, c.socket, http.MethodGet, opsock.PathStatus, nil, &s); err != nil {
		return err
	}
	w := tabwriter.NewWriter(c.out, 0, 0, 2, ' ', 0)
	defer w.Flush()
	fence := "active"
	switch {
	case !s.FenceActive && s.FenceError == "":
		fence = "NOT ACTIVE"
	case !s.FenceActive:
		fence = "NOT ACTIVE: " + s.FenceError
	}
	setUp := "finished"
	if !s.SetupDone {
		setUp = "waiting: ringfence setup-token"
	}
	fmt.Fprintf(w, "version\t%s\n", s.Version)
	fmt.Fprintf(w, "host\t%s\n", s.Hostname)
	fmt.Fprintf(w, "up\t%s\n", time.Duration(s.UptimeSeconds)*time.Second)
	fmt.Fprintf(w, "set-up\t%s\n", setUp)
	fmt.Fprintf(w, "certificate\t%s\n", s.Fingerprint)
	fmt.Fprintf(w, "packet filter\t%s\n", fence)
	fmt.Fprintf(w, "extensions\t%d\n", s.Extensions)
	fmt.Fprintf(w, "registrations\t%d\n", s.Registrations)
	fmt.Fprintf(w, "calls\t%d\n", s.Calls)
	fmt.Fprintf(w, "settings\trevision %d\n", s.Rev)
	for _, a := range s.Applied {
		state := fmt.Sprintf("revision %d", a.Rev)
		if a.Error != "" {
			state += ", then: " + a.Error
		}
		fmt.Fprintf(w, "  %s\t%s\n", a.Subsystem, state)
	}
	return nil
}

func (c command) ports(args []string) error {
	flags := flag.NewFlagSet("ports", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
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
		return c.portRules(*format, *inside, *management, *documented)
	}
	if *inside != "" || *management != "" || *documented {
		return fmt.Errorf("-inside, -management and -documented go with rules of a cloud, not with -format %s", *format)
	}
	if *format == "md" {
		// The documented table needs no running PBX.
		_, err := io.WriteString(c.out, ports.Markdown())
		return err
	}
	var list []opsock.Port
	if err := opsock.Call(c.ctx, c.socket, http.MethodGet, opsock.PathPorts, nil, &list); err != nil {
		return err
	}
	switch *format {
	case "json":
		enc := json.NewEncoder(c.out)
		enc.SetIndent("", "  ")
		return enc.Encode(list)
	case "table":
		return portTable(c.out, list)
	}
	return fmt.Errorf("unknown format %q; try: ringfence help", *format)
}

// portRules writes the rules of a cloud's packet filter.
func (c command) portRules(format, inside, management string, documented bool) error {
	if documented {
		from, err := cloudrules.ParseSources(inside, management)
		if err != nil {
			return err
		}
		rows, err := ports.Effective(nil, ports.InService)
		if err != nil {
			return err
		}
		return cloudrules.Write(c.out, cloudrules.Format(format), cloudrules.Rules(rows, from))
	}
	q := url.Values{"format": {format}, "inside": {inside}, "management": {management}}
	var rules opsock.PortRules
	if err := opsock.Call(c.ctx, c.socket, http.MethodGet, opsock.PathPortRules+"?"+q.Encode(), nil, &rules); err != nil {
		return err
	}
	_, err := io.WriteString(c.out, rules.Text)
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

func (c command) setupToken(args []string) error {
	flags := flag.NewFlagSet("setup-token", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	renew := flags.Bool("new", false, "")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if err := none(flags.Args()); err != nil {
		return err
	}
	method := http.MethodGet
	if *renew {
		method = http.MethodPost
	}
	var t opsock.Token
	if err := opsock.Call(c.ctx, c.socket, method, opsock.PathSetupToken, nil, &t); err != nil {
		return err
	}
	if t.Token == "" {
		return errors.New("first-boot data brought the token as a hash; -new makes another one")
	}
	fmt.Fprintln(c.out, t.Token)
	return nil
}

func (c command) resetAdmin(args []string) error {
	if len(args) > 1 {
		return none(args[1:])
	}
	var in opsock.ResetAdmin
	if len(args) == 1 {
		in.Name = strings.ToLower(args[0])
	}
	var p opsock.NewPassword
	if err := opsock.Call(c.ctx, c.socket, http.MethodPost, opsock.PathResetAdmin, in, &p); err != nil {
		return err
	}
	fmt.Fprintf(c.out, "user      %s\npassword  %s\n", p.Name, p.Password)
	return nil
}
