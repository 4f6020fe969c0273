package netcfg

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"os"
	"slices"
)

// TimeServers are the time servers that the network knows of, as the file says
// that is for whoever keeps the clock.
type TimeServers struct {
	Configured []string     `json:"configured,omitempty"` // addresses or names
	DHCP       []netip.Addr `json:"dhcp,omitempty"`
}

// learn adds those of one more interface.
func (t *TimeServers) learn(list []netip.Addr) {
	for _, a := range list {
		if len(t.DHCP) < MaxServers && !slices.Contains(t.DHCP, a) {
			t.DHCP = append(t.DHCP, a)
		}
	}
}

func (t TimeServers) write(path string) error {
	text, err := json.Marshal(t)
	if err != nil {
		return err
	}
	return writeShared(path, string(text)+"\n")
}

// maxTimeServers bounds the file: eight names and as many addresses fit.
const maxTimeServers = 8 << 10

// ReadTimeServers reads the file. None is no server at all.
func ReadTimeServers(path string) (t TimeServers, err error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return t, nil
	}
	if err != nil {
		return t, fmt.Errorf("opening the list of time servers: %w", err)
	}
	defer f.Close()
	raw, err := io.ReadAll(io.LimitReader(f, maxTimeServers))
	if err == nil {
		err = json.Unmarshal(raw, &t)
	}
	if err == nil {
		err = Config{NTP: t.Configured}.validateNTP()
	}
	if err != nil {
		return TimeServers{}, fmt.Errorf("reading the list of time servers: %w", err)
	}
	var known TimeServers
	known.learn(t.DHCP)
	known.DHCP = slices.DeleteFunc(known.DHCP, func(a netip.Addr) bool { return !isHost(a) })
	t.DHCP = known.DHCP
	return t, nil
}
