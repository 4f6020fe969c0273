package telephony

import "time"

// LiveLeg is the dialog of a live call with one phone of an extension: what a
// lamp shows.
type LiveLeg struct {
	Number string    // of the extension whose phone it is
	Name   string    // its display name
	Placed bool      // the phone placed the call; else the call came to it
	State  CallState // of this leg
	Dialog DialogID
}

// DialogID identifies a dialog between us and a phone (RFC 3261 section 12):
// LocalTag is ours, RemoteTag the phone's, empty until it sent one.
type DialogID struct{ CallID, LocalTag, RemoteTag string }

// Subscription is an event subscription (RFC 6665) as it is stored, so that it
// outlives a restart.
type Subscription struct {
	Tenant     TenantID
	Subscriber string // number of the extension that subscribed
	Resource   string // number of the extension it watches
	Event      string // event package
	EventID    string // id parameter of the Event header
	CallID     string
	LocalTag   string // ours: names the subscription
	RemoteTag  string
	Local      string // To and From of its SUBSCRIBE, without tags
	Remote     string
	Target     string   // remote target
	Routes     []string // route set
	LocalSeq   uint32   // CSeq of our last NOTIFY
	RemoteSeq  uint32
	Version    uint32 // of the last document sent
	Flow       Flow
	Expires    time.Time
}

// Publication is what a device published of the presence of an extension (RFC
// 3903), as it is stored, so that it outlives a restart.
type Publication struct {
	Tenant     TenantID
	Number     string // of the extension
	Tag        string // entity-tag
	Open       bool   // the basic status of RFC 3863 section 4.1.4
	Activities []string
	Note       string
	Published  time.Time
	Expires    time.Time
}
