package boot

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"time"

	"github.com/landlock-lsm/go-landlock/landlock"

	"ringfence/appliance/boot/console"
	"ringfence/appliance/boot/timesync"
	"ringfence/cloud-init/metadata"
	"ringfence/internal/netcfg"
)

const askTime = "ask-time"

// timeLimit bounds one round of asking: three groups, of which each takes 10 s
// and its names 8 x 4 s at the worst.
const timeLimit = 2 * time.Minute

// The clouds' own time servers. Azure has none by address: its hypervisor
// gives the time.
const (
	timeAWS    = "169.254.169.123"
	timeGoogle = "169.254.169.254"
)

// timeGroups says who is asked, in order. Whoever names servers in the
// configuration wants no others.
func timeGroups(known netcfg.TimeServers, c metadata.Cloud) []timesync.Group {
	if len(known.Configured) > 0 {
		return []timesync.Group{{Origin: timesync.FromConfig, Servers: known.Configured}}
	}
	var groups []timesync.Group
	if len(known.DHCP) > 0 {
		g := timesync.Group{Origin: timesync.FromDHCP}
		for _, a := range known.DHCP {
			g.Servers = append(g.Servers, a.String())
		}
		groups = append(groups, g)
	}
	switch c {
	case metadata.AWS:
		groups = append(groups, timesync.Group{Origin: timesync.FromCloud, Servers: []string{timeAWS}})
	case metadata.Google:
		groups = append(groups, timesync.Group{Origin: timesync.FromCloud, Servers: []string{timeGoogle}})
	}
	return groups
}

// askServers is the life of the process that asks time servers.
func askServers(ctx context.Context, args []string, out io.Writer) error {
	flags := flag.NewFlagSet("init", flag.ContinueOnError)
	list := flags.String("list", "", "`file` of time servers")
	cloud := flags.String("cloud", "", "`name` of the cloud, or empty")
	denied := flags.String("denied", "", "`addresses` that are not asked, with commas")
	port := flags.Uint("port", 0, "`port` of the servers, for tests")
	if err := flags.Parse(args); err != nil {
		return err
	}
	asker := timesync.Asker{Port: uint16(*port), Lookup: func(ctx context.Context, name string) ([]netip.Addr, error) {
		return net.DefaultResolver.LookupNetIP(ctx, "ip", name)
	}}
	for _, word := range strings.FieldsFunc(*denied, func(c rune) bool { return c == ',' }) {
		a, err := netip.ParseAddr(word)
		if err != nil {
			return fmt.Errorf("-denied: %w", err)
		}
		asker.Denied = append(asker.Denied, a)
	}
	known, err := netcfg.ReadTimeServers(*list)
	if err != nil {
		return err
	}
	// BestEffort: an old kernel confines less. Names are all that files are
	// needed for.
	if err := landlock.V5.BestEffort().RestrictPaths(landlock.ROFiles("/etc/resolv.conf", "/etc/hosts", "/etc/nsswitch.conf").IgnoreIfMissing()); err != nil {
		return fmt.Errorf("giving up files: %w", err)
	}
	if err := onlyTalk(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, timeLimit)
	defer cancel()
	return json.NewEncoder(out).Encode(asker.Ask(ctx, timeGroups(known, metadata.Cloud(*cloud))))
}

// keepTime keeps the clock right until ctx ends.
func (m *machine) keepTime(ctx context.Context) {
	list := m.paths.Run(TimeServersFile)
	var seen time.Time
	k := timesync.Keeper{
		Ask: func(ctx context.Context, denied []netip.Addr) (timesync.Answer, error) {
			return m.time(ctx, list, denied)
		},
		Changed: func() bool {
			var now time.Time
			if info, err := os.Lstat(list); err == nil {
				now = info.ModTime()
			}
			changed := !now.Equal(seen)
			seen = now
			return changed
		},
		Plausible: CheckClock,
		Step: func(to time.Time) error {
			// A time that is known is written down: a clock that was ahead must
			// not come back at the next boot.
			return errors.Join(SetClock(to), m.paths.noteClock())
		},
		Slew: slewClock,
		Report: func(s timesync.State) {
			s.Problem = console.Printable(s.Problem, 300)
			m.update(func(b *State) { b.Clock = &s })
		},
		Logger: m.logger,
	}
	k.Run(ctx)
}

// time asks the time servers, by a process without rights.
func (m *machine) time(ctx context.Context, list string, denied []netip.Addr) (timesync.Answer, error) {
	ctx, cancel := context.WithTimeout(ctx, timeLimit+spare)
	defer cancel()
	m.mu.Lock()
	c := m.state.Cloud
	m.mu.Unlock()
	words := make([]string, len(denied))
	for i, a := range denied {
		words[i] = a.String()
	}
	data, err := m.askTime(ctx, askTime, "-list", list, "-cloud", string(c), "-denied", strings.Join(words, ","))
	if err != nil {
		return timesync.Answer{}, err
	}
	return timesync.ReadAnswer(data)
}
