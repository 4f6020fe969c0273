package api

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"ringfence/internal/store"
	"ringfence/internal/telephony"
)

// Contact is somebody outside, in the organisation's directory.
type Contact struct {
	ID int64 `json:"id"`
	ContactInput
}

// ContactInput is a new entry of the directory, or replaces one.
type ContactInput struct {
	Name    string   `json:"name" minLength:"1" maxLength:"100"`
	Company string   `json:"company" required:"false" maxLength:"100"`
	Numbers []string `json:"numbers" nullable:"false" minItems:"1" maxItems:"4" doc:"As dialled, or E.164 with +."`
	Note    string   `json:"note" required:"false" maxLength:"100"`
}

// ContactList is a page of the directory.
type ContactList struct {
	Items []Contact `json:"items" nullable:"false"`
	Next  string    `json:"next" doc:"Value of after for the following page; empty at the end."`
}

// ContactPath is the entry of a path.
type ContactPath struct {
	Contact int64 `path:"contact" minimum:"1" doc:"Number of the entry."`
}

type contactQuery struct {
	After  string `query:"after" maxLength:"200" doc:"next of the page before; empty for the first."`
	Limit  int    `query:"limit" minimum:"1" maximum:"1000" default:"100"`
	Search string `query:"search" maxLength:"100" doc:"Part of name, company or number."`
}

type contactWrite struct {
	ContactPath
	Precondition
	Body ContactInput
}

func (s *Server) registerDirectory() {
	const one = "/directory/{contact}"
	changes := []int{http.StatusNotFound, http.StatusPreconditionFailed}
	handle(s, operation{id: "list-contacts", method: http.MethodGet, path: "/directory", tag: "directory", summary: "The directory of the organisation by name", access: anyUser}, s.listContacts)
	handle(s, operation{id: "create-contact", method: http.MethodPost, path: "/directory", tag: "directory", summary: "Add an entry to the directory", access: manageExtensions, status: http.StatusCreated}, s.createContact)
	handle(s, operation{id: "put-contact", method: http.MethodPut, path: one, tag: "directory", summary: "Replace an entry of the directory", access: manageExtensions, errors: changes}, s.putContact)
	handle(s, operation{id: "delete-contact", method: http.MethodDelete, path: one, tag: "directory", summary: "Take an entry out of the directory", access: manageExtensions, status: http.StatusNoContent, errors: changes}, s.deleteContact)
}

func contactOf(c telephony.Contact) Contact {
	return Contact{c.ID, ContactInput{c.Name, c.Company, append([]string{}, c.Numbers...), c.Note}}
}

func (s *Server) listContacts(ctx context.Context, in *contactQuery) (*body[ContactList], error) {
	f := store.ContactFilter{Search: in.Search, Limit: min(in.Limit, 999) + 1}
	if id, name, ok := strings.Cut(in.After, " "); ok {
		f.AfterName = name
		f.AfterID, _ = strconv.ParseInt(id, 10, 64)
	}
	all, err := s.cfg.Store.ForTenant(callerOf(ctx).tenant).Contacts(ctx, f)
	if err != nil {
		return nil, err
	}
	out := ContactList{Items: []Contact{}}
	if len(all) == f.Limit {
		all = all[:f.Limit-1]
		last := all[len(all)-1]
		out.Next = fmt.Sprintf("%d %s", last.ID, last.Name)
	}
	for _, c := range all {
		out.Items = append(out.Items, contactOf(c))
	}
	return &body[ContactList]{out}, nil
}

func (s *Server) createContact(ctx context.Context, in *body[ContactInput]) (*tagged[Contact], error) {
	c := telephony.Contact{Name: in.Body.Name, Company: in.Body.Company, Numbers: in.Body.Numbers, Note: in.Body.Note}
	err := s.change(ctx, func(tx *store.Tx) (err error) {
		c, err = tx.CreateContact(c)
		return err
	})
	return tag(contactOf(c)), err
}

func (s *Server) putContact(ctx context.Context, in *contactWrite) (*tagged[Contact], error) {
	c := telephony.Contact{ID: in.Contact, Name: in.Body.Name, Company: in.Body.Company, Numbers: in.Body.Numbers, Note: in.Body.Note}
	err := s.change(ctx, func(tx *store.Tx) error {
		old, err := tx.Contact(in.Contact)
		if err != nil {
			return err
		}
		if err := in.holds(contactOf(old)); err != nil {
			return err
		}
		return tx.PutContact(c)
	})
	return tag(contactOf(c)), err
}

func (s *Server) deleteContact(ctx context.Context, in *ContactPath) (*struct{}, error) {
	return nil, s.change(ctx, func(tx *store.Tx) error { return tx.DeleteContact(in.Contact) })
}
