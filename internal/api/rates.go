package api

import (
	"cmp"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"ringfence/internal/store"
	"ringfence/internal/telephony"
)

// Rate is the price of calls to numbers that begin with a prefix.
type Rate struct {
	Prefix       string  `json:"prefix" maxLength:"15" doc:"Digits of E.164 without +; the longest one counts."`
	Name         string  `json:"name" required:"false" maxLength:"64"`
	Connect      float64 `json:"connect" required:"false" minimum:"0" maximum:"1000000" doc:"Per answered call, in the organisation's currency."`
	Minute       float64 `json:"minute" required:"false" minimum:"0" maximum:"1000000"`
	FirstSeconds int     `json:"first_seconds" required:"false" minimum:"0" maximum:"3600" doc:"Charged in any case; 0 is 1."`
	NextSeconds  int     `json:"next_seconds" required:"false" minimum:"0" maximum:"3600" doc:"Then every begun so many; 0 is 1."`
}

// RateList holds all prices of a trunk.
type RateList struct {
	Currency string `json:"currency" readOnly:"true" required:"false"`
	Items    []Rate `json:"items" nullable:"false" maxItems:"2000"`
}

// RateImport brings prices as CSV.
type RateImport struct {
	CSV    string `json:"csv" maxLength:"1000000" doc:"Lines of prefix, name, connect, minute, first_seconds, next_seconds."`
	DryRun bool   `json:"dry_run,omitempty" doc:"Only look whether all lines are good."`
}

// RateImported says how many prices the trunk has then.
type RateImported struct {
	Rates   int  `json:"rates"`
	Applied bool `json:"applied"`
}

type ratesPut struct {
	TrunkPath
	Precondition
	Body RateList
}

type ratesImport struct {
	TrunkPath
	Body RateImport
}

func (s *Server) registerRates() {
	const path = "/trunks/{trunk}/rates"
	handle(s, operation{id: "list-rates", method: http.MethodGet, path: path, tag: "trunks", summary: "The prices of a trunk", access: manageTrunks, errors: []int{http.StatusNotFound}}, s.listRates)
	handle(s, operation{id: "put-rates", method: http.MethodPut, path: path, tag: "trunks", summary: "Replace the prices of a trunk", access: manageTrunks, bodyLimit: 1 << 20, errors: []int{http.StatusNotFound, http.StatusPreconditionFailed}}, s.putRates)
	handle(s, operation{id: "export-rates", method: http.MethodGet, path: path + "/csv", tag: "trunks", summary: "The prices of a trunk as CSV", access: manageTrunks, produces: "text/csv", errors: []int{http.StatusNotFound}}, s.exportRates)
	handle(s, operation{id: "import-rates", method: http.MethodPost, path: path + "/csv", tag: "trunks", summary: "Replace the prices of a trunk by a CSV: all of it, or nothing if a line is wrong", access: manageTrunks, bodyLimit: 2 << 20, errors: []int{http.StatusNotFound}}, s.importRates)
}

func (s *Server) ratesOf(ctx context.Context, t telephony.Trunk) RateList {
	out := RateList{Currency: s.cfg.Store.Snapshot().Routing(callerOf(ctx).tenant).Currency, Items: make([]Rate, 0, len(t.Rates))}
	for _, r := range t.Rates {
		out.Items = append(out.Items, Rate{r.Prefix, r.Name, amount(r.Connect), amount(r.Minute), int(r.First / time.Second), int(r.Next / time.Second)})
	}
	return out
}

func (r Rate) domain() telephony.Rate {
	return telephony.Rate{Prefix: r.Prefix, Name: r.Name, Connect: money(r.Connect), Minute: money(r.Minute), First: time.Duration(r.FirstSeconds) * time.Second, Next: time.Duration(r.NextSeconds) * time.Second}
}

func (s *Server) listRates(ctx context.Context, in *TrunkPath) (*tagged[RateList], error) {
	t, ok := s.cfg.Store.Snapshot().Trunk(callerOf(ctx).tenant, telephony.TrunkID(in.Trunk))
	if !ok {
		return nil, store.ErrNotFound
	}
	return tag(s.ratesOf(ctx, t)), nil
}

func (s *Server) putRates(ctx context.Context, in *ratesPut) (*tagged[RateList], error) {
	var rates []telephony.Rate
	for _, r := range in.Body.Items {
		rates = append(rates, r.domain())
	}
	err := s.change(ctx, func(tx *store.Tx) error {
		old, err := tx.Trunk(telephony.TrunkID(in.Trunk))
		if err != nil {
			return err
		}
		if err := in.holds(s.ratesOf(ctx, old)); err != nil {
			return err
		}
		return tx.PutRates(old.ID, rates)
	})
	if err != nil {
		return nil, err
	}
	return s.listRates(ctx, &in.TrunkPath)
}

// rateColumns are those of the CSV.
func rateColumns() []string {
	return []string{"prefix", "name", "connect", "minute", "first_seconds", "next_seconds"}
}

