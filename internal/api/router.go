package api

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path"

	"github.com/danielgtaylor/huma/v2"

	"ringfence/internal/telephony"
)

// Base is the path under which every operation stands.
const Base = "/api/v1"

// access is what a caller needs for a route.
type access string

// Levels that have nothing to do with permissions.
const (
	denied access = ""       // a route nobody thought about
	wizard access = "wizard" // the setup token, and only before set-up is finished
	anyone access = "anyone" // no session, but same origin
	// halfSession is good also while the second factor, or a new password, is owed.
	halfSession access = "half session"
	ownSession  access = "own session" // a session of any role, also while its password must be changed
	inPerson    access = "in person"   // a session of any role, and no API token
	anyUser     access = "any user"    // a session of any role
	anyAdmin    access = "any admin"   // a role that allows anything beyond one's own data
	systemOnly  access = "system"      // administrators of the box
)

// Levels that a role must allow; administrators of tenant and box have them all.
const (
	admin            = access(telephony.PermTenant)
	manageUsers      = access(telephony.PermUsers)
	manageRoles      = access(telephony.PermRoles)
	manageExtensions = access(telephony.PermExtensions)
	manageTrunks     = access(telephony.PermTrunks)
	manageRules      = access(telephony.PermRules)
	manageCalls      = access(telephony.PermCalls)
	readCDRs         = access(telephony.PermCDR)
	readRecordings   = access(telephony.PermRecordings)
	readAudit        = access(telephony.PermAudit)
	manageSecurity   = access(telephony.PermSecurity)
	readReports      = access(telephony.PermReports)
)

// needsSession reports whether strangers are refused.
func (a access) needsSession() bool { return a != denied && a != wizard && a != anyone }

// takesTokens reports whether a program may ask, not only a person: a token
// changes nobody's password, and makes no tokens.
func (a access) takesTokens() bool {
	return a.needsSession() && a != halfSession && a != ownSession && a != inPerson
}

// grantedTo reports whether a role is enough, once there is a session.
func (a access) grantedTo(r telephony.RoleDefinition) bool {
	switch a {
	case halfSession, ownSession, inPerson, anyUser:
		return true
	case anyAdmin:
		return r.Administers()
	case systemOnly:
		return r.Name == telephony.RoleSystemAdmin
	case denied, wizard, anyone:
		return false
	}
	return r.May(telephony.Permission(a))
}

// operation describes one route.
type operation struct {
	id, method, path string
	tag, summary     string
	access           access
	status           int    // of success; 0 is 200, or 204 without a body
	errors           []int  // besides those every route has
	bodyLimit        int64  // 0 is maxBody
	stream           bool   // answers without end
	produces         string // media type of the answer, if it is a file
	// fields say where a refused field stands in the request, if not at
	// "body." and its name.
	fields map[string]string
}

// router is a ServeMux that knows the access every pattern needs and lets
// nothing through without asking the gate.
type router struct {
	mux    *http.ServeMux
	access map[string]access // by pattern, declared before the route is added
	stream map[string]bool   // patterns that answer without end
	added  []string          // patterns that really are served
	gate   func(access, http.Handler) http.Handler
	// problem writes the problems that concern no operation.
	problem func(http.ResponseWriter, *http.Request, int, string)
}

func newRouter(gate func(access, http.Handler) http.Handler, problem func(http.ResponseWriter, *http.Request, int, string)) *router {
	return &router{mux: http.NewServeMux(), access: map[string]access{}, stream: map[string]bool{}, gate: gate, problem: problem}
}

// HandleFunc is how the library adds a route. A pattern whose access was not
// declared stays denied.
func (ro *router) HandleFunc(pattern string, f func(http.ResponseWriter, *http.Request)) {
	ro.added = append(ro.added, pattern)
	var h http.Handler = http.HandlerFunc(f)
	if ro.stream[pattern] {
		h = endless(h)
	}
	ro.mux.Handle(pattern, ro.gate(ro.access[pattern], h))
}

// ServeHTTP answers unknown paths and methods as problems, everything else by
// its route.
func (ro *router) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != path.Clean(r.URL.Path) {
		// The mux would redirect; an API client has no use for that.
		ro.problem(w, r, http.StatusNotFound, "there is no such resource")
		return
	}
	h, pattern := ro.mux.Handler(r)
	if pattern != "" {
		ro.mux.ServeHTTP(w, r)
		return
	}
	rec := httptest.NewRecorder()
	h.ServeHTTP(rec, r)
	if rec.Code != http.StatusMethodNotAllowed {
		ro.problem(w, r, http.StatusNotFound, "there is no such resource")
		return
	}
	w.Header().Set("Allow", rec.Header().Get("Allow"))
	ro.problem(w, r, http.StatusMethodNotAllowed, "the resource does not know this method")
}

// handle adds an operation with its access and error mapping.
func handle[I, O any](s *Server, o operation, h func(context.Context, *I) (*O, error)) {
	s.declare(o)
	huma.Register(s.huma, o.document(), func(ctx context.Context, in *I) (*O, error) {
		out, err := h(ctx, in)
		if err != nil {
			return nil, s.problemOf(ctx, o, err)
		}
		return out, nil
	})
}

func (s *Server) declare(o operation) {
	pattern := o.method + " " + Base + o.path
	if _, twice := s.routes.access[pattern]; twice {
		panic(fmt.Sprintf("route %s is declared twice", pattern))
	}
	s.routes.access[pattern] = o.access
	s.routes.stream[pattern] = o.stream
}

// document is the operation as the OpenAPI document shows it.
func (o operation) document() huma.Operation {
	errs := append([]int{}, o.errors...)
	op := huma.Operation{
		OperationID: o.id, Method: o.method, Path: Base + o.path,
		Tags: []string{o.tag}, Summary: o.summary,
		DefaultStatus: o.status, MaxBodyBytes: o.bodyLimit,
	}
	if op.MaxBodyBytes == 0 {
		op.MaxBodyBytes = maxBody
	}
	switch o.access {
	case wizard:
		op.Security = []map[string][]string{{"setup": {}}}
		errs = append(errs, http.StatusNotFound)
	case anyone:
		op.Security = []map[string][]string{}
		errs = append(errs, http.StatusForbidden)
	default:
		need := map[string][]string{"session": {}}
		if !safe(o.method) {
			need["csrf"] = []string{}
		}
		op.Security = []map[string][]string{need}
		if o.access.takesTokens() {
			op.Security = append(op.Security, map[string][]string{"token": {}})
		}
		errs = append(errs, http.StatusUnauthorized, http.StatusForbidden, http.StatusTooManyRequests)
		op.Description = o.access.words()
	}
	op.Errors = errs
	if o.produces != "" {
		op.Responses = binary(o.produces)
	}
	return op
}

// words are what the document says about who may.
func (a access) words() string {
	switch a {
	case halfSession:
		return "For everybody who has shown the password, also before the second factor."
	case ownSession:
		return "For everybody who is logged in, also while the password must be changed."
	case inPerson:
		return "For everybody who is logged in, and for no API token."
	case anyUser:
		return "For everybody who is logged in."
	case anyAdmin:
		return "For roles with any permission."
	case systemOnly:
		return "For administrators of the box."
	}
	return "Needs the permission " + string(a) + "."
}

// safe says whether a method changes nothing (RFC 9110 section 9.2.1).
func safe(method string) bool {
	return method == http.MethodGet || method == http.MethodHead || method == http.MethodOptions
}
