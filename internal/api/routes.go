package api

import (
	"context"
	"net/http"
	"strconv"

	"ringfence/internal/store"
	"ringfence/internal/telephony"
)

// Route is one trunk that a rule tries.
type Route struct {
	Trunk    int64  `json:"trunk" minimum:"1"`
	Strip    int    `json:"strip" required:"false" minimum:"0" maximum:"15" doc:"Digits taken away in front of the number in the trunk's format."`
	Prepend  string `json:"prepend" required:"false" maxLength:"20" doc:"Put there instead."`
	CallerID string `json:"caller_id" required:"false" maxLength:"16" doc:"Number shown, E.164 with +; empty: the extension's, else the trunk's."`
}

// OutboundRuleFields are those of an outgoing rule that can be read and set. Empty
// conditions hold always.
type OutboundRuleFields struct {
	Name       string        `json:"name" required:"false" maxLength:"64"`
	Enabled    bool          `json:"enabled" required:"false"`
	Priority   int           `json:"priority" required:"false" minimum:"1" maximum:"9999" doc:"Low numbers first."`
	Prefixes   []string      `json:"prefixes" required:"false" nullable:"false" maxItems:"64" doc:"Of the number as dialled, without the digit for an outside line."`
	Lengths    []int         `json:"lengths" required:"false" nullable:"false" maxItems:"64" doc:"Of the same, in digits."`
	Classes    []string      `json:"classes" required:"false" nullable:"false" maxItems:"5" doc:"local, national, mobile, international, premium."`
	Groups     []string      `json:"groups" required:"false" nullable:"false" maxItems:"64" doc:"Of the caller."`
	Roles      []string      `json:"roles" required:"false" nullable:"false" maxItems:"64" doc:"Of the caller."`
	Extensions []NumberRange `json:"extensions" required:"false" nullable:"false" maxItems:"64" doc:"Of the caller."`
	Hours      string        `json:"hours" required:"false" maxLength:"64" doc:"The rule holds while these are open; empty is always."`
	Routes     []Route       `json:"routes" required:"false" nullable:"false" maxItems:"6" doc:"The trunks that are tried."`
	Order      string        `json:"order" required:"false" enum:"listed,cheapest,random"`
}

// OutboundRule says which trunks carry a call.
type OutboundRule struct {
	ID int64 `json:"id"`
	OutboundRuleFields
}

// OutboundRuleList is a page of outgoing rules, by priority.
type OutboundRuleList struct {
	Items []OutboundRule `json:"items" nullable:"false"`
	Next  string         `json:"next" doc:"Value of after for the following page; empty at the end."`
}

// Destination is where a call goes to.
type Destination struct {
	Kind   string `json:"kind" required:"false" doc:"extension, direct (the extension the last digits name), number, hangup, busy; empty where another destination is taken instead."`
	Number string `json:"number" required:"false" maxLength:"32" doc:"Extension or number to dial; of direct the extension of the first number of the range."`
	As     string `json:"as" required:"false" maxLength:"9" doc:"Extension on whose account a number is dialled."`
}

// InboundRuleFields are those of an incoming rule that can be read and set.
type InboundRuleFields struct {
	Name     string        `json:"name" required:"false" maxLength:"64"`
	Enabled  bool          `json:"enabled" required:"false"`
	Priority int           `json:"priority" required:"false" minimum:"1" maximum:"9999" doc:"Low numbers first."`
	Trunks   []int64       `json:"trunks" required:"false" nullable:"false" maxItems:"64" doc:"None is every trunk."`
	DIDs     []NumberRange `json:"dids" required:"false" nullable:"false" maxItems:"64" doc:"Called numbers, E.164 with +; none is every number."`
	Caller   string        `json:"caller" required:"false" maxLength:"32" doc:"Mask of the caller's number: + in front, ? one digit, * the rest; or anonymous; empty is anybody."`
	Hours    string        `json:"hours" required:"false" maxLength:"64" doc:"Empty is always open."`
	Open     Destination   `json:"open" required:"false"`
	Closed   Destination   `json:"closed" required:"false" doc:"Empty is as open."`
	Holiday  Destination   `json:"holiday" required:"false" doc:"Empty is as closed."`
	Night    Destination   `json:"night" required:"false" doc:"While night mode is on; empty is as closed."`
}

// InboundRule says where calls from outside go.
type InboundRule struct {
	ID int64 `json:"id"`
	InboundRuleFields
}

// InboundRuleList is a page of incoming rules, by priority.
type InboundRuleList struct {
	Items []InboundRule `json:"items" nullable:"false"`
	Next  string        `json:"next" doc:"Value of after for the following page; empty at the end."`
}

