package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/coreos/go-systemd/v22/activation"

	"ringfence/appliance/boot"
	"ringfence/appliance/boot/keeper"
	"ringfence/appliance/debian"
	"ringfence/cloud-init/metadata"
	"ringfence/firewall"
)

// restEvery is how often a look is taken for other packet filters: one may be
// installed at any time.
const restEvery = time.Minute

// tellEvery is how soon a notice is seen by others.
const tellEvery = 2 * time.Second

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
	return h
}

// run works until ctx ends.
func (d *distribution) run(ctx context.Context) {
	var tasks sync.WaitGroup
	defer tasks.Wait()
	tasks.Go(func() { d.ssh.Run(ctx) })
	tasks.Go(func() { d.tell(ctx) })
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

// tell keeps the notices where everybody reads what init tells on the image.
func (d *distribution) tell(ctx context.Context) {
	started, cloud := time.Now(), metadata.Detect("/")
	for last := []string{""}; ctx.Err() == nil; {
		if now := append(d.filters.Notices(), d.ssh.Notices()...); !slices.Equal(now, last) {
			// Without a version: there is no init of ours.
			if err := (boot.Paths{Root: "/"}).SaveState(boot.State{Started: started, Cloud: cloud, Notices: now}); err != nil {
				d.log.Error("telling others", "err", err)
			}
			last = now
		}
		select {
		case <-time.After(tellEvery):
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
