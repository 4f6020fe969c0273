package pbx

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"time"

	"ringfence/internal/ports"
)

// ready writes the facts and says so.
func (p *PBX) ready() error {
	p.facts.DataDir = p.opts.DataDir
	p.facts.Admin.Token = p.wizard.Token()
	p.facts.Listeners = p.listeners()
	for _, l := range p.facts.Listeners {
		if l.ID == ports.Portal {
			p.facts.Admin.URL = "https://" + netip.AddrPortFrom(l.Addr, l.Port).String() + "/"
		}
	}
	if p.opts.FactsFile != "" {
		if err := p.facts.write(p.opts.FactsFile); err != nil {
			return err
		}
	}
	if p.opts.Greet != nil {
		p.greet(p.opts.Greet)
	}
	p.log.Info("PBX is up", "listeners", len(p.facts.Listeners), "setup_done", p.wizard.Finished())
	return nil
}

func (p *PBX) listeners() (all []ListenerFacts) {
	on, err := p.services()
	if err != nil {
		return nil
	}
	for _, s := range on {
		var at netip.AddrPort
		switch {
		case s.Wrap == ports.RTP:
			continue
		case s.IsSignalling():
			at, _ = p.sipAddr(s.ID)
		default:
			if a, ok := p.web.Addr(s.ID).(*net.TCPAddr); ok {
				at = a.AddrPort()
			}
		}
		if at.IsValid() {
			all = append(all, ListenerFacts{ID: s.ID, Proto: s.Proto, Addr: at.Addr().Unmap(), Port: at.Port()})
		}
	}
	return all
}

// Facts tell how to reach this PBX.
func (p *PBX) Facts() Facts { return p.facts }

// greet tells the developer where to go.
func (p *PBX) greet(out io.Writer) {
	const shown = 10
	fmt.Fprintf(out, "\nRingfence for development: no packet filter is active.\n\n  portal  %s\n", p.facts.Admin.URL)
	if p.facts.Admin.Password != "" {
		fmt.Fprintf(out, "  log in  %s  %s\n\n", p.facts.Admin.User, p.facts.Admin.Password)
	}
	for i, e := range p.facts.Extensions {
		if i == shown {
			fmt.Fprintf(out, "  ... and %d more (-facts FILE has all)\n", len(p.facts.Extensions)-shown)
			break
		}
		fmt.Fprintf(out, "  phone   %s@%s  %s\n", e.SIPUser, e.Domain, e.SIPPassword)
	}
	for _, l := range p.facts.Listeners {
		fmt.Fprintf(out, "  %-18s %s/%s\n", l.ID, netip.AddrPortFrom(l.Addr, l.Port), l.Proto)
	}
	fmt.Fprintln(out)
}

// Close ends calls, listeners and everything else, in the order that lets each
// part say good-bye. It may be called on a PBX that did not come up whole, and
// more than once.
func (p *PBX) Close() error {
	p.closing.Do(func() { p.closed = p.close() })
	return p.closed
}

func (p *PBX) close() error {
	var errs []error
	if p.stop != nil {
		p.stop()
	}
	if p.api != nil {
		p.api.Close()
	}
	if p.wsi != nil {
		p.wsi.Close()
	}
	if p.web != nil {
		errs = append(errs, p.web.Close())
	}
	if p.operator != nil {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		errs = append(errs, p.operator.Shutdown(ctx))
		cancel()
	}
	if p.telephone != nil {
		errs = append(errs, p.telephone.close())
	}
	if p.spender != nil { // after the calls
		p.spender.guard.Close()
	}
	if p.network != nil {
		p.network.wg.Wait()
	}
	errs = append(errs, p.fence.close())
	if p.stopRecords != nil {
		p.stopRecords() // after the calls, whose records it writes
	}
	p.wg.Wait()
	if p.logins != nil {
		errs = append(errs, p.logins.Close())
	}
	if p.store != nil {
		errs = append(errs, p.store.Close())
	}
	if p.temp != "" {
		errs = append(errs, os.RemoveAll(p.temp))
	}
	return errors.Join(errs...)
}

// Registered is how many bindings are live.
func (p *PBX) Registered() int { return p.telephone.location.Len() }

// Warnings are what went wrong at the start, for people.
func (p *PBX) Warnings() []string { return p.warnings }
