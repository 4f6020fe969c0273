package api

import (
	"context"
	"fmt"
	"math"
	"net/http"
	"net/netip"
	"strconv"
	"time"

	"ringfence/internal/store"
	"ringfence/internal/telephony"
)

// TrunkStates is what is known of trunks now.
type TrunkStates interface {
	States(telephony.TenantID) []telephony.TrunkState
	// Test looks at every part of the way to a trunk.
	Test(context.Context, telephony.TenantID, telephony.TrunkID) (telephony.TrunkTest, error)
}

// NumberRange are numbers from first to last, both included.
type NumberRange struct {
	First string `json:"first" maxLength:"32"`
	Last  string `json:"last,omitempty" maxLength:"32" doc:"With as many digits as first; left out for a single number."`
}

// HeaderRule changes one header of the INVITEs of a trunk.
type HeaderRule struct {
	Inbound bool   `json:"inbound" required:"false" doc:"Of calls from the trunk, else of calls to it."`
	Name    string `json:"name" maxLength:"64"`
	Remove  bool   `json:"remove" required:"false"`
	Value   string `json:"value" required:"false" maxLength:"256" doc:"{caller}, {callee}, {did} and {trunk} are filled in."`
}

// Caps bound what calls may cost; 0 is no bound.
type Caps struct {
	MoneyHour      float64 `json:"money_hour" required:"false" minimum:"0" maximum:"1000000000" doc:"In the organisation's currency, to a millionth."`
	MoneyDay       float64 `json:"money_day" required:"false" minimum:"0" maximum:"1000000000"`
	MinutesHour    int     `json:"minutes_hour" required:"false" minimum:"0" maximum:"1000000"`
	MinutesDay     int     `json:"minutes_day" required:"false" minimum:"0" maximum:"1000000"`
	CallsPerMinute int     `json:"calls_per_minute" required:"false" minimum:"0" maximum:"1000000"`
}

// TrunkFields are those of a trunk that can be read and set.
type TrunkFields struct {
	Name            string        `json:"name" required:"false" maxLength:"64"`
	Kind            string        `json:"kind" required:"false" enum:"register,peer,accept" doc:"register: the PBX registers with the provider. peer: both sides know the other's addresses, nobody is challenged. accept: a gateway registers with the PBX."`
	Enabled         bool          `json:"enabled" required:"false"`
	Host            string        `json:"host" required:"false" maxLength:"253" doc:"SIP domain or address of the provider; empty of kind accept."`
	Port            int           `json:"port" required:"false" minimum:"0" maximum:"65535" doc:"0 asks DNS, or takes the transport's own."`
	Transport       string        `json:"transport" required:"false" enum:"udp,tcp,tls"`
	OutboundProxy   string        `json:"outbound_proxy" required:"false" maxLength:"262" doc:"host or host:port where everything is sent instead."`
	Interface       string        `json:"interface" required:"false" maxLength:"15" doc:"Network interface its packets leave by; empty leaves it to the routes."`
	Peers           []string      `json:"peers" required:"false" nullable:"false" maxItems:"32" doc:"Addresses and networks its calls come from, besides those of host."`
	PeerPort        int           `json:"peer_port" required:"false" minimum:"0" maximum:"65535" doc:"The only source port they come from; 0 is any."`
	User            string        `json:"user" required:"false" maxLength:"64" doc:"Account with the provider, or the name a gateway registers with."`
	AuthUser        string        `json:"auth_user" required:"false" maxLength:"128" doc:"Name in credentials; empty is user."`
	RegisterSeconds int           `json:"register_seconds" required:"false" minimum:"60" maximum:"86400"`
	OptionsSeconds  int           `json:"options_seconds" required:"false" minimum:"0" maximum:"3600" doc:"How often the peer is asked whether it is there; 0 never asks."`
	MediaSecurity   string        `json:"media_security" required:"false" enum:"offer,off,require,require-256"`
	DTMF            string        `json:"dtmf" required:"false" enum:"auto,rfc4733,inband,info"`
	MaxCalls        int           `json:"max_calls" required:"false" minimum:"0" maximum:"10000" doc:"At once, in both directions; 0 is no limit."`
	DIDs            []NumberRange `json:"dids" required:"false" nullable:"false" maxItems:"1000" doc:"Numbers that come in by it, E.164 with +."`
	NumberFormat    string        `json:"number_format" required:"false" enum:"plus,digits,national,dialled" doc:"How numbers are written towards it."`
	CallerID        string        `json:"caller_id" required:"false" maxLength:"16" doc:"Number that callers show who have none of their own, E.164 with +."`
	KeepCallerID    bool          `json:"keep_caller_id" required:"false" doc:"Forwarded callers show their own number."`
	Identity        string        `json:"identity" required:"false" enum:"from,pai,ppi,rpid" doc:"Where callers are told besides From."`
	TrustIdentity   bool          `json:"trust_identity" required:"false" doc:"P-Asserted-Identity of its calls says who calls."`
	DialledIn       string        `json:"dialled_in" required:"false" enum:"uri,to" doc:"Where the called number of its calls stands."`
	Headers         []HeaderRule  `json:"headers" required:"false" nullable:"false" maxItems:"16"`
	Caps            Caps          `json:"caps" required:"false"`
}

