package api

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// Trap 1 of the library: problems echo what was sent, up to the whole body.
func TestProblemsNeverEchoValues(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	wizard := b.client()
	wizard.token = b.wizard.Token()
	const secret = "s3cret-Echo"
	hostile := []string{
		`{"name":"` + secret + `","password":"` + secret + `","new":"` + secret + `","current":17,"extra":"` + secret + `"}`,
		`{"password":["` + secret + `"],"number":"` + secret + `","count":"` + secret + `"}`,
		`{"password":"` + secret + `"`, `"` + secret + `"`, `["` + secret + `"]`,
		`{"extensions":[{"number":"` + secret + `","display_name":{"x":"` + secret + `"}}]}`,
		`{"display_name":"` + strings.Repeat(secret, 50) + `","no_answer_seconds":"` + secret + `"}`,
	}
	try := func(c *client, patterns []string) {
		t.Helper()
		for _, pattern := range patterns {
			method, path := target(pattern)
			if method == http.MethodGet || method == http.MethodDelete || path == "/setup/finish" {
				path += "?q=" + secret
			}
			for _, in := range hostile {
				a := c.do(method, path, in, nil)
				if strings.Contains(a.Body.String(), secret) {
					t.Errorf("%s echoes: %s", pattern, a.Body)
				}
				if strings.Contains(a.Body.String(), `"value"`) {
					t.Errorf("%s has a value member: %s", pattern, a.Body)
				}
				if a.Code >= 500 {
					t.Errorf("%s: %d %s", pattern, a.Code, a.Body)
				}
			}
		}
	}
	try(wizard, ofTheWizard)
	boss := b.setUp()
	for _, pattern := range b.routes.added {
		if _, path := target(pattern); path == "/login" || path == "/session" || path == "/events" || strings.HasPrefix(path, "/setup") {
			continue
		}
		try(boss, []string{pattern})
	}
	try(b.client(), public)
	if strings.Contains(b.log.String(), secret) {
		t.Error("the log holds what was sent")
	}
	if doc, err := Document(); err != nil || strings.Contains(string(doc), "The value at the given location") {
		t.Errorf("the document promises values (%v)", err)
	}
}

// Trap 2: readOnly is not enforced; fields that must not be written do not
// exist in the input.
func TestOutputFieldsCannotBeWritten(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	boss := b.setUp()
	for in, want := range map[string]int{
		`{"display_name":"x","no_answer_seconds":30,"registrations":5}`:    http.StatusUnprocessableEntity,
		`{"display_name":"x","no_answer_seconds":30,"number":"102"}`:       http.StatusUnprocessableEntity,
		`{"display_name":"x","no_answer_seconds":30,"provision_path":"x"}`: http.StatusUnprocessableEntity,
		`{"display_name":"x"}`: http.StatusUnprocessableEntity,
		// Spellings that fold to a field's name.
		`{"display_name":"x","no_answer_seconds":30,"No_Answer_Seconds":9999}`: http.StatusBadRequest,
		`{"display_name":"x","no_answer_seconds":30,"no_anſwer_seconds":1}`:    http.StatusBadRequest,
	} {
		a := boss.do("PUT", "/extensions/101", in, nil)
		if a.Code != want {
			t.Errorf("%s: %d %s", in, a.Code, a.Body)
		}
	}
	var e Extension
	boss.must(http.StatusOK, "PUT", "/extensions/101", ExtensionUpdate{DisplayName: "Ann", NoAnswerSeconds: 45}, &e)
	if e.DisplayName != "Ann" || e.NoAnswerSeconds != 45 || e.Number != "101" {
		t.Errorf("%+v", e)
	}
}

// Traps 3 and 4: no PATCH by magic; unknown methods and paths are problems;
// unknown query parameters are refused.
func TestUnknownMethodsPathsAndParametersAreProblems(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	boss := b.setUp()
	a := boss.must(http.StatusMethodNotAllowed, "PATCH", "/extensions/101", `{}`, nil)
	if a.Header().Get("Allow") != "DELETE, GET, HEAD, PUT" || a.Problem.Status != http.StatusMethodNotAllowed {
		t.Errorf("%v %s", a.Header(), a.Body)
	}
	for _, path := range []string{"/nowhere", "/extensions/101/", "/extensions//101", "/../v1/status", "/extensions/101/x", ""} {
		if a := boss.do("GET", path, nil, nil); a.Code != http.StatusNotFound || a.Problem.Status != http.StatusNotFound {
			t.Errorf("%s: %d %s", path, a.Code, a.Body)
		}
	}
	a = boss.must(http.StatusUnprocessableEntity, "GET", "/extensions?limitt=1", nil, nil)
	if len(a.Problem.Errors) != 1 || a.Problem.Errors[0].Location != "query.limitt" {
		t.Errorf("%s", a.Body)
	}
}

// Trap 5: no docs page, no schema links.
func TestNothingOfTheLibraryShows(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	boss := b.setUp()
	for _, path := range []string{"/docs", "/openapi.json", "/openapi.yaml", "/openapi", "/schemas/Extension", "/schemas/Extension.json"} {
		for _, base := range []string{Base, ""} {
			r := boss.request("GET", "", nil)
			r.URL.Path = base + path
			w := httptest.NewRecorder()
			b.ServeHTTP(w, r)
			if w.Code != http.StatusNotFound {
				t.Errorf("%s%s: %d", base, path, w.Code)
			}
		}
	}
	a := boss.must(http.StatusOK, "GET", "/extensions/101", nil, nil)
	if strings.Contains(a.Body.String(), "$schema") || a.Header().Get("Link") != "" {
		t.Errorf("%v %s", a.Header(), a.Body)
	}
}

