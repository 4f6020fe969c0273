package api

import (
	"context"
	"net/http"
	"time"

	"ringfence/internal/dialplan"
	"ringfence/internal/telephony"
)

// DialTry asks what would become of a call: one that an extension makes, or one
// that comes in by a trunk. Nothing is dialled.
type DialTry struct {
	Extension string     `json:"extension,omitempty" maxLength:"9" doc:"Who calls; empty for calls from outside."`
	Trunk     int64      `json:"trunk,omitempty" minimum:"0" doc:"The trunk that the call comes in by; 0 for calls of an extension."`
	Caller    string     `json:"caller,omitempty" maxLength:"64" doc:"Of calls from outside: the number of who calls; empty withholds it. Of calls of an extension: who really calls, if it only sends the call on."`
	Number    string     `json:"number" minLength:"1" maxLength:"64" doc:"What is dialled, as people dial it."`
	At        *time.Time `json:"at,omitempty" doc:"When; absent is now."`
	Down      []int64    `json:"down,omitempty" maxItems:"64" doc:"Trunks that are taken for broken, besides those that are."`
}

// DialPlan is what would become of the call. It is decided by the same code that
// decides about calls.
type DialPlan struct {
	Outcome       string        `json:"outcome" enum:"extension,outside,busy,hangup,refused"`
	Verdict       string        `json:"verdict" doc:"The outcome in a sentence."`
	Class         string        `json:"class,omitempty"`
	Country       string        `json:"country,omitempty" doc:"ISO 3166, of the number outside."`
	Number        string        `json:"number,omitempty" doc:"E.164 with +; an emergency number as it is."`
	Extension     string        `json:"extension,omitempty" doc:"That rings."`
	Account       string        `json:"account,omitempty" doc:"The extension on whose account a call to the outside goes."`
	Called        string        `json:"called,omitempty" doc:"Of calls from outside."`
	Caller        string        `json:"caller,omitempty" doc:"Of calls from outside; empty if it is withheld."`
	Emergency     bool          `json:"emergency"`
	EmergencyName string        `json:"emergency_name,omitempty"`
	Location      string        `json:"emergency_location,omitempty" doc:"Where the phone is that makes an emergency call."`
	InboundRule   int64         `json:"inbound_rule,omitempty"`
	Attempts      []DialAttempt `json:"attempts" doc:"The trunks, in the order in which they are tried."`
	RefusalCode   int           `json:"refusal_code,omitempty" doc:"SIP status of a refused call."`
	RefusalReason string        `json:"refusal_reason,omitempty"`
	Steps         []DialStep    `json:"steps" doc:"Every decision, in order."`
}

// DialAttempt is one INVITE that would go to a trunk.
type DialAttempt struct {
	Trunk       int64        `json:"trunk"`
	TrunkName   string       `json:"trunk_name"`
	Rule        int64        `json:"rule,omitempty"`
	Number      string       `json:"number" doc:"User part of the Request-URI."`
	CallerID    string       `json:"caller_id" doc:"User part of From; empty if there is no number to show."`
	Diversion   string       `json:"diversion,omitempty" doc:"User part of Diversion."`
	URI         string       `json:"uri,omitempty" doc:"Request-URI of the INVITE."`
	Headers     []DialHeader `json:"headers" doc:"Its headers about who calls, after the rules of the trunk."`
	MinutePrice *int64       `json:"minute_price,omitempty" doc:"Price of a call of one minute in millionths of the currency; absent if the trunk has no rate for the number."`
}

// DialHeader is a header of an INVITE.
type DialHeader struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// DialStep is one decision.
type DialStep struct {
	Topic string `json:"topic" enum:"dialled,emergency,internal,number,class,role,country,rule,trunk,result"`
	OK    bool   `json:"ok" doc:"The call went on by it; a rule matched; a trunk is tried."`
	Rule  int64  `json:"rule,omitempty"`
	Trunk int64  `json:"trunk,omitempty"`
	Name  string `json:"name,omitempty" doc:"Of the rule or trunk."`
	Text  string `json:"text"`
}

// Country is one that can be called, or that a numbering plan can be of.
type Country struct {
	ISO           string   `json:"iso" doc:"ISO 3166 alpha-2; empty for networks of no country."`
	Name          string   `json:"name"`
	Codes         []string `json:"codes" doc:"What the list of allowed country codes takes for it."`
	Premium       bool     `json:"premium" doc:"Satellites, premium rate and the like."`
	Planned       bool     `json:"planned" doc:"Its numbering plan is known digit by digit."`
	International string   `json:"international" doc:"International prefix."`
	National      string   `json:"national" doc:"National prefix; empty if there is none."`
	Areas         bool     `json:"areas" doc:"Its numbers have area codes."`
	Emergency     []string `json:"emergency" doc:"Its emergency numbers. They always go out, listed or not."`
}

// CountryList are all calling codes.
type CountryList struct {
	Items []Country `json:"items"`
}

