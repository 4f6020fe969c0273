package pbx

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"reflect"
	"slices"
	"strconv"
	"time"

	"ringfence/internal/acme"
	"ringfence/internal/certs"
	"ringfence/internal/ports"
	"ringfence/internal/store"
	"ringfence/internal/telephony"
)

// expiryNotice is how long before its end a certificate is spoken of. One that
// renews itself is renewed before, unless something is wrong.
const expiryNotice = 14 * 24 * time.Hour

// newACME makes the agent that asks for certificates.
func (p *PBX) newACME() *acme.Agent {
	return acme.New(acme.Config{
		Dir: p.opts.DataDir, Settings: func() telephony.ACME { return p.store.Snapshot().Settings.ACME },
		Listen: p.challengeListener, Own: p.reachedBy, Current: p.certs.ACMELeaf, Keep: p.keepCertificate,
		AllowLoopback: p.opts.Dev, Logger: p.log.With("part", "acme"),
	})
}

// challengeListener opens the port of ACME's challenges. Only the fence may, and
// it closes it again whatever becomes of us; where there is none, the system has
// to let us have it.
func (p *PBX) challengeListener(ctx context.Context) (net.Listener, error) {
	if p.fence != nil {
		return p.fence.client.OpenChallenge(ctx, acme.Window)
	}
	row, _ := ports.Lookup(ports.Table(), ports.ACME)
	host := ""
	if p.opts.Listen.IsValid() {
		host = p.opts.Listen.String()
	}
	var lc net.ListenConfig
	lc.SetMultipathTCP(false)
	l, err := lc.Listen(ctx, "tcp", net.JoinHostPort(host, strconv.Itoa(int(row.First))))
	if err != nil {
		return nil, fmt.Errorf("this machine has no fence, which could open the port for us: %w", err)
	}
	return l, nil
}

// reachedBy are the addresses that lead to this machine: its own, and those the
// world knows it by.
func (p *PBX) reachedBy() []netip.Addr {
	var out []netip.Addr
	add := func(a netip.Addr) {
		if a = a.Unmap().WithZone(""); a.IsValid() && !slices.Contains(out, a) && (!a.IsLoopback() || p.opts.Dev) {
			out = append(out, a)
		}
	}
	if list, err := net.InterfaceAddrs(); err == nil {
		for _, n := range list {
			if prefix, err := netip.ParsePrefix(n.String()); err == nil {
				add(prefix.Addr())
			}
		}
	}
	s := p.machine.advertise(p.store.Snapshot().Settings)
	add(s.PublicAddress)
	for _, a := range s.PublicAddresses {
		add(a.Public)
	}
	return out
}

// keepCertificate keeps what an authority gave. The first one is put in force,
// unless somebody chose another.
func (p *PBX) keepCertificate(ctx context.Context, chain, key string) error {
	c, err := p.certs.PutACME(chain, key)
	if err != nil {
		return err
	}
	_, err = p.store.System().Update(ctx, telephony.Actor{Kind: telephony.ActorSystem, Name: "acme"}, func(tx *store.Tx) error {
		if err := tx.NoteCertificate("obtain", c.ID, c.Names()); err != nil {
			return err
		}
		settings, err := tx.Settings()
		if err != nil || settings.Certificate != certs.Standard || p.certs.InForce().Source != certs.MadeHere {
			return err
		}
		settings.Certificate = c.ID
		return tx.PutSettings(settings)
	})
	return err
}

// observeACME tells the agent of other settings.
func (p *PBX) observeACME(s *telephony.Snapshot) {
	if p.asked != nil && reflect.DeepEqual(*p.asked, s.Settings.ACME) {
		return
	}
	first := p.asked == nil
	now := s.Settings.ACME
	p.asked = &now
	if !first { // a restart is no reason to ask an authority again
		p.acme.Changed()
	}
}

// observeCertificate makes calls from now on with another certificate of their
// own, when that in force is another one: who replaces a certificate because its
// key got out wants no key of that time to go on.
func (p *PBX) observeCertificate() {
	now := p.certs.Fingerprint()
	if p.shown != "" && p.shown != now {
		p.telephone.media.RenewCertificate()
		p.log.Info("certificate in force", "fingerprint", now)
	}
	p.shown = now
}

// certificateNotices are what an administrator should know about certificates.
func (p *PBX) certificateNotices(now time.Time) []string {
	var out []string
	inForce := p.certs.InForce()
	for _, c := range p.certs.List() {
		left := c.Leaf.NotAfter.Sub(now)
		if c.Source == certs.MadeHere || left >= expiryNotice || c.ID == certs.Standard && inForce.ID != certs.Standard {
			continue
		}
		name := "The certificate of " + certs.Title(c.Leaf)
		if c.ID == inForce.ID {
			name += ", which is in force,"
		}
		if left <= 0 {
			out = append(out, fmt.Sprintf("%s has expired on %s: browsers and phones refuse it. Replace it under Certificates.", name, c.Leaf.NotAfter.UTC().Format(time.DateOnly)))
			continue
		}
		out = append(out, fmt.Sprintf("%s expires in %d days, on %s.", name, certs.DaysLeft(c.Leaf, now), c.Leaf.NotAfter.UTC().Format(time.DateOnly)))
	}
	if chosen := p.store.Snapshot().Settings.Certificate; chosen != inForce.ID {
		out = append(out, "The certificate that was chosen is not there; the one of the data folder is shown instead.")
	}
	if st := p.acme.State(); st.Failures > 0 && p.store.Snapshot().Settings.ACME.Enabled {
		out = append(out, fmt.Sprintf("No certificate could be obtained: %s. The next attempt is at %s.", st.Error, st.Next.UTC().Format("2006-01-02 15:04 UTC")))
	}
	return append(out, p.certs.Faults()...)
}
