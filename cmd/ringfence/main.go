// Command ringfence is the operator's command line: it asks pbxd over a local
// socket that root and pbxd's group may open. `ringfence flash` needs no PBX: it
// writes images to disks.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"time"

	"ringfence/internal/opcmd"
	"ringfence/internal/opsock"
)

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := run(ctx, os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "ringfence:", err)
		os.Exit(1)
	}
}

// commands are those of the operator shell; what works on this machine only
// is added here.
func commands() []opcmd.Command {
	return append(append(opcmd.Table(), configurationCommands()...), opcmd.Command{Name: "flash", Run: flashCommand, Help: []opcmd.Usage{
		{Text: "the disks of this machine"},
		{Args: "[-yes] IMAGE DISK", Text: "write an image (.raw or .raw.zst) to a disk and read it back; asks before, unless -yes"},
	}})
}

func run(ctx context.Context, args []string, out io.Writer) error {
	flags := flag.NewFlagSet("ringfence", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	socket := flags.String("socket", "/run/ringfence/"+opsock.FileName, "")
	err := flags.Parse(args)
	if errors.Is(err, flag.ErrHelp) || err == nil && (flags.NArg() == 0 || flags.Arg(0) == "help") {
		fmt.Fprint(out, "Usage: ringfence [-socket FILE] COMMAND\n\n")
		return opcmd.Help(out, commands())
	}
	if err != nil {
		return err
	}
	call := func(ctx context.Context, method, path string, in, out any) error {
		return opsock.Call(ctx, *socket, method, path, in, out)
	}
	return opcmd.Run(opcmd.Env{Context: ctx, Call: call, Out: out}, commands(), flags.Args())
}