// RulePath is the rule of a path.
type RulePath struct {
	Rule int64 `path:"rule" minimum:"1" doc:"Number of the rule."`
}

type outboundWrite struct {
	RulePath
	Precondition
	written[OutboundRuleFields]
}

type inboundWrite struct {
	RulePath
	Precondition
	written[InboundRuleFields]
}

type ruleDelete struct {
	RulePath
	Precondition
}

func (s *Server) registerRoutes() {
	const out, in = "/outbound-rules", "/inbound-rules"
	changes := []int{http.StatusNotFound, http.StatusConflict, http.StatusPreconditionFailed}
	gone, exists := []int{http.StatusNotFound}, []int{http.StatusConflict}
	handle(s, operation{id: "list-outbound-rules", method: http.MethodGet, path: out, tag: "routing", summary: "List the outgoing rules by priority", access: manageRules}, s.listOutbound)
	handle(s, operation{id: "create-outbound-rule", method: http.MethodPost, path: out, tag: "routing", summary: "Add an outgoing rule; what is left out has its default", access: manageRules, status: http.StatusCreated, errors: exists}, s.createOutbound)
	handle(s, operation{id: "get-outbound-rule", method: http.MethodGet, path: out + "/{rule}", tag: "routing", summary: "Read an outgoing rule", access: manageRules, errors: gone}, s.getOutbound)
	handle(s, operation{id: "put-outbound-rule", method: http.MethodPut, path: out + "/{rule}", tag: "routing", summary: "Replace an outgoing rule; what is left out has its default", access: manageRules, errors: changes}, s.putOutbound)
	handle(s, operation{id: "patch-outbound-rule", method: http.MethodPatch, path: out + "/{rule}", tag: "routing", summary: "Change some fields of an outgoing rule", access: manageRules, errors: changes}, s.patchOutbound)
	handle(s, operation{id: "delete-outbound-rule", method: http.MethodDelete, path: out + "/{rule}", tag: "routing", summary: "Delete an outgoing rule", access: manageRules, status: http.StatusNoContent, errors: changes}, s.deleteOutbound)
	handle(s, operation{id: "list-inbound-rules", method: http.MethodGet, path: in, tag: "routing", summary: "List the incoming rules by priority", access: manageRules}, s.listInbound)
	handle(s, operation{id: "create-inbound-rule", method: http.MethodPost, path: in, tag: "routing", summary: "Add an incoming rule; what is left out has its default", access: manageRules, status: http.StatusCreated, errors: exists}, s.createInbound)
	handle(s, operation{id: "get-inbound-rule", method: http.MethodGet, path: in + "/{rule}", tag: "routing", summary: "Read an incoming rule", access: manageRules, errors: gone}, s.getInbound)
	handle(s, operation{id: "put-inbound-rule", method: http.MethodPut, path: in + "/{rule}", tag: "routing", summary: "Replace an incoming rule; what is left out has its default", access: manageRules, errors: changes}, s.putInbound)
	handle(s, operation{id: "patch-inbound-rule", method: http.MethodPatch, path: in + "/{rule}", tag: "routing", summary: "Change some fields of an incoming rule", access: manageRules, errors: changes}, s.patchInbound)
	handle(s, operation{id: "delete-inbound-rule", method: http.MethodDelete, path: in + "/{rule}", tag: "routing", summary: "Delete an incoming rule", access: manageRules, status: http.StatusNoContent, errors: changes}, s.deleteInbound)
	s.registerHours()
	s.registerNumbering()
	s.registerDirectory()
}

// plainWords makes words of the domain plain ones, never null.
func plainWords[T ~string](list []T) []string {
	out := make([]string, 0, len(list))
	for _, v := range list {
		out = append(out, string(v))
	}
	return out
}

// words makes plain words ones of the domain.
func words[T ~string](list []string) (out []T) {
	for _, v := range list {
		out = append(out, T(v))
	}
	return out
}

func routesOf(list []telephony.Route) []Route {
	out := make([]Route, 0, len(list))
	for _, r := range list {
		out = append(out, Route{int64(r.Trunk), r.Strip, r.Prepend, r.CallerID})
	}
	return out
}

func domainRoutes(list []Route) (out []telephony.Route) {
	for _, r := range list {
		out = append(out, telephony.Route{Trunk: telephony.TrunkID(r.Trunk), Strip: r.Strip, Prepend: r.Prepend, CallerID: r.CallerID})
	}
	return out
}

