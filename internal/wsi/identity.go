package wsi

import (
	"context"
	"net/netip"
	"slices"
	"strconv"

	"ringfence/internal/login"
	"ringfence/internal/telephony"
)

// identity is who a connection belongs to.
type identity struct {
	pass   login.Pass // names session or token
	user   telephony.User
	rights telephony.RoleDefinition
	again  func(context.Context) (identity, error) // who it is now
}

// identify finds who a session belongs to now.
func (s *Server) identify(ctx context.Context, p login.Pass) (identity, error) {
	u, err := s.cfg.Login.Look(ctx, p)
	if err != nil {
		return identity{}, err
	}
	snap := s.cfg.Store.Snapshot()
	if _, ok := snap.Tenant(u.Tenant); !ok && u.Tenant != telephony.System {
		return identity{}, login.ErrNoSession
	}
	rights, _ := snap.Role(u.Tenant, u.Role)
	again := func(ctx context.Context) (identity, error) { return s.identify(ctx, p) }
	return identity{p, u, rights, again}, nil
}

// identifyToken finds who an API token belongs to now, and what it may do.
func (s *Server) identifyToken(ctx context.Context, addr netip.Addr, secret string) (identity, error) {
	t, u, err := s.cfg.Login.Token(ctx, addr, secret)
	if err != nil {
		return identity{}, err
	}
	rights, _ := s.cfg.Store.Snapshot().Role(u.Tenant, u.Role)
	again := func(ctx context.Context) (identity, error) { return s.identifyToken(ctx, addr, secret) }
	return identity{login.PassOf(secret), u, rights.CutDown(t.Permissions), again}, nil
}

// same reports whether what could be subscribed to is what it was.
func (i identity) same(was identity) bool {
	return i.user.ID == was.user.ID && i.user.Tenant == was.user.Tenant && i.user.Role == was.user.Role &&
		i.user.Extension == was.user.Extension && i.rights.Name == was.rights.Name && slices.Equal(i.rights.Permissions, was.rights.Permissions)
}

func (i identity) isSystem() bool { return i.rights.Name == telephony.RoleSystemAdmin }

// need is what a role must allow to see all of a topic.
func need(t Topic) telephony.Permission {
	switch t {
	case CDR:
		return telephony.PermCDR
	case Trunks:
		return telephony.PermTrunks
	}
	return telephony.PermCalls
}

// personal are the topics of which everybody sees what concerns the own
// extension.
func personal(t Topic) bool {
	return t == Extensions || t == Registrations || t == Calls || t == CDR
}

// topics are those the account may subscribe to.
func (i identity) topics() []Topic {
	return slices.DeleteFunc(Topics(), func(t Topic) bool {
		switch {
		case t == Queues:
			return true
		case t == Security:
			return !i.isSystem()
		}
		return !i.rights.May(need(t)) && (!personal(t) || i.user.Extension == "")
	})
}

// allow fills in what a subscription shows, or says why it may not be.
func (i identity) allow(s *subscription, r Request, snap *telephony.Snapshot) (code, why string) {
	switch {
	case !slices.Contains(Topics(), r.Topic):
		return codeBad, "there is no such topic"
	case r.Topic == Queues:
		return codeUnavailable, "there are no queues in this version"
	case !slices.Contains(i.topics(), r.Topic):
		return codeForbidden, "the role does not allow this topic, or the account has no extension"
	case r.Topic == Security:
		if r.Tenant != "" {
			return codeBad, "the topic security is about the box: name no tenant"
		}
		s.tenant = telephony.System
		return "", ""
	}
	s.tenant = tenantOf(snap, i.user.Tenant)
	switch r.Tenant {
	case "":
	case "all":
		if !i.isSystem() {
			return codeForbidden, "only administrators of the box see all tenants"
		}
		s.all, s.tenant = true, telephony.System
	default:
		n, err := strconv.ParseInt(r.Tenant, 10, 64)
		id := telephony.TenantID(n)
		if _, there := snap.Tenant(id); err != nil || !there || !i.isSystem() && id != i.user.Tenant {
			return codeForbidden, "there is no such tenant, or it is not yours"
		}
		s.tenant = id
	}
	if !i.rights.May(need(r.Topic)) {
		s.own = i.user.Extension
	}
	return "", ""
}
