package api

import "net/http"

// numberPath is the extension of a path.
type numberPath struct {
	Number string `path:"number" pattern:"^[0-9]{2,10}$" maxLength:"10" doc:"Extension number."`
}

func (s *Server) registerExtensions() {
	const one = "/extensions/{number}"
	handle(s, operation{id: "list-extensions", method: http.MethodGet, path: "/extensions", tag: "extensions", summary: "List the extensions", access: admin}, s.listExtensions)
	handle(s, operation{id: "create-extension", method: http.MethodPost, path: "/extensions", tag: "extensions", summary: "Create an extension; answers its SIP password once", access: admin, status: http.StatusCreated, errors: []int{http.StatusConflict}}, s.createExtension)
	handle(s, operation{id: "get-extension", method: http.MethodGet, path: one, tag: "extensions", summary: "Read an extension", access: admin, errors: []int{http.StatusNotFound}}, s.getExtension)
	handle(s, operation{id: "put-extension", method: http.MethodPut, path: one, tag: "extensions", summary: "Change an extension", access: admin, errors: []int{http.StatusNotFound, http.StatusConflict}}, s.putExtension)
	handle(s, operation{id: "delete-extension", method: http.MethodDelete, path: one, tag: "extensions", summary: "Delete an extension", access: admin, status: http.StatusNoContent, errors: []int{http.StatusNotFound, http.StatusConflict}}, s.deleteExtension)
	handle(s, operation{id: "renew-sip-password", method: http.MethodPost, path: one + "/sip-password", tag: "extensions", summary: "Generate a new SIP password; answers it once", access: admin, errors: []int{http.StatusNotFound}}, s.renewSIPPassword)
}

func (s *Server) registerProvisioning() {
	const path = "/extensions/{number}/provisioning"
	handle(s, operation{id: "get-provisioning", method: http.MethodGet, path: path, tag: "extensions", summary: "Where the phones fetch their configuration", access: admin, errors: []int{http.StatusNotFound}}, s.getProvisioning)
	handle(s, operation{id: "rotate-provisioning", method: http.MethodPost, path: path, tag: "extensions", summary: "Move the configuration to a new address; the old one is gone", access: admin, errors: []int{http.StatusNotFound}}, s.rotateProvisioning)
}
