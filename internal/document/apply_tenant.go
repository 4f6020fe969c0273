package document

import (
	"errors"

	"ringfence/internal/login"
	"ringfence/internal/store"
	"ringfence/internal/telephony"
)

// generatedLength is that of SIP passwords of new extensions whose passwords the
// document does not tell, in characters.
const generatedLength = 24

// tenantApplier makes one tenant as a document says, in its own scope.
type tenantApplier struct {
	applier
	tx    *store.Tx
	path  string
	was   *Tenant
	is    Tenant
	names map[string]telephony.TrunkID // of trunks
}

func (t *tenantApplier) policies() error {
	return errors.Join(
		t.at(t.path+".sign_in", t.tx.PutSignIn(t.is.SignIn)),
		t.at(t.path+".keeping", t.tx.PutKeeping(t.is.Keeping)))
}

func (t *tenantApplier) roles() error {
	return each(t.applier, t.path+".roles", t.was.Roles, t.is.Roles, func(old *telephony.RoleDefinition, r telephony.RoleDefinition) error {
		r.Tenant, r.BuiltIn = t.is.ID, false
		if old == nil {
			return t.tx.CreateRole(r)
		}
		return t.tx.PutRole(r)
	})
}

func (t *tenantApplier) schedules() error {
	return each(t.applier, t.path+".schedules", t.was.Schedules, t.is.Schedules, func(old *telephony.Schedule, s telephony.Schedule) error {
		s.Tenant = t.is.ID
		if old == nil {
			return t.tx.CreateSchedule(s)
		}
		return t.tx.PutSchedule(s.Name, s)
	})
}

func (t *tenantApplier) extensions() error {
	return each(t.applier, t.path+".extensions", t.was.Extensions, t.is.Extensions, func(old *Extension, e Extension) error {
		e.Tenant = t.is.ID
		if old == nil {
			e.ID, e.HA1, e.HA1SHA256, e.ProvisionPath = 0, "", "", ""
			password := e.SIPPassword.Reveal()
			if password == "" {
				password = login.GeneratePassword(generatedLength)
			}
			_, err := t.tx.CreateExtension(e.Extension, password)
			return err
		}
		if err := t.tx.PutExtension(e.Extension); err != nil || e.SIPPassword == "" || e.SIPPassword == old.SIPPassword {
			return err
		}
		return t.tx.SetSIPPassword(e.Number, e.SIPPassword.Reveal())
	})
}

func (t *tenantApplier) groups() error {
	return each(t.applier, t.path+".groups", t.was.Groups, t.is.Groups, func(old *telephony.Group, g telephony.Group) error {
		g.Tenant, g.ID = t.is.ID, 0
		if old == nil {
			_, err := t.tx.CreateGroup(g)
			return err
		}
		g.ID = old.ID
		return t.tx.PutGroup(g)
	})
}

func (t *tenantApplier) members() error {
	return t.users(t.tx, t.path+".users", t.was.Users, t.is.Users)
}

func (t *tenantApplier) trunks() error {
	t.names = make(map[string]telephony.TrunkID, len(t.was.Trunks))
	for _, old := range t.was.Trunks {
		t.names[old.Name] = old.ID
	}
	return each(t.applier, t.path+".trunks", t.was.Trunks, t.is.Trunks, func(old *telephony.Trunk, now telephony.Trunk) error {
		now.Tenant, now.ID = t.is.ID, 0
		if old == nil {
			made, err := t.tx.CreateTrunk(now)
			t.names[now.Name] = made.ID
			return err
		}
		now.ID = old.ID
		if err := t.tx.PutTrunk(now); err != nil {
			return err
		}
		return t.tx.PutRates(old.ID, now.Rates)
	})
}

// routes are routes over trunks by their names.
func (t *tenantApplier) routes(list string, named []Route) (out []telephony.Route, err error) {
	for _, r := range named {
		id, ok := t.names[r.Trunk]
		if !ok {
			return nil, &telephony.FieldError{Field: list, Reason: "names a trunk that does not exist"}
		}
		r.Route.Trunk = id
		out = append(out, r.Route)
	}
	return out, nil
}

