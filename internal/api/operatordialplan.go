package api

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"ringfence/internal/opsock"
	"ringfence/internal/telephony"
)

// operatorTry tells what would become of a call, as text.
func (s *Server) operatorTry(r *http.Request) (any, error) {
	var in opsock.DialTry
	if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
		return nil, errors.New("reading the request: not the expected JSON")
	}
	snap := s.cfg.Store.Snapshot()
	tenant, err := chooseTenant(snap, in.Tenant)
	if err != nil {
		return nil, err
	}
	q := DialTry{Extension: in.From, Number: in.Number}
	if in.Trunk != "" {
		if q.Trunk = trunkNamed(snap, tenant.ID, in.Trunk); q.Trunk == 0 {
			return nil, fmt.Errorf("%s has no trunk %q", tenant.Domain, in.Trunk)
		}
		q.Extension, q.Caller = "", in.From
	}
	if in.At != "" {
		at, err := time.ParseInLocation("2006-01-02 15:04", in.At, snap.Location(tenant.ID))
		if err != nil {
			return nil, errors.New(`the time must look like "2026-12-24 18:00"`)
		}
		q.At = &at
	}
	plan, err := s.dryRun(snap, tenant.ID, q)
	if err != nil {
		return nil, err
	}
	var text strings.Builder
	err = plan.Write(&text, func(id telephony.TrunkID) string {
		t, _ := snap.Trunk(tenant.ID, id)
		return t.Name
	})
	return opsock.DialPlan{Text: text.String()}, err
}

// chooseTenant finds the tenant of a domain; without one there must be one only.
func chooseTenant(snap *telephony.Snapshot, domain string) (telephony.Tenant, error) {
	all := snap.Tenants()
	if domain == "" && len(all) == 1 {
		return all[0], nil
	}
	if t, ok := snap.TenantByDomain(domain); ok {
		return t, nil
	}
	names := make([]string, 0, min(len(all), 20))
	for _, t := range all[:min(len(all), 20)] {
		names = append(names, t.Domain)
	}
	return telephony.Tenant{}, fmt.Errorf("say whose extension with -tenant: %s", strings.Join(names, ", "))
}

// trunkNamed is the ID of a trunk, 0 if there is none of that name.
func trunkNamed(snap *telephony.Snapshot, tenant telephony.TenantID, name string) int64 {
	for _, t := range snap.Trunks(tenant) {
		if t.Name == name {
			return int64(t.ID)
		}
	}
	return 0
}
