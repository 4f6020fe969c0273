// Command opsh is the operator shell over SSH. It holds no right but its
// port, its host key and the socket of pbxd, and listens only while the
// settings of the PBX say so.
//
// Landlock's port rules do not see MPTCP sockets, so Go must not open them.
//
//go:debug multipathtcp=0
package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/netip"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"runtime/debug"
	"strings"
	"syscall"

	"github.com/coreos/go-systemd/v22/daemon"

	"ringfence/internal/opcmd"
	"ringfence/internal/opsock"
	"ringfence/internal/shell"
	"ringfence/internal/telephony"
)

type options struct {
	data, run, cloud string
	listen           netip.Addr
}

func main() {
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	o, err := parse(os.Args[1:])
	if err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return
		}
		log.Error("reading the command line", "err", err)
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	if err := run(ctx, o, log); err != nil {
		log.Error("operator shell failed", "err", err)
		os.Exit(1)
	}
}

func parse(args []string) (o options, err error) {
	f := flag.NewFlagSet("opsh", flag.ContinueOnError)
	f.StringVar(&o.data, "data", "/perm/opsh", "`folder` of the host key")
	f.StringVar(&o.run, "run", "/run/ringfence", "`folder` of the socket of pbxd and of the machine's id")
	f.StringVar(&o.cloud, "cloud", "", "`file` with public keys of the cloud's metadata")
	listen := f.String("listen", "", "listen on one `address`")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	if f.NArg() > 0 {
		return o, fmt.Errorf("unexpected argument %q", f.Arg(0))
	}
	if *listen != "" {
		if o.listen, err = netip.ParseAddr(*listen); err != nil {
			return o, fmt.Errorf("-listen: %w", err)
		}
	}
	return o, nil
}

func run(ctx context.Context, o options, log *slog.Logger) error {
	if err := os.MkdirAll(o.data, 0o700); err != nil {
		return err
	}
	// Everything outside its folder is read before the way there is closed.
	cloud := cloudKeys(o.cloud, log)
	machine := machineID(filepath.Join(o.run, "machine-id"))
	if err := confineSelf(o.data); err != nil {
		log.Warn("not confined", "err", err)
	}
	hostKey, err := shell.HostKey(o.data, machine)
	if err != nil {
		return err
	}
	socket := filepath.Join(o.run, opsock.FileName)
	call := func(ctx context.Context, method, path string, in, out any) error {
		return opsock.Call(ctx, socket, method, path, in, out)
	}
	f := &shell.Follower{
		Call: call, Dir: o.data, Listen: o.listen, Cloud: cloud, HostKey: hostKey.PublicKey(), Logger: log,
		Alive: func() { notify(daemon.SdNotifyWatchdog) },
	}
	f.Server = shell.New(shell.Config{HostKey: hostKey, Commands: opcmd.Table(), Call: call, Logger: log, Used: f.Used})
	defer f.Server.Close()
	notify(daemon.SdNotifyReady)
	debug.FreeOSMemory()
	f.Run(ctx)
	notify(daemon.SdNotifyStopping)
	return nil
}

// machineID names the machine that the host key belongs to.
func machineID(path string) string {
	text, err := os.ReadFile(path)
	id := strings.TrimSpace(string(text))
	if err != nil || !regexp.MustCompile(`^[0-9a-f]{32}$`).MatchString(id) {
		return "any"
	}
	return id
}

// Bounds of what the cloud may add.
const (
	maxCloudKeys = 16
	maxCloudFile = 64 << 10
)

// cloudKeys reads the public keys that first boot took from the cloud's
// metadata. One that is not usable is told and left out.
func cloudKeys(path string, log *slog.Logger) []telephony.SSHPublicKey {
	if path == "" {
		return nil
	}
	file, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		log.Error("keys of the cloud cannot be read", "err", err)
		return nil
	}
	defer file.Close()
	var keys []telephony.SSHPublicKey
	lines := bufio.NewScanner(io.LimitReader(file, maxCloudFile))
	lines.Buffer(nil, telephony.MaxSSHKeyText)
	for n := 1; lines.Scan() && len(keys) < maxCloudKeys; n++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		k, err := telephony.ParseSSHKey(line)
		if err != nil {
			log.Warn("a key of the cloud is not taken", "line", n, "why", err.Error())
			continue
		}
		keys = append(keys, k)
	}
	return keys
}

// notify tells the supervisor, if there is one that listens.
func notify(state string) { _, _ = daemon.SdNotify(false, state) }
