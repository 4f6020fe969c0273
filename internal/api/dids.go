package api

import (
	"context"
	"net/http"
	"slices"
	"strings"

	"ringfence/internal/store"
	"ringfence/internal/telephony"
)

// DID is a number, or a range of numbers, that comes in by a trunk.
type DID struct {
	First     string `json:"first"`
	Last      string `json:"last" doc:"Equal to first for a single number."`
	Trunk     int64  `json:"trunk"`
	TrunkName string `json:"trunk_name"`
	Rule      int64  `json:"rule" doc:"The first incoming rule for it; 0 if there is none."`
	RuleName  string `json:"rule_name"`
}

// DIDList is a page of numbers.
type DIDList struct {
	Items []DID  `json:"items" nullable:"false"`
	Next  string `json:"next" doc:"Value of after for the following page; empty at the end."`
}

// DIDInput adds numbers to a trunk.
type DIDInput struct {
	NumberRange
	Trunk int64 `json:"trunk" minimum:"1"`
}

type didQuery struct {
	Trunk int64  `query:"trunk" required:"true" minimum:"1"`
	First string `query:"first" required:"true" maxLength:"32" doc:"First number of the range, with +."`
}

func (s *Server) registerDIDs() {
	fields := map[string]string{"dids.first": "body.first", "dids.last": "body.last", "trunk": "body.trunk"}
	handle(s, operation{id: "list-dids", method: http.MethodGet, path: "/dids", tag: "trunks", summary: "List the numbers of the organisation with their trunks and rules", access: manageTrunks}, s.listDIDs)
	handle(s, operation{id: "create-did", method: http.MethodPost, path: "/dids", tag: "trunks", summary: "Add a number or a range to a trunk", access: manageTrunks, status: http.StatusCreated, errors: []int{http.StatusNotFound, http.StatusConflict}, fields: fields}, s.createDID)
	handle(s, operation{id: "delete-did", method: http.MethodDelete, path: "/dids", tag: "trunks", summary: "Take a number or a range from a trunk", access: manageTrunks, status: http.StatusNoContent, errors: []int{http.StatusNotFound}}, s.deleteDID)
}

func (s *Server) listDIDs(ctx context.Context, in *listQuery) (*body[DIDList], error) {
	snap, tenant := s.cfg.Store.Snapshot(), callerOf(ctx).tenant
	var all []DID
	for _, t := range snap.Trunks(tenant) {
		for _, r := range t.DIDs {
			d := DID{First: r.First, Last: r.Last, Trunk: int64(t.ID), TrunkName: t.Name}
			for _, rule := range snap.Routing(tenant).Inbound {
				if rule.Enabled && answers(rule, t.ID, r) {
					d.Rule, d.RuleName = rule.ID, rule.Name
					break
				}
			}
			all = append(all, d)
		}
	}
	slices.SortStableFunc(all, func(a, b DID) int { return strings.Compare(a.First, b.First) })
	key := func(d DID) string { return trunkKeyText(d) }
	part, next := page(all, *in, key)
	return &body[DIDList]{DIDList{append([]DID{}, part...), next}}, nil
}

func trunkKeyText(d DID) string { return d.First + " " + d.TrunkName }

// answers reports whether a rule is for any of the numbers.
func answers(rule telephony.InboundRule, trunk telephony.TrunkID, r telephony.NumberRange) bool {
	if len(rule.Trunks) > 0 && !slices.Contains(rule.Trunks, trunk) {
		return false
	}
	return len(rule.DIDs) == 0 || slices.ContainsFunc(rule.DIDs, r.Overlaps)
}

func (s *Server) createDID(ctx context.Context, in *body[DIDInput]) (*body[DID], error) {
	first, last := in.Body.First, in.Body.Last
	if last == "" {
		last = first
	}
	var name string
	err := s.change(ctx, func(tx *store.Tx) error {
		t, err := tx.Trunk(telephony.TrunkID(in.Body.Trunk))
		if err != nil {
			return err
		}
		name = t.Name
		// First, so that what is wrong with it stands at a known place.
		t.DIDs = append([]telephony.NumberRange{{First: first, Last: last}}, t.DIDs...)
		return tx.PutTrunk(t)
	})
	if fe, ok := telephony.AsFieldError(err); ok && strings.HasPrefix(fe.Field, "dids") {
		_, end, _ := strings.Cut(fe.Field, "].")
		if end == "" {
			end = "first"
		}
		return nil, inField(err, fe.Field, end)
	}
	if err != nil {
		return nil, err
	}
	return &body[DID]{DID{First: first, Last: last, Trunk: in.Body.Trunk, TrunkName: name}}, nil
}

func (s *Server) deleteDID(ctx context.Context, in *didQuery) (*struct{}, error) {
	return nil, s.change(ctx, func(tx *store.Tx) error {
		t, err := tx.Trunk(telephony.TrunkID(in.Trunk))
		if err != nil {
			return err
		}
		n := len(t.DIDs)
		t.DIDs = slices.DeleteFunc(t.DIDs, func(r telephony.NumberRange) bool { return r.First == in.First })
		if len(t.DIDs) == n {
			return store.ErrNotFound
		}
		return tx.PutTrunk(t)
	})
}