func (t *tenantApplier) rules() error {
	r := t.is.Routing
	routes, err := t.routes("emergency_routes", r.Plan.EmergencyRoutes)
	if err == nil {
		plan := r.Plan.NumberingPlan
		plan.EmergencyRoutes = routes
		err = t.tx.PutRoutingSettings(telephony.Routing{
			Plan: plan, Currency: r.Currency, Night: r.Night, RejectAnonymous: r.RejectAnonymous, MaxCalls: r.MaxCalls, Caps: r.Caps, ExtensionCaps: r.ExtensionCaps,
		})
	}
	if err != nil {
		return t.at(t.path+".routing", err)
	}
	if err := each(t.applier, t.path+".outbound", t.was.Outbound, t.is.Outbound, t.outbound); err != nil {
		return err
	}
	if err := gone(t.applier, t.path+".outbound", t.was.Outbound, t.is.Outbound, func(r OutboundRule) error { return t.tx.DeleteOutboundRule(r.ID) }); err != nil {
		return err
	}
	if err := each(t.applier, t.path+".inbound", t.was.Inbound, t.is.Inbound, t.inbound); err != nil {
		return err
	}
	if err := gone(t.applier, t.path+".inbound", t.was.Inbound, t.is.Inbound, func(r InboundRule) error { return t.tx.DeleteInboundRule(r.ID) }); err != nil {
		return err
	}
	blocked := t.path + ".blocked"
	if err := each(t.applier, blocked, t.was.Blocked, t.is.Blocked, func(_ *telephony.CallerBlock, b telephony.CallerBlock) error { return t.tx.BlockCaller(b) }); err != nil {
		return err
	}
	return gone(t.applier, blocked, t.was.Blocked, t.is.Blocked, func(b telephony.CallerBlock) error { return t.tx.UnblockCaller(b.Caller) })
}

func (t *tenantApplier) outbound(old *OutboundRule, r OutboundRule) (err error) {
	rule := r.OutboundRule
	rule.Tenant, rule.ID = t.is.ID, 0
	if rule.Routes, err = t.routes("routes", r.Routes); err != nil {
		return err
	}
	if old == nil {
		_, err = t.tx.CreateOutboundRule(rule)
		return err
	}
	rule.ID = old.ID
	return t.tx.PutOutboundRule(rule)
}

func (t *tenantApplier) inbound(old *InboundRule, r InboundRule) error {
	rule := r.InboundRule
	rule.Tenant, rule.ID, rule.Trunks = t.is.ID, 0, nil
	for _, name := range r.Trunks {
		id, ok := t.names[name]
		if !ok {
			return &telephony.FieldError{Field: "trunks", Reason: "names a trunk that does not exist"}
		}
		rule.Trunks = append(rule.Trunks, id)
	}
	if old == nil {
		_, err := t.tx.CreateInboundRule(rule)
		return err
	}
	rule.ID = old.ID
	return t.tx.PutInboundRule(rule)
}

func (t *tenantApplier) removeTrunks() error {
	return gone(t.applier, t.path+".trunks", t.was.Trunks, t.is.Trunks, func(x telephony.Trunk) error { return t.tx.DeleteTrunk(x.ID) })
}

func (t *tenantApplier) removeGroups() error {
	return gone(t.applier, t.path+".groups", t.was.Groups, t.is.Groups, func(x telephony.Group) error { return t.tx.DeleteGroup(x.ID) })
}

func (t *tenantApplier) removeExtensions() error {
	return gone(t.applier, t.path+".extensions", t.was.Extensions, t.is.Extensions, func(x Extension) error { return t.tx.DeleteExtension(x.Number) })
}

func (t *tenantApplier) removeSchedules() error {
	return gone(t.applier, t.path+".schedules", t.was.Schedules, t.is.Schedules, func(x telephony.Schedule) error { return t.tx.DeleteSchedule(x.Name) })
}

func (t *tenantApplier) removeRoles() error {
	return gone(t.applier, t.path+".roles", t.was.Roles, t.is.Roles, func(x telephony.RoleDefinition) error { return t.tx.DeleteRole(x.Name) })
}

// contacts have no key: names may be there twice.
func (t *tenantApplier) contacts() error {
	for _, c := range t.was.Contacts {
		if !has(t.is.Contacts, c) {
			if err := t.tx.DeleteContact(c.ID); err != nil {
				return t.at(t.path+".contacts", err)
			}
		}
	}
	for _, c := range t.is.Contacts {
		if has(t.was.Contacts, c) {
			continue
		}
		c.Tenant, c.ID = t.is.ID, 0
		if _, err := t.tx.CreateContact(c); err != nil {
			return t.at(t.path+".contacts", err)
		}
	}
	return nil
}
