package api

import (
	"cmp"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"ringfence/internal/store"
	"ringfence/internal/telephony"
)

// maxImport bounds an imported list, in bytes.
const maxImport = 16 << 20

func (s *Server) registerRules() {
	handle(s, operation{id: "list-address-rules", method: http.MethodGet, path: "/security/addresses", tag: "security", summary: "Addresses that are always or never let in", access: systemOnly}, s.listRules)
	handle(s, operation{id: "put-address-rule", method: http.MethodPost, path: "/security/addresses", tag: "security", summary: "Allow or block an address or a network; in force at once", access: systemOnly, status: http.StatusCreated, errors: []int{http.StatusConflict}}, s.putRule)
	handle(s, operation{id: "delete-address-rule", method: http.MethodDelete, path: "/security/addresses", tag: "security", summary: "Take an address or a network off the list", access: systemOnly, errors: []int{http.StatusNotFound, http.StatusConflict}, fields: map[string]string{"network": "query.network"}}, s.deleteRule)
	handle(s, operation{id: "export-address-rules", method: http.MethodGet, path: "/security/addresses/csv", tag: "security", summary: "The whole list as CSV", access: systemOnly, produces: "text/csv"}, s.exportRules)
	handle(s, operation{id: "import-address-rules", method: http.MethodPost, path: "/security/addresses/csv", tag: "security", summary: "Add a CSV list: all of it, or nothing if a line is wrong", access: systemOnly, bodyLimit: maxImport, errors: []int{http.StatusConflict}}, s.importRules)
}

// rulesQuery selects a part of the list.
type rulesQuery struct {
	Search string `query:"search" maxLength:"100" doc:"Part of network or note; an address finds the networks that hold it."`
	Offset int    `query:"offset" minimum:"0" maximum:"1000000" default:"0"`
	Limit  int    `query:"limit" minimum:"1" maximum:"1000" default:"200"`
}

func (s *Server) listRules(_ context.Context, in *rulesQuery) (*body[AddressRuleList], error) {
	rules := slices.Clone(s.cfg.Store.Snapshot().Rules)
	if in.Search != "" {
		text := strings.ToLower(in.Search)
		a, err := netip.ParseAddr(in.Search)
		rules = slices.DeleteFunc(rules, func(r telephony.AddressRule) bool {
			return !(err == nil && r.Prefix.Contains(a.Unmap())) && !strings.Contains(r.Prefix.String(), text) && !strings.Contains(strings.ToLower(r.Note), text)
		})
	}
	slices.SortFunc(rules, func(a, b telephony.AddressRule) int {
		return cmp.Or(b.Created.Compare(a.Created), a.Prefix.Compare(b.Prefix))
	})
	out := AddressRuleList{Items: []AddressRule{}, Total: len(rules)}
	for _, r := range rules[min(in.Offset, len(rules)):min(in.Offset+in.Limit, len(rules))] {
		out.Items = append(out.Items, ruleOf(r))
	}
	return &body[AddressRuleList]{out}, nil
}

func ruleOf(r telephony.AddressRule) AddressRule {
	first, last := telephony.Span(r.Prefix)
	return AddressRule{
		Network: networkText(r.Prefix), First: first.String(), Last: last.String(), Action: actionOf(r),
		Note: r.Note, ExpiresAt: timeOrNil(r.Expires), CreatedAt: r.Created.UTC(), CreatedBy: r.By,
	}
}

// networkText leaves the length of single addresses out.
func networkText(p netip.Prefix) string {
	if p.IsSingleIP() {
		return p.Addr().String()
	}
	return p.String()
}

func actionOf(r telephony.AddressRule) string {
	if r.Allow {
		return "allow"
	}
	return "block"
}

func (s *Server) ruleNow(network netip.Prefix) (*body[AddressRule], error) {
	for _, r := range s.cfg.Store.Snapshot().Rules {
		if r.Prefix == network {
			return &body[AddressRule]{ruleOf(r)}, nil
		}
	}
	return nil, store.ErrNotFound
}

