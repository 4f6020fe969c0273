package presence

import (
	"strconv"
	"strings"
	"time"

	"ringfence/internal/sip"
	"ringfence/internal/telephony"
)

// resourceKey is what can be subscribed to: an event package of an extension.
type resourceKey struct {
	extension
	event string
}

// state is what its documents say now. The lock is held.
func (k resourceKey) state(s *Service) string {
	p, _ := packageOf(k.event)
	return p.state(s, k.extension)
}

// resource is something that somebody watches.
type resource struct {
	subs map[*subscription]struct{}
	seen string // what its documents said when it was last looked at
}

// subscription is one dialog with a subscriber (RFC 6665 section 4.5.1). It
// belongs to the service's lock.
type subscription struct {
	telephony.Subscription
	key      resourceKey
	flow     sip.Flow
	began    uint64   // order of the subscriptions of one extension
	shown    []string // dialogs in the last document: they are told to have ended
	restored bool     // from the last run, and not told yet
	kept     bool     // is stored, or about to be
	stored   uint32   // LocalSeq that is stored
	tokens   float64  // NOTIFYs it may get now
	counted  time.Time
	timer    *time.Timer // until it may get the next one
	ending   string      // reason of the last NOTIFY, if it ends

	dirty   bool // has something to be told
	queued  bool // in ready
	sending bool // a NOTIFY is in flight
	tries   uint8
}

func (u *subscription) owner() extension { return extension{u.Tenant, u.Subscriber} }

// storable reports whether the subscription can outlive a restart: the flow of
// a stream cannot.
func (u *subscription) storable() bool { return u.Flow.Token == "" }

func (u *subscription) stopTimer() {
	if u.timer != nil {
		u.timer.Stop()
		u.timer = nil
	}
}

// notify writes the next NOTIFY (RFC 6665 section 4.2.2). It belongs to the
// dialog: its sequence, its route set, the flow it came on.
func (u *subscription) notify(ep *sip.Endpoint, now time.Time, contentType string, body []byte) sip.Outgoing {
	u.LocalSeq++
	o := sip.Outgoing{
		Method: sip.NOTIFY, URI: u.Target, CallID: u.CallID, CSeq: u.LocalSeq,
		From: u.Local + ";tag=" + u.LocalTag, To: u.Remote + ";tag=" + u.RemoteTag,
		ContentType: contentType, Body: body,
	}
	routes := u.Routes
	if len(routes) > 0 && !strings.Contains(strings.ToLower(routes[0]), ";lr") {
		// A strict router is the Request-URI itself (RFC 3261 section 12.2.1.1).
		o.URI = strings.Trim(routes[0], "<>")
		routes = append(append([]string(nil), routes[1:]...), "<"+u.Target+">")
	}
	for _, r := range routes {
		o.Headers = append(o.Headers, sip.Header{Name: "Route", Value: r})
	}
	state := "terminated;reason=" + u.ending
	if u.ending == "" {
		state = "active;expires=" + seconds(u.Expires.Sub(now))
	}
	event := u.Event
	if u.EventID != "" {
		event += ";id=" + u.EventID
	}
	o.Headers = append(o.Headers, u.contact(ep),
		sip.Header{Name: "Event", Value: event}, sip.Header{Name: "Subscription-State", Value: state},
		sip.AllowEvents())
	if p := ep.Product(); p != "" {
		o.Headers = append(o.Headers, sip.Header{Name: "User-Agent", Value: p})
	}
	return o
}

// contact is our Contact towards this subscriber.
func (u *subscription) contact(ep *sip.Endpoint) sip.Header { return ep.Contact(u.flow, u.key.number) }

// take takes the newest token, or says how long until there is one.
func (u *subscription) take(now time.Time, burst int, every time.Duration) time.Duration {
	u.tokens = min(float64(burst), u.tokens+float64(now.Sub(u.counted))/float64(every))
	u.counted = now
	if u.tokens >= 1 {
		u.tokens--
		return 0
	}
	return max(time.Duration((1-u.tokens)*float64(every)), time.Millisecond)
}

func seconds(d time.Duration) string {
	return strconv.Itoa(int(max(0, (d+time.Second-1)/time.Second)))
}
