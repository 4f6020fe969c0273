// Package wsi is the WebSocket Interface: what happens on the PBX, as JSON
// messages for applications, a snapshot first and every change after it.
// docs/wsi.md describes the messages.
package wsi

import (
	"bytes"
	"encoding/json"
	"errors"
	"strconv"

	"ringfence/internal/telephony"
)

// Topic is what a client subscribes to.
type Topic string

// The topics.
const (
	Extensions    Topic = "extensions"
	Registrations Topic = "registrations"
	Calls         Topic = "calls"
	CDR           Topic = "cdr"
	Trunks        Topic = "trunks"
	Security      Topic = "security"
	// Queues is known and refused: there are none in this version.
	Queues Topic = "queues"
)

// Topics are all there are, in the order people read them.
func Topics() []Topic {
	return []Topic{Extensions, Registrations, Calls, CDR, Trunks, Security, Queues}
}

// Request is a message of a client.
type Request struct {
	Type string `json:"type" doc:"auth, subscribe, unsubscribe or ping."`
	ID   string `json:"id,omitempty" doc:"Chosen by the client, repeated in the answer; at most 64 bytes."`
	// Of auth.
	Ticket string `json:"ticket,omitempty" doc:"auth: what POST /api/v1/wsi/ticket answered; without it the cookie of the session counts, as a browser sends it."`
	Token  string `json:"token,omitempty" doc:"auth: an API token, instead of a ticket; it may come with the upgrade too, as Authorization: Bearer."`
	// Of subscribe.
	Topic  Topic  `json:"topic,omitempty" doc:"subscribe: one of the topics."`
	Tenant string `json:"tenant,omitempty" doc:"subscribe, for administrators of the box: the number of a tenant, or all. Without it the tenant of the account, or the first."`
	// Of unsubscribe.
	Subscription int64 `json:"subscription,omitempty" doc:"unsubscribe: the number that the answer to subscribe gave."`
}

// Bounds of a request.
const (
	maxRequest = 4 << 10
	maxID      = 64
)

// Kinds of requests.
const (
	reqAuth        = "auth"
	reqSubscribe   = "subscribe"
	reqUnsubscribe = "unsubscribe"
	reqPing        = "ping"
)

// Message is a message of the PBX.
type Message struct {
	Type string `json:"type" doc:"welcome, ok, error, snapshot, change, pong or bye."`
	ID   string `json:"id,omitempty" doc:"Of the request that this answers."`
	// Of welcome.
	User   string  `json:"user,omitempty" doc:"welcome: who logged in."`
	Role   string  `json:"role,omitempty" doc:"welcome: the role of the account."`
	Topics []Topic `json:"topics,omitempty" doc:"welcome: what the account may subscribe to."`
	Own    string  `json:"own,omitempty" doc:"ok: only what concerns this extension is sent, since the role allows no more."`
	// Of error and bye.
	Code string `json:"code,omitempty" doc:"error, bye: for programs."`
	Text string `json:"message,omitempty" doc:"error, bye: for people."`
	// Of what a subscription brings.
	Subscription int64           `json:"subscription,omitempty" doc:"Which subscription; also in the answer to subscribe."`
	Topic        Topic           `json:"topic,omitempty"`
	Seq          uint64          `json:"seq,omitempty" doc:"snapshot, change: counts the messages of the subscription from 1, without gaps."`
	Reason       string          `json:"reason,omitempty" doc:"snapshot: subscribed, or resync: what was sent before is void, since the client was too slow or events were lost."`
	More         bool            `json:"more,omitempty" doc:"snapshot: the next message is another part of it."`
	Items        []Item          `json:"items,omitempty" doc:"snapshot: a part of what there is now, at most 200 items."`
	Op           string          `json:"op,omitempty" doc:"change: put brings a new or changed item whole, delete takes one away."`
	Tenant       string          `json:"tenant,omitempty" doc:"change: the tenant of the item; 0 is the box."`
	Key          string          `json:"key,omitempty" doc:"change: which item, within topic and tenant."`
	Item         json.RawMessage `json:"item,omitempty" doc:"change, put: the item."`
}

// Item is one thing of a snapshot.
type Item struct {
	Tenant string          `json:"tenant"`
	Key    string          `json:"key"`
	Item   json.RawMessage `json:"item"`
}

// Kinds of messages.
const (
	msgWelcome  = "welcome"
	msgOK       = "ok"
	msgError    = "error"
	msgSnapshot = "snapshot"
	msgChange   = "change"
	msgPong     = "pong"
	msgBye      = "bye"
)

// Codes of errors and good-byes.
const (
	codeBad         = "bad_request"
	codeAuth        = "not_authenticated"
	codeForbidden   = "forbidden"
	codeUnavailable = "unavailable"
	codeTooMany     = "too_many"
	codeEnded       = "session_ended"
	codeSlow        = "too_slow"
	codeClosing     = "closing"
)

// Extension is an item of the topic extensions.
type Extension struct {
	Number        string `json:"number"`
	DisplayName   string `json:"display_name"`
	State         string `json:"state" doc:"offline (no phone is registered), idle, ringing (a call comes in), or busy."`
	Registrations int    `json:"registrations" doc:"How many phones are registered."`
	Calls         int    `json:"calls" doc:"How many calls it is in, ringing ones included."`
	DoNotDisturb  bool   `json:"do_not_disturb"`
}

// Registered is an item of the topic registrations: all phones of an extension
// that can be rung.
type Registered struct {
	Number string  `json:"number"`
	Phones []Phone `json:"phones"`
}

// Phone is a registration.
type Phone struct {
	Contact   string `json:"contact" doc:"Contact URI as registered, without its push token."`
	UserAgent string `json:"user_agent"`
	Source    string `json:"source" doc:"Address and port the registration came from."`
	Listener  string `json:"listener" doc:"Service of the port table that received it."`
	NAT       bool   `json:"nat" doc:"The phone is behind a NAT."`
}

// Trunk is an item of the topic trunks.
type Trunk struct {
	ID              int64   `json:"id"`
	Name            string  `json:"name"`
	Condition       string  `json:"condition" doc:"off, starting, up, down, or credentials refused."`
	Since           string  `json:"since"`
	Reason          string  `json:"reason" doc:"Why it is not up."`
	Target          string  `json:"target" doc:"The server in use."`
	RegisteredUntil string  `json:"registered_until,omitempty"`
	Calls           int     `json:"calls" doc:"When its condition last changed."`
	MaxCalls        int     `json:"max_calls" doc:"0 is no limit."`
	RTTMs           float64 `json:"rtt_ms"`
}

// decode reads a request. Unknown fields and anything after the object are
// refused: a misspelt field would otherwise ask for something else.
func decode(raw []byte) (Request, error) {
	var r Request
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	if err := d.Decode(&r); err != nil {
		return Request{}, errors.New("not a JSON object of the documented fields")
	}
	if d.More() {
		return Request{}, errors.New("more than one JSON object")
	}
	if len(r.ID) > maxID {
		return Request{}, errors.New("id is too long")
	}
	return r, nil
}

func tenantText(t telephony.TenantID) string { return strconv.FormatInt(int64(t), 10) }