func (s *Server) exportRates(ctx context.Context, in *TrunkPath) (*file, error) {
	list, err := s.listRates(ctx, in)
	if err != nil {
		return nil, err
	}
	var b strings.Builder
	w := csv.NewWriter(&b)
	_ = w.Write(rateColumns()) // a strings.Builder takes everything
	number := func(v float64) string { return strconv.FormatFloat(v, 'f', -1, 64) }
	for _, r := range list.Body.Items {
		_ = w.Write([]string{r.Prefix, inert(r.Name), number(r.Connect), number(r.Minute), strconv.Itoa(r.FirstSeconds), strconv.Itoa(r.NextSeconds)})
	}
	w.Flush()
	return &file{"text/csv; charset=utf-8", `attachment; filename="rates.csv"`, []byte(b.String())}, nil
}

func (s *Server) importRates(ctx context.Context, in *ratesImport) (*body[RateImported], error) {
	if _, err := s.listRates(ctx, &in.TrunkPath); err != nil {
		return nil, err
	}
	rates, err := parseRates(in.Body.CSV)
	if err != nil {
		return nil, err
	}
	if !in.Body.DryRun {
		if err := s.change(ctx, func(tx *store.Tx) error { return tx.PutRates(telephony.TrunkID(in.Trunk), rates) }); err != nil {
			return nil, err
		}
	}
	return &body[RateImported]{RateImported{len(rates), !in.Body.DryRun}}, nil
}

// parseRates reads a CSV; a first line of column names is not needed, and columns
// may stand behind semicolons. The error names every wrong line.
func parseRates(text string) ([]telephony.Rate, error) {
	r := csv.NewReader(strings.NewReader(strings.TrimPrefix(text, "\ufeff")))
	r.FieldsPerRecord, r.TrimLeadingSpace, r.Comment = -1, true, '#'
	if first, _, _ := strings.Cut(text, "\n"); strings.Count(first, ";") > strings.Count(first, ",") {
		r.Comma = ';'
	}
	var rates []telephony.Rate
	var wrong []*huma.ErrorDetail
	for n := 0; ; n++ {
		fields, err := r.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		line := lineOf(r, err)
		if err == nil && n == 0 && strings.EqualFold(strings.TrimSpace(fields[0]), "prefix") {
			continue
		}
		var rate telephony.Rate
		if err == nil {
			rate, err = rateOfFields(fields)
		}
		if err == nil {
			err = telephony.CheckRates([]telephony.Rate{rate})
		}
		if err == nil && slices.ContainsFunc(rates, func(o telephony.Rate) bool { return o.Prefix == rate.Prefix }) {
			err = &telephony.FieldError{Field: "prefix", Reason: "is there twice"}
		}
		if fe, ok := telephony.AsFieldError(err); ok {
			err = fmt.Errorf("%s %s", strings.TrimPrefix(fe.Field, "rates[0]."), fe.Reason)
		}
		if err != nil && len(wrong) < maxImportErrors {
			wrong = append(wrong, &huma.ErrorDetail{Location: "body.csv", Message: fmt.Sprintf("line %d: %v", line, err)})
		}
		if rates = append(rates, rate); len(rates) > telephony.MaxRates {
			return nil, &telephony.FieldError{Field: "csv", Reason: fmt.Sprintf("has more than %d lines", telephony.MaxRates)}
		}
	}
	switch {
	case len(wrong) > 0:
		p := problem(http.StatusUnprocessableEntity, "validation failed")
		p.Errors = wrong
		return nil, p
	case len(rates) == 0:
		return nil, &telephony.FieldError{Field: "csv", Reason: "has no line"}
	}
	return rates, nil
}

// rateOfFields reads one line; prices may have a comma for the point.
func rateOfFields(fields []string) (rate telephony.Rate, err error) {
	for len(fields) < len(rateColumns()) {
		fields = append(fields, "")
	}
	for i := range fields {
		fields[i] = strings.TrimSpace(fields[i])
	}
	price := func(column int) (m telephony.Money) {
		text := strings.Replace(fields[column], ",", ".", 1)
		v, e := strconv.ParseFloat(cmp.Or(text, "0"), 64)
		if e != nil || v < 0 || v > 1e6 {
			err = errors.Join(err, &telephony.FieldError{Field: rateColumns()[column], Reason: "must be an amount such as 0.012"})
			return 0
		}
		return money(v)
	}
	seconds := func(column int) time.Duration {
		n, e := strconv.Atoi(cmp.Or(fields[column], "0"))
		if e != nil {
			err = errors.Join(err, &telephony.FieldError{Field: rateColumns()[column], Reason: "must be a number of seconds"})
		}
		return time.Duration(min(max(n, -1), 10_000)) * time.Second
	}
	rate = telephony.Rate{Prefix: strings.TrimPrefix(plain(fields[0]), "+"), Name: plain(fields[1]), Connect: price(2), Minute: price(3), First: seconds(4), Next: seconds(5)}
	return rate, err
}
