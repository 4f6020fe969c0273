package wsi

import (
	"cmp"
	"context"
	"encoding/json"
	"slices"
	"time"

	"ringfence/internal/events"
	"ringfence/internal/store"
	"ringfence/internal/telephony"
)

// feedBuffer is how many events may wait. When there are more, everything is
// read anew and only what differs is told.
const feedBuffer = 8192

type extKey struct {
	tenant telephony.TenantID
	number string
}

// feed turns events and changes of settings into the items of the hub. One
// goroutine runs it.
type feed struct {
	s     *Server
	sub   *events.Subscription
	calls map[telephony.CallID]telephony.LiveCall
	// in are the calls of an extension, with the state of its leg.
	in map[extKey]map[telephony.CallID]telephony.LiveLeg
}

func newFeed(s *Server) *feed {
	f := &feed{s: s, sub: s.cfg.Bus.Subscribe(feedBuffer)}
	f.load()
	return f
}

func (f *feed) run(ctx context.Context) {
	changes := f.s.cfg.Store.Subscribe()
	defer changes.Close()
	defer func() { f.sub.Close() }()
	fresh := time.NewTicker(f.s.limits.fresh)
	defer fresh.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case e := <-f.sub.C:
			if f.sub.Lost() > 0 {
				f.again()
				continue
			}
			f.event(e)
		case <-changes.C:
			f.settings(changes.Take())
		case <-fresh.C:
			f.refresh()
		}
	}
}

// again reads everything anew after events were lost.
func (f *feed) again() {
	f.s.cfg.Logger.Warn("events came faster than the WebSocket interface reads them; everything is read anew", "lost", f.sub.Lost())
	f.sub.Close()
	f.sub = f.s.cfg.Bus.Subscribe(feedBuffer)
	f.load()
	f.s.hub.lost(CDR)
	f.s.hub.lost(Security)
}

// load brings calls, registrations and extensions to what they are now.
func (f *feed) load() {
	f.calls, f.in = map[telephony.CallID]telephony.LiveCall{}, map[extKey]map[telephony.CallID]telephony.LiveLeg{}
	snap := f.s.cfg.Store.Snapshot()
	for _, t := range snap.Tenants() {
		for _, c := range f.s.cfg.Live.Calls(t.ID) {
			f.call(c)
		}
	}
	f.s.hub.keep(Calls, func(_ telephony.TenantID, key string) bool { _, ok := f.calls[telephony.CallID(key)]; return ok })
	for _, t := range snap.Tenants() {
		for _, e := range snap.Extensions(t.ID) {
			f.phones(extKey{t.ID, e.Number})
		}
	}
	f.tidy(snap)
}

// tidy takes away what belongs to extensions, trunks and tenants that are gone.
func (f *feed) tidy(snap *telephony.Snapshot) {
	there := func(t telephony.TenantID, number string) bool { _, ok := snap.Extension(t, number); return ok }
	f.s.hub.keep(Extensions, there)
	f.s.hub.keep(Registrations, there)
	f.s.hub.keep(Trunks, func(t telephony.TenantID, key string) bool {
		return slices.ContainsFunc(snap.Trunks(t), func(have telephony.Trunk) bool { return trunkKey(have.ID) == key })
	})
	f.s.hub.forget(func(t telephony.TenantID) bool { _, ok := snap.Tenant(t); return ok || t == telephony.System })
}

// settings follows a change of settings.
func (f *feed) settings(c store.Change) {
	if c.Has(store.KindUser) || c.Has(store.KindRole) || c.Has(store.KindTenant) {
		f.s.recheck()
	}
	snap := f.s.cfg.Store.Snapshot()
	if c.Has(store.KindExtension) || c.Has(store.KindTenant) {
		for _, t := range snap.Tenants() {
			if !slices.Contains(c.Tenants, t.ID) && !c.Has(store.KindTenant) {
				continue
			}
			for _, e := range snap.Extensions(t.ID) {
				f.phones(extKey{t.ID, e.Number})
			}
		}
	}
	f.tidy(snap)
}

