package presence

import (
	"slices"
	"strconv"

	"ringfence/internal/telephony"
)

// maxDialogs bounds the dialogs of one document, which is to fit a datagram;
// the newest are shown.
const maxDialogs = 8

// dialogs are the legs of an extension that its lamp shows.
func (s *Service) dialogs(e extension) []legOf {
	list := s.model.legs(e)
	return list[max(0, len(list)-maxDialogs):]
}

// dialogState is what lamps are compared by.
func (s *Service) dialogState(e extension) string {
	var w writer
	for _, l := range s.dialogs(e) {
		s.dialog(&w, l, true)
	}
	return w.String()
}

// dialogInfo is the document of RFC 4235 section 4, always the full state.
// Dialogs that have ended since the last one are named once more, as
// terminated: there are phones whose lamp needs to hear it.
func (s *Service) dialogInfo(u *subscription) []byte {
	var w writer
	w.raw(xmlHead+`<dialog-info xmlns="urn:ietf:params:xml:ns:dialog-info"`).
		attr("version", strconv.FormatUint(uint64(u.Version), 10)).raw(` state="full"`).
		attr("entity", s.aor(u.key.extension).String()).raw(">")
	list := s.dialogs(u.key.extension)
	shown := make([]string, 0, len(list))
	list = s.named(u, list)
	for _, l := range list {
		shown = append(shown, l.Dialog.LocalTag)
	}
	for _, id := range u.shown {
		if !slices.Contains(shown, id) {
			w.raw("<dialog").attr("id", id).raw("><state>terminated</state></dialog>")
		}
	}
	for _, l := range list {
		s.dialog(&w, l, u.Subscriber == u.Resource)
	}
	if u.shown = shown; len(shown) == 0 {
		u.shown = nil
	}
	w.raw("</dialog-info>\n")
	return w.Bytes()
}

// named gives the dialogs the names that a subscriber may know: one on the edge
// gets stand-ins that Replaces understands, for Call-IDs and tags are those of
// phones inside. What has ended meanwhile has none and is left out.
func (s *Service) named(u *subscription, list []legOf) []legOf {
	if s.c.Alias == nil || !u.Flow.Listener.OnEdge() {
		return list
	}
	out := make([]legOf, 0, len(list))
	for _, l := range list {
		if a, ok := s.c.Alias(l.Dialog); ok {
			l.Dialog = a
			out = append(out, l)
		}
	}
	return out
}

// dialog writes one dialog as the extension's phone sees it: local-tag is the
// phone's, remote-tag ours, so that an INVITE with Replaces to us has
// to-tag=remote-tag and from-tag=local-tag (RFC 3891 section 3, RFC 5359
// section 2.17). Who may name a dialog can take it over: of others' dialogs
// only those that ring are named (RFC 4235 section 6).
func (s *Service) dialog(w *writer, l legOf, own bool) {
	direction, state := "recipient", dialogState(l.LiveLeg)
	if l.Placed {
		direction = "initiator"
	}
	w.raw("<dialog").attr("id", l.Dialog.LocalTag)
	if own || !l.Placed && state == "early" {
		w.attr("call-id", l.Dialog.CallID).attr("local-tag", l.Dialog.RemoteTag).attr("remote-tag", l.Dialog.LocalTag)
	}
	w.attr("direction", direction).raw("><state>" + state + "</state>")
	t, _ := s.c.Snapshot().Tenant(l.call.Tenant)
	uri := func(number string) string { return telephony.AOR{User: number, Domain: t.Domain}.String() }
	w.raw("<local><identity").attr("display", l.Name).raw(">").text(uri(l.Number)).raw("</identity>")
	w.raw("<target").attr("uri", uri(l.Number)).raw("/></local>")
	if !l.call.Hidden {
		// The other side of a caller who withholds its number is not told
		// either: it would tell who called.
		p := l.call.Caller
		if l.Placed {
			p = l.call.Callee
		}
		w.raw("<remote><identity").attr("display", p.Name).raw(">").text(uri(p.Number)).raw("</identity>")
		w.raw("<target").attr("uri", uri(p.Number)).raw("/></remote>")
	}
	w.raw("</dialog>")
}

// dialogState is the state of RFC 4235 section 3.7.1.
func dialogState(l telephony.LiveLeg) string {
	switch l.State {
	case telephony.CallTrying:
		return "trying"
	case telephony.CallRinging:
		return "early"
	}
	return "confirmed"
}
