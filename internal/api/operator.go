package api

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"ringfence/internal/login"
	"ringfence/internal/opsock"
	"ringfence/internal/ports"
	"ringfence/internal/setup"
	"ringfence/internal/store"
	"ringfence/internal/telephony"
)

// OperatorHandler serves the operator's command line on the local socket. Who
// may open the socket may do everything here.
func (s *Server) OperatorHandler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+opsock.PathStatus, s.operator(s.operatorStatus))
	mux.HandleFunc("GET "+opsock.PathPorts, s.operator(s.operatorPorts))
	mux.HandleFunc("GET "+opsock.PathPortRules, s.operator(s.operatorPortRules))
	mux.HandleFunc("GET "+opsock.PathSetupToken, s.operator(s.operatorToken))
	mux.HandleFunc("POST "+opsock.PathSetupToken, s.operator(s.operatorNewToken))
	mux.HandleFunc("POST "+opsock.PathResetAdmin, s.operator(s.operatorResetAdmin))
	mux.HandleFunc("GET "+opsock.PathNetwork, s.operator(s.operatorNetwork))
	mux.HandleFunc("POST "+opsock.PathNetworkConfirm, s.operator(s.operatorNetworkConfirm))
	mux.HandleFunc("POST "+opsock.PathNetworkRevert, s.operator(s.operatorNetworkRevert))
	mux.HandleFunc("GET "+opsock.PathTrial, s.operator(func(*http.Request) (any, error) { return s.trialForOperator(), nil }))
	mux.HandleFunc("POST "+opsock.PathTrialConfirm, s.operator(s.operatorTrialConfirm))
	mux.HandleFunc("POST "+opsock.PathTrialRevert, s.operator(s.operatorTrialRevert))
	mux.HandleFunc("GET "+opsock.PathSSH, s.operator(s.operatorSSH))
	mux.HandleFunc("POST "+opsock.PathSSH, s.operator(s.operatorChangeSSH))
	mux.HandleFunc("POST "+opsock.PathDialplanTry, s.operator(s.operatorTry))
	mux.HandleFunc("GET "+opsock.PathConfiguration, s.operator(s.operatorExport))
	mux.HandleFunc("POST "+opsock.PathPlan, s.operatorUpTo(maxDocument, s.operatorPlan))
	mux.HandleFunc("POST "+opsock.PathApply, s.operatorUpTo(maxDocument, s.operatorApply))
	mux.HandleFunc("POST "+opsock.PathShell, s.operator(s.shellReport))
	mux.HandleFunc("POST "+opsock.PathShellEvent, s.operator(s.shellEvent))
	return mux
}

// operator writes what f answers as JSON.
func (s *Server) operator(f func(*http.Request) (any, error)) http.HandlerFunc {
	return s.operatorUpTo(maxBody, f)
}

// operatorUpTo is operator for requests of up to limit bytes.
func (s *Server) operatorUpTo(limit int64, f func(*http.Request) (any, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		r.Body = http.MaxBytesReader(w, r.Body, limit)
		out, err := f(r)
		if err != nil {
			w.WriteHeader(http.StatusConflict)
			out = opsock.Error{Message: err.Error()}
		}
		_ = json.NewEncoder(w).Encode(out)
	}
}

func operatorActor(r *http.Request) telephony.Actor {
	o := opsock.Asker(r)
	return telephony.Actor{Kind: telephony.ActorOperator, Name: o.Name, Addr: o.From}
}

func (s *Server) operatorStatus(*http.Request) (any, error) {
	snap := s.cfg.Store.Snapshot()
	st := s.status(telephony.System)
	out := opsock.Status{
		Version: st.Version, Hostname: st.Hostname, UptimeSeconds: st.UptimeSeconds, Rev: st.Rev,
		SetupDone: snap.Settings.SetupDone, Fingerprint: s.cfg.Fingerprint(),
		FenceActive: st.Fence.Active, FenceError: st.Fence.Error, Applied: []opsock.Applied{}, Trial: s.trialForOperator(),
	}
	out.Certificate = s.certificateForOperator()
	if c := st.Clock; c != nil {
		out.Clock = fmt.Sprintf("%.1f ms off by %s (%s), at %s", c.OffsetMS, c.Server, c.Origin, c.CheckedAt.Format(time.RFC3339))
	}
	for _, a := range st.Applied {
		out.Applied = append(out.Applied, opsock.Applied(a))
	}
	for _, t := range snap.Tenants() {
		out.Extensions += len(snap.Extensions(t.ID))
		out.Registrations += len(s.cfg.Live.Registrations(t.ID))
		out.Calls += len(s.cfg.Live.Calls(t.ID))
	}
	return out, nil
}

func (s *Server) operatorPorts(*http.Request) (any, error) {
	out := []opsock.Port{}
	for _, p := range s.portTable() {
		row := ports.Service{First: uint16(p.First), Last: uint16(p.Last)}
		out = append(out, opsock.Port{ID: p.ID, Name: p.Name, Proto: p.Proto, Ports: row.Ports(), State: p.State, Error: p.Error, Packets: p.Packets, Bytes: p.Bytes})
	}
	return out, nil
}

var errSetUp = errors.New("set-up is finished; the token is dead")

func (s *Server) operatorToken(r *http.Request) (any, error) {
	if s.cfg.Wizard.Finished() {
		return nil, errSetUp
	}
	return opsock.Token{Token: s.cfg.Wizard.Token()}, nil
}

func (s *Server) operatorNewToken(r *http.Request) (any, error) {
	t, err := s.cfg.Wizard.Renew()
	if errors.Is(err, setup.ErrFinished) {
		return nil, errSetUp
	}
	s.cfg.Logger.Info("set-up token renewed", "by", opsock.Asker(r).Name)
	return opsock.Token{Token: t}, err
}

// operatorResetAdmin gives an administrator of the box a password for one
// log-in, takes the second factor off and ends all sessions.
func (s *Server) operatorResetAdmin(r *http.Request) (any, error) {
	var in opsock.ResetAdmin
	if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
		return nil, errors.New("reading the request: not the expected JSON")
	}
	users, err := s.cfg.Store.System().Users(r.Context())
	if err != nil {
		return nil, err
	}
	u, err := choose(users, in.Name)
	if err != nil {
		return nil, err
	}
	password := login.GeneratePassword(sipPasswordLength)
	hash, err := s.cfg.Login.Hash(r.Context(), password)
	if err != nil {
		return nil, err
	}
	_, err = s.cfg.Store.System().Update(r.Context(), operatorActor(r), func(tx *store.Tx) error {
		// Who has lost the phone as well must get in.
		return errors.Join(tx.SetUserPassword(u.ID, hash, true), tx.DeleteSecondFactor(u.ID), tx.DeleteSessions(u.ID, nil))
	})
	if err != nil {
		return nil, err
	}
	return opsock.NewPassword{Name: u.Name, Password: password}, nil
}

// choose finds the administrator meant; without a name there must be one only.
func choose(users []telephony.User, name string) (telephony.User, error) {
	var names []string
	for _, u := range users {
		if u.Name == name {
			return u, nil
		}
		names = append(names, u.Name)
	}
	switch {
	case len(users) == 0:
		return telephony.User{}, errors.New("there is no administrator yet; finish set-up")
	case name != "":
		return telephony.User{}, fmt.Errorf("no administrator has that name; there are: %s", strings.Join(names, ", "))
	case len(users) == 1:
		return users[0], nil
	}
	return telephony.User{}, fmt.Errorf("say which administrator: %s", strings.Join(names, ", "))
}
