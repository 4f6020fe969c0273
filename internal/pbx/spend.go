package pbx

import (
	"context"
	"log/slog"
	"slices"
	"sync"

	"ringfence/internal/b2bua"
	"ringfence/internal/fraud"
	"ringfence/internal/sip"
	"ringfence/internal/store"
	"ringfence/internal/telephony"
)

// Bounds of the alarms about what calls cost.
const (
	alarmQueue  = 64  // not written yet; more are in the log only
	alarmsShown = 200 // of all tenants, the newest
)

// spender asks the fraud guard for calls, and writes its alarms down.
type spender struct {
	guard *fraud.Guard
	log   *slog.Logger
	queue chan fraud.Alarm

	mu     sync.Mutex
	recent []fraud.Alarm
}

func newSpender(snapshot func() *telephony.Snapshot, log *slog.Logger) *spender {
	s := &spender{log: log, queue: make(chan fraud.Alarm, alarmQueue)}
	s.guard = fraud.New(fraud.Config{Snapshot: snapshot, Alarm: s.alarm})
	return s
}

// spend admits a call to the outside, or refuses it with 403: nobody is to try
// again (RFC 3261 section 21.4.4).
func (s *spender) spend(o b2bua.Outside) (b2bua.Meter, *sip.Reply) {
	if o.Emergency {
		return nil, nil
	}
	m, err := s.guard.Ask(fraud.Call{
		ID: o.Call, Tenant: o.Tenant, Account: o.Account, Number: o.Number, Country: o.Country,
		Trunk: o.Trunk, Rate: o.Rate, HasRate: o.HasRate, Cut: o.Cut,
	})
	if err != nil {
		s.log.Warn("a call to the outside is refused: it would cost too much", slog.String("call", string(o.Call)), slog.Int64("tenant", int64(o.Tenant)),
			slog.String("extension", o.Account), slog.String("class", string(o.Class)), slog.Any("reason", err))
		return nil, &sip.Reply{Code: 403}
	}
	return m, nil
}

func (s *spender) alarm(a fraud.Alarm) {
	s.log.Warn("what calls cost raises an alarm", slog.Int64("tenant", int64(a.Tenant)), slog.String("extension", a.Account),
		slog.String("subject", a.Subject), slog.String("kind", string(a.Kind)), slog.String("detail", a.Detail))
	s.mu.Lock()
	s.recent = append(s.recent, a)
	if n := len(s.recent); n > alarmsShown {
		s.recent = slices.Delete(s.recent, 0, n-alarmsShown)
	}
	s.mu.Unlock()
	select {
	case s.queue <- a:
	default:
	}
}

// alarms are those of a tenant, the newest first.
func (s *spender) alarms(tenant telephony.TenantID) (out []fraud.Alarm) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, a := range slices.Backward(s.recent) {
		if a.Tenant == tenant {
			out = append(out, a)
		}
	}
	return out
}

// run writes alarms into the history of their tenants, until ctx ends.
func (s *spender) run(ctx context.Context, st *store.Store) {
	for {
		select {
		case <-ctx.Done():
			return
		case a := <-s.queue:
			details := map[string]string{"kind": string(a.Kind), "subject": a.Subject, "detail": a.Detail}
			if err := st.ForTenant(a.Tenant).Record(ctx, telephony.Actor{Kind: telephony.ActorSystem, Name: "fraud"}, "fraud.alarm", a.Account, details); err != nil && ctx.Err() == nil {
				s.log.Error("alarm not written into the history", "err", err)
			}
		}
	}
}
