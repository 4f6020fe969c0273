package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"sync"
	"time"

	"github.com/coreos/go-systemd/v22/activation"

	"ringfence/appliance/boot/keeper"
	"ringfence/appliance/debian"
	"ringfence/firewall"
)

// restEvery is how often a look is taken for other packet filters: one may be
// installed at any time.
const restEvery = time.Minute

// distribution is what sysd does besides where the machine is not ours.
type distribution struct {
	filters debian.Filters
	ssh     *debian.SSH
	log     *slog.Logger
}

func newDistribution(o options, log *slog.Logger) *distribution {
	return &distribution{
		filters: debian.Filters{Dir: o.data, Systemd: debian.Bus{}, Logger: log},
		ssh: &debian.SSH{
			Dir: o.data, Root: "/", Systemd: debian.Bus{}, Window: o.window, Logger: log,
			Open: func(ctx context.Context, ports []uint16) error { return openPorts(ctx, o.run, ports, log) },
		},
		log: log,
	}
}

// openPorts asks the fence.
func openPorts(ctx context.Context, run string, ports []uint16, log *slog.Logger) error {
	c := firewall.Dial(filepath.Join(run, "fenced.sock"), firewall.ClientOptions{Logger: log})
	defer c.Close()
	return c.SetHostPorts(ctx, ports)
}

// host is the machine as the keeper's clients see it.
func (d *distribution) host(data string) keeper.Host {
	h := keeper.NewHost(data)
	h.Hostname, h.Clock = debian.Bus{}.SetHostname, debian.Bus{}.SetClock
	h.More = func() []string { return append(d.filters.Notices(), d.ssh.Notices()...) }
	return h
}

// run works until ctx ends.
func (d *distribution) run(ctx context.Context) {
	var tasks sync.WaitGroup
	defer tasks.Wait()
	tasks.Go(func() { d.ssh.Run(ctx) })
	for last := ""; ctx.Err() == nil; {
		if err := d.filters.Rest(ctx); err != nil && err.Error() != last && ctx.Err() == nil {
			d.log.Error("laying other packet filters to rest", "err", err)
			last = err.Error()
		}
		select {
		case <-time.After(restEvery):
		case <-ctx.Done():
		}
	}
}

// restore gives everything back, before the package is removed.
func (d *distribution) restore(ctx context.Context) error {
	return errors.Join(d.ssh.Restore(ctx), d.filters.Restore(ctx))
}

// inherited is the socket that systemd has opened, or nil.
func inherited() (net.Listener, error) {
	list, err := activation.Listeners()
	if err != nil || len(list) == 0 {
		return nil, err
	}
	if len(list) > 1 || list[0] == nil {
		return nil, fmt.Errorf("systemd passed %d sockets, want one that listens", len(list))
	}
	return list[0], nil
}
