package api

import (
	"encoding/csv"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"ringfence/internal/telephony"
)

// records stores calls between 101 and numbers of the tenant.
func (b *box) records(tenant telephony.TenantID, callees ...telephony.Party) {
	b.t.Helper()
	at := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	var all []telephony.CallRecord
	for i, p := range callees {
		started := at.Add(time.Duration(i) * time.Minute)
		all = append(all, telephony.CallRecord{
			ID: telephony.CallID(fmt.Sprintf("c%05d", i)), Tenant: tenant, Direction: "internal",
			Caller: telephony.Party{Number: "101", Name: "Ann"}, Callee: p, Started: started, Answered: started.Add(2 * time.Second), Ended: started.Add(32 * time.Second),
			Reason: telephony.EndCallerHungUp, StatusCode: 200,
		})
	}
	if err := b.store.AppendCallRecords(b.t.Context(), all); err != nil {
		b.t.Fatal(err)
	}
}

// TestExportOfCallRecords: everything that was asked for comes, over many pages,
// and no cell is a formula.
func TestExportOfCallRecords(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	boss := b.setUp()
	parties := make([]telephony.Party, exportPage+17)
	for i := range parties {
		parties[i] = telephony.Party{Number: []string{"102", "103"}[i%2], Name: []string{`=HYPERLINK("x")`, "+1", "-1", "@x", "\tx", "'=x", "plain"}[i%7]}
	}
	b.records(1, parties...)
	a := boss.must(http.StatusOK, "GET", "/cdrs/csv", nil, nil)
	if a.Header().Get("Content-Type") != csvType || !strings.Contains(a.Header().Get("Content-Disposition"), "attachment") {
		t.Errorf("%v", a.Header())
	}
	rows, err := csv.NewReader(a.Body).ReadAll()
	if err != nil || len(rows) != len(parties)+1 || !slices.Equal(rows[0], cdrColumns()) {
		t.Fatalf("%d rows, %v", len(rows), err)
	}
	for i, row := range rows[1:] {
		for _, cell := range row {
			if cell != "" && strings.Contains("=+-@\t\r", cell[:1]) {
				t.Fatalf("cell %q is a formula", cell)
			}
		}
		p := parties[len(parties)-1-i]
		if row[4] != p.Number || plain(row[5]) != p.Name || row[10] != "30.0" || row[8] == "" {
			t.Fatalf("row %q of %+v", row, p)
		}
	}
	a = boss.must(http.StatusOK, "GET", "/cdrs/csv?extension=103&from=2026-05-01T12:10:00Z&to=2026-05-01T12:20:00Z&result=answered&min_seconds=30", nil, nil)
	if rows, err = csv.NewReader(a.Body).ReadAll(); err != nil || len(rows) != 6 {
		t.Errorf("%d rows of 103 within ten minutes, %v", len(rows), err)
	}
}

// TestOwnCallRecordsOnly: U01, in the list and in the export, whatever is asked.
func TestOwnCallRecordsOnly(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	b.setUp()
	b.records(1, telephony.Party{Number: "102"}, telephony.Party{Number: "103"}, telephony.Party{Number: "102"})
	bert := b.user(1, "bert", telephony.RoleStandard, "102")
	nobody := b.user(1, "nobody", telephony.RoleStandard, "")
	for path, want := range map[string]int{"": 2, "?number=10": 2, "?extension=102": 2, "?extension=103": 0, "?extension=101": 0, "?number=103": 0, "?direction=inbound": 0} {
		var list CallRecordList
		bert.must(http.StatusOK, "GET", "/cdrs"+path, nil, &list)
		rows, err := csv.NewReader(bert.must(http.StatusOK, "GET", "/cdrs/csv"+path, nil, nil).Body).ReadAll()
		if err != nil || len(list.Items) != want || len(rows) != want+1 {
			t.Errorf("%s: %d listed, %d rows, want %d (%v)", path, len(list.Items), len(rows)-1, want, err)
		}
		nobody.must(http.StatusOK, "GET", "/cdrs"+path, nil, &list)
		if len(list.Items) != 0 {
			t.Errorf("%s: somebody without an extension sees %d", path, len(list.Items))
		}
	}
	for _, q := range []string{"number=%25", "from=yesterday", "direction=up", "result=x", "min_seconds=-1", "reason=%27", "extension=x"} {
		for _, path := range []string{"/cdrs?", "/cdrs/csv?"} {
			if a := bert.do("GET", path+q, nil, nil); a.Code != http.StatusUnprocessableEntity || len(a.Problem.Errors) == 0 || !strings.HasPrefix(a.Problem.Errors[0].Location, "query.") {
				t.Errorf("%s%s: %d %s", path, q, a.Code, a.Body)
			}
		}
	}
}

func TestKeepingIsASettingOfTheTenant(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	boss := b.setUp()
	var k Keeping
	boss.must(http.StatusOK, "GET", "/keeping", nil, &k)
	if k.CallDays != 0 {
		t.Errorf("out of the box %+v", k)
	}
	boss.must(http.StatusOK, "PUT", "/keeping", Keeping{CallDays: 90}, &k)
	if boss.must(http.StatusOK, "GET", "/keeping", nil, &k); k.CallDays != 90 {
		t.Errorf("%+v", k)
	}
	if a := boss.do("PUT", "/keeping", Keeping{CallDays: 4000}, nil); a.Code != http.StatusUnprocessableEntity {
		t.Errorf("%d %s", a.Code, a.Body)
	}
}
