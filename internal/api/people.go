package api

import (
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"ringfence/internal/login"
	"ringfence/internal/store"
	"ringfence/internal/telephony"
)

// Bounds of a list of people.
const (
	maxPeople       = 10_000  // rows
	maxPeopleBytes  = 8 << 20 // of the request
	maxPeopleErrors = 1000    // that are named
)

// personColumns are those of a list of people, and the order of exported ones. A
// password is only ever read.
func personColumns() []string {
	return []string{"number", "display_name", "role", "user", "first_name", "last_name", "email", "phone", "sip_password"}
}

// PeopleImport is a list of extensions and users to add.
type PeopleImport struct {
	CSV    string `json:"csv" doc:"First line: names of columns, of number, display_name, role, user, first_name, last_name, email, phone and sip_password, in any order. A row with a number makes an extension, one with a user makes a user, who gets the row's extension."`
	DryRun bool   `json:"dry_run,omitempty" doc:"Only looks what is wrong; nothing is changed."`
}

// RowError is what is wrong with one row.
type RowError struct {
	Row    int    `json:"row" doc:"Line of the text, the first is 1."`
	Column string `json:"column"`
	Reason string `json:"reason"`
}

// PeopleImported answers an import.
type PeopleImported struct {
	Extensions  int        `json:"extensions" doc:"How many were made, or would be."`
	Users       int        `json:"users" doc:"How many were made, or would be."`
	Errors      []RowError `json:"errors" nullable:"false" doc:"Of a dry run; the first 1000."`
	Credentials string     `json:"credentials" doc:"Generated passwords as CSV; empty after a dry run. They are not shown again."`
}

// person is one row.
type person struct {
	row       int
	extension telephony.Extension
	user      telephony.User
	sip       string // SIP password as given
}

// credentials are what is generated for a person.
type credentials struct{ sip, password, hash string }

// The import may take longer than other answers may: its passwords are shown
// once, and would be lost.
func (s *Server) registerPeople() {
	handle(s, operation{id: "export-people", method: http.MethodGet, path: "/extensions/csv", tag: "extensions", summary: "Extensions as CSV, with their users for who may see those; without passwords", access: manageExtensions, produces: "text/csv"}, s.exportPeople)
	handle(s, operation{id: "import-people", method: http.MethodPost, path: "/extensions/csv", tag: "extensions", summary: "Add extensions and users from a CSV list: all of it, or nothing if a row is wrong", access: manageExtensions, bodyLimit: maxPeopleBytes, stream: true}, s.importPeople)
}

func (s *Server) importPeople(ctx context.Context, in *body[PeopleImport]) (*body[PeopleImported], error) {
	people, err := parsePeople(in.Body.CSV)
	if err != nil {
		return nil, err
	}
	users := slices.ContainsFunc(people, func(p person) bool { return p.user.Name != "" })
	if users && !callerOf(ctx).may(telephony.PermUsers) {
		return nil, beyond("csv")
	}
	secrets, err := s.generate(ctx, people, users, in.Body.DryRun)
	if err != nil {
		return nil, err
	}
	out := PeopleImported{Errors: []RowError{}}
	err = s.change(ctx, func(tx *store.Tx) error {
		out, err = s.addPeople(ctx, tx, people, secrets)
		if err == nil && (in.Body.DryRun || len(out.Errors) > 0) {
			return errRehearsal
		}
		return err
	})
	switch {
	case errors.Is(err, errRehearsal) && in.Body.DryRun:
		return &body[PeopleImported]{out}, nil
	case errors.Is(err, errRehearsal):
		return nil, rowProblems(out.Errors)
	case err != nil:
		return nil, err
	}
	domain, _ := s.cfg.Store.Snapshot().Tenant(callerOf(ctx).tenant)
	out.Credentials = credentialsOf(people, secrets, domain.Domain)
	return &body[PeopleImported]{out}, nil
}

// rehearsalPassword stands for those that are generated in earnest.
const rehearsalPassword = "of-a-rehearsal-only"

