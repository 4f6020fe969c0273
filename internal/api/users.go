package api

import (
	"context"
	"net/http"
	"time"

	"ringfence/internal/login"
	"ringfence/internal/store"
	"ringfence/internal/telephony"
)

// User is a person who logs in.
type User struct {
	ID                 int64     `json:"id"`
	Name               string    `json:"name" doc:"Login name."`
	FirstName          string    `json:"first_name"`
	LastName           string    `json:"last_name"`
	Email              string    `json:"email"`
	Phone              string    `json:"phone"`
	Role               string    `json:"role"`
	Extension          string    `json:"extension" doc:"Extension number, or empty."`
	MustChangePassword bool      `json:"must_change_password" doc:"The password is to be changed at the next log-in."`
	CreatedAt          time.Time `json:"created_at"`
}

// UserList is a page of users.
type UserList struct {
	Items []User `json:"items" nullable:"false"`
	Next  string `json:"next" doc:"Value of after for the following page; empty at the end."`
}

// UserInput replaces what may be changed of a user.
type UserInput struct {
	Name      string `json:"name" minLength:"1" maxLength:"64"`
	FirstName string `json:"first_name,omitempty" maxLength:"100"`
	LastName  string `json:"last_name,omitempty" maxLength:"100"`
	Email     string `json:"email,omitempty" maxLength:"254"`
	Phone     string `json:"phone,omitempty" maxLength:"32"`
	Role      string `json:"role" maxLength:"32"`
	Extension string `json:"extension,omitempty" maxLength:"9" doc:"An extension nobody else has; empty for none."`
}

// UserCreate is a new user, with a new extension if asked for.
type UserCreate struct {
	UserInput
	Password     string            `json:"password,omitempty" maxLength:"512" format:"password" doc:"Generated and answered once when left out. It is to be changed at the first log-in in any case."`
	Invite       bool              `json:"invite,omitempty" doc:"No password: the answer has a one-time link at which the user sets one."`
	NewExtension *UserNewExtension `json:"new_extension,omitempty" doc:"Also makes the extension that extension names."`
}

// UserNewExtension is the extension that is made with its user.
type UserNewExtension struct {
	SIPPassword string `json:"sip_password,omitempty" maxLength:"64" format:"password" doc:"Generated when left out. It differs from the user's password."`
}

// UserPatch changes what it names.
type UserPatch struct {
	Name      *string `json:"name,omitempty" minLength:"1" maxLength:"64"`
	FirstName *string `json:"first_name,omitempty" maxLength:"100"`
	LastName  *string `json:"last_name,omitempty" maxLength:"100"`
	Email     *string `json:"email,omitempty" maxLength:"254"`
	Phone     *string `json:"phone,omitempty" maxLength:"32"`
	Role      *string `json:"role,omitempty" maxLength:"32"`
	Extension *string `json:"extension,omitempty" maxLength:"9"`
}

// UserCreated answers a new user with what was made for it.
type UserCreated struct {
	User     User            `json:"user"`
	Password string          `json:"password,omitempty" doc:"If it was generated. It is not shown again."`
	Invite   *Invite         `json:"invite,omitempty" doc:"If it was asked for."`
	SIP      *SIPCredentials `json:"sip,omitempty" doc:"Of the new extension. The password is not shown again."`
}

// UserPassword is a password that an administrator sets.
type UserPassword struct {
	Password string `json:"password,omitempty" maxLength:"512" format:"password" doc:"Generated when left out."`
}

// NewPassword answers a generated password.
type NewPassword struct {
	Password string `json:"password" doc:"If it was generated, else empty. It is not shown again."`
}

// UserPath is the user of a path.
type UserPath struct {
	User int64 `path:"user" minimum:"1" doc:"Number of the user."`
}

type userQuery struct {
	After  string `query:"after" maxLength:"64" doc:"next of the page before; empty for the first."`
	Limit  int    `query:"limit" minimum:"1" maximum:"1000" default:"100"`
	Search string `query:"search" maxLength:"100" doc:"Part of a name, the e-mail address or the extension."`
}

type userChange[T any] struct {
	UserPath
	Precondition
	Body T
}

type userPasswordPut struct {
	UserPath
	Body UserPassword
}

