package api

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"ringfence/internal/document"
	"ringfence/internal/login"
	"ringfence/internal/store"
)

// ConfigurationText is the configuration as one YAML document.
type ConfigurationText struct {
	YAML string `json:"yaml" maxLength:"33554432" doc:"The document. A list or a block that it leaves out stays as it is; a field that is left out has its default."`
	// RemoveTenants allows whole organisations to go.
	RemoveTenants bool `json:"remove_tenants,omitempty" doc:"Remove organisations that the document does not name, with everything in them."`
}

// ConfigurationPlan is what a document changes.
type ConfigurationPlan struct {
	Rev     uint64                `json:"rev" doc:"The revision it was compared with; after applying, the one that it made."`
	Changes []ConfigurationChange `json:"changes" nullable:"false"`
	More    bool                  `json:"more" doc:"There are more changes than are listed."`
	Trial   *SettingsTrial        `json:"trial,omitempty" doc:"Part of it could shut you out and waits to be confirmed."`
}

// ConfigurationChange is what becomes of one part.
type ConfigurationChange struct {
	Verb   string               `json:"verb" enum:"add,change,remove"`
	Object string               `json:"object" doc:"Where in the document, such as tenants[pbx.example].extensions[101]."`
	Line   int                  `json:"line" doc:"Of the document; 0 if it does not stand there."`
	Fields []ConfigurationField `json:"fields" nullable:"false"`
}

// ConfigurationField is a field that becomes another.
type ConfigurationField struct {
	Field string `json:"field"`
	Was   string `json:"was"`
	Is    string `json:"is"`
}

// ConfigurationRevision is a revision that one can return to.
type ConfigurationRevision struct {
	Rev    uint64    `json:"rev"`
	At     time.Time `json:"at"`
	Actor  string    `json:"actor" doc:"Who made it."`
	Action string    `json:"action" doc:"What was done, as in the audit log."`
	Bytes  int       `json:"bytes" doc:"As it is kept."`
}

// ConfigurationHistory lists the revisions that are kept.
type ConfigurationHistory struct {
	Items []ConfigurationRevision `json:"items" nullable:"false"`
}

const (
	yamlType = "application/yaml"
	// maxDocument is a body that holds the longest document, escaped.
	maxDocument = 2 * document.MaxSize
	// maxPlan is how many changes are listed.
	maxPlan = 1000
)

// configurationQuery says what an export holds.
type configurationQuery struct {
	Secrets string `query:"secrets" enum:"none,sealed" default:"none" doc:"sealed: with passwords, which this box alone can read."`
}

// revisionPath names a kept revision.
type revisionPath struct {
	Rev uint64 `path:"rev" minimum:"0" maximum:"9007199254740991"`
}

func (s *Server) registerConfiguration() {
	const path, tag = "/configuration", "configuration"
	bad := []int{http.StatusConflict}
	gone := []int{http.StatusNotFound}
	handle(s, operation{id: "get-configuration", method: http.MethodGet, path: path, tag: tag, summary: "All settings as one YAML document", access: systemOnly, produces: yamlType}, s.getConfiguration)
	handle(s, operation{id: "plan-configuration", method: http.MethodPost, path: path + "/plan", tag: tag, summary: "What a document would change; nothing is done", access: systemOnly, bodyLimit: maxDocument}, s.planConfiguration)
	handle(s, operation{id: "apply-configuration", method: http.MethodPost, path: path + "/apply", tag: tag, summary: "Make everything as a document says, or nothing", access: systemOnly, bodyLimit: maxDocument, errors: bad}, s.applyConfiguration)
	handle(s, operation{id: "list-revisions", method: http.MethodGet, path: path + "/history", tag: tag, summary: "Revisions that one can return to, newest first", access: systemOnly}, s.listRevisions)
	handle(s, operation{id: "get-revision", method: http.MethodGet, path: path + "/history/{rev}", tag: tag, summary: "The document of a revision; passwords in it are sealed", access: systemOnly, produces: yamlType, errors: gone}, s.getRevision)
	handle(s, operation{id: "plan-revision", method: http.MethodGet, path: path + "/history/{rev}/plan", tag: tag, summary: "What returning to a revision would change", access: systemOnly, errors: gone}, s.planRevision)
	handle(s, operation{id: "restore-revision", method: http.MethodPost, path: path + "/history/{rev}/restore", tag: tag, summary: "Return to a revision", access: systemOnly, errors: []int{http.StatusNotFound, http.StatusConflict}}, s.restoreRevision)
}

func (s *Server) getConfiguration(ctx context.Context, in *configurationQuery) (*file, error) {
	c, err := document.Read(ctx, s.cfg.Store)
	if err != nil {
		return nil, err
	}
	var secrets document.Secrets
	if in.Secrets == "sealed" {
		secrets = s.cfg.Store
	}
	text, err := document.Marshal(c, secrets)
	if err != nil {
		return nil, err
	}
	who := callerOf(ctx)
	details := map[string]string{"secrets": in.Secrets}
	if err := s.cfg.Store.System().Record(ctx, who.actor(), "configuration.export", "", details); err != nil {
		return nil, err
	}
	return &file{yamlType, `attachment; filename="ringfence.yaml"`, text}, nil
}