func (f *feed) event(e events.Event) {
	switch e := e.(type) {
	case events.RegistrationChanged:
		snap := f.s.cfg.Store.Snapshot()
		if t, ok := snap.TenantByDomain(e.AOR.Domain); ok {
			f.phones(extKey{t.ID, e.AOR.User})
		}
	case events.CallStarted:
		f.call(e.Call)
	case events.CallChanged:
		f.call(e.Call)
	case events.CallAlarm:
		f.call(e.Call)
	case events.CallEnded:
		f.ended(e.Record)
	case events.AddressBanned:
		f.s.hub.happened(Security, &row{tenant: telephony.System, key: e.Addr.String(), item: encode(f.s.cfg.Views.Attack(e))})
	case events.TrunkChanged:
		f.trunk(e.State)
	}
}

// call takes a call as it is now.
func (f *feed) call(c telephony.LiveCall) {
	before := f.calls[c.ID].Legs
	f.leave(c.ID)
	f.calls[c.ID] = c
	r := &row{tenant: c.Tenant, key: string(c.ID), item: encode(f.s.cfg.Views.Call(c)), own: map[string]json.RawMessage{}}
	for _, l := range c.Legs {
		k := extKey{c.Tenant, l.Number}
		if f.in[k] == nil {
			f.in[k] = map[telephony.CallID]telephony.LiveLeg{}
		}
		f.in[k][c.ID] = l
		r.own[l.Number] = encode(f.s.cfg.Views.Call(ownCall(c, l)))
	}
	f.s.hub.put(Calls, r)
	for _, l := range slices.Concat(before, c.Legs) {
		f.extension(extKey{c.Tenant, l.Number})
	}
}

// ended takes a call away and brings its record.
func (f *feed) ended(rec telephony.CallRecord) {
	c, known := f.calls[rec.ID]
	f.leave(rec.ID)
	delete(f.calls, rec.ID)
	f.s.hub.remove(Calls, rec.Tenant, string(rec.ID))
	r := &row{tenant: rec.Tenant, key: string(rec.ID), item: encode(f.s.cfg.Views.Record(rec)), own: map[string]json.RawMessage{}}
	if known {
		for _, l := range c.Legs {
			r.own[l.Number] = encode(f.s.cfg.Views.Record(ownRecord(rec, c.Hidden, l)))
		}
	}
	f.s.hub.happened(CDR, r)
	for _, l := range c.Legs {
		f.extension(extKey{rec.Tenant, l.Number})
	}
}

// leave forgets in which calls the extensions of a call's legs are.
func (f *feed) leave(id telephony.CallID) {
	c := f.calls[id]
	for _, l := range c.Legs {
		k := extKey{c.Tenant, l.Number}
		delete(f.in[k], id)
		if len(f.in[k]) == 0 {
			delete(f.in, k)
		}
	}
}

// ownCall is a call as the extension of one of its legs may see it: not from
// where the other side calls, nor who that is if it withholds its number.
func ownCall(c telephony.LiveCall, own telephony.LiveLeg) telephony.LiveCall {
	c.Caller, c.Callee = ownParties(c.Caller, c.Callee, c.Hidden, own)
	return c
}

func ownRecord(r telephony.CallRecord, hidden bool, own telephony.LiveLeg) telephony.CallRecord {
	r.Caller, r.Callee = ownParties(r.Caller, r.Callee, hidden, own)
	return r
}

func ownParties(caller, callee telephony.Party, hidden bool, own telephony.LiveLeg) (telephony.Party, telephony.Party) {
	none := telephony.Party{}.Addr
	if own.Placed {
		callee.Addr = none
		return caller, callee
	}
	caller.Addr = none
	if hidden {
		caller = telephony.Party{Number: "anonymous"}
	}
	return caller, callee
}

