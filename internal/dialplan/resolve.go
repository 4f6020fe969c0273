package dialplan

import (
	"fmt"

	"ringfence/internal/telephony"
)

// Resolve decides where a call of an extension goes.
func Resolve(snap *telephony.Snapshot, req Request) Plan {
	r := resolver{snap: snap, req: req, routing: snap.Routing(req.Tenant)}
	r.plan.Account = req.Caller.Number
	r.outgoing()
	return r.plan
}

// ResolveInbound decides where a call from a trunk goes.
func ResolveInbound(snap *telephony.Snapshot, req InboundRequest) Plan {
	r := resolver{snap: snap, req: Request{Tenant: req.Tenant, At: req.At, Explain: req.Explain}, routing: snap.Routing(req.Tenant)}
	r.refuse(404, "no inbound rule takes the call")
	return r.plan
}

// resolver is one decision while it is made.
type resolver struct {
	snap    *telephony.Snapshot
	req     Request
	routing *telephony.Routing
	plan    Plan
}

func (r *resolver) outgoing() {
	if e, ok := r.snap.Extension(r.req.Tenant, r.req.Dialled); ok {
		r.plan.Outcome, r.plan.Class, r.plan.Extension = ToExtension, telephony.ClassInternal, e.Number
		r.say(TopicInternal, true, "%s is an extension", e.Number)
		return
	}
	r.refuse(404, "%s is no extension", r.req.Dialled)
}

func (r *resolver) refuse(code int, format string, args ...any) {
	r.plan.Outcome, r.plan.Attempts = Refused, nil
	r.plan.Refusal = Refusal{code, fmt.Sprintf(format, args...)}
	r.say(TopicResult, false, "refused with %d: %s", code, r.plan.Refusal.Reason)
}

// say adds a step, if steps are wanted.
func (r *resolver) say(topic Topic, ok bool, format string, args ...any) {
	if r.req.Explain {
		r.plan.Steps = append(r.plan.Steps, Step{Topic: topic, OK: ok, Text: fmt.Sprintf(format, args...)})
	}
}