// compare reads a document and says what it would change now.
func (s *Server) compare(ctx context.Context, text []byte) (d *document.Document, was document.Configuration, plan ConfigurationPlan, err error) {
	if d, err = document.Unmarshal(text, s.cfg.Store); err != nil {
		return nil, was, plan, err
	}
	plan.Rev = s.cfg.Store.Snapshot().Rev
	if was, err = document.Read(ctx, s.cfg.Store); err != nil {
		return nil, was, plan, err
	}
	d.Fill(was)
	all := document.Compare(was, d)
	plan.More = len(all) > maxPlan
	plan.Changes = make([]ConfigurationChange, 0, min(len(all), maxPlan))
	for _, c := range all[:min(len(all), maxPlan)] {
		one := ConfigurationChange{Verb: string(c.Verb), Object: c.Object, Line: c.Line, Fields: []ConfigurationField{}}
		for _, f := range c.Fields {
			one.Fields = append(one.Fields, ConfigurationField(f))
		}
		plan.Changes = append(plan.Changes, one)
	}
	return d, was, plan, nil
}

// refusedDocument names line and field of what is wrong with a document.
func refusedDocument(err error) error {
	var refused *document.Error
	if !errors.As(err, &refused) {
		return err
	}
	p := problem(http.StatusUnprocessableEntity, "the document is refused as a whole: nothing was changed")
	for _, f := range refused.Faults {
		where := "body.yaml"
		if f.Line > 0 {
			where += ":" + strconv.Itoa(f.Line)
		}
		reason := f.Reason
		if f.Field != "" {
			reason = f.Field + ": " + reason
		}
		p.Errors = append(p.Errors, &huma.ErrorDetail{Location: where, Message: reason})
	}
	return p
}

func (s *Server) planConfiguration(ctx context.Context, in *body[ConfigurationText]) (*body[ConfigurationPlan], error) {
	_, _, plan, err := s.compare(ctx, []byte(in.Body.YAML))
	if err != nil {
		return nil, refusedDocument(err)
	}
	return &body[ConfigurationPlan]{plan}, nil
}

// nobodysPassword is how long the password is that nobody knows, in characters.
const nobodysPassword = 40

// apply makes everything as a document says, on behalf of a caller; what could
// shut the caller out waits to be confirmed.
func (s *Server) apply(ctx context.Context, q TryQuery, text []byte, removeTenants bool) (*body[ConfigurationPlan], error) {
	plan, err := s.applyBy(ctx, callerOf(ctx).session.User.Name, text, removeTenants, func(change func(*store.Tx) error) (*SettingsTrial, error) {
		return s.try(ctx, q, change)
	})
	if err != nil {
		return nil, refusedDocument(err)
	}
	return &body[ConfigurationPlan]{plan}, nil
}

// applyBy makes everything as a document says, with a way to commit. What changed
// while it was read is a conflict.
func (s *Server) applyBy(ctx context.Context, by string, text []byte, removeTenants bool, commit func(func(*store.Tx) error) (*SettingsTrial, error)) (plan ConfigurationPlan, err error) {
	d, was, plan, err := s.compare(ctx, text)
	if err != nil || len(plan.Changes) == 0 {
		return plan, err
	}
	unknown, err := s.cfg.Login.Hash(ctx, login.GeneratePassword(nobodysPassword))
	if err != nil {
		return plan, err
	}
	o := document.Options{By: by, RemoveTenants: removeTenants, NoPassword: unknown}
	read := plan.Rev
	plan.Trial, err = commit(func(tx *store.Tx) error {
		if s.cfg.Store.Snapshot().Rev != read {
			return problem(http.StatusConflict, "the settings were changed meanwhile; look at the plan again")
		}
		return document.Apply(tx, was, d, o)
	})
	plan.Rev = s.cfg.Store.Snapshot().Rev
	return plan, err
}

func (s *Server) applyConfiguration(ctx context.Context, in *tryBody[ConfigurationText]) (*body[ConfigurationPlan], error) {
	return s.apply(ctx, in.TryQuery, []byte(in.Body.YAML), in.Body.RemoveTenants)
}

func (s *Server) listRevisions(ctx context.Context, _ *noInput) (*body[ConfigurationHistory], error) {
	all, err := s.cfg.Store.Revisions(ctx)
	if err != nil {
		return nil, err
	}
	out := ConfigurationHistory{Items: make([]ConfigurationRevision, len(all))}
	for i, r := range all {
		out.Items[i] = ConfigurationRevision{Rev: r.Rev, At: r.At.UTC(), Actor: r.Actor.Name, Action: r.Kind, Bytes: r.Bytes}
	}
	return &body[ConfigurationHistory]{out}, nil
}

func (s *Server) getRevision(ctx context.Context, in *revisionPath) (*file, error) {
	text, err := s.cfg.Store.RevisionDocument(ctx, in.Rev)
	if err != nil {
		return nil, err
	}
	return &file{yamlType, `attachment; filename="ringfence-` + strconv.FormatUint(in.Rev, 10) + `.yaml"`, text}, nil
}

func (s *Server) planRevision(ctx context.Context, in *revisionPath) (*body[ConfigurationPlan], error) {
	text, err := s.cfg.Store.RevisionDocument(ctx, in.Rev)
	if err != nil {
		return nil, err
	}
	_, _, plan, err := s.compare(ctx, text)
	if err != nil {
		return nil, refusedDocument(err)
	}
	return &body[ConfigurationPlan]{plan}, nil
}

func (s *Server) restoreRevision(ctx context.Context, in *struct {
	TryQuery
	Rev           uint64 `path:"rev" minimum:"0" maximum:"9007199254740991"`
	RemoveTenants bool   `query:"remove_tenants" doc:"Remove organisations that were made since."`
}) (*body[ConfigurationPlan], error) {
	text, err := s.cfg.Store.RevisionDocument(ctx, in.Rev)
	if err != nil {
		return nil, err
	}
	return s.apply(ctx, in.TryQuery, text, in.RemoveTenants)
}