func TestBodiesAreBounded(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	boss := b.setUp()
	big := `{"number":"150","display_name":"` + strings.Repeat("x", maxBody) + `"}`
	boss.must(http.StatusRequestEntityTooLarge, "POST", "/extensions", big, nil)
	boss.must(http.StatusBadRequest, "POST", "/extensions", "", nil)
	boss.header = map[string]string{"Content-Type": "text/plain"}
	boss.must(http.StatusUnsupportedMediaType, "POST", "/extensions", `{"number":"150"}`, nil)
	boss.header = nil
	// Thousands of mistakes make a short answer.
	var in []string
	for i := range 3000 {
		in = append(in, fmt.Sprintf(`"x%d":1`, i))
	}
	a := boss.must(http.StatusUnprocessableEntity, "POST", "/extensions", "{"+strings.Join(in, ",")+"}", nil)
	if len(a.Problem.Errors) != maxProblems {
		t.Errorf("%d details", len(a.Problem.Errors))
	}
}

// Sort keys come from a list; everything else that looks like SQL is refused
// and changes nothing.
func TestHostileParameters(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	boss := b.setUp()
	rev := b.store.Snapshot().Rev
	hostile := []string{
		"'", "''", "1'--", "1 OR 1=1", "number;DROP TABLE extension", "number)", "(SELECT 1)", "number DESC, (SELECT password_hash FROM user)",
		"display_name COLLATE NOCASE", "NUMBER", "number\x00", "../../etc/passwd", "%27", "${7*7}", "{{7*7}}", "<script>", "-1", "0", "1e999",
		"NaN", "999999999999999999999", "\u202e", "number,display_name", "id", "ha1", "1;SELECT sqlite_version()", "' UNION SELECT 1--", "|id", "`id`", "\\", "\"",
	}
	for _, h := range hostile {
		for _, q := range []string{"/extensions?sort=", "/extensions?after=", "/cdrs?extension=", "/cdrs?before=", "/audit?before="} {
			r := boss.request("GET", "/x", nil)
			path, name, _ := strings.Cut(q, "?")
			r.URL.Path = Base + path
			v := r.URL.Query()
			v.Set(strings.TrimSuffix(name, "="), h)
			r.URL.RawQuery = v.Encode()
			w := httptest.NewRecorder()
			b.ServeHTTP(w, r)
			number := strings.HasSuffix(q, "before=") && (h == "0") // is one
			if !number && (w.Code < 400 || w.Code > 499) {
				t.Errorf("%s%q: %d %s", q, h, w.Code, w.Body)
			}
		}
	}
	for _, q := range []string{"/extensions?limit=0", "/extensions?limit=10001", "/cdrs?limit=501", "/audit?limit=-1", "/audit?limit=x"} {
		boss.must(http.StatusUnprocessableEntity, "GET", q, nil, nil)
	}
	if b.store.Snapshot().Rev != rev || len(b.store.Snapshot().Extensions(1)) != 3 {
		t.Error("something was changed")
	}
}

// Whatever the body, the answer is no 5xx, no echo, and JSON.
func FuzzBodies(f *testing.F) {
	for _, s := range []string{`{}`, `{"number":"150","display_name":"x","no_answer_seconds":30}`, `{"count":3}`, `{"name":"A","domain":"a.example","extension_first":"101","extension_last":"199"}`, `[[[[`, `{"a":1e999}`, "\xff", `{"number":"150","number":"151"}`} {
		f.Add(s)
	}
	b := newBox(f)
	wizard := b.client()
	wizard.token = b.wizard.Token()
	f.Fuzz(func(t *testing.T, in string) {
		b.t = t
		b.fuzzOne(t, wizard, "PUT", "/setup/tenant", in)
		b.fuzzOne(t, wizard, "POST", "/setup/extensions", in)
	})
}

func (b *box) fuzzOne(t *testing.T, c *client, method, path, in string) {
	t.Helper()
	a := c.do(method, path, in, nil)
	if a.Code >= 500 || !json.Valid(a.Body.Bytes()) {
		t.Fatalf("%s %s %q: %d %s", method, path, in, a.Code, a.Body)
	}
}

// Whatever the query, lists answer 200 or a refusal.
func FuzzQueries(f *testing.F) {
	for _, s := range []string{"", "limit=1", "before=1.c1", "before=%00", "extension=101&extension=102", "sort=number&after=101", "limit=1;before=2", "=", "%zz", "before=9223372036854775808.x"} {
		f.Add(s)
	}
	b := newBox(f)
	boss := b.setUp()
	f.Fuzz(func(t *testing.T, query string) {
		b.t = t
		for _, path := range []string{"/extensions", "/cdrs", "/audit"} {
			r := boss.request("GET", path, nil)
			r.URL.RawQuery = query
			w := httptest.NewRecorder()
			b.ServeHTTP(w, r)
			if w.Code != http.StatusOK && (w.Code < 400 || w.Code > 499) {
				t.Fatalf("%s?%q: %d %s", path, query, w.Code, w.Body)
			}
		}
	})
}