func (s *Server) registerDialplan() {
	handle(s, operation{id: "try-dialplan", method: http.MethodPost, path: "/dialplan/try", tag: "routing", summary: "Tell what would become of a call, and why", access: manageRules}, s.tryDialplan)
	handle(s, operation{id: "list-countries", method: http.MethodGet, path: "/dialplan/countries", tag: "routing", summary: "List countries, their calling codes and how they dial", access: anyAdmin}, s.listCountries)
}

func (s *Server) listCountries(context.Context, *struct{}) (*body[CountryList], error) {
	all := dialplan.Countries()
	out := CountryList{Items: make([]Country, 0, len(all))}
	for _, c := range all {
		out.Items = append(out.Items, Country{
			ISO: c.ISO, Name: c.Name, Codes: c.Codes, Premium: c.Premium, Planned: c.Planned,
			International: c.International, National: c.National, Areas: c.Areas, Emergency: append([]string{}, c.Emergency...),
		})
	}
	return &body[CountryList]{out}, nil
}

func (s *Server) tryDialplan(ctx context.Context, in *body[DialTry]) (*body[DialPlan], error) {
	snap, tenant := s.cfg.Store.Snapshot(), callerOf(ctx).tenant
	plan, err := s.dryRun(snap, tenant, in.Body)
	if err != nil {
		return nil, err
	}
	return &body[DialPlan]{s.dialPlanOf(snap, tenant, plan)}, nil
}

// dryRun plans a call without making it.
func (s *Server) dryRun(snap *telephony.Snapshot, tenant telephony.TenantID, q DialTry) (dialplan.Plan, error) {
	at := time.Now()
	if q.At != nil {
		at = *q.At
	}
	down := func(id telephony.TrunkID) bool {
		for _, d := range q.Down {
			if telephony.TrunkID(d) == id {
				return true
			}
		}
		return s.cfg.TrunkDown != nil && s.cfg.TrunkDown(tenant, id)
	}
	switch {
	case q.Extension == "" && q.Trunk == 0:
		return dialplan.Plan{}, &telephony.FieldError{Field: "extension", Reason: "must say who calls, or trunk by which way a call comes in"}
	case q.Extension != "" && q.Trunk != 0:
		return dialplan.Plan{}, &telephony.FieldError{Field: "trunk", Reason: "is for calls from outside, and extension for calls from inside"}
	case q.Trunk != 0:
		if _, ok := snap.Trunk(tenant, telephony.TrunkID(q.Trunk)); !ok {
			return dialplan.Plan{}, &telephony.FieldError{Field: "trunk", Reason: "is not there"}
		}
		return dialplan.ResolveInbound(snap, dialplan.InboundRequest{
			Tenant: tenant, Trunk: telephony.TrunkID(q.Trunk), Called: q.Number, Caller: q.Caller, At: at, Down: down, Explain: true,
		}), nil
	}
	caller, ok := snap.Extension(tenant, q.Extension)
	if !ok {
		return dialplan.Plan{}, &telephony.FieldError{Field: "extension", Reason: "is not there"}
	}
	return dialplan.Resolve(snap, dialplan.Request{Tenant: tenant, Caller: caller, Dialled: q.Number, From: q.Caller, At: at, Down: down, Explain: true}), nil
}

func (s *Server) dialPlanOf(snap *telephony.Snapshot, tenant telephony.TenantID, p dialplan.Plan) DialPlan {
	out := DialPlan{
		Outcome: string(p.Outcome), Verdict: p.Verdict(), Class: string(p.Class), Country: p.Country, Number: p.Number, Extension: p.Extension,
		Account: p.Account, Called: p.Called, Caller: p.Caller, Emergency: p.Emergency, EmergencyName: p.EmergencyName, Location: p.EmergencyLocation, InboundRule: p.InboundRule,
		RefusalCode: p.Refusal.Code, RefusalReason: p.Refusal.Reason, Attempts: []DialAttempt{}, Steps: []DialStep{},
	}
	for _, a := range p.Attempts {
		t, _ := snap.Trunk(tenant, a.Trunk)
		one := DialAttempt{Trunk: int64(a.Trunk), TrunkName: t.Name, Rule: a.Rule, Number: a.Number, CallerID: a.CallerID, Diversion: a.Diversion, Headers: []DialHeader{}}
		if s.cfg.Preview != nil {
			uri, headers := s.cfg.Preview(t, a, false)
			one.URI = uri
			for _, h := range headers {
				one.Headers = append(one.Headers, DialHeader(h))
			}
		}
		if a.HasRate {
			price := int64(dialplan.PerMinute(a.Rate))
			one.MinutePrice = &price
		}
		out.Attempts = append(out.Attempts, one)
	}
	for _, step := range p.Steps {
		out.Steps = append(out.Steps, DialStep{string(step.Topic), step.OK, step.Rule, int64(step.Trunk), step.Name, step.Text})
	}
	return out
}