// TrunkInput is a new trunk, or replaces one, or changes what it names.
type TrunkInput struct {
	TrunkFields
	Password string `json:"password,omitempty" maxLength:"128" format:"password" doc:"Answers the provider's challenges; of kind accept what the gateway must know. Left out, it stays."`
}

// Trunk is a way to the outside world.
type Trunk struct {
	ID int64 `json:"id"`
	TrunkFields
	PasswordSet bool `json:"password_set" doc:"There is a password; it is never shown."`
	Rates       int  `json:"rates" doc:"How many prices it has."`
}

// TrunkList is a page of trunks.
type TrunkList struct {
	Items []Trunk `json:"items" nullable:"false"`
	Next  string  `json:"next" doc:"Value of after for the following page; empty at the end."`
}

// TrunkState is what is known of a trunk now.
type TrunkState struct {
	Trunk      int64      `json:"trunk"`
	Condition  string     `json:"condition" enum:"off,starting,up,down,refused,unknown" doc:"refused: the provider refuses the credentials."`
	Since      *time.Time `json:"since,omitempty"`
	Reason     string     `json:"reason" doc:"Why it is not up."`
	Target     string     `json:"target" doc:"Server in use."`
	Registered *time.Time `json:"registered_until,omitempty"`
	Calls      int        `json:"calls" doc:"In both directions, now."`
	MaxCalls   int        `json:"max_calls" doc:"0 is no limit."`
	RTTMs      int64      `json:"rtt_ms" doc:"Of the last answer; 0 is unknown."`
}

// TrunkStateList holds the state of every trunk.
type TrunkStateList struct {
	Items []TrunkState `json:"items" nullable:"false"`
}

// TrunkPath is the trunk of a path.
type TrunkPath struct {
	Trunk int64 `path:"trunk" minimum:"1" doc:"Number of the trunk."`
}

type trunkWrite struct {
	TrunkPath
	Precondition
	written[TrunkInput]
}

type deleteTrunk struct {
	TrunkPath
	Precondition
}

func (s *Server) registerTrunks() {
	const one = "/trunks/{trunk}"
	changes := []int{http.StatusNotFound, http.StatusConflict, http.StatusPreconditionFailed}
	handle(s, operation{id: "list-trunks", method: http.MethodGet, path: "/trunks", tag: "trunks", summary: "List the trunks", access: manageTrunks}, s.listTrunks)
	handle(s, operation{id: "create-trunk", method: http.MethodPost, path: "/trunks", tag: "trunks", summary: "Add a trunk; what is left out has its default", access: manageTrunks, status: http.StatusCreated, errors: []int{http.StatusConflict}}, s.createTrunk)
	handle(s, operation{id: "list-trunk-states", method: http.MethodGet, path: "/trunks/states", tag: "trunks", summary: "What is known of every trunk now", access: manageTrunks}, s.listTrunkStates)
	handle(s, operation{id: "test-trunk", method: http.MethodPost, path: one + "/test", tag: "trunks", summary: "Look at every part of the way to a trunk: name, connection, certificate, OPTIONS, registration, codecs, NAT; takes some seconds", access: manageTrunks, errors: []int{http.StatusNotFound, http.StatusServiceUnavailable}}, s.testTrunk)
	handle(s, operation{id: "get-trunk", method: http.MethodGet, path: one, tag: "trunks", summary: "Read a trunk", access: manageTrunks, errors: []int{http.StatusNotFound}}, s.getTrunk)
	handle(s, operation{id: "put-trunk", method: http.MethodPut, path: one, tag: "trunks", summary: "Replace a trunk; what is left out has its default, the password and the rates stay", access: manageTrunks, errors: changes}, s.putTrunk)
	handle(s, operation{id: "patch-trunk", method: http.MethodPatch, path: one, tag: "trunks", summary: "Change some fields of a trunk", access: manageTrunks, errors: changes}, s.patchTrunk)
	handle(s, operation{id: "delete-trunk", method: http.MethodDelete, path: one, tag: "trunks", summary: "Delete a trunk that no rule names", access: manageTrunks, status: http.StatusNoContent, errors: changes}, s.deleteTrunk)
	s.registerRates()
	s.registerDIDs()
}