// errRehearsal takes a transaction back that was only to show what is wrong.
var errRehearsal = errors.New("nothing is to be changed")

func rowProblems(rows []RowError) error {
	p := problem(http.StatusUnprocessableEntity, "rows of the list are wrong; nothing was added")
	for _, r := range rows {
		p.Errors = append(p.Errors, &huma.ErrorDetail{Location: "body.csv", Message: fmt.Sprintf("line %d, %s: %s", r.Row, r.Column, r.Reason)})
	}
	return p
}

// generate draws the passwords that are not given; a rehearsal needs none.
func (s *Server) generate(ctx context.Context, people []person, users, rehearsal bool) ([]credentials, error) {
	policy := s.cfg.Login.Policy(callerOf(ctx).tenant)
	if users && policy.Max < login.MinGenerated {
		return nil, &telephony.FieldError{Field: "csv", Reason: fmt.Sprintf("users cannot be added by lists where passwords may not have %d characters", login.MinGenerated)}
	}
	out := make([]credentials, len(people))
	for i, p := range people {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		switch out[i].sip = p.sip; {
		case p.sip == "" && rehearsal:
			out[i].sip = rehearsalPassword
		case p.sip == "":
			out[i].sip = s.sipPassword(ctx)
		}
		if p.user.Name != "" && !rehearsal {
			out[i].password = login.GeneratePassword(min(max(login.MinGenerated+4, policy.Min), policy.Max))
			out[i].hash = login.HashGenerated(out[i].password)
		}
	}
	return out, nil
}

// addPeople adds every row it can and tells what is wrong with the others.
func (s *Server) addPeople(ctx context.Context, tx *store.Tx, people []person, secrets []credentials) (out PeopleImported, err error) {
	out.Errors = []RowError{}
	for i, p := range people {
		err := s.addPerson(ctx, tx, p, secrets[i])
		wrong, ok := rowErrorOf(p.row, err)
		if err != nil && !ok {
			return out, err
		}
		if err != nil {
			if out.Errors = append(out.Errors, wrong); len(out.Errors) == maxPeopleErrors {
				break
			}
			continue
		}
		out.Extensions += count(p.extension.Number != "")
		out.Users += count(p.user.Name != "")
	}
	return out, nil
}

func count(yes bool) int {
	if yes {
		return 1
	}
	return 0
}

func (s *Server) addPerson(ctx context.Context, tx *store.Tx, p person, c credentials) error {
	role := p.user.Role
	if p.user.Name == "" {
		role = p.extension.OwnRole
	}
	if s.mayGive(ctx, "role", role) != nil {
		return &telephony.FieldError{Field: "role", Reason: "allows more than your own role does"}
	}
	if p.extension.Number != "" {
		e := p.extension
		e.Tenant = callerOf(ctx).tenant
		if p.sip != "" {
			if err := s.cfg.Login.CheckSIPPassword(ctx, e, p.sip); err != nil {
				return inField(err, "password", "sip_password")
			}
		}
		if _, err := tx.CreateExtension(e, c.sip); err != nil {
			return err
		}
	}
	if p.user.Name == "" {
		return nil
	}
	_, err := tx.CreateUser(p.user, c.hash)
	return inField(inField(err, "name", "user"), "extension", "number")
}

// rowErrorOf is what a refused field means for a row.
func rowErrorOf(row int, err error) (RowError, bool) {
	fe, ok := telephony.AsFieldError(err)
	if !ok {
		return RowError{}, false
	}
	return RowError{row, fe.Field, fe.Reason}, true
}

