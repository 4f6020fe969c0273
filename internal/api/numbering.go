package api

import (
	"context"
	"net/http"

	"ringfence/internal/store"
	"ringfence/internal/telephony"
)

// EmergencyNumber is dialled as it is.
type EmergencyNumber struct {
	Number string `json:"number" maxLength:"10"`
	Name   string `json:"name" required:"false" maxLength:"64"`
}

// Numbering is how people of the organisation dial, what may be called, and the
// bounds of all its calls to the outside.
type Numbering struct {
	Country         string            `json:"country" required:"false" maxLength:"2" doc:"ISO 3166, two capital letters; the organisation's own country."`
	AreaCode        string            `json:"area_code" required:"false" maxLength:"6" doc:"Without the national prefix."`
	Outside         string            `json:"outside" required:"false" maxLength:"3" doc:"Dialled before numbers of the outside; empty is nothing."`
	Allowed         []string          `json:"allowed" required:"false" nullable:"false" maxItems:"400" doc:"Country codes that may be called, without +; none is the own country only."`
	Disallowed      []string          `json:"disallowed" required:"false" nullable:"false" maxItems:"400" doc:"Prefixes of E.164 numbers, without +, that nobody reaches; they win."`
	Emergency       []EmergencyNumber `json:"emergency" required:"false" nullable:"false" maxItems:"20" doc:"Besides those of the country, which always go out."`
	EmergencyRoutes []Route           `json:"emergency_routes" required:"false" nullable:"false" maxItems:"6" doc:"Trunks that are tried first; then all others."`
	EmergencyNotify []string          `json:"emergency_notify" required:"false" nullable:"false" maxItems:"10" doc:"E-mail addresses that are told of each emergency call."`
	Currency        string            `json:"currency" required:"false" maxLength:"3" doc:"ISO 4217."`
	Night           string            `json:"night" required:"false" enum:"auto,on" doc:"on: calls from outside go to the night destination of their rule."`
	RejectAnonymous bool              `json:"reject_anonymous" required:"false" doc:"Calls from outside without a number are refused."`
	MaxCalls        int               `json:"max_calls" required:"false" minimum:"0" maximum:"10000" doc:"Over trunks, at once; 0 is no limit."`
	Caps            Caps              `json:"caps" required:"false" doc:"Of all calls to the outside together."`
	ExtensionCaps   Caps              `json:"extension_caps" required:"false" doc:"Of the calls to the outside of each extension."`
}

type numberingWrite struct {
	Precondition
	written[Numbering]
}

// BlockedCaller is refused when it calls from outside.
type BlockedCaller struct {
	Caller string `json:"caller" maxLength:"32" doc:"+ in front, ? one digit, * the rest; or anonymous."`
	Note   string `json:"note" required:"false" maxLength:"100"`
}

// BlockedCallerList is a page of blocked callers.
type BlockedCallerList struct {
	Items []BlockedCaller `json:"items" nullable:"false"`
	Next  string          `json:"next" doc:"Value of after for the following page; empty at the end."`
}

type callerQuery struct {
	Caller string `query:"caller" required:"true" maxLength:"32"`
}

func (s *Server) registerNumbering() {
	fields := map[string]string{"country": "body.country"}
	handle(s, operation{id: "get-numbering", method: http.MethodGet, path: "/numbering", tag: "routing", summary: "Numbering plan, emergency numbers, allowed countries, night mode and limits", access: manageRules}, s.getNumbering)
	handle(s, operation{id: "put-numbering", method: http.MethodPut, path: "/numbering", tag: "routing", summary: "Replace them; what is left out has its default", access: manageRules, errors: []int{http.StatusPreconditionFailed}, fields: fields}, s.putNumbering)
	handle(s, operation{id: "patch-numbering", method: http.MethodPatch, path: "/numbering", tag: "routing", summary: "Change some of them", access: manageRules, errors: []int{http.StatusPreconditionFailed}, fields: fields}, s.patchNumbering)
	handle(s, operation{id: "list-blocked-callers", method: http.MethodGet, path: "/blocked-callers", tag: "routing", summary: "List callers who are refused", access: manageRules}, s.listBlocked)
	handle(s, operation{id: "block-caller", method: http.MethodPost, path: "/blocked-callers", tag: "routing", summary: "Refuse a caller, or change the note", access: manageRules, status: http.StatusCreated}, s.blockCaller)
	handle(s, operation{id: "unblock-caller", method: http.MethodDelete, path: "/blocked-callers", tag: "routing", summary: "Let a caller through again", access: manageRules, status: http.StatusNoContent, errors: []int{http.StatusNotFound}}, s.unblockCaller)
}