func outboundOf(r telephony.OutboundRule) OutboundRule {
	return OutboundRule{r.ID, OutboundRuleFields{
		Name: r.Name, Enabled: r.Enabled, Priority: r.Priority, Prefixes: plainWords(r.Prefixes), Lengths: append([]int{}, r.Lengths...), Classes: plainWords(r.Classes),
		Groups: plainWords(r.Groups), Roles: plainWords(r.Roles), Extensions: rangesOf(r.Extensions), Hours: r.Hours, Routes: routesOf(r.Routes), Order: string(r.Order),
	}}
}

func (f OutboundRuleFields) domain() telephony.OutboundRule {
	return telephony.OutboundRule{
		Name: f.Name, Enabled: f.Enabled, Priority: f.Priority, Prefixes: f.Prefixes, Lengths: f.Lengths, Classes: words[telephony.CallClass](f.Classes),
		Groups: f.Groups, Roles: words[telephony.Role](f.Roles), Extensions: ranges(f.Extensions), Hours: f.Hours, Routes: domainRoutes(f.Routes), Order: telephony.RouteOrder(f.Order),
	}
}

// newOutbound is what an outgoing rule is by default.
func newOutbound() OutboundRuleFields {
	return outboundOf(telephony.OutboundRule{Enabled: true, Priority: telephony.DefaultPriority, Order: telephony.OrderListed}).OutboundRuleFields
}

func (s *Server) listOutbound(ctx context.Context, in *listQuery) (*body[OutboundRuleList], error) {
	all, next := page(s.cfg.Store.Snapshot().Routing(callerOf(ctx).tenant).Outbound, *in, func(r telephony.OutboundRule) string { return strconv.FormatInt(r.ID, 10) })
	out := OutboundRuleList{Items: make([]OutboundRule, 0, len(all)), Next: next}
	for _, r := range all {
		out.Items = append(out.Items, outboundOf(r))
	}
	return &body[OutboundRuleList]{out}, nil
}

func (s *Server) getOutbound(ctx context.Context, in *RulePath) (*tagged[OutboundRule], error) {
	for _, r := range s.cfg.Store.Snapshot().Routing(callerOf(ctx).tenant).Outbound {
		if r.ID == in.Rule {
			return tag(outboundOf(r)), nil
		}
	}
	return nil, store.ErrNotFound
}

func (s *Server) createOutbound(ctx context.Context, in *written[OutboundRuleFields]) (*tagged[OutboundRule], error) {
	fields, err := merged(newOutbound(), in.RawBody)
	if err != nil {
		return nil, err
	}
	r := fields.domain()
	err = s.change(ctx, func(tx *store.Tx) (err error) {
		r, err = tx.CreateOutboundRule(r)
		return err
	})
	if err != nil {
		return nil, err
	}
	return s.getOutbound(ctx, &RulePath{r.ID})
}

func (s *Server) putOutbound(ctx context.Context, in *outboundWrite) (*tagged[OutboundRule], error) {
	return s.alterOutbound(ctx, in, func(OutboundRule) OutboundRuleFields { return newOutbound() })
}

func (s *Server) patchOutbound(ctx context.Context, in *outboundWrite) (*tagged[OutboundRule], error) {
	return s.alterOutbound(ctx, in, func(r OutboundRule) OutboundRuleFields { return r.OutboundRuleFields })
}

func (s *Server) alterOutbound(ctx context.Context, in *outboundWrite, base func(OutboundRule) OutboundRuleFields) (*tagged[OutboundRule], error) {
	err := s.change(ctx, func(tx *store.Tx) error {
		old, err := tx.OutboundRule(in.Rule)
		if err != nil {
			return err
		}
		if err := in.holds(outboundOf(old)); err != nil {
			return err
		}
		fields, err := merged(base(outboundOf(old)), in.RawBody)
		if err != nil {
			return err
		}
		r := fields.domain()
		r.ID = old.ID
		return tx.PutOutboundRule(r)
	})
	if err != nil {
		return nil, err
	}
	return s.getOutbound(ctx, &in.RulePath)
}

func (s *Server) deleteOutbound(ctx context.Context, in *ruleDelete) (*struct{}, error) {
	return nil, s.change(ctx, func(tx *store.Tx) error {
		old, err := tx.OutboundRule(in.Rule)
		if err != nil {
			return err
		}
		if err := in.holds(outboundOf(old)); err != nil {
			return err
		}
		return tx.DeleteOutboundRule(old.ID)
	})
}

func destinationOf(d telephony.Destination) Destination {
	return Destination{string(d.Kind), d.Number, d.As}
}

