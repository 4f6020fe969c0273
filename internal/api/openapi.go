package api

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/danielgtaylor/huma/v2"
)

// CookieName is the session cookie of the portal. The prefix makes browsers
// insist on Secure, Path=/ and no Domain (RFC 6265bis section 4.1.3.2).
const CookieName = "__Host-ringfence-portal"

// The headers of the API's own.
const (
	csrfHeader  = "X-CSRF-Token"
	tokenHeader = "X-Setup-Token"
)

func humaConfig() huma.Config {
	json := huma.Format{Marshal: huma.DefaultJSONFormat.Marshal, Unmarshal: unmarshal}
	return huma.Config{
		OpenAPI: &huma.OpenAPI{
			OpenAPI: "3.1.0",
			Info: &huma.Info{
				Title: "Ringfence", Version: "1",
				Description: "REST interface of the Ringfence PBX. Problems are RFC 9457 documents; errors[].location names the field, such as body.password. Requests work in the organisation of whoever asks; administrators of the box name another one in the header Ringfence-Tenant, by its number, and work in the first one without.",
			},
			Components: &huma.Components{
				Schemas: huma.NewMapRegistry("#/components/schemas/", huma.DefaultSchemaNamer),
				SecuritySchemes: map[string]*huma.SecurityScheme{
					"session": {Type: "apiKey", In: "cookie", Name: CookieName},
					"token":   {Type: "http", Scheme: "bearer", Description: "API token of POST /tokens."},
					"csrf":    {Type: "apiKey", In: "header", Name: csrfHeader, Description: "csrf_token of GET /session."},
					"setup":   {Type: "apiKey", In: "header", Name: tokenHeader, Description: "One-time token from the console."},
				},
			},
		},
		// No docs page (it loads a third party's script), no schema links.
		Formats:                      map[string]huma.Format{"application/json": json, "json": json},
		DefaultFormat:                "application/json",
		RejectUnknownQueryParameters: true,
		Transformers:                 []huma.Transformer{stripValues},
	}
}

// Document returns the OpenAPI 3.1 document of all operations, indented.
func Document() ([]byte, error) {
	doc, err := json.MarshalIndent(New(Config{}).huma.OpenAPI(), "", "  ")
	if err != nil {
		return nil, fmt.Errorf("writing the OpenAPI document: %w", err)
	}
	return append(doc, '\n'), nil
}

// fixDocument makes the document agree with what is sent: problems carry no
// value, and a list is never null.
func fixDocument(doc *huma.OpenAPI) {
	detail := doc.Components.Schemas.Schema(reflect.TypeFor[huma.ErrorDetail](), false, "")
	delete(detail.Properties, "value")
	for _, item := range doc.Paths {
		if item.Post == nil {
			continue
		}
		for _, answer := range item.Post.Responses {
			if m := answer.Content["application/json"]; m != nil && m.Schema.Type == huma.TypeArray {
				m.Schema.Nullable = false
			}
		}
	}
}

// unmarshal is JSON whose object keys are plain. The library validates one key
// and encoding/json takes another that folds to the same letters (Password,
// paſsword): two spellings of one field would get past validation.
func unmarshal(data []byte, v any) error {
	if err := json.Unmarshal(data, v); err != nil {
		return errors.New("not the expected JSON") // the library's text would quote the body
	}
	if p, ok := v.(*any); ok && !plainKeys(*p) {
		return errors.New("keys of objects are lower case letters, digits and underscores")
	}
	return nil
}

func plainKeys(v any) bool {
	switch v := v.(type) {
	case map[string]any:
		for k, inner := range v {
			if strings.Trim(k, "abcdefghijklmnopqrstuvwxyz0123456789_") != "" || !plainKeys(inner) {
				return false
			}
		}
	case []any:
		return !slices.ContainsFunc(v, func(inner any) bool { return !plainKeys(inner) })
	}
	return true
}
