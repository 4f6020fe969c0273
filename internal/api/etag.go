package api

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
)

// tagged is an answer with its entity-tag.
type tagged[T any] struct {
	ETag string `header:"ETag" doc:"Goes into If-Match of the request that changes it."`
	Body T
}

// tag is v with the entity-tag of what is shown (RFC 9110 section 8.8.3).
func tag[T any](v T) *tagged[T] { return &tagged[T]{etagOf(v), v} }

func etagOf(v any) string {
	text, err := json.Marshal(v)
	if err != nil {
		return ""
	}
	sum := sha256.Sum256(text)
	return `"` + hex.EncodeToString(sum[:12]) + `"`
}

// Precondition is the precondition of a request that changes something. Without one
// the last writer wins.
type Precondition struct {
	IfMatch string `header:"If-Match" maxLength:"400" doc:"ETag of what was read; 412 if it was changed since."`
}

// holds refuses a change of what is not as the caller read it (RFC 9110 section
// 13.1.1). It is asked inside the transaction, so that nobody comes between.
func (m Precondition) holds(now any) error {
	if m.IfMatch == "" || m.IfMatch == "*" {
		return nil
	}
	tags := strings.Split(m.IfMatch, ",")
	for i := range tags {
		tags[i] = strings.TrimSpace(tags[i])
	}
	if slices.Contains(tags, etagOf(now)) {
		return nil
	}
	return problem(http.StatusPreconditionFailed, "it was changed by somebody else in the meantime: read it again")
}
