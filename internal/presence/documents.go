package presence

import (
	"bytes"
	"encoding/xml"
	"strconv"
	"time"

	"ringfence/internal/sip"
	"ringfence/internal/telephony"
)

// The event packages.
const (
	dialogEvent    = "dialog"
	presenceEvent  = "presence"
	messageSummary = "message-summary"
	regEvent       = "reg"
)

// eventPackage is what one event package says (RFC 6665 section 5). State and
// render are called with the service's lock held.
type eventPackage struct {
	name        string
	contentType string
	private     bool // only the extension itself may subscribe
	// state is the content of the documents, for comparison.
	state func(*Service, extension) string
	// render writes the document for one subscriber.
	render func(*Service, *subscription) []byte
}

// packageOf finds an event package by its name.
func packageOf(name string) (eventPackage, bool) {
	p := eventPackage{name: name}
	switch name {
	case dialogEvent:
		p.contentType = "application/dialog-info+xml"
		p.state, p.render = (*Service).dialogState, (*Service).dialogInfo
	case presenceEvent:
		p.contentType = pidfType
		p.state, p.render = (*Service).presenceState, (*Service).pidf
	case messageSummary:
		p.contentType, p.private = "application/simple-message-summary", true
		p.state, p.render = (*Service).messageState, (*Service).messageSummary
	case regEvent:
		// Contacts are addresses of people's devices: nobody else's business.
		p.contentType, p.private = "application/reginfo+xml", true
		p.state, p.render = (*Service).regState, (*Service).regInfo
	default:
		return p, false
	}
	return p, true
}

const pidfType = "application/pidf+xml"

// writer writes XML whose texts come from people and peers.
type writer struct{ bytes.Buffer }

// text writes s so that it is text only, whatever it holds.
func (w *writer) text(s string) *writer {
	xml.EscapeText(w, []byte(s))
	return w
}

func (w *writer) raw(s string) *writer {
	w.WriteString(s)
	return w
}

// attr writes an attribute; an empty one is left out.
func (w *writer) attr(name, value string) *writer {
	if value == "" {
		return w
	}
	return w.raw(" " + name + `="`).text(value).raw(`"`)
}

// element writes an element that holds text; an empty one is left out.
func (w *writer) element(name, value string) *writer {
	if value == "" {
		return w
	}
	return w.raw("<" + name + ">").text(value).raw("</" + name + ">")
}

const xmlHead = `<?xml version="1.0" encoding="UTF-8"?>` + "\n"

// aor is the address of record of an extension.
func (s *Service) aor(e extension) telephony.AOR {
	t, _ := s.c.Snapshot().Tenant(e.tenant)
	return telephony.AOR{User: e.number, Domain: t.Domain}
}

// messageState is the simple-message-summary of RFC 3842 section 5.2.
func (s *Service) messageState(e extension) string {
	var m Messages
	if s.c.Mailboxes != nil {
		m = s.c.Mailboxes.Messages(e.tenant, e.number)
	}
	waiting := "no"
	if m.New > 0 {
		waiting = "yes"
	}
	count := func(n int) string { return strconv.Itoa(max(n, 0)) }
	return "Messages-Waiting: " + waiting + "\r\nMessage-Account: " + s.aor(e).String() +
		"\r\nVoice-Message: " + count(m.New) + "/" + count(m.Old) + " (" + count(m.UrgentNew) + "/" + count(m.UrgentOld) + ")\r\n"
}

func (s *Service) messageSummary(u *subscription) []byte {
	return []byte(s.messageState(u.key.extension))
}

// bindings are the live registrations of an extension.
func (s *Service) bindings(e extension) []telephony.Binding {
	if s.c.Registrations == nil {
		return nil
	}
	return s.c.Registrations.Bindings(s.aor(e))
}

func (s *Service) regState(e extension) string {
	var w writer
	for _, b := range s.bindings(e) {
		w.raw(b.Contact + " " + b.Instance + " " + b.CallID + " " + strconv.FormatFloat(b.Q, 'f', 3, 64) + "\n")
	}
	return w.String()
}

// regInfo is the document of RFC 3680 section 5, always the full state.
func (s *Service) regInfo(u *subscription) []byte {
	var w writer
	now := time.Now()
	list := s.bindings(u.key.extension)
	state := "active"
	if len(list) == 0 {
		state = "terminated"
	}
	w.raw(xmlHead+`<reginfo xmlns="urn:ietf:params:xml:ns:reginfo"`).attr("version", strconv.FormatUint(uint64(u.Version), 10)).raw(` state="full">`)
	w.raw("<registration").attr("aor", s.aor(u.key.extension).String()).attr("id", "r"+u.key.number).attr("state", state).raw(">")
	for i, b := range list {
		if u.Flow.Listener.OnEdge() && !b.Flow.Listener.OnEdge() {
			continue // its addresses are behind the edge
		}
		w.raw("<contact").attr("id", "c"+strconv.Itoa(i)).raw(` state="active" event="registered"`).
			attr("duration-registered", seconds(now.Sub(b.Registered))).attr("expires", seconds(b.Expires.Sub(now))).
			attr("q", strconv.FormatFloat(b.Q, 'f', 3, 64)).attr("callid", b.CallID).attr("cseq", strconv.FormatUint(uint64(b.CSeq), 10)).raw(">")
		w.element("uri", b.Contact)
		if b.Instance != "" {
			w.raw(`<unknown-param name="+sip.instance">`).text(sip.Quote(b.Instance)).raw("</unknown-param>")
		}
		w.raw("</contact>")
	}
	w.raw("</registration></reginfo>\n")
	return w.Bytes()
}
