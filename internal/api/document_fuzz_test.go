package api

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"testing"

	"ringfence/internal/telephony"
)

// schema is what is used here of a JSON Schema.
type schema struct {
	Ref        string            `json:"$ref"`
	Type       any               `json:"type"` // a name, or names
	Format     string            `json:"format"`
	Enum       []any             `json:"enum"`
	Minimum    *float64          `json:"minimum"`
	Maximum    *float64          `json:"maximum"`
	MaxLength  *int              `json:"maxLength"`
	Items      *schema           `json:"items"`
	Properties map[string]schema `json:"properties"`
	Required   []string          `json:"required"`
	Additional json.RawMessage   `json:"additionalProperties"`
	Examples   []any             `json:"examples"`
}

type parameter struct {
	Name, In string
	Schema   schema
}

type documented struct {
	method, path string
	Parameters   []parameter `json:"parameters"`
	Body         struct {
		Content map[string]struct{ Schema schema } `json:"content"`
	} `json:"requestBody"`
}

// mutator makes requests that are nearly what the document asks for.
type mutator struct {
	*rand.Rand
	schemas map[string]schema
	ops     []documented
}

func newMutator(t testing.TB, seed uint64) *mutator {
	t.Helper()
	text, err := Document()
	if err != nil {
		t.Fatal(err)
	}
	var doc struct {
		Paths      map[string]map[string]documented
		Components struct{ Schemas map[string]schema }
	}
	if err := json.Unmarshal(text, &doc); err != nil {
		t.Fatal(err)
	}
	m := &mutator{Rand: rand.New(rand.NewPCG(seed, 7)), schemas: doc.Components.Schemas}
	for path, methods := range doc.Paths {
		for method, o := range methods {
			o.method, o.path = strings.ToUpper(method), strings.TrimPrefix(path, Base)
			m.ops = append(m.ops, o)
		}
	}
	slices.SortFunc(m.ops, func(a, b documented) int { return strings.Compare(a.path+a.method, b.path+b.method) })
	return m
}

// hostile are values that somebody's parser, query or log once took badly.
func (m *mutator) hostile() string {
	all := []string{
		"", " ", "0", "-1", "101", "1e309", "99999999999999999999", "NaN", "null", "true",
		"' OR '1'='1", "'; DROP TABLE extension; --", "\" UNION SELECT password_hash FROM user --", "number; DELETE FROM user", "name) DESC, (SELECT 1",
		"a\r\nSet-Cookie: x=y", "a\nX: y", "\x00", "a\x00b", "\u2028", "\ufeff", "\xff\xfe", "💥", "ＡＢ", "ſ", "..%2f..%2fetc", "../../etc/passwd", "%00", "{{7*7}}", "${jndi:x}", "=1+1", "<script>1</script>",
		strings.Repeat("9", 400), strings.Repeat("A", 5000), "::1", "169.254.169.254", "0.0.0.0/0", "[::ffff:127.0.0.1]", "2026-02-30T25:61:00Z", "Europe/../../x",
	}
	return all[m.IntN(len(all))]
}

// value is one for a schema; now and then it is of a wrong type, or hostile.
func (m *mutator) value(s schema, depth int) any {
	if s.Ref != "" {
		s = m.schemas[s.Ref[strings.LastIndex(s.Ref, "/")+1:]]
	}
	if depth > 6 || m.IntN(12) == 0 {
		return m.odd()
	}
	if len(s.Enum) > 0 && m.IntN(8) > 0 {
		return s.Enum[m.IntN(len(s.Enum))]
	}
	if len(s.Examples) > 0 && m.IntN(2) == 0 {
		return s.Examples[m.IntN(len(s.Examples))]
	}
	switch m.typeOf(s) {
	case "object":
		return m.object(s, depth)
	case "array":
		n := m.IntN(4)
		if m.IntN(40) == 0 {
			n = 2000
		}
		list := make([]any, 0, n)
		for range n {
			if s.Items != nil {
				list = append(list, m.value(*s.Items, depth+1))
			}
		}
		return list
	case "integer", "number":
		return m.number(s)
	case "boolean":
		return m.IntN(2) == 0
	case "null":
		return nil
	}
	return m.text(s)
}

func (m *mutator) typeOf(s schema) string {
	switch v := s.Type.(type) {
	case string:
		return v
	case []any:
		if len(v) > 0 {
			name, _ := v[m.IntN(len(v))].(string)
			return name
		}
	}
	return "string"
}

func (m *mutator) object(s schema, depth int) any {
	out := make(map[string]any)
	names := make([]string, 0, len(s.Properties))
	for name := range s.Properties {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		keep := 2
		if slices.Contains(s.Required, name) {
			keep = 25
		}
		if name != "$schema" && m.IntN(keep) > 0 {
			out[name] = m.value(s.Properties[name], depth+1)
		}
	}
	if m.IntN(20) == 0 {
		out[m.hostile()] = m.hostile()
	}
	return out
}

