package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"

	"ringfence/internal/document"
	"ringfence/internal/opcmd"
	"ringfence/internal/opsock"
)

// configurationCommands are those that read and write files of this machine.
func configurationCommands() []opcmd.Command {
	return []opcmd.Command{
		{Name: "export", Run: exportCommand, Help: []opcmd.Usage{
			{Args: "[-secrets none|sealed]", Text: "all settings as one YAML document; sealed: with passwords, for this box only"},
		}},
		{Name: "plan", Run: planCommand, Help: []opcmd.Usage{{Args: "-f FILE", Text: "what a document would change; - is the standard input"}}},
		{Name: "apply", Run: applyCommand, Help: []opcmd.Usage{
			{Args: "-f FILE", Text: "make everything as a document says, or nothing"},
			{Args: "  [-remove-tenants]", Text: "also remove organisations that it does not name"},
		}},
	}
}

func quietFlags(name string) *flag.FlagSet {
	flags := flag.NewFlagSet(name, flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	return flags
}

func exportCommand(e opcmd.Env, args []string) error {
	flags := quietFlags("export")
	secrets := flags.String("secrets", "none", "")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() > 0 || *secrets != "none" && *secrets != "sealed" {
		return errors.New("export takes -secrets none or -secrets sealed, and nothing else")
	}
	var c opsock.Configuration
	if err := e.Call(e.Context, http.MethodGet, opsock.PathConfiguration+"?secrets="+*secrets, nil, &c); err != nil {
		return err
	}
	_, err := io.WriteString(e.Out, c.YAML)
	return err
}

// readDocument reads the file that -f names.
func readDocument(flags *flag.FlagSet, args []string) (c opsock.Configuration, err error) {
	name := flags.String("f", "", "")
	if err := flags.Parse(args); err != nil {
		return c, err
	}
	if *name == "" || flags.NArg() > 0 {
		return c, fmt.Errorf("%s takes -f FILE", flags.Name())
	}
	in := os.Stdin
	if *name != "-" {
		if in, err = os.Open(*name); err != nil {
			return c, fmt.Errorf("reading the document: %w", err)
		}
		defer in.Close()
	}
	text, err := io.ReadAll(io.LimitReader(in, document.MaxSize+1))
	if err != nil {
		return c, fmt.Errorf("reading the document: %w", err)
	}
	c.YAML = string(text)
	return c, nil
}

func planCommand(e opcmd.Env, args []string) error {
	c, err := readDocument(quietFlags("plan"), args)
	if err != nil {
		return err
	}
	var p opsock.ConfigurationPlan
	if err := e.Call(e.Context, http.MethodPost, opsock.PathPlan, c, &p); err != nil {
		return err
	}
	if p.Changes == 0 {
		p.Text = "nothing would change\n"
	}
	_, err = io.WriteString(e.Out, p.Text)
	return err
}

func applyCommand(e opcmd.Env, args []string) error {
	flags := quietFlags("apply")
	remove := flags.Bool("remove-tenants", false, "")
	c, err := readDocument(flags, args)
	if err != nil {
		return err
	}
	c.RemoveTenants = *remove
	var p opsock.ConfigurationPlan
	if err := e.Call(e.Context, http.MethodPost, opsock.PathApply, c, &p); err != nil {
		return err
	}
	if p.Changes == 0 {
		p.Text = "nothing changed: everything is as the document says\n"
	} else {
		p.Text += fmt.Sprintf("applied, revision %d\n", p.Rev)
	}
	_, err = io.WriteString(e.Out, p.Text)
	return err
}