func (d Destination) domain() telephony.Destination {
	return telephony.Destination{Kind: telephony.DestinationKind(d.Kind), Number: d.Number, As: d.As}
}

func inboundOf(r telephony.InboundRule) InboundRule {
	f := InboundRuleFields{
		Name: r.Name, Enabled: r.Enabled, Priority: r.Priority, Trunks: []int64{}, DIDs: rangesOf(r.DIDs), Caller: r.Caller, Hours: r.Hours,
		Open: destinationOf(r.Open), Closed: destinationOf(r.Closed), Holiday: destinationOf(r.Holiday), Night: destinationOf(r.Night),
	}
	for _, id := range r.Trunks {
		f.Trunks = append(f.Trunks, int64(id))
	}
	return InboundRule{r.ID, f}
}

func (f InboundRuleFields) domain() telephony.InboundRule {
	r := telephony.InboundRule{
		Name: f.Name, Enabled: f.Enabled, Priority: f.Priority, DIDs: ranges(f.DIDs), Caller: f.Caller, Hours: f.Hours,
		Open: f.Open.domain(), Closed: f.Closed.domain(), Holiday: f.Holiday.domain(), Night: f.Night.domain(),
	}
	for _, id := range f.Trunks {
		r.Trunks = append(r.Trunks, telephony.TrunkID(id))
	}
	return r
}

// newInbound is what an incoming rule is by default.
func newInbound() InboundRuleFields {
	return inboundOf(telephony.InboundRule{Enabled: true, Priority: telephony.DefaultPriority}).InboundRuleFields
}

func (s *Server) listInbound(ctx context.Context, in *listQuery) (*body[InboundRuleList], error) {
	all, next := page(s.cfg.Store.Snapshot().Routing(callerOf(ctx).tenant).Inbound, *in, func(r telephony.InboundRule) string { return strconv.FormatInt(r.ID, 10) })
	out := InboundRuleList{Items: make([]InboundRule, 0, len(all)), Next: next}
	for _, r := range all {
		out.Items = append(out.Items, inboundOf(r))
	}
	return &body[InboundRuleList]{out}, nil
}

func (s *Server) getInbound(ctx context.Context, in *RulePath) (*tagged[InboundRule], error) {
	for _, r := range s.cfg.Store.Snapshot().Routing(callerOf(ctx).tenant).Inbound {
		if r.ID == in.Rule {
			return tag(inboundOf(r)), nil
		}
	}
	return nil, store.ErrNotFound
}

func (s *Server) createInbound(ctx context.Context, in *written[InboundRuleFields]) (*tagged[InboundRule], error) {
	fields, err := merged(newInbound(), in.RawBody)
	if err != nil {
		return nil, err
	}
	r := fields.domain()
	err = s.change(ctx, func(tx *store.Tx) (err error) {
		r, err = tx.CreateInboundRule(r)
		return err
	})
	if err != nil {
		return nil, err
	}
	return s.getInbound(ctx, &RulePath{r.ID})
}

func (s *Server) putInbound(ctx context.Context, in *inboundWrite) (*tagged[InboundRule], error) {
	return s.alterInbound(ctx, in, func(InboundRule) InboundRuleFields { return newInbound() })
}

func (s *Server) patchInbound(ctx context.Context, in *inboundWrite) (*tagged[InboundRule], error) {
	return s.alterInbound(ctx, in, func(r InboundRule) InboundRuleFields { return r.InboundRuleFields })
}

func (s *Server) alterInbound(ctx context.Context, in *inboundWrite, base func(InboundRule) InboundRuleFields) (*tagged[InboundRule], error) {
	err := s.change(ctx, func(tx *store.Tx) error {
		old, err := tx.InboundRule(in.Rule)
		if err != nil {
			return err
		}
		if err := in.holds(inboundOf(old)); err != nil {
			return err
		}
		fields, err := merged(base(inboundOf(old)), in.RawBody)
		if err != nil {
			return err
		}
		r := fields.domain()
		r.ID = old.ID
		return tx.PutInboundRule(r)
	})
	if err != nil {
		return nil, err
	}
	return s.getInbound(ctx, &in.RulePath)
}

func (s *Server) deleteInbound(ctx context.Context, in *ruleDelete) (*struct{}, error) {
	return nil, s.change(ctx, func(tx *store.Tx) error {
		old, err := tx.InboundRule(in.Rule)
		if err != nil {
			return err
		}
		if err := in.holds(inboundOf(old)); err != nil {
			return err
		}
		return tx.DeleteInboundRule(old.ID)
	})
}
