package api

import (
	"encoding/csv"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"ringfence/internal/store"
	"ringfence/internal/telephony"
)

func TestAListOfPeopleIsAddedWholeOrNotAtAll(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	b.setUp()
	ann := b.user(1, "ann", telephony.RoleAdmin, "")
	wrong := strings.Join([]string{
		"number,user,first_name,last_name,role,email,sip_password",
		"150,jo,Jo,Fox,standard,jo@pbx.example,",
		"101,kim,,,standard,,",                 // is there
		"151,jo,,,standard,,",                  // the same user twice
		"152,lee,,,emperor,,",                  // no such role
		"153,max,,,standard,nonsense,",         // no address
		"154,,,,standard,,short",               // SIP password
		"99999,,,,standard,,",                  // outside the range
		"155,'=cmd,Nan,O'Hara,standard,,",      // no user name
		"156,una,'=SUM(1),'+49,standard,,",     // texts that look like formulas
		`157,vic,"Vic, the third",,standard,,`, // quotes
	}, "\r\n")
	var out PeopleImported
	ann.must(http.StatusOK, "POST", "/extensions/csv", PeopleImport{wrong, true}, &out)
	want := map[int]string{3: "number", 4: "user", 5: "role", 6: "email", 7: "sip_password", 8: "number", 9: "user"}
	if len(out.Errors) != len(want) || out.Extensions != 3 || out.Users != 3 || out.Credentials != "" {
		t.Errorf("dry run: %+v", out)
	}
	for _, e := range out.Errors {
		if want[e.Row] != e.Column || e.Reason == "" {
			t.Errorf("row %d: %s %s, want %s", e.Row, e.Column, e.Reason, want[e.Row])
		}
	}
	a := ann.do("POST", "/extensions/csv", PeopleImport{CSV: wrong}, nil)
	if a.Code != http.StatusUnprocessableEntity || len(a.Problem.Errors) != len(want) || !strings.HasPrefix(a.Problem.Errors[0].Message, "line 3, number: ") {
		t.Errorf("import: %d %s", a.Code, a.Body)
	}
	if n := len(b.store.Snapshot().Extensions(1)); n != 3 {
		t.Errorf("%d extensions after a refused list", n)
	}
	good := strings.Join([]string{
		"\ufeffnumber,user,first_name,last_name,role,email,sip_password,phone",
		"150,jo,'=Jo,Fox,standard_international,jo@pbx.example,,'+49 30 1",
		"151,,,,,,Regen-4-Stunden,",
		",kim,Kim,,admin,,,",
	}, "\n")
	ann.must(http.StatusOK, "POST", "/extensions/csv", PeopleImport{CSV: good}, &out)
	rows, err := csv.NewReader(strings.NewReader(out.Credentials)).ReadAll()
	if err != nil || len(rows) != 4 || out.Extensions != 2 || out.Users != 2 || rows[2][2] != "" || rows[3][5] == "" {
		t.Fatalf("credentials: %q, %v, %+v", rows, err, out)
	}
	// What was generated works, and is to be changed.
	jo := b.client().login("jo", rows[1][5])
	jo.must(http.StatusForbidden, "GET", "/own", nil, nil)
	if sip, err := b.store.ForTenant(1).SIPPassword(t.Context(), telephony.Actor{}, "150"); err != nil || sip != rows[1][2] {
		t.Errorf("SIP password: %v", err)
	}
	// What is exported can be read again, and runs in no spreadsheet.
	text := ann.must(http.StatusOK, "GET", "/extensions/csv", nil, nil).Body.String()
	for _, line := range []string{"150,'=Jo Fox,standard_international,jo,'=Jo,Fox,jo@pbx.example,'+49 30 1\n", ",,admin,kim,Kim,,,\n", "151,,standard,,,,,\n"} {
		if !strings.Contains(text, line) {
			t.Errorf("no %q in %s", line, text)
		}
	}
	for _, line := range strings.Split(text, "\n") {
		for _, cell := range strings.Split(line, ",") {
			if cell != "" && strings.Contains("=+-@\t", cell[:1]) {
				t.Errorf("a cell begins with %q", cell[:1])
			}
		}
	}
	// Who may not see users gets none and adds none.
	_, err = b.store.ForTenant(1).Update(t.Context(), telephony.Actor{}, func(tx *store.Tx) error {
		return tx.CreateRole(telephony.RoleDefinition{Name: "phones", Permissions: []telephony.Permission{telephony.PermExtensions}, Classes: []telephony.CallClass{telephony.ClassInternal}})
	})
	if err != nil {
		t.Fatal(err)
	}
	eve := b.user(1, "eve", "phones", "")
	if text := eve.must(http.StatusOK, "GET", "/extensions/csv", nil, nil).Body.String(); strings.Contains(text, "jo@") {
		t.Errorf("users in %s", text)
	}
	eve.must(http.StatusForbidden, "POST", "/extensions/csv", PeopleImport{CSV: "number,user\n160,x"}, nil)
	eve.must(http.StatusUnprocessableEntity, "POST", "/extensions/csv", PeopleImport{CSV: "number,role\n160,admin"}, nil)
	eve.must(http.StatusOK, "POST", "/extensions/csv", PeopleImport{CSV: "number\n160"}, nil)
}