func (s *Server) putRule(ctx context.Context, in *tryBody[AddressRulePut]) (*body[AddressRule], error) {
	rule, err := ruleIn(in.Body.Network, in.Body.Action, in.Body.Note, in.Body.ExpiresAt)
	if err != nil {
		return nil, err
	}
	if err := s.bearable(ctx, in.Body.Anyway, rule); err != nil {
		return nil, err
	}
	trial, err := s.putRules(ctx, in.TryQuery, rule)
	if err != nil {
		return nil, err
	}
	out, err := s.ruleNow(rule.Prefix)
	if err == nil {
		out.Body.Trial = trial
	}
	return out, err
}

func ruleIn(network, action, note string, expires *time.Time) (r telephony.AddressRule, err error) {
	if r.Prefix, err = telephony.ParseNetwork("network", network); err != nil {
		return r, err
	}
	r.Allow, r.Note = action == "allow", strings.TrimSpace(note)
	if expires != nil {
		if r.Expires = expires.UTC(); !r.Expires.After(time.Now()) {
			return r, &telephony.FieldError{Field: "expires_at", Reason: "is over already"}
		}
	}
	return r, r.Validate()
}

func (s *Server) putRules(ctx context.Context, q TryQuery, rules ...telephony.AddressRule) (*SettingsTrial, error) {
	by := callerOf(ctx).actor().Name
	return s.try(ctx, q, func(tx *store.Tx) error { return tx.PutAddressRules(by, rules...) })
}

// bearable refuses what would shut the PBX out of itself (I10), and asks back
// before it shuts out who asks, or those without whom it cannot work.
func (s *Server) bearable(ctx context.Context, anyway bool, rules ...telephony.AddressRule) error {
	from := callerOf(ctx).actor().Addr.Unmap()
	own := s.cfg.Live.Addresses()
	near := s.cfg.Live.Neighbours(ctx) // asks the packet filter: once, not for each of 100,000 rules
	for _, r := range rules {
		if r.Allow {
			continue
		}
		for _, l := range own {
			if r.Prefix.Contains(l.Addr) {
				return conflict("network", fmt.Sprintf("%s holds %s, an address of the PBX itself", networkText(r.Prefix), l.Addr))
			}
		}
		for name, list := range near {
			for _, a := range list {
				if r.Prefix.Contains(a) && name == "gateway" {
					return conflict("network", fmt.Sprintf("%s holds %s, the gateway of the PBX", networkText(r.Prefix), a))
				}
				if r.Prefix.Contains(a) && !anyway {
					return askBack(fmt.Sprintf("%s holds %s, the %s of the PBX", networkText(r.Prefix), a, name))
				}
			}
		}
		if from.IsValid() && r.Prefix.Contains(from) && !anyway {
			return askBack(fmt.Sprintf("%s holds %s, from where you are asking: you would be shut out yourself", networkText(r.Prefix), from))
		}
	}
	return nil
}

// askBack is a refusal that the caller can overrule.
func askBack(reason string) error {
	p := problem(http.StatusConflict, reason)
	p.Errors = []*huma.ErrorDetail{{Location: "body.anyway", Message: reason + "; set it to do so all the same"}}
	return p
}

// networkQuery names a network.
type networkQuery struct {
	TryQuery
	Network string `query:"network" required:"true" maxLength:"100"`
}

func (s *Server) deleteRule(ctx context.Context, in *networkQuery) (*body[AddressRemoved], error) {
	network, err := telephony.ParseNetwork("network", in.Network)
	if err != nil {
		return nil, err
	}
	trial, err := s.try(ctx, in.TryQuery, func(tx *store.Tx) error { return tx.DeleteAddressRule(network) })
	return &body[AddressRemoved]{AddressRemoved{Trial: trial}}, err
}

// columns are those of the CSV.
func columns() []string { return []string{"network", "action", "note", "expires_at"} }