func (s *Server) registerUsers() {
	const one = "/users/{user}"
	changes := []int{http.StatusNotFound, http.StatusConflict, http.StatusPreconditionFailed}
	handle(s, operation{id: "list-users", method: http.MethodGet, path: "/users", tag: "users", summary: "List the users of the organisation, by name", access: manageUsers}, s.listUsers)
	handle(s, operation{id: "create-user", method: http.MethodPost, path: "/users", tag: "users", summary: "Add a user, with an extension if asked for; answers generated passwords once", access: manageUsers, status: http.StatusCreated, errors: []int{http.StatusConflict}}, s.createUser)
	handle(s, operation{id: "get-user", method: http.MethodGet, path: one, tag: "users", summary: "Read a user", access: manageUsers, errors: []int{http.StatusNotFound}}, s.getUser)
	handle(s, operation{id: "put-user", method: http.MethodPut, path: one, tag: "users", summary: "Replace a user; another role ends its sessions", access: manageUsers, errors: changes}, s.putUser)
	handle(s, operation{id: "patch-user", method: http.MethodPatch, path: one, tag: "users", summary: "Change some fields of a user", access: manageUsers, errors: changes}, s.patchUser)
	handle(s, operation{id: "delete-user", method: http.MethodDelete, path: one, tag: "users", summary: "Delete a user; its extension stays", access: manageUsers, status: http.StatusNoContent, errors: changes}, s.deleteUser)
	handle(s, operation{id: "put-user-password", method: http.MethodPut, path: one + "/password", tag: "users", summary: "Set or generate a user's password, to be changed at the next log-in; its sessions end", access: manageUsers, errors: []int{http.StatusNotFound}}, s.putUserPassword)
}

func userOf(u telephony.User) User {
	return User{ID: u.ID, Name: u.Name, FirstName: u.FirstName, LastName: u.LastName, Email: u.Email, Phone: u.Phone,
		Role: string(u.Role), Extension: u.Extension, MustChangePassword: u.MustChangePassword, CreatedAt: u.CreatedAt.UTC()}
}

func (in UserInput) into(u *telephony.User) {
	u.Name, u.FirstName, u.LastName, u.Email, u.Phone = in.Name, in.FirstName, in.LastName, in.Email, in.Phone
	u.Role, u.Extension = telephony.Role(in.Role), in.Extension
}

func (in UserPatch) into(u *telephony.User) {
	set(&u.Name, in.Name)
	set(&u.FirstName, in.FirstName)
	set(&u.LastName, in.LastName)
	set(&u.Email, in.Email)
	set(&u.Phone, in.Phone)
	set((*string)(&u.Role), in.Role)
	set(&u.Extension, in.Extension)
}

func (s *Server) listUsers(ctx context.Context, in *userQuery) (*body[UserList], error) {
	users, more, err := s.cfg.Store.ForTenant(callerOf(ctx).tenant).UserPage(ctx, store.UserFilter{After: in.After, Search: in.Search, Limit: in.Limit})
	if err != nil {
		return nil, err
	}
	out := UserList{Items: make([]User, 0, len(users))}
	for _, u := range users {
		out.Items = append(out.Items, userOf(u))
	}
	if more {
		out.Next = users[len(users)-1].Name
	}
	return &body[UserList]{out}, nil
}

// userFor reads a user whom the caller may change: one whose role allows no more
// than the caller's.
func (s *Server) userFor(ctx context.Context, id int64) (telephony.User, error) {
	u, _, err := s.cfg.Store.ForTenant(callerOf(ctx).tenant).User(ctx, id)
	if err != nil {
		return u, err
	}
	return u, s.mayGive(ctx, "role", u.Role)
}

func (s *Server) getUser(ctx context.Context, in *UserPath) (*tagged[User], error) {
	u, _, err := s.cfg.Store.ForTenant(callerOf(ctx).tenant).User(ctx, in.User)
	if err != nil {
		return nil, err
	}
	return tag(userOf(u)), nil
}

// chosen is the password that was asked for, or a generated one that meets the
// tenant's policy.
func (s *Server) chosen(ctx context.Context, password string) (chosen, generated string) {
	if password != "" {
		return password, ""
	}
	p := s.cfg.Login.Policy(callerOf(ctx).tenant)
	generated = login.GeneratePassword(min(max(userPasswordLength, p.Min), p.Max))
	return generated, generated
}

// Lengths of generated passwords, in characters.
const (
	sipPasswordLength  = 24
	userPasswordLength = 16
)

// sipPassword generates a SIP password that meets the tenant's policy.
func (s *Server) sipPassword(ctx context.Context) string {
	p := s.cfg.Login.Policy(callerOf(ctx).tenant)
	return login.GeneratePassword(min(max(sipPasswordLength, p.Min), p.Max))
}

func (s *Server) createUser(ctx context.Context, in *body[UserCreate]) (*body[UserCreated], error) {
	u := telephony.User{Tenant: callerOf(ctx).tenant, MustChangePassword: !in.Body.Invite}
	in.Body.into(&u)
	if in.Body.Invite && in.Body.Password != "" {
		return nil, &telephony.FieldError{Field: "invite", Reason: "and a password exclude each other"}
	}
	if err := s.mayGive(ctx, "role", u.Role); err != nil {
		return nil, err
	}
	var out UserCreated
	if err := u.Validate(); err != nil {
		return nil, err
	}
	password, hash, err := s.firstPassword(ctx, u, in.Body, &out)
	if err != nil {
		return nil, err
	}
	var e telephony.Extension
	var sip string
	if in.Body.NewExtension != nil {
		if e, sip, err = s.newExtensionOf(ctx, u, password, in.Body.NewExtension.SIPPassword); err != nil {
			return nil, err
		}
	}
	err = s.change(ctx, func(tx *store.Tx) (err error) {
		if e.Number != "" {
			if _, err := tx.CreateExtension(e, sip); err != nil {
				return inField(err, "number", "extension")
			}
		}
		u, err = tx.CreateUser(u, hash)
		return err
	})
	if err != nil {
		return nil, err
	}
	if e.Number != "" {
		out.SIP = &s.credentials(ctx, e, sip).Body
	}
	out.User = userOf(u)
	if in.Body.Invite {
		made, err := s.invite(ctx, u)
		if err != nil {
			return nil, err
		}
		out.Invite = &made.Body
	}
	return &body[UserCreated]{out}, nil
}