func (m *mutator) number(s schema) any {
	edges := []any{0, -1, 1, 10, 3600, 1 << 31, int64(1) << 53, 1e308, 0.5}
	if s.Minimum != nil {
		edges = append(edges, *s.Minimum, *s.Minimum-1)
	}
	if s.Maximum != nil {
		edges = append(edges, *s.Maximum, *s.Maximum+1)
	}
	return edges[m.IntN(len(edges))]
}

func (m *mutator) text(s schema) any {
	if m.IntN(3) == 0 {
		return m.hostile()
	}
	if s.Format == "date-time" {
		return "2030-01-31T12:00:00Z"
	}
	words := []string{"101", "102", "Ann", "ann", "pbx.example", "+493012345", "192.0.2.0/24", "sip-udp", "Mo", "de", "x@example.com"}
	return words[m.IntN(len(words))]
}

func (m *mutator) odd() any {
	deep := any("x")
	for range 200 {
		deep = []any{deep}
	}
	all := []any{nil, true, 17, -0.1, "", m.hostile(), []any{}, map[string]any{}, []any{nil}, deep}
	return all[m.IntN(len(all))]
}

// request is a method, a path and a body for an operation.
func (m *mutator) request(o documented) (path string, in any) {
	path = o.path
	query := url.Values{}
	for _, p := range o.Parameters {
		switch p.In {
		case "path":
			v := m.hostile()
			if m.IntN(3) > 0 {
				v = []string{"101", "102", "1", "2", "call-1", "sip-udp", "portal"}[m.IntN(7)]
			}
			path = strings.ReplaceAll(path, "{"+p.Name+"}", url.PathEscape(v))
		case "query":
			if m.IntN(3) == 0 {
				query.Add(p.Name, fmt.Sprint(m.value(p.Schema, 5)))
			}
		}
	}
	if m.IntN(15) == 0 {
		query.Add("sort", m.hostile())
	}
	if len(query) > 0 {
		path += "?" + query.Encode()
	}
	for _, c := range o.Body.Content {
		body, err := json.Marshal(m.value(c.Schema, 0))
		if err != nil {
			return path, "{}"
		}
		text := string(body)
		switch m.IntN(30) {
		case 0:
			text = text[:m.IntN(len(text)+1)]
		case 1:
			text += text
		}
		return path, text
	}
	return path, nil
}

// left are operations that would end what the test stands on, or do not end.
func left(o documented) bool {
	return strings.HasPrefix(o.path, "/setup") || o.path == "/login" || o.path == "/events" || o.path == "/session" && o.method == http.MethodDelete
}

// TestHostileRequestsOfEveryOperation: whatever is sent in place of what the
// OpenAPI document asks for is answered as a problem and changes nothing, or is
// done; the PBX never fails at it, and its database stays whole.
func TestHostileRequestsOfEveryOperation(t *testing.T) {
	t.Parallel()
	rounds := 2
	if os.Getenv("RINGFENCE_DRILL") != "" {
		rounds = 400
	}
	b := newBox(t)
	boss := b.setUp()
	b.live.traces = exampleTrace()
	m := newMutator(t, 1)
	if len(m.ops) < 40 {
		t.Fatalf("%d operations in the document", len(m.ops))
	}
	done, refused, spare := 0, 0, 0
	for range rounds {
		for _, o := range m.ops {
			if left(o) {
				continue
			}
			path, in := m.request(o)
			before := b.store.Snapshot().Rev
			a := boss.do(o.method, path, in, nil)
			switch {
			case a.Code == http.StatusUnauthorized:
				spare++ // a request ended the session
				boss = b.user(telephony.System, fmt.Sprintf("boss%d", spare), telephony.RoleSystemAdmin, "")
			case a.Code >= 500 && a.Code != http.StatusServiceUnavailable:
				t.Errorf("%s %s: %d %s\nbody: %v", o.method, path, a.Code, a.Body, in)
			case a.Code >= 400:
				refused++
				if !strings.HasPrefix(a.Header().Get("Content-Type"), "application/problem+json") {
					t.Errorf("%s %s: %d without a problem: %s", o.method, path, a.Code, a.Body)
				}
				if rev := b.store.Snapshot().Rev; rev != before {
					t.Errorf("%s %s: %d, and yet revision %d became %d", o.method, path, a.Code, before, rev)
				}
			default:
				done++
			}
			for name, values := range a.Header() {
				for _, v := range values {
					if strings.ContainsAny(name+v, "\r\n\x00") {
						t.Errorf("%s %s: header %q: %q", o.method, path, name, v)
					}
				}
			}
		}
	}
	if done == 0 || refused < done/10 {
		t.Errorf("%d done, %d refused: the requests do not reach both", done, refused)
	}
	t.Logf("%d requests done, %d refused", done, refused)
	if err := b.store.VerifyChain(t.Context()); err != nil {
		t.Error(err)
	}
	if tenants := b.store.Snapshot().Tenants(); len(tenants) == 0 {
		t.Error("the tenant is gone")
	}
}
