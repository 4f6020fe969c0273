// Command fenced is the fence: the only process with the right to change the
// packet filter and the network addresses of the host.
//
// It loads its rules before anything else happens, keeps them as its clients
// on the unix socket want them, and leaves them in force when it ends.
package main

import (
	"context"
	"errors"
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

	"ringfence/firewall"
	"ringfence/internal/netcfg"
	"ringfence/internal/ports"
)

// Names in the run folder: the fence's socket, and the list of time servers.
const (
	socketName = "fenced.sock"
	timeName   = "time-servers.json"
)

type options struct {
	run, state, network, resolv string
	uids                        []uint32
	manage, hostPorts, remove   bool
	proc                        string
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
	if o.remove {
		if err := removeRules(); err != nil {
			log.Error("fence failed", "err", err)
			os.Exit(1)
		}
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	if err := run(ctx, o, log); err != nil {
		log.Error("fence failed", "err", err)
		os.Exit(1)
	}
}

func parse(args []string) (options, error) {
	o := options{proc: "/proc/sys"}
	f := flag.NewFlagSet("fenced", flag.ContinueOnError)
	f.StringVar(&o.run, "run", "/run/ringfence", "`folder` of the socket "+socketName)
	f.StringVar(&o.state, "state", "/perm/fenced", "`folder` of the confirmed policy")
	f.StringVar(&o.network, "network", "", "`file` with the network configuration to use until one was confirmed; without it DHCP everywhere")
	f.StringVar(&o.resolv, "resolv", "", "`file` for name servers, with -manage-network (default: resolv.conf in the run folder)")
	f.BoolVar(&o.manage, "manage-network", false, "bring interfaces up and give them addresses")
	f.BoolVar(&o.hostPorts, "host-ports", false, "let root open ports of the host's own programs; sshd's is open from the start")
	f.BoolVar(&o.remove, "remove", false, "take the rules out of the kernel, and end")
	uids := f.String("uid", "0", "`list` of users, by name or number, that may use the socket, separated by commas")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	if f.NArg() > 0 {
		return o, fmt.Errorf("unexpected argument %q", f.Arg(0))
	}
	for _, word := range strings.Split(*uids, ",") {
		id, err := userID(strings.TrimSpace(word))
		if err != nil {
			return o, fmt.Errorf("-uid %q: %w", word, err)
		}
		o.uids = append(o.uids, id)
	}
	if o.resolv == "" {
		o.resolv = filepath.Join(o.run, "resolv.conf")
	}
	return o, nil
}

// removeRules is for the day the package is removed: until then the rules stay
// in force, whatever becomes of the fence.
func removeRules() error {
	kernel := firewall.NewKernel(0)
	defer kernel.Close()
	return kernel.Remove()
}

// userID reads a number, or looks a name up.
func userID(text string) (uint32, error) {
	if id, err := strconv.ParseUint(text, 10, 32); err == nil {
		return uint32(id), nil
	}
	u, err := user.Lookup(text)
	if err != nil {
		return 0, err
	}
	id, err := strconv.ParseUint(u.Uid, 10, 32)
	return uint32(id), err
}

// run is the fence's life. The order matters: rules, then protective settings,
// then links.
func run(ctx context.Context, o options, log *slog.Logger) error {
	standard := readNetwork(o, log)
	if err := confineSelf(o, log); err != nil {
		return fmt.Errorf("giving up rights: %w", err)
	}
	kernel := firewall.NewKernel(0)
	defer kernel.Close()
	sysctls := netcfg.Sysctls{Root: o.proc}
	so := firewall.Options{
		Dir: o.state, Kernel: kernel, StandardNetwork: standard, Interfaces: netcfg.List,
		UIDs: o.uids, HostPorts: o.hostPorts, Logger: log, OnPolicy: reserver(sysctls, log),
	}
	var manager *netcfg.Manager
	if o.manage {
		manager = netcfg.NewManager(netcfg.Options{ResolvConf: o.resolv, TimeServers: filepath.Join(o.run, timeName), Sysctls: sysctls, Logger: log})
		defer manager.Close()
		so.Network, so.Interfaces = manager, manager.States
	}
	server, err := firewall.NewServer(so)
	if err != nil {
		return err
	}
	if err := server.Start(); err != nil {
		return err
	}
	if o.manage {
		if err := sysctls.Set(netcfg.Protective()...); err != nil {
			log.Error("protective kernel settings", "err", err)
		}
		if err := server.StartNetwork(); err != nil {
			return err
		}
	}
	return serve(ctx, o, server, manager, log)
}

func readNetwork(o options, log *slog.Logger) netcfg.Config {
	if o.network == "" {
		return netcfg.Standard()
	}
	c, err := netcfg.Read(o.network)
	if errors.Is(err, os.ErrNotExist) {
		return netcfg.Standard() // nobody wrote one at first boot
	}
	if err != nil {
		// Unreachable is the worst a host without a keyboard can be.
		log.Error("the network configuration is unusable, using DHCP", "err", err)
		return netcfg.Standard()
	}
	return c
}

// reserver keeps the kernel from giving RTP ports to outgoing sockets: their
// answers would not be tracked, and not be let in.
func reserver(sysctls netcfg.Sysctls, log *slog.Logger) func(firewall.Policy) {
	var table []netcfg.Span
	for _, s := range ports.Table() {
		if s.Wrap == ports.RTP {
			table = append(table, netcfg.Span{First: s.First, Last: s.Last})
		}
	}
	others, err := sysctls.Reserved()
	if err != nil {
		log.Error("reading reserved ports", "err", err)
	}
	return func(p firewall.Policy) {
		spans := append([]netcfg.Span(nil), table...)
		for _, s := range p.Services {
			if s.Wrap == ports.RTP {
				spans = append(spans, netcfg.Span{First: s.First, Last: s.Last})
			}
		}
		if err := sysctls.Reserve(others, spans...); err != nil {
			log.Error("reserving RTP ports", "err", err)
		}
	}
}

func serve(ctx context.Context, o options, server *firewall.Server, manager *netcfg.Manager, log *slog.Logger) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	listener, err := firewall.Listen(filepath.Join(o.run, socketName))
	if err != nil {
		return err
	}
	var tasks sync.WaitGroup
	defer tasks.Wait()
	tasks.Go(func() { netcfg.Watch(ctx, func() { refresh(server, manager, log) }) })
	tasks.Go(func() { beat(ctx, server) })
	notify(daemon.SdNotifyReady)
	log.Info("fence up", "socket", listener.Addr().String())
	err = server.Serve(ctx, listener)
	notify(daemon.SdNotifyStopping)
	cancel()
	return err
}

// refresh follows a change of links, addresses or routes.
func refresh(server *firewall.Server, manager *netcfg.Manager, log *slog.Logger) {
	list := netcfg.List
	if manager != nil {
		manager.Refresh()
		list = manager.States // with zones and limits
	}
	states, err := list()
	if err != nil {
		log.Error("looking at the interfaces", "err", err)
		return
	}
	if err := server.SetHost(firewall.HostOf(states)); err != nil {
		log.Error("following the host's interfaces", "err", err)
	}
}

// beat tells the supervisor that all is well, while it is.
func beat(ctx context.Context, server *firewall.Server) {
	interval, err := daemon.SdWatchdogEnabled(false)
	if err != nil || interval <= 0 {
		return
	}
	tick := time.NewTicker(interval / 2)
	defer tick.Stop()
	for {
		if err := server.Healthy(); err == nil {
			notify(daemon.SdNotifyWatchdog)
		} else {
			notify("STATUS=" + strings.ReplaceAll(err.Error(), "\n", " "))
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// notify tells the supervisor, if there is one that listens.
func notify(state string) { _, _ = daemon.SdNotify(false, state) }
