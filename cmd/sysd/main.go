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
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"

	"ringfence/appliance/boot"
	"ringfence/appliance/boot/keeper"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "sysd:", err)
		os.Exit(1)
	}
}

func run() error {
	data := flag.String("data", boot.Paths{Root: "/"}.Keeper(""), "`folder` of its own files")
	dir := flag.String("run", boot.Paths{Root: "/"}.Run(""), "`folder` of its socket")
	users := flag.String("users", fmt.Sprintf("%d,%d", boot.UserRoot, boot.UserPBX), "`ids` of the users it serves, with commas")
	group := flag.Int("group", boot.GroupRingfence, "`id` of the group that may open its socket; -1 for none")
	flag.Parse()
	if flag.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q", flag.Arg(0))
	}
	ids, err := parseIDs(*users)
	if err != nil {
		return err
	}
	logger := slog.New(slog.NewTextHandler(os.Stderr, nil))
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	ln, err := keeper.Listen(filepath.Join(*dir, keeper.FileName), *group)
	if err != nil {
		return err
	}
	server := &keeper.Server{System: keeper.NewHost(*data), Users: ids, Logger: logger}
	go notify(ctx, logger, keeper.Client{Socket: filepath.Join(*dir, keeper.FileName)})
	return server.Serve(ctx, ln)
}

func parseIDs(text string) (ids []int, err error) {
	for _, s := range strings.Split(text, ",") {
		id, err := strconv.Atoi(s)
		if err != nil || id < 0 {
			return nil, fmt.Errorf("-users: %q is no user id", s)
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
