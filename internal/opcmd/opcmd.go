// Package opcmd is the table of the operator's commands, for the local command
// line and for the operator shell alike.
package opcmd

import (
	"context"
	"flag"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
)

// Env is what a command runs with.
type Env struct {
	Context context.Context
	// Call asks pbxd: in is sent unless nil, the answer decoded into out.
	Call func(ctx context.Context, method, path string, in, out any) error
	Out  io.Writer
}

func (e Env) call(method, path string, in, out any) error {
	return e.Call(e.Context, method, path, in, out)
}

// Command is one of the table.
type Command struct {
	Name string
	Help []Usage
	Run  func(e Env, args []string) error
	// Words complete its arguments.
	Words []string
}

// Usage is a line or two of the help: how it is called, and what that does.
type Usage struct{ Args, Text string }

// Table returns the commands that work wherever the operator is, in the order
// of the help.
func Table() []Command {
	return []Command{
		{Name: "status", Help: []Usage{{"", "how the PBX is doing"}}, Run: status},
		{Name: "ports", Run: portsCommand, Words: portWords(), Help: []Usage{
			{"[-format table|md|json]", "the ports: as they stand now, or (md) as documented"},
			{"-format CLOUD-HOW", "as inbound rules: aws, azure or google, -terraform or -cli;"},
			{"  [-inside NETWORKS]", "who may reach what is not for the world (inside networks)"},
			{"  [-management NETWORKS]", "who may reach what is for administrators only (nobody)"},
			{"  [-documented]", "of a fresh system, without asking a running one"},
		}},
		{Name: "ssh", Run: sshCommand, Words: []string{"enable", "disable", "add-key", "remove-key"}, Help: []Usage{
			{"", "the operator shell over SSH: whether it is on, its host key, who may log in"},
			{"enable | disable", "open or close its port"},
			{"add-key LABEL KEY", "let the owner of a public key log in"},
			{"remove-key ID", "and no longer"},
		}},
		{Name: "dialplan", Run: dialplanCommand, Words: []string{"try"}, Help: []Usage{
			{"try EXTENSION NUMBER", "what would become of a call, and why; nothing is dialled"},
			{"  [-tenant DOMAIN]", "whose extension it is"},
			{"  [-at \"2026-12-24 18:00\"]", "at another time than now"},
			{"  [-trunk NAME]", "of a call from outside, of the number in the place of EXTENSION"},
		}},
		{Name: "setup-token", Run: setupToken, Words: []string{"-new"}, Help: []Usage{{"[-new]", "the one-time token of the set-up wizard"}}},
		{Name: "reset-admin", Run: resetAdmin, Help: []Usage{{"[NAME]", "a new password for an administrator, to be changed at log-in"}}},
		{Name: "network", Run: network, Words: []string{"confirm", "revert"}, Help: []Usage{
			{"", "the interfaces, and whether a change waits"},
			{"confirm|revert", "keep the change that waits, or take it back now"},
		}},
		{Name: "trial", Run: trial, Words: []string{"confirm", "revert"}, Help: []Usage{
			{"", "whether a change of settings waits to be confirmed"},
			{"confirm|revert", "keep it, or take it back now"},
		}},
		{Name: "version", Run: showVersion, Help: []Usage{{"", "which build this is"}}},
	}
}

// Run finds the command that args name and runs it.
func Run(e Env, commands []Command, args []string) error {
	if args[0] == "help" {
		return cmpOr(none(args[1:]), Help(e.Out, commands))
	}
	i := slices.IndexFunc(commands, func(c Command) bool { return c.Name == args[0] })
	if i < 0 {
		return fmt.Errorf("unknown command %q; try: help", args[0])
	}
	return commands[i].Run(e, args[1:])
}

// cmpOr is the first error, a nil one left out.
func cmpOr(a, b error) error {
	if a != nil {
		return a
	}
	return b
}

// Help lists the commands.
func Help(out io.Writer, commands []Command) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, c := range commands {
		for _, u := range c.Help {
			name := c.Name
			if strings.HasPrefix(u.Args, " ") { // goes on with the line before
				name = ""
			}
			fmt.Fprintf(w, "  %s\t%s\n", strings.TrimRight(name+" "+u.Args, " "), u.Text)
		}
	}
	return w.Flush()
}

// Complete returns the word that a line's last one is the beginning of, if
// there is one only, else the longest beginning that all have in common.
func Complete(commands []Command, line string) string {
	words := strings.Split(line, " ")
	last := words[len(words)-1]
	candidates := []string{"help", "exit"}
	for _, c := range commands {
		if len(words) == 1 {
			candidates = append(candidates, c.Name)
		} else if c.Name == words[0] {
			candidates = c.Words
			break
		}
	}
	if len(words) > 1 && !slices.ContainsFunc(commands, func(c Command) bool { return c.Name == words[0] }) {
		return line
	}
	common, n := "", 0
	for _, w := range candidates {
		if !strings.HasPrefix(w, last) {
			continue
		}
		if n++; n == 1 {
			common = w
		}
		for !strings.HasPrefix(w, common) {
			common = common[:len(common)-1]
		}
	}
	switch {
	case n == 0:
		return line
	case n == 1:
		common += " "
	}
	return strings.TrimSuffix(line, last) + common
}

func none(args []string) error {
	if len(args) > 0 {
		return fmt.Errorf("unexpected argument %q", args[0])
	}
	return nil
}

// newFlags are those of a command, whose mistakes are errors.
func newFlags(name string) *flag.FlagSet {
	f := flag.NewFlagSet(name, flag.ContinueOnError)
	f.SetOutput(io.Discard)
	return f
}
