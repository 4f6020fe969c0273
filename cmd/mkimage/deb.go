package main

import (
	"context"
	"flag"
	"fmt"
	"io"

	"ringfence/appliance"
	"ringfence/appliance/deb"
)

// buildDeb makes the Debian package.
func buildDeb(ctx context.Context, args []string, out io.Writer, m *meter) error {
	flags := flag.NewFlagSet("mkimage deb", flag.ContinueOnError)
	o := deb.Options{}
	flags.StringVar(&o.Out, "o", "out", "`folder` for the package")
	flags.StringVar(&o.Version, "version", "", "`version` of the programs; from the commit when empty")
	web := flags.String("web", "required", "the user interface: `required or optional`")
	if err := parse(flags, args); err != nil {
		return err
	}
	w, err := parseWeb(*web)
	if err != nil {
		return err
	}
	o.WithoutWeb = w == appliance.WebOptional
	if o.Repo, err = appliance.Repo(); err != nil {
		return err
	}
	version, at := appliance.Source(ctx, o.Repo)
	if o.Time = at; o.Version == "" {
		o.Version = version
	}
	const step = "compiling the programs"
	m.progress(step, 0, 1)
	path, err := deb.Build(ctx, o)
	if err != nil {
		return err
	}
	m.progress(step, 1, 1)
	m.end()
	fmt.Fprintln(out, path)
	return nil
}