// firstPassword is that of a new user and its hash; who is invited has none,
// and an empty hash opens to nothing.
func (s *Server) firstPassword(ctx context.Context, u telephony.User, in UserCreate, out *UserCreated) (password, hash string, err error) {
	if in.Invite {
		return "", "", nil
	}
	password, out.Password = s.chosen(ctx, in.Password)
	if err := s.cfg.Login.CheckFor(u, password); err != nil {
		return "", "", err
	}
	if hash, err = s.cfg.Login.Hash(ctx, password); err != nil {
		return "", "", busy(err)
	}
	return password, hash, nil
}

// inField gives a refused field the name it has in this request.
func inField(err error, from, to string) error {
	if fe, ok := telephony.AsFieldError(err); ok && fe.Field == from {
		fe.Field = to
	}
	return err
}

// newExtensionOf is the extension that is made with its user, and its password.
func (s *Server) newExtensionOf(ctx context.Context, u telephony.User, password, sip string) (telephony.Extension, string, error) {
	e := telephony.Extension{Tenant: u.Tenant, Number: u.Extension, DisplayName: displayNameOf(u)}
	switch {
	case u.Extension == "":
		return e, "", &telephony.FieldError{Field: "extension", Reason: "names no extension to make"}
	case !callerOf(ctx).may(telephony.PermExtensions):
		return e, "", beyond("new_extension")
	case sip == "":
		return e, s.sipPassword(ctx), nil
	case sip == password:
		return e, "", &telephony.FieldError{Field: "new_extension.sip_password", Reason: "is the user's password; the two must differ"}
	}
	return e, sip, inField(s.cfg.Login.CheckSIPPassword(ctx, e, sip), "password", "new_extension.sip_password")
}

// displayNameOf is what phones show of a user.
func displayNameOf(u telephony.User) string {
	switch {
	case u.FirstName != "" && u.LastName != "":
		return cutRunes(u.FirstName+" "+u.LastName, telephony.MaxNameLen)
	case u.FirstName+u.LastName != "":
		return u.FirstName + u.LastName
	}
	return u.Name
}

func cutRunes(s string, n int) string {
	if r := []rune(s); len(r) > n {
		return string(r[:n])
	}
	return s
}

func (s *Server) putUser(ctx context.Context, in *userChange[UserInput]) (*tagged[User], error) {
	return s.alterUser(ctx, in.UserPath, in.Precondition, in.Body.into)
}

func (s *Server) patchUser(ctx context.Context, in *userChange[UserPatch]) (*tagged[User], error) {
	return s.alterUser(ctx, in.UserPath, in.Precondition, in.Body.into)
}

func (s *Server) alterUser(ctx context.Context, path UserPath, match Precondition, alter func(*telephony.User)) (*tagged[User], error) {
	err := s.change(ctx, func(tx *store.Tx) error {
		u, err := tx.User(path.User)
		if err != nil {
			return err
		}
		if err := s.mayGive(ctx, "role", u.Role); err != nil {
			return err
		}
		if err := match.holds(userOf(u)); err != nil {
			return err
		}
		alter(&u)
		if err := s.mayGive(ctx, "role", u.Role); err != nil {
			return err
		}
		return tx.PutUser(u)
	})
	if err != nil {
		return nil, err
	}
	return s.getUser(ctx, &path)
}

func (s *Server) deleteUser(ctx context.Context, in *UserPath) (*struct{}, error) {
	u, err := s.userFor(ctx, in.User)
	if err != nil {
		return nil, err
	}
	if me := callerOf(ctx).session.User; me.Tenant == u.Tenant && me.ID == u.ID {
		return nil, problem(http.StatusConflict, "nobody deletes the own account")
	}
	return nil, s.change(ctx, func(tx *store.Tx) error { return tx.DeleteUser(in.User) })
}

func (s *Server) putUserPassword(ctx context.Context, in *userPasswordPut) (*body[NewPassword], error) {
	u, err := s.userFor(ctx, in.User)
	if err != nil {
		return nil, err
	}
	password, generated := s.chosen(ctx, in.Body.Password)
	if err := s.cfg.Login.SetPassword(ctx, callerOf(ctx).actor(), u, password, true); err != nil {
		return nil, busy(err)
	}
	return &body[NewPassword]{NewPassword{generated}}, nil
}

// busy asks to come again where too many passwords are hashed already.
func busy(err error) error { return refused(err, http.StatusForbidden, "") }