func TestListsOfPeopleThatCannotBeRead(t *testing.T) {
	t.Parallel()
	for what, text := range map[string]string{
		"nothing":         "",
		"no rows":         "number,user\n",
		"unknown column":  "number,colour\n150,red",
		"column twice":    "number,number\n150,150",
		"a row too short": "number,user\n150",
		"open quotes":     "number,user\n150,\"jo",
		"an empty row":    "number,user\n,",
		"too many rows":   "number\n" + strings.Repeat("150\n", maxPeople+1),
	} {
		if _, err := parsePeople(text); err == nil {
			t.Errorf("%s: read", what)
		} else if fe, ok := telephony.AsFieldError(err); !ok || fe.Field != "csv" {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// BenchmarkPeople adds 10,000 people from a list, as a rehearsal and in earnest,
// and reads lists of a box with 100 tenants.
func BenchmarkPeople(b *testing.B) {
	for b.Loop() {
		x := newBox(b)
		boss := x.setUp()
		boss.must(http.StatusCreated, "POST", "/tenants", TenantInput{Name: "Big", Domain: "big.example", ExtensionFirst: "10000", ExtensionLast: "99999"}, nil)
		for i := range 98 {
			boss.must(http.StatusCreated, "POST", "/tenants", TenantInput{Name: "T", Domain: fmt.Sprintf("t%d.example", i), ExtensionFirst: "101", ExtensionLast: "199"}, nil)
		}
		var list strings.Builder
		list.WriteString("number,user,first_name,last_name,email\n")
		for i := range maxPeople {
			fmt.Fprintf(&list, "%d,user%d,First%d,Last%d,u%d@big.example\n", 10000+i, i, i, i, i)
		}
		in := boss.in("2")
		began := time.Now()
		in.patiently(http.StatusOK, "POST", "/extensions/csv", PeopleImport{list.String(), true})
		b.ReportMetric(time.Since(began).Seconds(), "s/rehearsal")
		began = time.Now()
		in.patiently(http.StatusOK, "POST", "/extensions/csv", PeopleImport{list.String(), false})
		b.ReportMetric(time.Since(began).Seconds(), "s/import")
		for name, path := range map[string]string{"extensions": "/extensions", "100-users": "/users", "users-found": "/users?search=last99", "tenants": "/tenants", "session": "/session"} {
			best := time.Hour
			for range 10 {
				began := time.Now()
				in.must(http.StatusOK, "GET", path, nil, nil)
				best = min(best, time.Since(began))
			}
			b.ReportMetric(float64(best.Microseconds())/1000, "ms/"+name)
		}
		began = time.Now()
		in.must(http.StatusCreated, "POST", "/extensions", ExtensionCreate{Number: "50000"}, nil)
		b.ReportMetric(float64(time.Since(began).Milliseconds()), "ms/one-more")
	}
}

// patiently is must without an end to waiting.
func (c *client) patiently(status int, method, path string, in any) {
	c.b.t.Helper()
	a := httptest.NewRecorder()
	if c.b.ServeHTTP(a, c.request(method, path, in)); a.Code != status {
		c.b.t.Fatalf("%s %s: %d, want %d: %s", method, path, a.Code, status, a.Body)
	}
}
