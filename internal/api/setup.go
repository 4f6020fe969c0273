package api

import "net/http"

func (s *Server) registerSetup() {
	handle(s, operation{id: "get-setup", method: http.MethodGet, path: "/setup", tag: "setup", summary: "State of the first-boot wizard", access: wizard}, s.getSetup)
	handle(s, operation{id: "put-setup-administrator", method: http.MethodPut, path: "/setup/administrator", tag: "setup", summary: "Create the administrator, or replace the one this wizard created", access: wizard}, s.putSetupAdministrator)
	handle(s, operation{id: "put-setup-tenant", method: http.MethodPut, path: "/setup/tenant", tag: "setup", summary: "Create the first tenant, or change it", access: wizard}, s.putSetupTenant)
	handle(s, operation{id: "post-setup-extensions", method: http.MethodPost, path: "/setup/extensions", tag: "setup", summary: "Create the first extensions; those that exist are kept", access: wizard, errors: []int{http.StatusConflict}}, s.postSetupExtensions)
	handle(s, operation{id: "post-setup-finish", method: http.MethodPost, path: "/setup/finish", tag: "setup", summary: "Finish the wizard for ever, open the other ports, log the administrator in", access: wizard, status: http.StatusNoContent, errors: []int{http.StatusConflict}}, s.postSetupFinish)
}
