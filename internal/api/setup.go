package api

import (
	"context"
	"net/http"

	"ringfence/internal/setup"
)

func (s *Server) registerSetup() {
	handle(s, operation{id: "get-setup", method: http.MethodGet, path: "/setup", tag: "setup", summary: "State of the first-boot wizard", access: wizard}, s.getSetup)
	handle(s, operation{id: "put-setup-administrator", method: http.MethodPut, path: "/setup/administrator", tag: "setup", summary: "Create the administrator, or replace the one this wizard created", access: wizard}, s.putSetupAdministrator)
	handle(s, operation{id: "put-setup-tenant", method: http.MethodPut, path: "/setup/tenant", tag: "setup", summary: "Create the first tenant, or change it", access: wizard}, s.putSetupTenant)
	handle(s, operation{id: "post-setup-extensions", method: http.MethodPost, path: "/setup/extensions", tag: "setup", summary: "Create the first extensions; those that exist are kept", access: wizard, errors: []int{http.StatusConflict}, bodyLimit: 256 << 10}, s.postSetupExtensions)
	handle(s, operation{id: "post-setup-finish", method: http.MethodPost, path: "/setup/finish", tag: "setup", summary: "Finish the wizard for ever, open the other ports, log the administrator in", access: wizard, status: http.StatusNoContent, errors: []int{http.StatusConflict}}, s.postSetupFinish)
}

func (s *Server) getSetup(ctx context.Context, _ *noInput) (*body[Setup], error) {
	state, err := s.cfg.Wizard.State(ctx)
	if err != nil {
		return nil, err
	}
	x, err := s.cfg.Wizard.Suggestion(ctx)
	if err != nil {
		return nil, err
	}
	return &body[Setup]{Setup{
		Steps: []Step{{"administrator", state.Administrator}, {"tenant", state.Tenant}, {"extensions", state.Extensions}},
		Suggestion: SetupSuggestion{
			Administrator: x.Administrator.Name, FirstName: x.Administrator.FirstName, LastName: x.Administrator.LastName, Email: x.Administrator.Email,
			TenantName: x.Tenant.Name, Domain: x.Tenant.Domain, ExtensionFirst: x.Tenant.ExtensionFirst, ExtensionLast: x.Tenant.ExtensionLast,
			Extensions: x.Extensions, Hostname: x.Hostname,
		},
		Fingerprint: s.cfg.Fingerprint(),
	}}, nil
}

func (s *Server) putSetupAdministrator(ctx context.Context, in *body[SetupAdministrator]) (*body[Setup], error) {
	b := in.Body
	err := s.cfg.Wizard.SaveAdministrator(ctx, callerOf(ctx).wizard(), setup.Administrator{
		Name: b.Name, Password: b.Password, FirstName: b.FirstName, LastName: b.LastName, Email: b.Email,
	})
	if err != nil {
		return nil, err
	}
	return s.getSetup(ctx, nil)
}

func (s *Server) putSetupTenant(ctx context.Context, in *body[SetupTenant]) (*body[Setup], error) {
	b := in.Body
	err := s.cfg.Wizard.SaveTenant(ctx, callerOf(ctx).wizard(), setup.Tenant{
		Name: b.Name, Domain: b.Domain, ExtensionFirst: b.ExtensionFirst, ExtensionLast: b.ExtensionLast,
	})
	if err != nil {
		return nil, err
	}
	return s.getSetup(ctx, nil)
}

func (s *Server) postSetupExtensions(ctx context.Context, in *body[SetupExtensions]) (*body[[]SIPCredentials], error) {
	wanted, err := s.wanted(in.Body)
	if err != nil {
		return nil, err
	}
	made, err := s.cfg.Wizard.SaveExtensions(ctx, callerOf(ctx).wizard(), wanted)
	if err != nil {
		return nil, err
	}
	out := make([]SIPCredentials, 0, len(made))
	for _, m := range made {
		out = append(out, SIPCredentials{Number: m.Number, DisplayName: m.DisplayName, SIPUser: m.Number, SIPPassword: m.Password, Domain: m.Domain})
	}
	return &body[[]SIPCredentials]{out}, nil
}

func (s *Server) wanted(in SetupExtensions) ([]setup.Extension, error) {
	if (in.Count == 0) == (len(in.Extensions) == 0) {
		return nil, problem(http.StatusUnprocessableEntity, "either count or extensions, and one of them")
	}
	if in.Count > 0 {
		return s.cfg.Wizard.Count(in.Count)
	}
	out := make([]setup.Extension, 0, len(in.Extensions))
	for _, e := range in.Extensions {
		out = append(out, setup.Extension{Number: e.Number, DisplayName: e.DisplayName})
	}
	return out, nil
}

func (s *Server) postSetupFinish(ctx context.Context, _ *noInput) (*cookieOnly, error) {
	c := callerOf(ctx)
	user, err := s.cfg.Wizard.Finish(ctx, c.wizard(), c.host)
	if err != nil {
		return nil, err
	}
	session, err := s.cfg.Login.Start(ctx, c.addr, user)
	if err != nil {
		// The wizard is over all the same; the administrator can log in.
		s.cfg.Logger.Error("administrator not logged in after set-up", "err", err)
		return &cookieOnly{}, nil
	}
	return &cookieOnly{SetCookie: setCookie(session.Cookie)}, nil
}