// parsePeople reads the list.
func parsePeople(text string) ([]person, error) {
	refuse := func(format string, args ...any) error {
		return &telephony.FieldError{Field: "csv", Reason: fmt.Sprintf(format, args...)}
	}
	r := csv.NewReader(strings.NewReader(strings.TrimPrefix(text, "\ufeff")))
	r.FieldsPerRecord, r.ReuseRecord = 0, true // as many as the first line has
	heading, err := r.Read()
	if err != nil {
		return nil, refuse("has no line with the names of columns")
	}
	columns := make([]string, len(heading))
	for i, name := range heading {
		columns[i] = strings.ToLower(strings.TrimSpace(name))
		if !slices.Contains(personColumns(), columns[i]) || slices.Contains(columns[:i], columns[i]) {
			return nil, refuse("line 1: column %d is none of %s, or is there twice", i+1, strings.Join(personColumns(), ", "))
		}
	}
	var people []person
	for {
		fields, err := r.Read()
		switch {
		case errors.Is(err, io.EOF) && len(people) == 0:
			return nil, refuse("has no row")
		case errors.Is(err, io.EOF):
			return people, nil
		case err != nil:
			return nil, refuse("line %d: quotes or the number of columns are wrong", lineOf(r, err))
		case len(people) == maxPeople:
			return nil, refuse("has more than %d rows", maxPeople)
		}
		p := personOf(columns, fields)
		p.row = lineOf(r, nil)
		if p.extension.Number == "" && p.user.Name == "" {
			return nil, refuse("line %d: has neither number nor user", p.row)
		}
		people = append(people, p)
	}
}

func personOf(columns, fields []string) (p person) {
	value := map[string]string{}
	for i, name := range columns {
		value[name] = strings.Clone(plain(strings.TrimSpace(fields[i])))
	}
	role := telephony.Role(value["role"])
	if role == "" {
		role = telephony.RoleStandard
	}
	p.sip = value["sip_password"]
	p.extension = telephony.Extension{Number: value["number"], DisplayName: value["display_name"]}
	if value["user"] == "" {
		p.extension.OwnRole = role
		return p
	}
	p.user = telephony.User{
		Name: value["user"], FirstName: value["first_name"], LastName: value["last_name"], Email: value["email"], Phone: value["phone"],
		Role: role, Extension: value["number"], MustChangePassword: true,
	}
	if p.extension.DisplayName == "" && p.extension.Number != "" {
		p.extension.DisplayName = displayNameOf(p.user)
	}
	return p
}

// credentialsOf lists what was generated. A password somebody chose is known.
func credentialsOf(people []person, secrets []credentials, domain string) string {
	var b strings.Builder
	w := csv.NewWriter(&b)
	_ = w.Write([]string{"number", "sip_user", "sip_password", "domain", "user", "password"}) // a strings.Builder takes everything
	for i, p := range people {
		c := secrets[i]
		if p.sip != "" || p.extension.Number == "" {
			c.sip = ""
		}
		of := domain
		if p.extension.Number == "" {
			of = ""
		}
		_ = w.Write([]string{p.extension.Number, p.extension.Number, c.sip, of, inert(p.user.Name), c.password})
	}
	w.Flush()
	return b.String()
}

func (s *Server) exportPeople(ctx context.Context, _ *noInput) (*file, error) {
	tenant := callerOf(ctx).tenant
	users, err := s.cfg.Store.ForTenant(tenant).Users(ctx)
	if err != nil {
		return nil, err
	}
	if !callerOf(ctx).may(telephony.PermUsers) {
		users = nil
	}
	var b strings.Builder
	w := csv.NewWriter(&b)
	write := func(number, name string, role telephony.Role, u telephony.User) {
		row := []string{number, name, string(role), u.Name, u.FirstName, u.LastName, u.Email, u.Phone}
		for i := range row {
			row[i] = inert(row[i])
		}
		_ = w.Write(row)
	}
	columns := personColumns()
	_ = w.Write(columns[:len(columns)-1])
	of := map[string]telephony.User{}
	for _, u := range users {
		if u.Extension == "" {
			write("", "", u.Role, u)
			continue
		}
		of[u.Extension] = u
	}
	for _, e := range s.cfg.Store.Snapshot().Extensions(tenant) {
		u, has := of[e.Number]
		role := e.OwnRole
		if has {
			role = u.Role
		}
		write(e.Number, e.DisplayName, role, u)
	}
	w.Flush()
	return &file{"text/csv; charset=utf-8", `attachment; filename="people.csv"`, []byte(b.String())}, nil
}
