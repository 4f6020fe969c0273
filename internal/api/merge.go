package api

import (
	"bytes"
	"encoding/json"
	"fmt"

	"ringfence/internal/telephony"
)

// written is a request that names fields of T: those it names are taken, the
// others stay as they are, or as they are by default in something new.
type written[T any] struct {
	RawBody []byte
	Body    T // for the document and its checks
}

// merged is now with the fields of a JSON merge patch (RFC 7396).
func merged[T any](now T, patch []byte) (out T, err error) {
	text, err := json.Marshal(now)
	if err != nil {
		return out, fmt.Errorf("encoding what there is: %w", err)
	}
	var base, change map[string]any
	for _, d := range []struct {
		text []byte
		into *map[string]any
	}{{text, &base}, {patch, &change}} {
		dec := json.NewDecoder(bytes.NewReader(d.text))
		dec.UseNumber()
		if err := dec.Decode(d.into); err != nil {
			return out, &telephony.FieldError{Field: "", Reason: "not the expected JSON"}
		}
	}
	if text, err = json.Marshal(mergePatch(base, change)); err != nil {
		return out, fmt.Errorf("encoding a change: %w", err)
	}
	if err := json.Unmarshal(text, &out); err != nil {
		return out, &telephony.FieldError{Field: "", Reason: "not the expected JSON"}
	}
	return out, nil
}

// mergePatch is the algorithm of RFC 7396 section 2.
func mergePatch(base, change map[string]any) map[string]any {
	if base == nil {
		base = map[string]any{}
	}
	for k, v := range change {
		switch v := v.(type) {
		case nil:
			delete(base, k)
		case map[string]any:
			inner, _ := base[k].(map[string]any)
			base[k] = mergePatch(inner, v)
		default:
			base[k] = v
		}
	}
	return base
}

// listQuery selects a page of a list.
type listQuery struct {
	After string `query:"after" maxLength:"200" doc:"next of the page before; empty for the first."`
	Limit int    `query:"limit" minimum:"1" maximum:"1000" default:"200"`
}

// page is the part of a list that was asked for, and where the next one begins.
func page[T any](all []T, q listQuery, key func(T) string) (part []T, next string) {
	from := 0
	if q.After != "" {
		for from < len(all) && key(all[from]) != q.After {
			from++
		}
		from = min(from+1, len(all))
	}
	to := min(from+q.Limit, len(all))
	if to < len(all) {
		next = key(all[to-1])
	}
	return all[from:to], next
}
