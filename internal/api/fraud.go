package api

import (
	"context"
	"net/http"
	"time"
)

// FraudAlarm is something about what calls cost that somebody should look at.
type FraudAlarm struct {
	At      time.Time `json:"at"`
	Account string    `json:"account" doc:"Extension of the call that raised it."`
	Subject string    `json:"subject" doc:"Who has the cap, or the country."`
	Kind    string    `json:"kind" enum:"cap_reached,cap_near,too_many_calls,new_country"`
	Detail  string    `json:"detail"`
}

// FraudAlarmList lists alarms, newest first.
type FraudAlarmList struct {
	Items []FraudAlarm `json:"items" nullable:"false"`
}

func (s *Server) registerFraud() {
	handle(s, operation{id: "list-fraud-alarms", method: http.MethodGet, path: "/fraud/alarms", tag: "live", summary: "Alarms about what calls to the outside cost, since the start, newest first; the audit log has older ones", access: manageCalls}, s.listFraudAlarms)
}

func (s *Server) listFraudAlarms(ctx context.Context, _ *noInput) (*body[FraudAlarmList], error) {
	out := FraudAlarmList{Items: []FraudAlarm{}}
	if s.cfg.FraudAlarms != nil {
		for _, a := range s.cfg.FraudAlarms(callerOf(ctx).tenant) {
			out.Items = append(out.Items, FraudAlarm{At: a.At.UTC(), Account: a.Account, Subject: a.Subject, Kind: string(a.Kind), Detail: a.Detail})
		}
	}
	return &body[FraudAlarmList]{out}, nil
}
