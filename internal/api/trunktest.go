package api

import (
	"context"
	"net/http"
	"net/netip"
	"time"

	"ringfence/internal/store"
	"ringfence/internal/telephony"
)

// TrunkTest is the outcome of a trunk's self-test.
type TrunkTest struct {
	At     time.Time   `json:"at"`
	OK     bool        `json:"ok" doc:"No step failed."`
	Steps  []TrunkStep `json:"steps" nullable:"false"`
	Codecs []string    `json:"codecs" nullable:"false" doc:"Those that the other side names in its answer to OPTIONS."`
	Ours   string      `json:"ours" doc:"Address that was sent from."`
	Seen   string      `json:"seen" doc:"Address that the other side saw; another one behind NAT."`
}

// TrunkStep is a step of it.
type TrunkStep struct {
	Name   string `json:"name" enum:"dns,connect,tls,options,register,codecs,nat,echo"`
	Result string `json:"result" enum:"ok,failed,skipped"`
	Detail string `json:"detail"`
	TookMs int64  `json:"took_ms"`
}

func (s *Server) testTrunk(ctx context.Context, in *TrunkPath) (*body[TrunkTest], error) {
	tenant, id := callerOf(ctx).tenant, telephony.TrunkID(in.Trunk)
	if _, ok := s.cfg.Store.Snapshot().Trunk(tenant, id); !ok {
		return nil, store.ErrNotFound
	}
	if s.cfg.TrunkStates == nil {
		return nil, problem(http.StatusServiceUnavailable, "trunks are not running")
	}
	t, err := s.cfg.TrunkStates.Test(ctx, tenant, id)
	if err != nil {
		return nil, problem(http.StatusServiceUnavailable, err.Error())
	}
	out := TrunkTest{At: t.At.UTC(), OK: t.OK, Steps: []TrunkStep{}, Codecs: append([]string{}, t.Codecs...), Ours: addressText(t.Ours), Seen: addressText(t.Seen)}
	for _, step := range t.Steps {
		one := TrunkStep{Name: step.Name, Result: "failed", Detail: step.Detail, TookMs: step.Took.Milliseconds()}
		switch {
		case step.Skipped:
			one.Result = "skipped"
		case step.OK:
			one.Result = "ok"
		}
		out.Steps = append(out.Steps, one)
	}
	return &body[TrunkTest]{out}, nil
}

// addressText is an address and port, or nothing.
func addressText(a netip.AddrPort) string {
	if !a.IsValid() {
		return ""
	}
	return a.String()
}