// extension brings an extension to what it is now.
func (f *feed) extension(k extKey) {
	snap := f.s.cfg.Store.Snapshot()
	t, there := snap.Tenant(k.tenant)
	e, ok := snap.Extension(k.tenant, k.number)
	if !there || !ok {
		return
	}
	phones, calls := f.s.cfg.Live.Bindings(telephony.AOR{User: e.Number, Domain: t.Domain}), f.in[k]
	f.s.hub.put(Extensions, ownRow(k, Extension{
		Number: e.Number, DisplayName: e.DisplayName, State: stateOf(len(phones), calls),
		Registrations: len(phones), Calls: len(calls), DoNotDisturb: e.Handling.DoNotDisturb,
	}))
}

// phones brings an extension and its registrations to what they are now.
func (f *feed) phones(k extKey) {
	f.extension(k)
	snap := f.s.cfg.Store.Snapshot()
	t, _ := snap.Tenant(k.tenant)
	_, ok := snap.Extension(k.tenant, k.number)
	list := f.s.cfg.Live.Bindings(telephony.AOR{User: k.number, Domain: t.Domain})
	if !ok || len(list) == 0 {
		f.s.hub.remove(Registrations, k.tenant, k.number)
		return
	}
	slices.SortFunc(list, func(a, b telephony.Binding) int {
		return cmp.Or(cmp.Compare(a.Contact, b.Contact), cmp.Compare(a.RegID, b.RegID))
	})
	of := Registered{Number: k.number}
	for _, b := range list {
		of.Phones = append(of.Phones, Phone{
			Contact: b.ShownContact(), UserAgent: b.UserAgent, Source: b.Flow.Remote.String(), Listener: string(b.Flow.Listener), NAT: b.NAT,
		})
	}
	f.s.hub.put(Registrations, ownRow(k, of))
}

// ownRow is an item that the extension itself sees as everybody does.
func ownRow(k extKey, item any) *row {
	raw := encode(item)
	return &row{tenant: k.tenant, key: k.number, item: raw, own: map[string]json.RawMessage{k.number: raw}}
}

// stateOf is what an extension does.
func stateOf(phones int, calls map[telephony.CallID]telephony.LiveLeg) string {
	rings := false
	for _, l := range calls {
		if l.Placed || l.State == telephony.CallConnected || l.State == telephony.CallHeld {
			return "busy"
		}
		rings = true
	}
	switch {
	case rings:
		return "ringing"
	case phones == 0:
		return "offline"
	}
	return "idle"
}

func trunkKey(id telephony.TrunkID) string { return tenantText(telephony.TenantID(id)) }

func (f *feed) trunk(t telephony.TrunkState) {
	if _, ok := f.s.cfg.Store.Snapshot().Trunk(t.Tenant, t.Trunk); !ok {
		return // gone already
	}
	f.s.hub.put(Trunks, &row{tenant: t.Tenant, key: trunkKey(t.Trunk), item: encode(Trunk{
		ID: int64(t.Trunk), Name: t.Name, Condition: string(t.Condition), Since: timeText(t.Since), Reason: t.Reason,
		Target: t.Target, RegisteredUntil: timeText(t.Registered), Calls: t.Calls, MaxCalls: t.MaxCalls,
		RTTMs: float64(t.RTT.Microseconds()) / 1000,
	})})
}

func timeText(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339Nano)
}

// refresh brings the quality of calls up to date, of which no event tells. It
// adds and removes nothing.
func (f *feed) refresh() {
	for _, t := range f.s.cfg.Store.Snapshot().Tenants() {
		for _, now := range f.s.cfg.Live.Calls(t.ID) {
			// A call whose state differs is told of by an event that is under way.
			if was, ok := f.calls[now.ID]; ok && was.State == now.State && slices.Equal(was.Legs, now.Legs) {
				f.call(now)
			}
		}
	}
}

func encode(v any) json.RawMessage {
	raw, err := json.Marshal(v)
	if err != nil {
		return json.RawMessage("null")
	}
	return raw
}