func (s *Server) exportRules(context.Context, *noInput) (*file, error) {
	var b strings.Builder
	w := csv.NewWriter(&b)
	_ = w.Write(columns()) // a strings.Builder takes everything
	for _, r := range s.cfg.Store.Snapshot().Rules {
		expires := ""
		if !r.Expires.IsZero() {
			expires = r.Expires.UTC().Format(time.RFC3339)
		}
		_ = w.Write([]string{networkText(r.Prefix), actionOf(r), inert(r.Note), expires})
	}
	w.Flush()
	return &file{"text/csv; charset=utf-8", `attachment; filename="addresses.csv"`, []byte(b.String())}, nil
}

// formulas begin what a spreadsheet takes for a formula, or, as our own mark
// against that does, for none.
const formulas = "=+-@\t\r'"

// inert keeps a spreadsheet from taking a text for a formula.
func inert(s string) string {
	if s != "" && strings.Contains(formulas, s[:1]) {
		return "'" + s
	}
	return s
}

// plain is what inert was given.
func plain(s string) string {
	if rest, marked := strings.CutPrefix(s, "'"); marked && rest != "" && strings.Contains(formulas, rest[:1]) {
		return rest
	}
	return s
}

func (s *Server) importRules(ctx context.Context, in *tryBody[AddressImport]) (*body[AddressImported], error) {
	rules, err := parseRules(in.Body.CSV)
	if err != nil {
		return nil, err
	}
	if err := s.bearable(ctx, in.Body.Anyway, rules...); err != nil {
		return nil, err
	}
	trial, err := s.putRules(ctx, in.TryQuery, rules...)
	return &body[AddressImported]{AddressImported{Added: len(rules), Trial: trial}}, err
}

// maxImportErrors bounds the lines that are named.
const maxImportErrors = 20

// parseRules reads a CSV; a first line of column names is not needed. The error
// names every wrong line.
func parseRules(text string) ([]telephony.AddressRule, error) {
	r := csv.NewReader(strings.NewReader(strings.TrimPrefix(text, "\ufeff")))
	r.FieldsPerRecord, r.TrimLeadingSpace, r.Comment = -1, true, '#'
	var rules []telephony.AddressRule
	var wrong []*huma.ErrorDetail
	for {
		fields, err := r.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		line := lineOf(r, err)
		var rule telephony.AddressRule
		if err == nil && len(rules) == 0 && strings.EqualFold(fields[0], columns()[0]) {
			continue
		}
		if err == nil {
			rule, err = ruleOfFields(fields)
		}
		if err != nil && len(wrong) < maxImportErrors {
			wrong = append(wrong, &huma.ErrorDetail{Location: "body.csv", Message: fmt.Sprintf("line %d: %v", line, err)})
		}
		if rules = append(rules, rule); len(rules) > telephony.MaxAddressRules {
			return nil, &telephony.FieldError{Field: "csv", Reason: fmt.Sprintf("has more than %d lines", telephony.MaxAddressRules)}
		}
	}
	switch {
	case len(wrong) > 0:
		p := problem(http.StatusUnprocessableEntity, "validation failed")
		p.Errors = wrong
		return nil, p
	case len(rules) == 0:
		return nil, &telephony.FieldError{Field: "csv", Reason: "has no line"}
	}
	return rules, nil
}

// lineOf is where the record begins that was read, or could not be: then it may
// have no field.
func lineOf(r *csv.Reader, err error) int {
	if p := (*csv.ParseError)(nil); errors.As(err, &p) {
		return p.StartLine
	}
	line, _ := r.FieldPos(0)
	return line
}

func ruleOfFields(fields []string) (r telephony.AddressRule, err error) {
	for len(fields) < len(columns()) {
		fields = append(fields, "")
	}
	action := strings.ToLower(strings.TrimSpace(fields[1]))
	if action != "allow" && action != "block" {
		return r, &telephony.FieldError{Field: "action", Reason: "must be allow or block"}
	}
	var expires *time.Time
	if text := strings.TrimSpace(fields[3]); text != "" {
		at, err := time.Parse(time.RFC3339, text)
		if err != nil {
			return r, &telephony.FieldError{Field: "expires_at", Reason: "must be a time such as 2030-01-31T12:00:00Z, or empty"}
		}
		expires = &at
	}
	return ruleIn(fields[0], action, plain(fields[2]), expires)
}
