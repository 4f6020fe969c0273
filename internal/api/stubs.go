package api

import (
	"context"
	"errors"
	"net/http"

	"github.com/danielgtaylor/huma/v2/sse"
)

var errTODO = errors.New("not built")

func (s *Server) gate(a access, h http.Handler) http.Handler                  { return http.NotFoundHandler() }
func (s *Server) problemOf(ctx context.Context, o operation, err error) error { return err }
func (s *Server) getSetup(context.Context, *noInput) (*body[Setup], error)    { return nil, errTODO }
func (s *Server) putSetupAdministrator(context.Context, *body[SetupAdministrator]) (*body[Setup], error) {
	return nil, errTODO
}
func (s *Server) putSetupTenant(context.Context, *body[SetupTenant]) (*body[Setup], error) {
	return nil, errTODO
}
func (s *Server) postSetupExtensions(context.Context, *body[SetupExtensions]) (*body[[]SIPCredentials], error) {
	return nil, errTODO
}
func (s *Server) postSetupFinish(context.Context, *noInput) (*cookieOnly, error) { return nil, errTODO }
func (s *Server) login(context.Context, *body[Login]) (*cookieAnswer[Session], error) {
	return nil, errTODO
}
func (s *Server) getSession(context.Context, *noInput) (*body[Session], error) { return nil, errTODO }
func (s *Server) deleteSession(context.Context, *noInput) (*cookieOnly, error) { return nil, errTODO }
func (s *Server) putSessionPassword(context.Context, *body[PasswordChange]) (*cookieAnswer[Session], error) {
	return nil, errTODO
}

type listExtensionsInput struct {
	After string `query:"after" pattern:"^[0-9]{2,10}$" maxLength:"10" doc:"next of the page before; empty for the first."`
	Limit int    `query:"limit" minimum:"1" maximum:"10000" default:"10000"`
	Sort  string `query:"sort" enum:"number,display_name" default:"number"`
}

func (s *Server) listExtensions(context.Context, *listExtensionsInput) (*body[ExtensionList], error) {
	return nil, errTODO
}
func (s *Server) createExtension(context.Context, *body[ExtensionCreate]) (*body[SIPCredentials], error) {
	return nil, errTODO
}
func (s *Server) getExtension(context.Context, *numberPath) (*body[Extension], error) {
	return nil, errTODO
}

type putExtensionInput struct {
	numberPath
	Body ExtensionUpdate
}

func (s *Server) putExtension(context.Context, *putExtensionInput) (*body[Extension], error) {
	return nil, errTODO
}
func (s *Server) deleteExtension(context.Context, *numberPath) (*struct{}, error) {
	return nil, errTODO
}
func (s *Server) renewSIPPassword(context.Context, *numberPath) (*body[SIPCredentials], error) {
	return nil, errTODO
}
func (s *Server) getProvisioning(context.Context, *numberPath) (*body[Provisioning], error) {
	return nil, errTODO
}
func (s *Server) rotateProvisioning(context.Context, *numberPath) (*body[Provisioning], error) {
	return nil, errTODO
}
func (s *Server) listRegistrations(context.Context, *noInput) (*body[RegistrationList], error) {
	return nil, errTODO
}
func (s *Server) listCalls(context.Context, *noInput) (*body[CallList], error) { return nil, errTODO }
func (s *Server) hangUp(context.Context, *callPath) (*struct{}, error)         { return nil, errTODO }
func (s *Server) listCDRs(context.Context, *cdrQuery) (*body[CallRecordList], error) {
	return nil, errTODO
}
func (s *Server) listAudit(context.Context, *pageQuery) (*body[AuditList], error) {
	return nil, errTODO
}
func (s *Server) listPorts(context.Context, *noInput) (*body[PortList], error) { return nil, errTODO }
func (s *Server) getStatus(context.Context, *noInput) (*body[Status], error)   { return nil, errTODO }
func (s *Server) streamEvents(context.Context, *noInput, sse.Sender)           {}
