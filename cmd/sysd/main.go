// Command sysd is the keeper: the small root service that restarts the
// machine, sets its name and clock, and tells which system slot runs. All of
// it is in appliance/boot/keeper.
package main

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"

	"ringfence/appliance/boot"
	"ringfence/appliance/boot/keeper"
	"ringfence/appliance/debian"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "sysd:", err)
		os.Exit(1)
	}
}

// options are what the command line says.
type options struct {
	data, run, users string
	group            int
	debian           bool
	window           time.Duration
	restore          bool
	settle           bool
	seed             bool
}

func parse() (options, error) {
	var o options
	flag.StringVar(&o.data, "data", boot.Paths{Root: "/"}.Keeper(""), "`folder` of its own files")
	flag.StringVar(&o.run, "run", boot.Paths{Root: "/"}.Run(""), "`folder` of its socket")
	flag.StringVar(&o.users, "users", fmt.Sprintf("%d,%d", boot.UserRoot, boot.UserPBX), "`list` of users, by name or number, that it serves, with commas")
	flag.IntVar(&o.group, "group", boot.GroupRingfence, "`id` of the group that may open its socket; -1 for none")
	flag.BoolVar(&o.debian, "debian", false, "the machine belongs to a Debian system: lay other packet filters to rest, and move sshd")
	flag.DurationVar(&o.window, "ssh-window", debian.Window, "with -debian, how `long` sshd is tried on its new port")
	flag.BoolVar(&o.restore, "restore", false, "give back what -debian took, and end")
	flag.BoolVar(&o.settle, "ssh-settled", false, "put sshd on its new port for good, and end: for an image that nobody knows yet")
	flag.BoolVar(&o.seed, "seed", false, "give the answers in cloud-init's user-data to the first of -users, and end")
	flag.Parse()
	if flag.NArg() > 0 {
		return o, fmt.Errorf("unexpected argument %q", flag.Arg(0))
	}
	if o.window < time.Minute {
		return o, fmt.Errorf("-ssh-window %s is too short for anybody to log in", o.window)
	}
	return o, nil
}

func run() error {
	o, err := parse()
	if err != nil {
		return err
	}
	ids, err := parseIDs(o.users)
	if err != nil {
		return err
	}
	logger := slog.New(slog.NewTextHandler(os.Stderr, nil))
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	switch d := newDistribution(o, logger); {
	case o.seed:
		return debian.TakeSeed("/", ids[0], logger)
	case o.settle:
		return d.ssh.Settle()
	case o.restore:
		return d.restore(ctx)
	case o.debian:
		var tasks sync.WaitGroup
		defer tasks.Wait()
		tasks.Go(func() { d.run(ctx) })
		defer stop() // before the wait, also after an error
		return serve(ctx, o, ids, d.host(o.data), logger)
	}
	return serve(ctx, o, ids, keeper.NewHost(o.data), logger)
}

func serve(ctx context.Context, o options, ids []int, host keeper.Host, logger *slog.Logger) error {
	path := filepath.Join(o.run, keeper.FileName)
	ln, err := inherited()
	if err == nil && ln == nil {
		ln, err = keeper.Listen(path, o.group)
	}
	if err != nil {
		return err
	}
	server := &keeper.Server{System: host, Users: ids, Logger: logger}
	go notify(ctx, logger, keeper.Client{Socket: path})
	return server.Serve(ctx, ln)
}

// parseIDs reads numbers and names.
func parseIDs(text string) (ids []int, err error) {
	for _, s := range strings.Split(text, ",") {
		id, err := strconv.Atoi(s)
		if u, lerr := user.Lookup(s); err != nil && lerr == nil {
			id, err = strconv.Atoi(u.Uid)
		}
		if err != nil || id < 0 {
			return nil, fmt.Errorf("-users: %q is no user", s)
		}
		ids = append(ids, id)
	}
	return ids, nil
}

// notify tells the supervisor that this service works, which it finds out as
// its clients do: by asking it.
func notify(ctx context.Context, logger *slog.Logger, self keeper.Client) {
	interval, err := daemon.SdWatchdogEnabled(false)
	if err != nil || interval <= 0 {
		interval = time.Minute
	}
	state, pause := daemon.SdNotifyReady, time.Second
	for ctx.Err() == nil {
		if _, err := self.Status(ctx); err != nil {
			logger.Error("own socket does not answer", "err", err)
		} else if _, err := daemon.SdNotify(false, state); err != nil {
			logger.Warn("notifying the supervisor failed", "err", err)
		} else {
			state, pause = daemon.SdNotifyWatchdog, interval/3
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
		}
	}
}
