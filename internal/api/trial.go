package api

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"math"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"ringfence/internal/ports"
	"ringfence/internal/store"
	"ringfence/internal/telephony"
)

// Trials are changes of settings that wait to be confirmed; one at a time.
type Trials interface {
	// State is how long the change that waits does so, zero if none waits, and
	// the last one that was taken back, or nil.
	State() (left time.Duration, reverted *NetworkReverted)
	// Confirm keeps the change with an id that waits, and says whose it was.
	Confirm(ctx context.Context, id string, path NetworkPath, from netip.Addr) (by string, err error)
	// ConfirmHere is Confirm by an operator at the machine.
	ConfirmHere(ctx context.Context, by telephony.Actor) error
	// Revert takes the change that waits back.
	Revert(ctx context.Context, by telephony.Actor, reason string) error
}

func (s *Server) registerTrial() {
	handle(s, operation{id: "get-settings-trial", method: http.MethodGet, path: "/settings/trial", tag: "box", summary: "The change of settings that waits to be confirmed", access: systemOnly}, s.getTrial)
	handle(s, operation{id: "confirm-settings-trial", method: http.MethodPost, path: "/settings/trial/confirm", tag: "box", access: anyone, status: http.StatusNoContent, errors: []int{http.StatusConflict},
		summary: "Keep the change of settings, by a connection made after it; the id is all it takes, since the session belongs to the old address"}, s.confirmTrial)
	handle(s, operation{id: "revert-settings-trial", method: http.MethodPost, path: "/settings/trial/revert", tag: "box", summary: "Take the change of settings back now", access: systemOnly, status: http.StatusNoContent, errors: []int{http.StatusConflict}}, s.revertTrial)
}

// TryQuery is part of every change that may have to be confirmed.
type TryQuery struct {
	ConfirmSeconds int `query:"confirm_seconds" minimum:"10" maximum:"600" default:"60" doc:"How long the change waits to be confirmed before it is taken back, if it could shut out who asks."`
}

func standardTry() TryQuery { return TryQuery{ConfirmSeconds: 60} }

// tryBody is a request body of such a change.
type tryBody[T any] struct {
	TryQuery
	Body T
}

// try commits a change. One that could shut out who asks is put to a trial.
func (s *Server) try(ctx context.Context, q TryQuery, change func(*store.Tx) error) (*SettingsTrial, error) {
	who := callerOf(ctx)
	var begun *telephony.Trial
	_, err := s.cfg.Store.System().Update(ctx, who.actor(), func(tx *store.Tx) error {
		begun = nil
		tx.Try(func(before, after *telephony.Snapshot) *telephony.Trial {
			if !before.Settings.SetupDone || !cutsOff(before, after, who.addr) {
				return nil
			}
			begun = &telephony.Trial{
				ID: rand.Text(), By: who.session.User.Name, Began: time.Now(),
				Window: time.Duration(q.ConfirmSeconds) * time.Second,
			}
			return begun
		})
		return change(tx)
	})
	if err != nil || begun == nil {
		return nil, err
	}
	return s.trialFor(who, begun, begun.Window), nil
}

// trySettings is try for a change of settings of the box.
func (s *Server) trySettings(ctx context.Context, q TryQuery, change func(*telephony.Settings) error) (*SettingsTrial, error) {
	return s.try(ctx, q, changing(change))
}

// cutsOff reports whether a change could shut out the administrator who asks for
// it, from an address: it touches the way he came, or the operator shell's, or
// who filters, or how much he may send.
func cutsOff(before, after *telephony.Snapshot, from netip.Addr) bool {
	was, is := before.Settings, after.Settings
	switch {
	case narrowed(was.Ports, is.Ports, ports.Portal), narrowed(was.Ports, is.Ports, ports.SSH):
		return true
	case was.CloudMode != is.CloudMode || was.FilterOff != is.FilterOff:
		return true
	case is.Limits.L1 < was.Limits.L1 || is.Limits.L2 < was.Limits.L2:
		return true
	}
	// A list that was not touched is the very same one, and is long at times.
	x, y := before.Rules, after.Rules
	if len(x) == len(y) && (len(x) == 0 || &x[0] == &y[0]) {
		return false
	}
	return blocked(after, from) && !blocked(before, from)
}

