package pbx

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"

	"ringfence/internal/ports"
	"ringfence/internal/telephony"
	"ringfence/internal/version"
)

// consoleEvery is how often the console is told what changed.
const consoleEvery = 2 * time.Second

// ConsoleStatus is what the console screen shows of the PBX.
type ConsoleStatus struct {
	State       string   `json:"state"` // "setup" or "running"
	URLs        []string `json:"urls"`
	Fingerprint string   `json:"fingerprint"`
	Token       string   `json:"token,omitempty"`
	Version     string   `json:"version"`
	Extensions  int      `json:"extensions"`
	Registered  int      `json:"registered"`
	Calls       int      `json:"calls"`
	Warnings    []string `json:"warnings,omitempty"`
	SSH         string   `json:"ssh,omitempty"`     // how to log in to the operator shell; empty while it is off
	SSHKey      string   `json:"ssh_key,omitempty"` // fingerprint of its host key
}

// notify tells the supervisor: ready now, alive while the PBX answers, and
// what the console may show. It does nothing where nobody listens.
func (p *PBX) notify(ctx context.Context) {
	watchdog, err := daemon.SdWatchdogEnabled(false)
	if err != nil {
		p.log.Warn("watchdog setting not understood", "err", err)
	}
	every := consoleEvery
	if watchdog > 0 {
		every = min(every, watchdog/3)
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	send(p.log, "READY=1")
	last := ""
	for {
		if text := p.console(); text != last {
			send(p.log, "X_CONSOLE="+text)
			last = text
		}
		if p.alive(ctx) {
			send(p.log, daemon.SdNotifyWatchdog)
		}
		select {
		case <-ctx.Done():
			send(p.log, daemon.SdNotifyStopping)
			return
		case <-tick.C:
		}
	}
}

func send(log *slog.Logger, state string) {
	if _, err := daemon.SdNotify(false, state); err != nil {
		log.Debug("supervisor not told", "err", err)
	}
}

// alive asks the parts that a hang would show in: the store answers reads, and
// the listeners that should be open are.
func (p *PBX) alive(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	if _, err := p.store.System().Users(ctx); err != nil && ctx.Err() == nil {
		p.log.Error("database does not answer", "err", err)
		return false
	}
	return ctx.Err() == nil
}

func (p *PBX) console() string {
	s := p.store.Snapshot()
	c := ConsoleStatus{State: "running", Fingerprint: p.certs.Fingerprint(), Token: p.wizard.Token(), Version: version.String(), URLs: p.urls()}
	if !s.Settings.SetupDone {
		c.State = "setup"
	}
	for _, t := range s.Tenants() {
		c.Extensions += len(s.Extensions(t.ID))
	}
	c.Registered = p.telephone.location.Len()
	c.Calls = len(p.telephone.calls.Calls(0))
	c.Warnings = append(c.Warnings, p.warnings...)
	if err := p.store.Health(); err != nil {
		c.Warnings = append(c.Warnings, err.Error())
	}
	c.Warnings = append(c.Warnings, p.networkWarning()...)
	if off := p.filterOff(); off != "" {
		c.Warnings = append(c.Warnings, off)
	}
	c.Warnings = append(c.Warnings, p.trialWarning()...)
	c.Warnings = append(c.Warnings, p.certificateNotices(time.Now())...)
	if e, bad := p.applied.failed(); bad {
		c.Warnings = append(c.Warnings, e.Subsystem+": "+e.Err)
	}
	if c.SSHKey = p.api.ShellHostKey(); c.SSHKey != "" {
		c.SSH = p.shellAddress()
	}
	text, err := json.Marshal(c)
	if err != nil {
		return "{}"
	}
	return string(text)
}

// filterOff is what everybody is told for as long as nothing is filtered.
func (p *PBX) filterOff() string {
	if p.machine.Cloud == "" || !p.store.Snapshot().Settings.FilterOff {
		return ""
	}
	return "The packet filter is switched off entirely: blocked and banned addresses get through, and floods are not limited. Only the rules of the cloud protect this machine."
}

// revertedShown is how long the console says that the network returned.
const revertedShown = 15 * time.Minute

// networkWarning tells at the machine what somebody who is cut off cannot see.
func (p *PBX) networkWarning() []string {
	s, err := p.fence.status(context.Background())
	if err != nil {
		return nil
	}
	if until := s.AddressesConfirmUntil; !until.IsZero() {
		return []string{fmt.Sprintf("The network was changed and returns to what it was at %s UTC, unless that is confirmed in the portal or with: ringfence network confirm", until.UTC().Format(time.TimeOnly))}
	}
	if r := s.AddressesReverted; r != nil && time.Since(r.At) < revertedShown {
		return []string{fmt.Sprintf("A change of the network was taken back at %s UTC: %s", r.At.UTC().Format(time.TimeOnly), r.Reason)}
	}
	return nil
}

// trialWarning is networkWarning for changes of settings.
func (p *PBX) trialWarning() []string {
	left, reverted := p.trials.State()
	if left > 0 {
		until := time.Now().Add(left).Round(time.Second)
		return []string{fmt.Sprintf("Settings were changed and return to what they were at %s UTC, unless that is confirmed in the portal or with: ringfence trial confirm", until.UTC().Format(time.TimeOnly))}
	}
	if reverted != nil {
		return []string{fmt.Sprintf("A change of settings was taken back at %s UTC: %s", reverted.At.UTC().Format(time.TimeOnly), reverted.Reason)}
	}
	return nil
}

// urls are the portal's addresses, the set-up page until set-up is done.
func (p *PBX) urls() []string {
	on, err := p.services()
	if err != nil {
		return nil
	}
	portal, ok := ports.Lookup(on, ports.Portal)
	if !ok {
		return nil
	}
	path := "/"
	if !p.store.Snapshot().Settings.SetupDone {
		path = "/setup"
	}
	var all []string
	for _, a := range p.reachable() {
		all = append(all, "https://"+net.JoinHostPort(a.String(), portal.Ports())+path)
	}
	return all
}

// shellAddress is how to log in to the operator shell.
func (p *PBX) shellAddress() string {
	on, err := p.services()
	row, ok := ports.Lookup(on, ports.SSH)
	all := p.reachable()
	if err != nil || !ok || len(all) == 0 {
		return ""
	}
	return fmt.Sprintf("ssh -p %s %s@%s", row.Ports(), telephony.SSHUser, all[0])
}

// maxURLs bounds what the console lists.
const maxURLs = 6

// reachable are the addresses of this machine others can use.
func (p *PBX) reachable() []netip.Addr {
	if p.opts.Listen.IsValid() && !p.opts.Listen.IsUnspecified() {
		return []netip.Addr{p.opts.Listen}
	}
	found, err := net.InterfaceAddrs()
	if err != nil {
		return nil
	}
	var v4, v6 []netip.Addr
	for _, a := range found {
		prefix, err := netip.ParsePrefix(a.String())
		if err != nil {
			continue
		}
		switch addr := prefix.Addr().Unmap(); {
		case addr.IsLoopback() || addr.IsLinkLocalUnicast():
		case addr.Is4():
			v4 = append(v4, addr)
		default:
			v6 = append(v6, addr)
		}
	}
	all := append(append(p.machine.names(), v4...), v6...)
	return all[:min(len(all), maxURLs)]
}
