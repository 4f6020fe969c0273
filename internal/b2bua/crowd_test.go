package b2bua

import (
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"ringfence/internal/sip"
	"ringfence/internal/telephony"
)

// RealTrunks are trunks that count calls as the product does.
type RealTrunks interface {
	Trunks
	Reconcile(*telephony.Snapshot)
	State(telephony.Trunk) telephony.TrunkState
	Close()
}

// lateTrunks are known only when the endpoint is.
type lateTrunks struct{ RealTrunks }

const crowdSize = 500

// CrowdAtOnce has 500 phones call the outside at the same moment, over trunks that
// come from outside of this package: internal/trunk imports it.
func CrowdAtOnce(t *testing.T, make func(*sip.Endpoint, func() *telephony.Snapshot, *slog.Logger) RealTrunks) {
	inTime(t, func(t *testing.T) {
		late := &lateTrunks{}
		s := newStack(t, func(c *Config) { c.Trunks = late })
		trunks := two()
		for i := range trunks {
			trunks[i].Tenant, trunks[i].Host, trunks[i].Port, trunks[i].Transport = 1, "192.0.2.50", uint16(7001+i), telephony.TrunkUDP
			trunks[i].PeerPort = trunks[i].Port
		}
		trunks[0].MaxCalls, trunks[1].MaxCalls = 50, 100
		s.route(trunks, func(r *telephony.Routing) { r.MaxCalls = 120 })
		phones := s.crowd(trunks)
		late.RealTrunks = make(s.ep, s.snap.Load, slog.New(slog.NewTextHandler(io.Discard, nil)))
		defer late.Close()
		late.Reconcile(s.snap.Load())
		synctest.Wait()
		p, q := s.phone("provider", 7001), s.phone("provider", 7002)

		for wave := range 2 {
			calls := dialAll(phones)
			first, second := ringing(p), ringing(q)
			synctest.Wait()
			refused := 0
			for i, x := range phones {
				for _, m := range x.drain() {
					if n := atoi(m[8:11]); n == 503 && calls[i] != nil {
						refused++
						calls[i].refuseAck(m)
						calls[i] = nil
					}
				}
			}
			if len(first) != 50 || len(second) != 70 || refused != crowdSize-120 {
				t.Fatalf("wave %d: the trunks got %d and %d INVITEs, %d callers 503; want 50, 70 and %d", wave, len(first), len(second), refused, crowdSize-120)
			}
			if a, b := late.State(trunks[0]).Calls, late.State(trunks[1]).Calls; a != 50 || b != 70 {
				t.Errorf("the trunks count %d and %d calls", a, b)
			}
			s.overEveryWay(p, q, first, second, phones, calls)
			if a, b := late.State(trunks[0]).Calls, late.State(trunks[1]).Calls; a != 0 || b != 0 || len(s.svc.Calls(1)) != 0 || s.media.open.Load() != 0 {
				t.Fatalf("wave %d: the trunks still count %d and %d calls; %d are live with %d media legs", wave, a, b, len(s.svc.Calls(1)), s.media.open.Load())
			}
		}
	})
}

// crowd is an extension with a phone for each of them.
func (s *stack) crowd(trunks []telephony.Trunk) (phones []*phone) {
	old := s.snap.Load()
	var all []telephony.Extension
	for i := range crowdSize {
		n := fmt.Sprint(1000 + i)
		all = append(all, telephony.Extension{Tenant: 1, Number: n, Role: telephony.RoleInternational, HA1: hexMD5(n + ":a.test:pw" + n)})
		phones = append(phones, s.phone(n, uint16(10000+i)))
	}
	s.snap.Store(telephony.NewSnapshot(old.Rev+1, old.Settings, old.Tenants(), all).
		WithRouting(trunks, map[telephony.TenantID]telephony.Routing{1: *old.Routing(1)}))
	return phones
}

// dialAll has all phones dial at once, and returns when all calls are trying.
func dialAll(phones []*phone) []*dialogue {
	calls := make([]*dialogue, len(phones))
	var wg sync.WaitGroup
	for i, x := range phones {
		wg.Go(func() { calls[i] = x.dial("00891234567", "v=0 offer") })
	}
	wg.Wait()
	synctest.Wait()
	return calls
}

// ringing answers every INVITE that came with 180 and returns them.
func ringing(p *phone) (invites []string) {
	for _, m := range p.drain() {
		if strings.HasPrefix(m, sip.INVITE+" ") {
			invites = append(invites, m)
			p.reply(m, 180, fmt.Sprint("p", len(invites)), "")
		}
	}
	return invites
}

// overEveryWay ends calls: the first trunk is busy or answers and hangs up, the
// callers of the second give up.
func (s *stack) overEveryWay(p, q *phone, first, second []string, phones []*phone, calls []*dialogue) {
	for i, inv := range first {
		tag := fmt.Sprint("p", i+1)
		if i%2 == 0 {
			p.reply(inv, 486, tag, "")
			continue
		}
		p.reply(inv, 200, tag, "v=0 answer")
		synctest.Wait()
		p.dialogueOf(inv, tag).request(sip.BYE, "")
	}
	synctest.Wait()
	for i, x := range phones {
		over := false
		for _, m := range x.drain() {
			switch {
			case strings.HasPrefix(m, "SIP/2.0 486"):
				calls[i].refuseAck(m)
				over = true
			case strings.HasPrefix(m, "SIP/2.0 200"):
				calls[i].learn(m)
				calls[i].request(sip.ACK, "")
				over = true
			case strings.HasPrefix(m, sip.BYE):
				x.reply(m, 200, "", "")
			}
		}
		if calls[i] != nil && !over {
			calls[i].request(sip.CANCEL, "")
		}
	}
	synctest.Wait()
	for i, inv := range second {
		q.reply(inv, 487, fmt.Sprint("p", i+1), "")
	}
	for range 70 {
		time.Sleep(time.Second)
		for _, x := range append(phones, p, q) {
			for _, m := range x.drain() {
				if method, _, _ := strings.Cut(m, " "); method == sip.BYE || method == sip.CANCEL {
					x.reply(m, 200, "", "")
				}
			}
		}
	}
	synctest.Wait()
}
