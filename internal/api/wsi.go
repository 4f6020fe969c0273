package api

import (
	"context"
	"net/http"
	"time"

	"ringfence/internal/events"
	"ringfence/internal/login"
	"ringfence/internal/telephony"
	"ringfence/internal/tries"
)

// WSITicket opens a connection of the WebSocket Interface.
type WSITicket struct {
	Ticket    string    `json:"ticket" doc:"Goes into the first message of the connection, auth. It is good once."`
	ExpiresAt time.Time `json:"expires_at"`
}

func (s *Server) registerWSI() {
	handle(s, operation{id: "create-wsi-ticket", method: http.MethodPost, path: "/wsi/ticket", tag: "live", summary: "A ticket for a connection of the WebSocket Interface, which lasts as long as this session: for clients that cannot send the cookie", access: inPerson, errors: []int{http.StatusTooManyRequests}}, s.createWSITicket)
}

func (s *Server) createWSITicket(ctx context.Context, _ *noInput) (*body[WSITicket], error) {
	secret, expires, ok := s.cfg.Tickets.Issue(login.PassOf(callerOf(ctx).cookie))
	if !ok {
		return nil, later(login.TicketLife, "too many tickets are out")
	}
	return &body[WSITicket]{WSITicket{secret, expires.UTC()}}, nil
}

// ShowCall, ShowRecord and ShowAttack are how the REST API shows things, for
// whoever else tells of them.
func ShowCall(c telephony.LiveCall) Call { return callOf(c) }

// ShowRecord is ShowCall of a call record.
func ShowRecord(r telephony.CallRecord) CallRecord { return recordOf(r) }

// ShowAttack is ShowCall of a ban that was decided just now.
func ShowAttack(e events.AddressBanned) Attack {
	return attackOf(telephony.Attack{Ban: telephony.Ban{
		Source: tries.Source(e.Addr), Scope: e.Scope, Reason: e.Reason, Evidence: e.Evidence,
		Since: time.Now(), Until: e.Until, Level: e.Level, Port: e.Port,
	}})
}
