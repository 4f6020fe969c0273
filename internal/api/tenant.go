package api

import (
	"context"
	"net/http"
	"time"

	"ringfence/internal/store"
	"ringfence/internal/telephony"
)

// callRuleFields are where the API has what the domain calls by one name.
func callRuleFields() map[string]string {
	m := make(map[string]string)
	for _, f := range []string{"media_security", "session_timers", "session_expires_seconds", "session_min_seconds", "dead_media_seconds", "tones", "music_on_hold"} {
		m[f] = "body.calls." + f
	}
	return m
}

func (s *Server) registerTenant() {
	handle(s, operation{id: "get-tenant", method: http.MethodGet, path: "/tenant", tag: "tenant", summary: "Read the settings of the organisation", access: admin, errors: []int{http.StatusNotFound}}, s.getTenant)
	handle(s, operation{id: "put-tenant", method: http.MethodPut, path: "/tenant", tag: "tenant", summary: "Change the settings of the organisation", access: admin, errors: []int{http.StatusNotFound}, fields: callRuleFields()}, s.putTenant)
}

func (s *Server) getTenant(ctx context.Context, _ *noInput) (*body[Tenant], error) {
	t, ok := s.cfg.Store.Snapshot().Tenant(callerOf(ctx).tenant)
	if !ok {
		return nil, store.ErrNotFound
	}
	return &body[Tenant]{Tenant{
		Name: t.Name, Domain: t.Domain, ExtensionFirst: t.ExtensionFirst, ExtensionLast: t.ExtensionLast,
		Digest: string(t.Digest), TLSOnly: t.TLSOnly, MaxContacts: t.MaxContacts,
		QualifySeconds: int(t.QualifyInterval / time.Second), QualifyFailures: t.QualifyFailures,
		Calls: callRulesOf(t.Calls), TimeZone: t.TimeZone, Country: t.Country, MaxExtensions: t.MaxExtensions, MaxUsers: t.MaxUsers,
	}}, nil
}

func callRulesOf(r telephony.CallRules) CallRules {
	return CallRules{
		MediaSecurity: string(r.Media), SessionTimers: string(r.Session), Tones: r.Tones, MusicOnHold: string(r.Music),
		SessionExpiresSeconds: int(r.SessionExpires / time.Second), SessionMinSeconds: int(r.MinSE / time.Second),
		DeadMediaSeconds: int(r.DeadMedia / time.Second),
	}
}

func (r CallRules) rules() telephony.CallRules {
	return telephony.CallRules{
		Media: telephony.MediaSecurity(r.MediaSecurity), Session: telephony.SessionTimers(r.SessionTimers), Tones: r.Tones, Music: telephony.Music(r.MusicOnHold),
		SessionExpires: time.Duration(r.SessionExpiresSeconds) * time.Second, MinSE: time.Duration(r.SessionMinSeconds) * time.Second,
		DeadMedia: time.Duration(r.DeadMediaSeconds) * time.Second,
	}
}

func (s *Server) putTenant(ctx context.Context, in *body[TenantUpdate]) (*body[Tenant], error) {
	err := s.change(ctx, func(tx *store.Tx) error {
		t, err := tx.Tenant()
		if err != nil {
			return err
		}
		t.Name = in.Body.Name
		t.Registration = telephony.Registration{
			Digest: telephony.Digest(in.Body.Digest), TLSOnly: in.Body.TLSOnly, MaxContacts: in.Body.MaxContacts,
			QualifyInterval: time.Duration(in.Body.QualifySeconds) * time.Second, QualifyFailures: in.Body.QualifyFailures,
		}
		if in.Body.Calls != nil {
			t.Calls = in.Body.Calls.rules()
		}
		set(&t.TimeZone, in.Body.TimeZone)
		set(&t.Country, in.Body.Country)
		return tx.PutTenant(t)
	})
	if err != nil {
		return nil, err
	}
	return s.getTenant(ctx, nil)
}
