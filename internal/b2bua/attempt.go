package b2bua

import (
	"strconv"
	"strings"

	"ringfence/internal/sip"
	"ringfence/internal/telephony"
)

// What a trunk answers is about the number that was called, or about the trunk
// itself. Only the latter is a reason to try another one:
//
//	about the callee: 404, 410, 480, 484, 485, 486, 487, 600, 603, 604, 607, 608;
//	482 and 483, for a call that goes in a circle is not to be multiplied
//	about the trunk: 3xx (we follow nobody's redirection to hosts), 401 and 407
//	(credentials refused), 402 and 403 (no money, number or route barred here),
//	408, 430, 5xx, 488 and 606 (no media in common) and all others
//
// Gateways tell more in a Reason with the cause of the telephone network (RFC
// 3326, Q.850), which wins: 480 with cause 34 is a trunk without a free channel,
// and 500 with cause 17 is somebody who is busy.

// ofCallee is what an answer says of who was called, if it is about that.
func ofCallee(r *sip.Response) (code int, reason telephony.EndReason, ok bool) {
	switch q850(r) {
	case 1, 22, 28: // unallocated, changed, invalid
		return 404, telephony.EndNotFound, true
	case 17: // user busy
		return 486, telephony.EndBusy, true
	case 18, 19: // no user responding, no answer
		return 480, telephony.EndNoAnswer, true
	case 20: // subscriber absent
		return 480, telephony.EndUnavailable, true
	case 21: // rejected
		return 603, telephony.EndRejected, true
	case 2, 3, 6, 25, 27, 34, 38, 41, 42, 43, 44, 47, 49, 57, 58, 63: // no route, channel or service
		return 0, "", false
	}
	switch r.Code {
	case 404, 410, 604:
		return 404, telephony.EndNotFound, true
	case 484, 485:
		return r.Code, telephony.EndNotFound, true
	case 486, 600:
		return 486, telephony.EndBusy, true
	case 603, 607, 608:
		return 603, telephony.EndRejected, true
	case 480, 487:
		return 480, telephony.EndUnavailable, true
	case 482, 483:
		return r.Code, telephony.EndFailed, true
	}
	return 0, "", false
}

// outsideVerdict is what the caller gets for the refusal of the last trunk.
func outsideVerdict(r *sip.Response) (code int, reason telephony.EndReason) {
	if code, reason, ok := ofCallee(r); ok {
		return code, reason
	}
	switch r.Code {
	case 406, 415, 488, 606:
		return 488, telephony.EndFailed
	}
	return 503, telephony.EndTrunks
}

// q850 is the cause of the telephone network in a response, or 0.
func q850(r *sip.Response) int {
	for _, v := range r.Values("Reason") {
		protocol, params, _ := strings.Cut(v, ";")
		if !strings.EqualFold(strings.TrimSpace(protocol), "Q.850") {
			continue
		}
		for p := range strings.SplitSeq(params, ";") {
			name, value, _ := strings.Cut(p, "=")
			if n, err := strconv.ParseUint(strings.TrimSpace(value), 10, 7); err == nil && strings.EqualFold(strings.TrimSpace(name), "cause") {
				return int(n)
			}
		}
	}
	return 0
}