// narrowed reports whether a row is not as it was any more, other than that it
// was off.
func narrowed(was, is []ports.Override, id ports.ID) bool {
	before, on := rowOf(was, id)
	if !on {
		return false
	}
	after, _ := rowOf(is, id)
	x, err1 := json.Marshal(before)
	y, err2 := json.Marshal(after)
	return err1 != nil || err2 != nil || string(x) != string(y)
}

func rowOf(overrides []ports.Override, id ports.ID) (ports.Service, bool) {
	rows, err := ports.Effective(overrides, ports.InService)
	if err != nil {
		return ports.Service{}, false
	}
	return ports.Lookup(rows, id)
}

// blocked reports whether the list of addresses blocks one.
func blocked(s *telephony.Snapshot, a netip.Addr) bool {
	r, ok := telephony.NewAddressIndex(s.Rules).Decide(a, time.Now())
	return ok && !r.Allow
}

// trialFor is a trial as one who asks sees it.
func (s *Server) trialFor(c caller, t *telephony.Trial, left time.Duration) *SettingsTrial {
	return &SettingsTrial{
		ID: t.ID, SecondsLeft: secondsOf(left), Where: s.where(c.host, t), By: t.By, Changes: append([]string{}, t.Undo.Names()...),
	}
}

func secondsOf(left time.Duration) int { return max(0, int(math.Ceil(left.Seconds()))) }

// where is how the portal can be reached after the change, by whoever reached it
// by a host before.
func (s *Server) where(host string, t *telephony.Trial) string {
	if _, moved := t.Undo.Ports[ports.Portal]; !moved {
		return "https://" + host
	}
	all := s.cfg.Live.Ports()
	i := slices.IndexFunc(all, func(p PortState) bool { return p.Service.ID == ports.Portal })
	if i < 0 || all[i].Service.First == 0 {
		return "https://" + host
	}
	name, _, err := net.SplitHostPort(host)
	if err != nil {
		name = strings.Trim(host, "[]")
	}
	return "https://" + net.JoinHostPort(name, strconv.Itoa(int(all[i].Service.First)))
}

// trialState is the trial as one who asks sees it.
func (s *Server) trialState(c caller) SettingsTrialState {
	out := SettingsTrialState{}
	if s.cfg.Trials == nil {
		return out
	}
	left, reverted := s.cfg.Trials.State()
	if t := s.cfg.Store.Snapshot().Trial; t != nil && left > 0 {
		out.Pending = s.trialFor(c, t, left)
	}
	if reverted != nil {
		out.Reverted = &NetworkTakenBack{Reason: reverted.Reason, At: reverted.At.UTC()}
	}
	return out
}

func (s *Server) getTrial(ctx context.Context, _ *noInput) (*body[SettingsTrialState], error) {
	return &body[SettingsTrialState]{s.trialState(callerOf(ctx))}, nil
}

func (s *Server) confirmTrial(ctx context.Context, in *body[NetworkConfirm]) (*struct{}, error) {
	if s.cfg.Trials == nil {
		return nil, pendingProblem(ErrNoChange)
	}
	_, err := s.cfg.Trials.Confirm(ctx, in.Body.ID, pathOf(ctx), callerOf(ctx).addr)
	return nil, pendingProblem(err)
}

func (s *Server) revertTrial(ctx context.Context, _ *noInput) (*struct{}, error) {
	if s.cfg.Trials == nil {
		return nil, pendingProblem(ErrNoChange)
	}
	err := s.cfg.Trials.Revert(ctx, callerOf(ctx).actor(), "taken back on request")
	return nil, pendingProblem(err)
}

// tried is the answer to a change that met the one which waits.
func tried(err error) error {
	if errors.Is(err, store.ErrTried) {
		return problem(http.StatusConflict, err.Error())
	}
	return nil
}