// money turns an amount of the API into one of the domain.
func money(v float64) telephony.Money { return telephony.Money(math.Round(v * 1e6)) }

func amount(m telephony.Money) float64 { return float64(m) / 1e6 }

func capsOf(c telephony.Caps) Caps {
	return Caps{amount(c.MoneyHour), amount(c.MoneyDay), c.MinutesHour, c.MinutesDay, c.CallsPerMinute}
}

func (c Caps) domain() telephony.Caps {
	return telephony.Caps{MoneyHour: money(c.MoneyHour), MoneyDay: money(c.MoneyDay), MinutesHour: c.MinutesHour, MinutesDay: c.MinutesDay, CallsPerMinute: c.CallsPerMinute}
}

func rangesOf(list []telephony.NumberRange) []NumberRange {
	out := make([]NumberRange, 0, len(list))
	for _, r := range list {
		if r.Last == r.First {
			r.Last = ""
		}
		out = append(out, NumberRange{r.First, r.Last})
	}
	return out
}

func ranges(list []NumberRange) (out []telephony.NumberRange) {
	for _, r := range list {
		out = append(out, telephony.NumberRange{First: r.First, Last: r.Last})
	}
	return out
}

func trunkFieldsOf(t telephony.Trunk) TrunkFields {
	f := TrunkFields{
		Name: t.Name, Kind: string(t.Kind), Enabled: t.Enabled, Host: t.Host, Port: int(t.Port), Transport: string(t.Transport), OutboundProxy: t.OutboundProxy,
		Interface: t.Interface, Peers: []string{}, PeerPort: int(t.PeerPort), User: t.User, AuthUser: t.AuthUser,
		RegisterSeconds: int(t.RegisterInterval / time.Second), OptionsSeconds: int(t.OptionsInterval / time.Second),
		MediaSecurity: string(t.Media), DTMF: string(t.DTMF), MaxCalls: t.MaxCalls, DIDs: rangesOf(t.DIDs), NumberFormat: string(t.Format),
		CallerID: t.CallerID, KeepCallerID: t.KeepCallerID, Identity: string(t.Identity), TrustIdentity: t.TrustIdentity, DialledIn: t.DialledIn,
		Headers: []HeaderRule{}, Caps: capsOf(t.Caps),
	}
	for _, p := range t.Peers {
		f.Peers = append(f.Peers, networkText(p))
	}
	for _, h := range t.Headers {
		f.Headers = append(f.Headers, HeaderRule(h))
	}
	return f
}

// domain is the trunk that the fields describe.
func (in TrunkInput) domain() (telephony.Trunk, error) {
	t := telephony.Trunk{
		Name: in.Name, Kind: telephony.TrunkKind(in.Kind), Enabled: in.Enabled, Host: in.Host, Port: uint16(in.Port), Transport: telephony.TrunkTransport(in.Transport),
		OutboundProxy: in.OutboundProxy, Interface: in.Interface, PeerPort: uint16(in.PeerPort), User: in.User, AuthUser: in.AuthUser, Password: telephony.Secret(in.Password),
		RegisterInterval: time.Duration(in.RegisterSeconds) * time.Second, OptionsInterval: time.Duration(in.OptionsSeconds) * time.Second,
		Media: telephony.MediaSecurity(in.MediaSecurity), DTMF: telephony.DTMF(in.DTMF), MaxCalls: in.MaxCalls, DIDs: ranges(in.DIDs), Format: telephony.NumberFormat(in.NumberFormat),
		CallerID: in.CallerID, KeepCallerID: in.KeepCallerID, Identity: telephony.IdentityHeader(in.Identity), TrustIdentity: in.TrustIdentity, DialledIn: in.DialledIn,
		Caps: in.Caps.domain(),
	}
	for i, text := range in.Peers {
		p, err := telephony.ParseNetwork(fmt.Sprintf("peers[%d]", i), text)
		if err != nil {
			return t, err
		}
		t.Peers = append(t.Peers, netip.PrefixFrom(p.Addr(), p.Bits()))
	}
	for _, h := range in.Headers {
		t.Headers = append(t.Headers, telephony.HeaderRule(h))
	}
	return t, nil
}

// newTrunk is what a trunk is by default.
func newTrunk() TrunkInput {
	t := telephony.Trunk{Enabled: true, OptionsInterval: telephony.DefaultOptionsInterval}.Complete()
	return TrunkInput{TrunkFields: trunkFieldsOf(t)}
}

func trunkOf(t telephony.Trunk) Trunk {
	return Trunk{ID: int64(t.ID), TrunkFields: trunkFieldsOf(t), PasswordSet: t.Password != "", Rates: len(t.Rates)}
}

