package presence

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"
)

// status is what people know of a presentity.
type status struct {
	open       bool
	activities []string // of RFC 4480 section 3.2
	note       string
}

// activity finds an activity that is passed on, or "".
func activity(name string) string {
	for _, a := range [...]string{
		"appointment", "away", "breakfast", "busy", "dinner", "holiday", "in-transit", "lunch", "meal", "meeting",
		onThePhone, "performance", "permanent-absence", "playing", "presentation", "shopping", "sleeping", "steering",
		"travel", "tv", "vacation", "working", "worship",
	} {
		if a == name {
			return a
		}
	}
	return ""
}

const onThePhone = "on-the-phone"

// compose makes one status of what the box knows and what the people say
// (RFC 3863, RFC 4480): reachable is who is registered and does not say
// otherwise; the newest publication is what counts.
func (s *Service) compose(e extension) status {
	st := status{open: len(s.bindings(e)) > 0}
	if list := s.published[e]; len(list) > 0 {
		p := list[len(list)-1].status
		st.open = st.open && p.open
		st.note = p.note
		st.activities = append(st.activities, p.activities...)
	}
	talks := slices.ContainsFunc(s.model.legs(e), func(l legOf) bool { return l.Placed || dialogState(l.LiveLeg) == "confirmed" })
	if talks && !slices.Contains(st.activities, onThePhone) {
		st.activities = append(st.activities, onThePhone)
	}
	return st
}

func (s *Service) presenceState(e extension) string { return fmt.Sprintf("%+v", s.compose(e)) }

// pidf is the document of RFC 3863 section 4 with the activities of RFC 4480.
func (s *Service) pidf(u *subscription) []byte {
	st := s.compose(u.key.extension)
	var w writer
	uri := s.aor(u.key.extension).String()
	w.raw(xmlHead+`<presence xmlns="urn:ietf:params:xml:ns:pidf" xmlns:dm="urn:ietf:params:xml:ns:pidf:data-model" xmlns:rpid="urn:ietf:params:xml:ns:pidf:rpid"`).
		attr("entity", uri).raw(">")
	basic := "closed"
	if st.open {
		basic = "open"
	}
	w.raw("<tuple").attr("id", "t"+u.key.number).raw("><status><basic>" + basic + "</basic></status>")
	w.element("contact", uri).element("note", st.note).raw("</tuple>")
	if len(st.activities) > 0 {
		w.raw("<dm:person").attr("id", "p"+u.key.number).raw("><rpid:activities>")
		for _, a := range st.activities {
			w.raw("<rpid:" + a + "/>")
		}
		w.raw("</rpid:activities>").element("dm:note", st.note).raw("</dm:person>")
	}
	w.raw("</presence>\n")
	return w.Bytes()
}

const (
	maxDocument = 8 << 10
	maxTokens   = 500
	maxDepth    = 16
	maxNote     = 160
)

// parsePIDF reads a published document: whether any tuple is open, the
// activities that are known, and the first note.
func parsePIDF(body []byte) (status, error) {
	var st status
	if len(body) > maxDocument {
		return st, errors.New("document too long")
	}
	d := xml.NewDecoder(bytes.NewReader(body))
	d.Entity = nil
	var path []string
	tuples, seen, root := 0, 0, false
	for {
		t, err := d.Token()
		if err == io.EOF {
			break
		}
		if seen++; err != nil || seen > maxTokens {
			return status{}, errors.New("malformed document")
		}
		switch t := t.(type) {
		case xml.Directive:
			return status{}, errors.New("document type declaration")
		case xml.StartElement:
			if path = append(path, t.Name.Local); len(path) > maxDepth {
				return status{}, errors.New("document too deep")
			}
			if len(path) == 1 && (t.Name.Local != "presence" || t.Name.Space != "urn:ietf:params:xml:ns:pidf") {
				return status{}, errors.New("no presence document")
			}
			root = true
			tuples += st.start(path)
		case xml.EndElement:
			path = path[:len(path)-1]
		case xml.CharData:
			st.text(path, string(t))
		}
	}
	if !root {
		return status{}, errors.New("no presence document")
	}
	if tuples == 0 {
		st.open = true // only says what a person does
	}
	return st, nil
}

// start takes the beginning of an element; it counts tuples.
func (st *status) start(path []string) int {
	name := path[len(path)-1]
	if len(path) > 1 && path[len(path)-2] == "activities" {
		if a := activity(name); a != "" && !slices.Contains(st.activities, a) {
			st.activities = append(st.activities, a)
		}
	}
	if name == "tuple" {
		return 1
	}
	return 0
}

func (st *status) text(path []string, s string) {
	if len(path) == 0 {
		return
	}
	s = strings.TrimSpace(s)
	switch path[len(path)-1] {
	case "basic":
		st.open = st.open || s == "open"
	case "note":
		if st.note == "" {
			st.note = clip(s)
		}
	}
}

// clip bounds a text without cutting a character in two.
func clip(s string) string {
	if len(s) > maxNote {
		s = s[:maxNote]
		for len(s) > 0 && !utf8.ValidString(s) {
			s = s[:len(s)-1]
		}
	}
	return strings.Clone(s)
}
