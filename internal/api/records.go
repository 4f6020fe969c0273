package api

import "net/http"

// cdrQuery selects call records.
type cdrQuery struct {
	Before    string `query:"before" maxLength:"128" doc:"next of the page before; empty for the newest."`
	Limit     int    `query:"limit" minimum:"1" maximum:"500" default:"100"`
	Extension string `query:"extension" pattern:"^[0-9]{2,10}$" maxLength:"10" doc:"Only calls of this extension."`
}

// pageQuery selects a page.
type pageQuery struct {
	Before string `query:"before" maxLength:"128" doc:"next of the page before; empty for the newest."`
	Limit  int    `query:"limit" minimum:"1" maximum:"500" default:"100"`
}

func (s *Server) registerRecords() {
	handle(s, operation{id: "list-cdrs", method: http.MethodGet, path: "/cdrs", tag: "records", summary: "Finished calls, newest first; users without administration see their own", access: anyUser}, s.listCDRs)
	handle(s, operation{id: "list-audit", method: http.MethodGet, path: "/audit", tag: "records", summary: "Who changed what, newest first", access: admin}, s.listAudit)
}