func (s *Server) listTrunks(ctx context.Context, in *listQuery) (*body[TrunkList], error) {
	all, next := page(s.cfg.Store.Snapshot().Trunks(callerOf(ctx).tenant), *in, func(t telephony.Trunk) string { return strconv.FormatInt(int64(t.ID), 10) })
	out := TrunkList{Items: make([]Trunk, 0, len(all)), Next: next}
	for _, t := range all {
		out.Items = append(out.Items, trunkOf(t))
	}
	return &body[TrunkList]{out}, nil
}

func (s *Server) listTrunkStates(ctx context.Context, _ *noInput) (*body[TrunkStateList], error) {
	tenant := callerOf(ctx).tenant
	known := make(map[telephony.TrunkID]telephony.TrunkState)
	if s.cfg.TrunkStates != nil {
		for _, st := range s.cfg.TrunkStates.States(tenant) {
			known[st.Trunk] = st
		}
	}
	out := TrunkStateList{Items: []TrunkState{}}
	for _, t := range s.cfg.Store.Snapshot().Trunks(tenant) {
		st, ok := known[t.ID]
		v := TrunkState{Trunk: int64(t.ID), Condition: string(st.Condition), Since: timeOrNil(st.Since), Reason: st.Reason, Target: st.Target,
			Registered: timeOrNil(st.Registered), Calls: st.Calls, MaxCalls: t.MaxCalls, RTTMs: st.RTT.Milliseconds()}
		switch {
		case !t.Enabled:
			v.Condition = string(telephony.TrunkOff)
		case !ok:
			v.Condition = "unknown"
		case st.Condition == telephony.TrunkRefused:
			v.Condition = "refused"
		}
		out.Items = append(out.Items, v)
	}
	return &body[TrunkStateList]{out}, nil
}

func (s *Server) getTrunk(ctx context.Context, in *TrunkPath) (*tagged[Trunk], error) {
	t, ok := s.cfg.Store.Snapshot().Trunk(callerOf(ctx).tenant, telephony.TrunkID(in.Trunk))
	if !ok {
		return nil, store.ErrNotFound
	}
	return tag(trunkOf(t)), nil
}

// trunkIn is the trunk that a request makes of what there is.
func (s *Server) trunkIn(now TrunkInput, patch []byte) (telephony.Trunk, error) {
	fields, err := merged(now, patch)
	if err != nil {
		return telephony.Trunk{}, err
	}
	t, err := fields.domain()
	if err != nil {
		return t, err
	}
	if !s.cfg.LoopbackTrunks {
		err = t.CheckNotSelf()
	}
	return t, err
}

func (s *Server) createTrunk(ctx context.Context, in *written[TrunkInput]) (*tagged[Trunk], error) {
	t, err := s.trunkIn(newTrunk(), in.RawBody)
	if err != nil {
		return nil, err
	}
	err = s.change(ctx, func(tx *store.Tx) (err error) {
		t, err = tx.CreateTrunk(t)
		return err
	})
	if err != nil {
		return nil, err
	}
	return s.getTrunk(ctx, &TrunkPath{int64(t.ID)})
}

func (s *Server) putTrunk(ctx context.Context, in *trunkWrite) (*tagged[Trunk], error) {
	return s.alterTrunk(ctx, in, func(telephony.Trunk) TrunkInput { return newTrunk() })
}

func (s *Server) patchTrunk(ctx context.Context, in *trunkWrite) (*tagged[Trunk], error) {
	return s.alterTrunk(ctx, in, func(t telephony.Trunk) TrunkInput { return TrunkInput{TrunkFields: trunkFieldsOf(t)} })
}

func (s *Server) alterTrunk(ctx context.Context, in *trunkWrite, base func(telephony.Trunk) TrunkInput) (*tagged[Trunk], error) {
	err := s.change(ctx, func(tx *store.Tx) error {
		old, err := tx.Trunk(telephony.TrunkID(in.Trunk))
		if err != nil {
			return err
		}
		if err := in.holds(trunkOf(old)); err != nil {
			return err
		}
		t, err := s.trunkIn(base(old), in.RawBody)
		if err != nil {
			return err
		}
		t.ID = old.ID
		return tx.PutTrunk(t)
	})
	if err != nil {
		return nil, err
	}
	return s.getTrunk(ctx, &in.TrunkPath)
}

func (s *Server) deleteTrunk(ctx context.Context, in *deleteTrunk) (*struct{}, error) {
	return nil, s.change(ctx, func(tx *store.Tx) error {
		old, err := tx.Trunk(telephony.TrunkID(in.Trunk))
		if err != nil {
			return err
		}
		if err := in.holds(trunkOf(old)); err != nil {
			return err
		}
		return tx.DeleteTrunk(old.ID)
	})
}