func numberingOf(r telephony.Routing) Numbering {
	p := r.Plan
	n := Numbering{
		Country: p.Country, AreaCode: p.AreaCode, Outside: p.Outside, Allowed: plainWords(p.Allowed), Disallowed: plainWords(p.Disallowed), Emergency: []EmergencyNumber{},
		EmergencyRoutes: routesOf(p.EmergencyRoutes), EmergencyNotify: plainWords(p.EmergencyNotify), Currency: r.Currency, Night: string(r.Night),
		RejectAnonymous: r.RejectAnonymous, MaxCalls: r.MaxCalls, Caps: capsOf(r.Caps), ExtensionCaps: capsOf(r.ExtensionCaps),
	}
	for _, e := range p.Emergency {
		n.Emergency = append(n.Emergency, EmergencyNumber(e))
	}
	return n
}

func (n Numbering) domain() telephony.Routing {
	r := telephony.Routing{
		Plan: telephony.NumberingPlan{
			Country: n.Country, AreaCode: n.AreaCode, Outside: n.Outside, Allowed: n.Allowed, Disallowed: n.Disallowed,
			EmergencyRoutes: domainRoutes(n.EmergencyRoutes), EmergencyNotify: n.EmergencyNotify,
		},
		Currency: n.Currency, Night: telephony.NightMode(n.Night), RejectAnonymous: n.RejectAnonymous, MaxCalls: n.MaxCalls, Caps: n.Caps.domain(), ExtensionCaps: n.ExtensionCaps.domain(),
	}
	for _, e := range n.Emergency {
		r.Plan.Emergency = append(r.Plan.Emergency, telephony.EmergencyNumber(e))
	}
	return r
}

func (s *Server) getNumbering(ctx context.Context, _ *noInput) (*tagged[Numbering], error) {
	return tag(numberingOf(*s.cfg.Store.Snapshot().Routing(callerOf(ctx).tenant))), nil
}

func (s *Server) putNumbering(ctx context.Context, in *numberingWrite) (*tagged[Numbering], error) {
	return s.alterNumbering(ctx, in, func(Numbering) Numbering {
		return numberingOf(telephony.Routing{Currency: "EUR", Night: telephony.NightAuto})
	})
}

func (s *Server) patchNumbering(ctx context.Context, in *numberingWrite) (*tagged[Numbering], error) {
	return s.alterNumbering(ctx, in, func(n Numbering) Numbering { return n })
}

func (s *Server) alterNumbering(ctx context.Context, in *numberingWrite, base func(Numbering) Numbering) (*tagged[Numbering], error) {
	err := s.change(ctx, func(tx *store.Tx) error {
		old, err := tx.RoutingSettings()
		if err != nil {
			return err
		}
		if err := in.holds(numberingOf(old)); err != nil {
			return err
		}
		n, err := merged(base(numberingOf(old)), in.RawBody)
		if err != nil {
			return err
		}
		if n.Country != old.Plan.Country {
			t, err := tx.Tenant()
			if err != nil {
				return err
			}
			t.Country = n.Country
			if err := tx.PutTenant(t); err != nil {
				return err
			}
		}
		return tx.PutRoutingSettings(n.domain())
	})
	if err != nil {
		return nil, err
	}
	return s.getNumbering(ctx, nil)
}

func (s *Server) listBlocked(ctx context.Context, in *listQuery) (*body[BlockedCallerList], error) {
	all, next := page(s.cfg.Store.Snapshot().Routing(callerOf(ctx).tenant).Blocked, *in, func(b telephony.CallerBlock) string { return b.Caller })
	out := BlockedCallerList{Items: make([]BlockedCaller, 0, len(all)), Next: next}
	for _, b := range all {
		out.Items = append(out.Items, BlockedCaller(b))
	}
	return &body[BlockedCallerList]{out}, nil
}

func (s *Server) blockCaller(ctx context.Context, in *body[BlockedCaller]) (*body[BlockedCaller], error) {
	if err := s.change(ctx, func(tx *store.Tx) error { return tx.BlockCaller(telephony.CallerBlock(in.Body)) }); err != nil {
		return nil, err
	}
	return in, nil
}

func (s *Server) unblockCaller(ctx context.Context, in *callerQuery) (*struct{}, error) {
	return nil, s.change(ctx, func(tx *store.Tx) error { return tx.UnblockCaller(in.Caller) })
}
