package api

import (
	"fmt"
	"net/http"
	"time"

	"ringfence/internal/opsock"
)

func (s *Server) trialForOperator() opsock.Trial {
	state := s.trialState(caller{})
	out := opsock.Trial{Changes: []string{}}
	if p := state.Pending; p != nil {
		out.SecondsLeft, out.By, out.Changes = max(1, p.SecondsLeft), p.By, p.Changes
	}
	if r := state.Reverted; r != nil {
		out.Reverted = fmt.Sprintf("%s, at %s", r.Reason, r.At.Format(time.RFC3339))
	}
	return out
}

// operatorTrialConfirm needs no new path: who may open the socket is at the
// machine, and not cut off.
func (s *Server) operatorTrialConfirm(r *http.Request) (any, error) {
	if s.cfg.Trials == nil {
		return nil, ErrNoChange
	}
	return struct{}{}, s.cfg.Trials.ConfirmHere(r.Context(), operatorActor(r))
}

func (s *Server) operatorTrialRevert(r *http.Request) (any, error) {
	if s.cfg.Trials == nil {
		return nil, ErrNoChange
	}
	return struct{}{}, s.cfg.Trials.Revert(r.Context(), operatorActor(r), "taken back on request")
}
