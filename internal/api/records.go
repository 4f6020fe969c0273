package api

import (
	"context"
	"net/http"
	"strconv"

	"ringfence/internal/store"
	"ringfence/internal/telephony"
)

// pageQuery selects a page.
type pageQuery struct {
	Before string `query:"before" pattern:"^[0-9]{1,18}$" maxLength:"18" doc:"next of the page before; empty for the newest."`
	Limit  int    `query:"limit" minimum:"1" maximum:"500" default:"100"`
}

func (s *Server) registerRecords() {
	s.registerCDRs()
	handle(s, operation{id: "list-audit", method: http.MethodGet, path: "/audit", tag: "records", summary: "Who changed what, newest first", access: readAudit}, s.listAudit)
}

func recordOf(r telephony.CallRecord) CallRecord {
	return CallRecord{
		ID: string(r.ID), Direction: r.Direction, Caller: partyOf(r.Caller), Callee: partyOf(r.Callee),
		StartedAt: r.Started.UTC(), RangAt: timeOrNil(r.Rang), AnsweredAt: timeOrNil(r.Answered), EndedAt: r.Ended.UTC(),
		DurationSeconds: r.Duration().Seconds(), Route: routeOf(r.Route), EndReason: string(r.Reason), EndedBy: string(r.EndedBy), StatusCode: r.StatusCode,
		CallerLeg: qualityOf(r.CallerLeg), CalleeLeg: qualityOf(r.CalleeLeg), Alarm: string(r.Alarm),
		ForwardedBy: append([]string{}, r.ForwardedBy...), TransferredBy: r.TransferredBy, PreviousID: string(r.Previous), NextID: string(r.Next),
	}
}

func (s *Server) listAudit(ctx context.Context, in *pageQuery) (*body[AuditList], error) {
	c := callerOf(ctx)
	// Administrators of the box see everything, those of a tenant their own.
	scope := s.cfg.Store.System()
	if !c.isSystem() {
		scope = s.cfg.Store.ForTenant(c.tenant)
	}
	var before uint64
	if in.Before != "" {
		var err error
		if before, err = strconv.ParseUint(in.Before, 10, 63); err != nil {
			return nil, problem(http.StatusUnprocessableEntity, "validation failed")
		}
	}
	entries, err := scope.Audit(ctx, store.AuditFilter{Before: before, Limit: in.Limit})
	if err != nil {
		return nil, err
	}
	out := AuditList{Items: make([]AuditEntry, 0, len(entries))}
	for _, e := range entries {
		out.Items = append(out.Items, auditOf(e))
	}
	if n := len(entries); n == in.Limit && entries[n-1].Seq > 1 {
		out.Next = strconv.FormatUint(entries[n-1].Seq, 10)
	}
	return &body[AuditList]{out}, nil
}

func auditOf(e store.AuditEntry) AuditEntry {
	out := AuditEntry{ID: int64(e.Seq), At: e.At.UTC(), Actor: e.Actor.Name, Kind: string(e.Actor.Kind), Action: e.Kind, Object: e.Object, Rev: e.Rev}
	if e.Actor.Addr.IsValid() {
		out.Address = e.Actor.Addr.String()
	}
	return out
}
