package pbx

import (
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"slices"

	"ringfence/internal/ports"
	"ringfence/internal/telephony"
)

// Options are what pbxd's command line says.
type Options struct {
	// DataDir holds the database and the keys. Empty is a temporary folder,
	// with Dev only.
	DataDir string
	// RunDir holds the sockets of the other processes, and pbxd's own.
	RunDir string
	// Dev runs without the other processes: no packet filter, a seeded tenant,
	// and every service this version has a listener for.
	Dev bool
	// FactsFile is written once everything listens; empty writes none.
	FactsFile string
	// Listen puts every listener on one address; invalid is all of them, with
	// Dev 127.0.0.1.
	Listen netip.Addr
	// Extensions is how many Dev seeds, 1..10000.
	Extensions int
	// Instance 0..9 moves services out of the way of other instances.
	Instance int
	// Alone takes all RTP ports with Dev, not a tenth: no other instance runs.
	Alone bool
	// Strict confines the process with Dev too, and ends it with a trace at a
	// system call that was not foreseen.
	Strict bool
	// Ephemeral lets every listener take a free port of the kernel's choice,
	// and a random part of the RTP ranges: for tests that run side by side.
	Ephemeral bool
	// Roots are the authorities that TLS servers of trunks are verified with; nil
	// is those of the system.
	Roots  *x509.CertPool
	Logger *slog.Logger
	// Greet receives, for people, how to reach this PBX; nil says nothing.
	Greet io.Writer

	rtpPart int // which part of the RTP ranges, with Ephemeral
}

// ephemeralRTP is how many RTP ports an ephemeral PBX takes.
const ephemeralRTP = 400

const maxSeeded = 10_000

func (o *Options) check() error {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	switch {
	case o.DataDir == "" && !o.Dev:
		return errors.New("-data names no folder")
	case o.Dev && (o.Extensions < 1 || o.Extensions > maxSeeded):
		return fmt.Errorf("-extensions %d is outside 1..%d", o.Extensions, maxSeeded)
	case o.Instance < 0 || o.Instance >= ports.Instances:
		return fmt.Errorf("-instance %d is outside 0..%d", o.Instance, ports.Instances-1)
	}
	o.rtpPart = rand.IntN(25)
	if o.Dev && !o.Listen.IsValid() {
		o.Listen = netip.AddrFrom4([4]byte{127, 0, 0, 1})
	}
	return nil
}

// effective are the services that are to be open under settings s.
func (o *Options) effective(s telephony.Settings) ([]ports.Service, error) {
	stage := ports.BeforeSetup
	if s.SetupDone {
		stage = ports.InService
	}
	overrides := s.Ports
	if o.Dev {
		overrides = allOn(overrides)
	}
	on, err := ports.Effective(overrides, stage)
	if err != nil {
		return nil, err
	}
	if o.Ephemeral {
		return o.ephemeral(on, overrides), nil
	}
	if o.Instance == 0 && (o.Alone || !o.Dev) {
		return on, nil
	}
	return ports.Slice(on, o.Instance)
}

// allOn switches every service on that this version can serve and nobody has
// switched off.
func allOn(overrides []ports.Override) []ports.Override {
	on := true
	var all []ports.Override
	for _, s := range ports.Table() {
		if !s.Available {
			continue
		}
		o := ports.Override{ID: s.ID, Enabled: &on}
		if s.Side == ports.Host { // served by a process that is not here
			o.Enabled = nil
		}
		for _, given := range overrides {
			if given.ID == s.ID {
				o.First, o.Last, o.Zones, o.Sources = given.First, given.Last, given.Zones, given.Sources
				if given.Enabled != nil {
					o.Enabled = given.Enabled
				}
			}
		}
		all = append(all, o)
	}
	return all
}

// ephemeral lets the kernel choose the ports nobody has chosen.
func (o *Options) ephemeral(on []ports.Service, overrides []ports.Override) []ports.Service {
	on = slices.Clone(on)
	for i := range on {
		s := &on[i]
		if !s.Range() {
			if slices.ContainsFunc(overrides, func(given ports.Override) bool { return given.ID == s.ID && given.First != 0 }) {
				continue
			}
			s.First, s.Last = 0, 0
			continue
		}
		s.First += uint16(o.rtpPart * ephemeralRTP % int(s.Last-s.First+1))
		s.Last = s.First + ephemeralRTP - 1
	}
	return on
}
