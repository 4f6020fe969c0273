// Command pbxd is the PBX: SIP, media and web in one process without any
// privilege. Everything it does is built in internal/pbx.
//
// Landlock's port rules do not see MPTCP sockets, so Go must not open them.
//
//go:debug multipathtcp=0
package main

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"ringfence/internal/pbx"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "pbxd:", err)
		os.Exit(1)
	}
}

func run() error {
	o, err := options(os.Args[1:])
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if o.Dev {
		o.Greet = os.Stdout
	}
	p, err := pbx.Start(ctx, o)
	if err != nil {
		return err
	}
	debug.FreeOSMemory() // what start needed and running does not
	<-ctx.Done()
	stop() // a second signal ends the process at once
	return p.Close()
}

func options(args []string) (pbx.Options, error) {
	var o pbx.Options
	flags := flag.NewFlagSet("pbxd", flag.ExitOnError)
	flags.StringVar(&o.DataDir, "data", "", "`folder` of the database and keys")
	flags.StringVar(&o.RunDir, "run", "/run/ringfence", "`folder` of the local sockets")
	flags.BoolVar(&o.Dev, "dev", false, "run on this machine without root, with a seeded tenant")
	flags.StringVar(&o.FactsFile, "facts", "", "write how to reach this PBX to `file` once everything listens")
	listen := flags.String("listen", "", "put every listener on one `address`")
	flags.IntVar(&o.Extensions, "extensions", 4, "how many extensions -dev seeds, `1..10000`")
	flags.IntVar(&o.Instance, "instance", 0, "`0..9`: shift services by 100 times this, and take this tenth of the RTP ports")
	flags.BoolVar(&o.Alone, "alone", false, "take all RTP ports with -dev, not a tenth: no other instance runs")
	flags.BoolVar(&o.Strict, "strict", false, "confine the process with -dev too, and end it at a system call that was not foreseen")
	verbose := flags.Bool("debug", false, "log more")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	if flags.NArg() > 0 {
		return o, fmt.Errorf("unexpected argument %q", flags.Arg(0))
	}
	if *listen != "" {
		addr, err := netip.ParseAddr(*listen)
		if err != nil {
			return o, fmt.Errorf("-listen: %w", err)
		}
		o.Listen = addr
	}
	level := slog.LevelInfo
	if *verbose {
		level = slog.LevelDebug
	}
	o.Logger = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: level}))
	return o, nil
}
