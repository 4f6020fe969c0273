package sip

import (
	"bytes"
	"io"
	"mime"
	"mime/multipart"
	"strconv"
)

// maxParts bounds the parts of a multipart body that are looked at.
const maxParts = 16

// SDP returns the session description in the body: the body itself, or the
// first part of that type in a multipart/mixed body (RFC 5621). It is nil if
// there is none.
func (m *message) SDP() []byte {
	if len(m.Body) == 0 {
		return nil
	}
	switch m.ContentType() {
	case "application/sdp":
		return m.Body
	case "multipart/mixed", "multipart/related", "multipart/alternative":
		return m.sdpPart()
	}
	return nil
}

func (m *message) sdpPart() []byte {
	_, params, err := mime.ParseMediaType(m.Header("Content-Type"))
	if err != nil || params["boundary"] == "" {
		return nil
	}
	parts := multipart.NewReader(bytes.NewReader(m.Body), params["boundary"])
	for range maxParts {
		p, err := parts.NextRawPart()
		if err != nil {
			return nil
		}
		t, _, _ := mime.ParseMediaType(p.Header.Get("Content-Type"))
		if t != "application/sdp" {
			continue
		}
		body, err := io.ReadAll(p)
		if err != nil || len(body) == 0 {
			return nil
		}
		return body
	}
	return nil
}

// hops is the value of Max-Forwards; 70 if absent.
func (r *Request) hops() int {
	n, err := strconv.Atoi(r.Header("Max-Forwards"))
	if err != nil {
		return maxForwards
	}
	return n
}

// NextHops is the Max-Forwards of a request made on behalf of r, so that a
// call cannot circle for ever.
func (r *Request) NextHops() int { return max(r.hops()-1, 1) }
